//! Whether the files are there that a request names as inputs (O4).
//!
//! They are opened when a run would start, and only then: a hit or a run to join needs none of them and is not refused for
//! one that is missing. So the decision is asked first; it answers that it needs to know, and is asked again with what was
//! found. A miss that names files costs one more round trip to Redis for that, which is little beside a run. What `evidence`
//! asks before each decision is only how they are known.

use std::{path::Path, sync::Arc, time::Duration};

use onceover_catalog::{NodeSpec, PathContent};
use onceover_types::{FieldError, TaskId};
use serde_json::{Map, Value};

use super::{evidence::InputEvidence, folders::task_folder};
use crate::evidence::{disk::on_disk, given_paths, is_url};
use onceover_run::{RunError, paths::Roots};
use onceover_store::InputsFound;

/// How long files may be looked at. What is not known by then is accepted, and the run tells.
const CHECK_LIMIT: Duration = Duration::from_secs(3);

/// A file or folder on this machine that a request names.
#[derive(Debug, Clone)]
pub(super) struct InputFile {
    field: String,
    path: String,
    expects: PathContent,
}

/// What was found of a request's files.
#[derive(Debug, Default)]
pub(super) struct InputFiles {
    pub errors: Vec<FieldError>,
    /// Each that is missing lies in the task's own folder, where a stage in flight may still put it.
    may_come: bool,
}

impl InputFiles {
    /// As the store takes it.
    pub fn found(&self) -> InputsFound {
        match (self.errors.is_empty(), self.may_come) {
            (true, _) => InputsFound::Present,
            (false, true) => InputsFound::MayCome,
            (false, false) => InputsFound::Missing,
        }
    }
}

impl InputEvidence {
    /// The files on this machine that a request names.
    pub(super) fn input_files(&self, task: &TaskId, node: &NodeSpec, input: &Map<String, Value>) -> Vec<InputFile> {
        let wanted =
            given_paths(node, input).filter(|(_, path, expects)| *expects != PathContent::Anything && !is_url(path));
        wanted
            .map(|(name, path, expects)| InputFile {
                field: format!("input_data.{name}"),
                path: self.roots.under_task(task, path).into_owned(),
                expects,
            })
            .collect()
    }

    /// Looks at files as a run would open them.
    pub(super) async fn check_inputs(&self, task: &TaskId, files: Vec<InputFile>) -> InputFiles {
        let (roots, folder) = (Arc::clone(&self.roots), task_folder(&self.roots, task));
        let check = on_disk(move || open_files(&roots, &folder, files));
        let found = tokio::time::timeout(CHECK_LIMIT, check).await.unwrap_or_else(|_| {
            tracing::warn!(%task, limit = ?CHECK_LIMIT, "whether the inputs of a request are there is not known in time");
            None
        });
        found.unwrap_or_default()
    }
}

fn open_files(roots: &Roots, folder: &Path, files: Vec<InputFile>) -> InputFiles {
    let mut found = InputFiles {
        errors: Vec::new(),
        may_come: true,
    };
    for file in files {
        let opened = match file.expects {
            PathContent::File => roots.open_file(&file.path),
            PathContent::FileOrFolder | PathContent::Anything => roots.open_input(&file.path),
        };
        if let Err(RunError::Failed(why)) = opened {
            let path = Path::new(&file.path);
            found.may_come &= path.starts_with(folder) && !path.exists();
            found.errors.push(FieldError::new(file.field, why));
        }
    }
    found
}
