//! What a run needs whose worker is `onceover_worker.py`: the node with its programs in the message and, where the worker
//! does not see this machine's folders, its files in the object store.

use std::{future::Future, sync::Arc, time::Duration};

use onceover_run::{Object, RunContext, RunError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    super::{
        definition::{DEFINITION_VERSION, describe_node},
        services::WorkerService,
        stored_files::{FILES_FIELD, StoredFilesError, StoredRunFiles, take_listed},
    },
    CeleryRunner,
};
use crate::{
    objects::NO_STORE,
    run_wait::{Backoff, LONGEST_WAIT},
};

/// How often work that does not count towards the time limit says so.
const STILL_AT_IT: Duration = Duration::from_secs(1);

impl CeleryRunner<'_> {
    /// Describes the run to a worker of Onceover.
    pub(super) async fn describe_run(&self, context: &RunContext, service: &WorkerService) -> Result<Value, RunError> {
        let name = context.node.name.as_str();
        let node = self.dispatcher.local.for_input(name, &context.input);
        let node =
            node.ok_or_else(|| RunError::failed(format!("there is no node {name} any more; submit it again")))?;
        let (node, folders) = (Arc::clone(node), Arc::clone(&self.dispatcher.program_folders));
        let definition = crate::blocking::run(move || describe_node(&node, &folders))
            .await
            .map_err(|error| RunError::failed(format!("the programs of {name} could not be read: {error}")))?
            .map_err(RunError::Failed)?;
        let files = match service.sees_files {
            true => Value::Null,
            false => self.send_inputs(context, service).await?,
        };
        Ok(json!({
            "version": DEFINITION_VERSION,
            "node": name,
            "run_id": context.run_id,
            "attempt": context.attempt,
            "definition": definition,
            "timeout_seconds": context.node.timeout_seconds,
            "grace_seconds": self.grace.as_secs_f64(),
            "uploads": context.uploads,
            "files": files,
        }))
    }

    fn stored_files<'a>(
        &'a self,
        context: &'a RunContext,
        service: &'a WorkerService,
    ) -> Result<StoredRunFiles<'a>, RunError> {
        let objects = self.dispatcher.objects.as_ref();
        Ok(StoredRunFiles {
            objects: objects.ok_or_else(|| RunError::failed(NO_STORE))?,
            context,
            paths: &service.paths,
        })
    }

    /// Sends the inputs, however long the object store is unreachable.
    async fn send_inputs(&self, context: &RunContext, service: &WorkerService) -> Result<Value, RunError> {
        let files = self.stored_files(context, service)?;
        let mut waits = Backoff::default();
        loop {
            let why = match self.without_limit(files.send_inputs()).await {
                Ok(sent) => return Ok(sent),
                Err(StoredFilesError::Run(error)) => return Err(error),
                Err(StoredFilesError::Unreachable(why)) => why,
            };
            self.wait_for_files(context, "sending its inputs", &why, &mut waits)
                .await?;
        }
    }

    /// Fetches what a worker left in the object store, and checks it (R8), before its output counts.
    pub(super) async fn fetch_result(
        &self,
        context: &RunContext,
        service: &WorkerService,
        mut output: Object,
    ) -> Result<Object, RunError> {
        // The message decides, which may have been sent under another configuration.
        let has_list = output.contains_key(FILES_FIELD);
        if !service.is_onceover || (service.sees_files && !has_list) {
            return Ok(output);
        }
        let files = self.stored_files(context, service)?;
        let listed = take_listed(&mut output)?;
        let mut waits = Backoff::default();
        loop {
            let why = match self.without_limit(files.fetch_result(&listed)).await {
                Ok(()) => return Ok(output),
                // The run must not begin again for it: its work is done.
                Err(StoredFilesError::Run(RunError::Lacking { message, .. })) => message,
                Err(StoredFilesError::Run(error)) => return Err(error),
                Err(StoredFilesError::Unreachable(why)) => why,
            };
            self.wait_for_files(context, "fetching its result", &why, &mut waits)
                .await?;
        }
    }

    /// Removes what the object store has of a run whose message has ended.
    pub(super) async fn remove_objects(&self, context: &RunContext, service: &WorkerService) {
        if !service.sees_files
            && service.is_onceover
            && let Ok(files) = self.stored_files(context, service)
        {
            self.without_limit(files.remove()).await;
        }
    }

    async fn wait_for_files(
        &self,
        context: &RunContext,
        what: &str,
        why: &str,
        waits: &mut Backoff,
    ) -> Result<(), RunError> {
        context.progress.report(0.0, Some(format!("{what} has to wait: {why}")));
        self.pause(context, waits.next_wait()).await
    }

    /// Does something that does not count towards the run's time limit.
    async fn without_limit<T>(&self, work: impl Future<Output = T> + Send) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            self.began.send_replace(Instant::now() + LONGEST_WAIT);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(STILL_AT_IT) => {}
            }
        }
    }
}
