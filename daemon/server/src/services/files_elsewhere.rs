//! Files of a worker's result that this machine cannot see: they are recorded as the paths that the output names, or as
//! objects where it names some of the configured store, which are verified there (R8). What is verified nowhere is named
//! in a warning of the result.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use onceover_catalog::{NodeSpec, ValueKind};
use onceover_limits::Limit;
use onceover_run::{
    Object,
    paths::Roots,
    warnings::{Code, Warning},
};
use onceover_wire::WARNINGS_FIELD;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::artifacts::{ArtifactEntry, LIMIT, ObjectStamp, append};
use crate::objects::{ObjectStorage, location::Location};

/// How long the object store may take to say what it has of one result.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a text that may be a path.
const LONGEST_PATH: usize = 4096;
/// Files that the warning names.
const MOST_NAMED: usize = 3;
/// How a field is called that has the URL of an object beside the path of its file.
const URL_FIELDS: [&str; 2] = ["_minio_url", "_minio_urls"];
/// How fields are called that have paths, where the node's file does not say.
const PATH_FIELDS: [&str; 5] = ["path", "paths", "dir", "file", "folder"];

/// Where the files of a worker's result may be.
pub struct FileScope<'a> {
    pub node: &'a NodeSpec,
    /// The run's input: what it names is no result.
    pub input: &'a Object,
    /// The run's folder.
    pub dir: &'a Path,
    pub roots: &'a Roots,
    /// Folders of this machine that workers have under another name.
    pub mapped: Vec<PathBuf>,
    /// Whether what lies in any of these folders lies on this machine too.
    pub sees_files: bool,
}

/// The files of a result that are not on this machine.
#[derive(Debug, Default)]
pub struct FilesElsewhere {
    recorded: Vec<ArtifactEntry>,
    /// Those that were verified nowhere.
    unverified: Vec<String>,
}

/// A text of an output, and the field that it stands in.
struct NamedText<'a> {
    field: &'a str,
    text: &'a str,
}

impl FilesElsewhere {
    /// Finds what an output names, and asks the object store for what is there.
    pub async fn find(output: &Object, scope: &FileScope<'_>, objects: Option<&Arc<ObjectStorage>>) -> Self {
        let inputs: HashSet<&str> = collect_texts(scope.input).into_iter().map(|named| named.text).collect();
        let mut named = collect_texts(output);
        named.retain(|named| !inputs.contains(named.text));
        let mut found = Self::default();
        let verified = match objects {
            Some(objects) => found.add_objects(&named, objects).await,
            None => HashSet::new(),
        };
        for NamedText { field, text } in &named {
            if !scope.is_elsewhere(field, text) {
                continue;
            }
            if found.recorded.len() >= LIMIT {
                Limit::RecordedFiles.reached();
                break;
            }
            found.recorded.push(ArtifactEntry::on_worker(text));
            let is_verified = URL_FIELDS.iter().any(|end| verified.contains(&format!("{field}{end}")));
            if !is_verified {
                found.unverified.push((*text).to_owned());
            }
        }
        found
    }

    /// Adds the objects that the output names. Returns the fields whose objects are all there.
    async fn add_objects(&mut self, named: &[NamedText<'_>], objects: &Arc<ObjectStorage>) -> HashSet<String> {
        let until = Instant::now() + PATIENCE;
        let (mut verified, mut doubtful) = (HashSet::new(), HashSet::new());
        for NamedText { field, text } in named {
            let Some(location) = objects.location(text) else {
                continue;
            };
            if self.recorded.len() >= LIMIT {
                Limit::RecordedFiles.reached();
                break;
            }
            let stamp = match location {
                Ok(location) => stamp_object(objects, &location, until).await,
                Err(_) => None,
            };
            match stamp {
                Some(stamp) => {
                    self.recorded.push(ArtifactEntry::in_store(stamp));
                    verified.insert((*field).to_owned());
                }
                None => {
                    // The query of a URL may open the object.
                    let url = text.split(['?', '#']).next().unwrap_or_default();
                    self.unverified.push(url.to_owned());
                    doubtful.insert((*field).to_owned());
                }
            }
        }
        verified.retain(|field| !doubtful.contains(field));
        verified
    }

    /// Returns the warning of what was verified nowhere.
    pub fn warning(&self) -> Option<Warning> {
        let count = self.unverified.len();
        if count == 0 {
            return None;
        }
        let mut named = self.unverified[..count.min(MOST_NAMED)].join(", ");
        if count > MOST_NAMED {
            named += &format!(" and {} more", count - MOST_NAMED);
        }
        let text = format!("files of the result are on the worker's machine and were not verified here: {named}");
        Some(Warning::new(Code::Unverified, text).with("files", count))
    }

    /// Adds these files to what was recorded of those on this machine.
    pub fn add_to(self, recorded: String) -> String {
        append(recorded, self.recorded)
    }
}

impl FileScope<'_> {
    /// Whether a text of the output is the path of a file that this machine does not see.
    fn is_elsewhere(&self, field: &str, text: &str) -> bool {
        if !is_path(text) {
            return false;
        }
        let path = Path::new(text);
        let folders = [self.dir, self.roots.tasks_dir()].into_iter();
        let is_known = folders
            .chain(self.roots.media().iter().map(PathBuf::as_path))
            .chain(self.mapped.iter().map(PathBuf::as_path))
            .any(|folder| path.starts_with(folder));
        match (is_known, self.sees_files) {
            (true, sees_files) => !sees_files,
            (false, _) => self.has_paths(field),
        }
    }

    /// Whether a field of the output has paths.
    fn has_paths(&self, field: &str) -> bool {
        let declared = self.node.outputs.iter().find(|output| output.name == field);
        match declared.map(|output| output.kind) {
            Some(ValueKind::Path) => true,
            Some(ValueKind::Array | ValueKind::Object) | None => {
                let last = field.rsplit('_').next().unwrap_or_default();
                PATH_FIELDS.contains(&last)
            }
            Some(_) => false,
        }
    }
}

/// Whether a text reads as an absolute path.
fn is_path(text: &str) -> bool {
    let has_more = text
        .strip_prefix('/')
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ' ']));
    has_more && text.len() <= LONGEST_PATH && !text.chars().any(char::is_control)
}

async fn stamp_object(objects: &ObjectStorage, location: &Location, until: Instant) -> Option<ObjectStamp> {
    match timeout_at(until, objects.find(location)).await {
        Ok(Ok(found)) => found.map(|object| ObjectStamp {
            bucket: location.bucket.clone(),
            key: location.key.clone(),
            size: object.size,
            etag: object.etag,
        }),
        Ok(Err(error)) => {
            tracing::warn!(%error, %location, "an object of a worker's result was not verified");
            None
        }
        Err(_) => None,
    }
}

/// Lists the texts of an output, with the field that is nearest to each. Its warnings name no files.
fn collect_texts(output: &Object) -> Vec<NamedText<'_>> {
    let mut named = Vec::new();
    for (field, value) in output.iter().filter(|(field, _)| *field != WARNINGS_FIELD) {
        add_texts(field, value, &mut named);
    }
    named
}

fn add_texts<'a>(field: &'a str, value: &'a Value, named: &mut Vec<NamedText<'a>>) {
    match value {
        Value::String(text) => named.push(NamedText { field, text }),
        Value::Array(items) => items.iter().for_each(|item| add_texts(field, item, named)),
        Value::Object(fields) => fields.iter().for_each(|(field, item)| add_texts(field, item, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::artifacts::ArtifactCheck, *};
    use crate::services::artifacts::RecordedFiles;

    fn object(value: Value) -> Object {
        match value {
            Value::Object(fields) => fields,
            other => panic!("{other} is no object"),
        }
    }

    /// What is found of an output by a daemon that sees the files of workers, or does not.
    async fn find(output: Value, sees_files: bool) -> FilesElsewhere {
        let temp = tempfile::tempdir().unwrap();
        let (share, films) = (temp.path().join("share"), temp.path().join("films"));
        std::fs::create_dir_all(&share).unwrap();
        std::fs::create_dir_all(&films).unwrap();
        let roots = Roots::new(share, vec![films]).unwrap();
        let node = onceover_catalog::parse_node(
            r#"
            name = "a.one"
            runner = { command = ["true"] }
            [[outputs]]
            name = "audio"
            type = "path"
            [[outputs]]
            name = "text"
            type = "string"
            "#,
        )
        .unwrap();
        let scope = FileScope {
            node: &node,
            input: &object(json!({"video_path": "/films/in.mp4"})),
            dir: Path::new("/ours/t1/runs/r1"),
            roots: &roots,
            mapped: vec![PathBuf::from("/ours")],
            sees_files,
        };
        FilesElsewhere::find(&object(output), &scope, None).await
    }

    #[tokio::test]
    async fn r8_files_that_are_elsewhere_are_recorded_and_named_and_never_missing() {
        let output = || {
            json!({
                "audio": "/scratch/a.wav",
                "parts": [{"part_path": "/scratch/b.wav"}],
                "seen": "/ours/t1/runs/r1/c.wav",
                "text": "/slash is no path",
                "source_path": "/films/in.mp4",
                "note": "/neither/is/this",
            })
        };
        let found = find(output(), true).await;
        assert_eq!(found.unverified, ["/scratch/a.wav", "/scratch/b.wav"]);
        let warning = found.warning().unwrap();
        assert_eq!((warning.code.as_str(), warning.retryable), ("unverified", false));
        assert_eq!(warning.numbers["files"], 2);
        let recorded = found.add_to("[]".to_owned());
        assert_eq!(RecordedFiles::parse(&recorded).unwrap().check(), ArtifactCheck::Whole);
        let found = find(output(), false).await;
        assert_eq!(
            found.unverified,
            ["/scratch/a.wav", "/scratch/b.wav", "/ours/t1/runs/r1/c.wav"]
        );
    }

    #[tokio::test]
    async fn r8_a_result_whose_files_are_all_here_has_no_warning_and_keeps_what_was_recorded() {
        let found = find(json!({"audio": "/ours/t1/runs/r1/a.wav", "value": 1}), true).await;
        assert!(found.warning().is_none());
        assert_eq!(found.add_to("[]".to_owned()), "[]");
    }
}
