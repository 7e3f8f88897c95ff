//! How long a request waits until it is known what stands behind it.

use std::{sync::Arc, time::Duration};

use onceover_catalog::NodeSpec;
use onceover_run::paths::Roots;
use onceover_store::ReuseRule;
use onceover_types::{Object, TaskId};

use crate::{
    config::Verify,
    downloads::Downloads,
    evidence::{ByParameter, as_one, disk::on_disk, given_paths, is_url, of_local_files},
};

/// How long a request waits for evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// The answer is the same without: files are looked at for a moment, and no server is asked.
    Hint,
    /// The answer depends on it.
    Decisive,
}

impl Patience {
    /// As the treatment of a stored result asks for it; None where nothing depends on it.
    fn for_mode(mode: ReuseRule) -> Option<Self> {
        match mode {
            ReuseRule::Strict | ReuseRule::Refuse => Some(Self::Decisive),
            ReuseRule::Never | ReuseRule::Off => None,
            ReuseRule::Auto => Some(Self::Hint),
        }
    }

    fn limit(self, verify: Verify) -> Duration {
        match (self, verify) {
            (Self::Hint, _) => Duration::from_millis(250),
            (Self::Decisive, Verify::Stat) => Duration::from_secs(3),
            // Large files are read whole.
            (Self::Decisive, Verify::Hash) => Duration::from_secs(30),
        }
    }
}

/// Looks at what stands behind the inputs of requests. Cheap to clone.
#[derive(Clone)]
pub struct InputEvidence {
    pub(super) roots: Arc<Roots>,
    downloads: Arc<Downloads>,
    /// How files are looked at before a result is reused.
    verify: Verify,
}

impl InputEvidence {
    pub fn new(roots: Arc<Roots>, downloads: Arc<Downloads>, verify: Verify) -> Self {
        Self {
            roots,
            downloads,
            verify,
        }
    }

    /// Returns how files are looked at before a result is reused.
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// The files behind a request, as one text, where the treatment of a stored result (`mode`) asks for it; None: unknown.
    pub(super) async fn files_evidence(
        &self,
        task: &TaskId,
        node: &Arc<NodeSpec>,
        input: &Object,
        mode: ReuseRule,
    ) -> Option<String> {
        let patience = Patience::for_mode(mode)?;
        let verify = self.verify;
        let (local, urls): (Vec<_>, Vec<_>) = given_paths(node, input).partition(|(_, path, _)| !is_url(path));
        if !urls.is_empty() && patience == Patience::Hint {
            return None;
        }
        let mut parts = ByParameter::new();
        let limit = patience.limit(verify);
        let look = async {
            for (name, url, _) in &urls {
                parts.insert((*name).to_owned(), self.downloads.identity(url).await);
            }
            if !local.is_empty() {
                parts.extend(self.local_evidence(task, node, input).await?);
            }
            as_one(&parts, verify)
        };
        let found = tokio::time::timeout(limit, look).await;
        found.unwrap_or_else(|_| {
            tracing::debug!(%task, task_name = %node.name, ?limit, "the inputs of a request could not be looked at in time");
            None
        })
    }

    /// The local files behind a request, by parameter; None: they could not be looked at.
    pub async fn local_evidence(&self, task: &TaskId, node: &Arc<NodeSpec>, input: &Object) -> Option<ByParameter> {
        if given_paths(node, input).all(|(_, path, _)| is_url(path)) {
            return Some(ByParameter::new());
        }
        let (roots, verify) = (Arc::clone(&self.roots), self.verify);
        let (task, node, input) = (task.clone(), Arc::clone(node), input.clone());
        on_disk(move || of_local_files(&roots, &task, &node, &input, verify)).await
    }
}
