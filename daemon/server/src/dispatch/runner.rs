//! The Celery runner: sends the message of a run to workers, or joins the one that an earlier owner of the run has sent,
//! and follows it to its end.
//!
//! A message is journalled before it is sent, and sent again only where nobody has noted that it was, it is nowhere and no
//! worker has begun with it. A run whose message is lost goes back to its queue and
//! begins again as the next attempt, in another folder and with another message. That a worker says nothing is no loss:
//! a pool `solo` is mute while it runs a task. A message is lost when it is neither in its queue nor with any worker, and
//! has no result, twice with some seconds between.

mod followed;
mod node_files;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::future::BoxFuture;
use onceover_catalog::RunnerSpec;
use onceover_celery::{CeleryClient, CeleryError, Envelope, MessageId, MessageLimits, Origin, PushError};
use onceover_limits::Limit;
use onceover_run::{Object, RunContext, RunError, Runner};
use onceover_store::{Dispatch, Fence, RequeuedRun, StoreError};
use onceover_types::{RunnerKind, Timestamp};
use onceover_wire::StageOnWorker;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use self::followed::MOST_PROCESSES;
use self::followed::{FollowedMessage, MessageFate};
use super::{Dispatcher, TaskSoFar, context::build_arguments, outcome::MessageEnd, services::WorkerService};
use crate::run_wait::{self, Backoff};

/// How long the first push waits for the news of the broker.
const NEWS: Duration = Duration::from_secs(2);
/// How long a run that has lost its stage waits until its watch finds that out.
const LOST: Duration = Duration::from_secs(10);

/// The message that an earlier owner of the run has sent, if there is one.
pub type SentBefore<'a> = Option<&'a str>;

/// Runs nodes on Celery workers.
pub struct CeleryRunner<'a> {
    pub dispatcher: &'a Dispatcher,
    pub fence: &'a Fence,
    pub sent_before: SentBefore<'a>,
    /// What workers get of the task.
    pub task: &'a TaskSoFar,
    /// Since when the time limit counts: not while the message waits for a worker.
    pub began: &'a watch::Sender<Instant>,
    /// Cancelled when the daemon stops: the message stays with the workers, and the next owner of the run joins it.
    pub stop: &'a CancellationToken,
    /// How long a worker may take to end a run that is cancelled.
    pub grace: Duration,
    /// Set where the run goes back to a queue instead of ending.
    pub requeue: &'a OnceLock<RequeuedRun>,
}

impl Runner for CeleryRunner<'_> {
    fn run<'a>(&'a self, context: &'a RunContext) -> BoxFuture<'a, Result<Object, RunError>> {
        Box::pin(self.run_on_worker(context))
    }
}

impl CeleryRunner<'_> {
    async fn run_on_worker(&self, context: &RunContext) -> Result<Object, RunError> {
        let node = &self.fence.node;
        let service = self.dispatcher.service(node).ok_or_else(|| {
            RunError::failed(format!(
                "{node} waited for Celery workers, and [services.{}] names none any more; submit it again",
                node.service()
            ))
        })?;
        let client = service.broker.client();
        let mut followed = match self.sent_before {
            Some(id) => self.join(context, service, client, id).await?,
            None if service.is_used => self.send(context, service, client).await?,
            None => return self.go_elsewhere(context, "its service runs on this machine now"),
        };
        let fate = followed.follow().await?;
        let ended = self.conclude(context, service, fate).await;
        if !matches!(ended, Err(RunError::Interrupted)) {
            self.remove_objects(context, service).await;
        }
        ended
    }

    async fn conclude(
        &self,
        context: &RunContext,
        service: &WorkerService,
        fate: MessageFate,
    ) -> Result<Object, RunError> {
        match fate {
            MessageFate::Ended(MessageEnd::Output(output)) => self.fetch_result(context, service, output).await,
            MessageFate::Ended(MessageEnd::Failed(why)) => Err(RunError::Failed(why)),
            MessageFate::Ended(MessageEnd::WorkerLost(why)) | MessageFate::Lost(why) => {
                check_attempts(service, context.attempt, &why)?;
                let to = RequeuedRun {
                    queue: self.fence.queue.clone(),
                    runner: RunnerKind::Celery,
                    how: why.clone(),
                };
                self.give_back(to, &why)
            }
            MessageFate::Elsewhere(why) => self.go_elsewhere(context, &why),
        }
    }

    /// Gives the run back to a queue. The error stands for its end until then.
    fn give_back(&self, to: RequeuedRun, why: &str) -> Result<Object, RunError> {
        let why = format!(
            "{why}; it begins again as the next attempt, from the queue {}",
            to.queue
        );
        // Nothing else has set it: a run ends once.
        let _ = self.requeue.set(to);
        Err(RunError::Failed(why))
    }

    /// Gives the run to this machine.
    fn go_elsewhere(&self, context: &RunContext, why: &str) -> Result<Object, RunError> {
        let node = &context.node.name;
        let targets = self.dispatcher.targets(node.service());
        let Some(target) = targets.iter().find(|target| target.0 == *node) else {
            return Err(RunError::failed(format!(
                "{why}, and {node} cannot run on this machine: its node file has no runner but Celery's"
            )));
        };
        let to = RequeuedRun {
            queue: target.1.clone(),
            runner: target.2,
            how: why.to_owned(),
        };
        self.give_back(to, why)
    }

    /// Waits for what the run cannot do without; that does not count towards its time limit.
    async fn pause(&self, context: &RunContext, wait: Duration) -> Result<(), RunError> {
        run_wait::pause(self.began, &context.cancel, wait).await
    }

    /// Sends the message of a new attempt.
    async fn send<'a>(
        &'a self,
        context: &'a RunContext,
        service: &'a Arc<WorkerService>,
        client: &'a CeleryClient,
    ) -> Result<FollowedMessage<'a>, RunError> {
        let described = match service.is_onceover {
            true => Some(self.describe_run(context, service).await?),
            false => None,
        };
        let id = MessageId::generate();
        let now = self.dispatcher.store.now();
        let mut arguments = build_arguments(context, self.task, &service.paths, now);
        if let Some(described) = described {
            arguments["context"]["onceover"] = described;
        }
        let task = match &context.node.runner {
            RunnerSpec::Celery(task) => task.as_str(),
            _ => context.node.name.as_str(),
        };
        let origin = Origin {
            sender: self.dispatcher.sender.clone(),
            task: context.task_id.clone(),
            run: context.run_id.clone(),
            attempt: context.attempt,
        };
        let limits = MessageLimits::default();
        let envelope = Envelope::new(&id, task, &service.queue, &arguments, &origin, &limits);
        let dispatch = self.describe_message(service, id, envelope.into_text(), now);
        let followed = self.begin(context, service, client, id, dispatch);
        service.broker.wait_for_news(NEWS).await;
        self.journal(context, &followed.dispatch).await?;
        self.push(context, followed).await
    }

    /// Journals the message, however long Redis is unreachable.
    async fn journal(&self, context: &RunContext, dispatch: &Dispatch) -> Result<(), RunError> {
        let mut waits = Backoff::default();
        loop {
            match self.dispatcher.store.journal_dispatch(self.fence, dispatch).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    let _ = tokio::time::timeout(LOST, context.cancel.cancelled()).await;
                    return match context.cancel.is_cancelled() {
                        true => Err(RunError::Interrupted),
                        false => Err(RunError::failed("the run lost its stage before its message was sent")),
                    };
                }
                Err(StoreError::Unavailable(error)) => {
                    tracing::debug!(error, run_id = %self.fence.run, "a message waits for Redis");
                }
                Err(error) => return Err(RunError::failed(format!("its message cannot be journalled: {error}"))),
            }
            self.pause(context, waits.next_wait()).await?;
        }
    }

    /// Puts the journalled message into its queue. Where it is not known whether it is there, it is looked for before
    /// anything else.
    async fn push<'a>(
        &self,
        context: &RunContext,
        mut followed: FollowedMessage<'a>,
    ) -> Result<FollowedMessage<'a>, RunError> {
        let mut waits = Backoff::default();
        let service = Arc::clone(followed.service);
        let queue = service.queue.as_str();
        loop {
            let pushed = followed.client.push(queue, followed.dispatch.envelope.as_bytes()).await;
            match pushed {
                Ok(()) => {
                    context
                        .log
                        .line(&format!("sent to {queue} as message {}", followed.dispatch.message));
                    followed.note_pushed().await;
                    return Ok(followed);
                }
                Err(PushError::NotSent(error)) if matches!(error, CeleryError::TooLarge { .. }) => {
                    return Err(RunError::failed(format!("{error}; give large inputs as files")));
                }
                Err(PushError::NotSent(error)) => {
                    let message = format!("waiting for the broker: {error}");
                    context.progress.report(0.0, Some(message));
                    // It was not sent: a run that is cancelled has nothing to take back.
                    self.pause(context, waits.next_wait()).await?;
                }
                Err(PushError::Unknown(error)) => {
                    context.log.line(&format!("{error}; looking for it"));
                    followed.look_at_once();
                    return Ok(followed);
                }
            }
        }
    }

    /// Joins the message that an earlier owner of the run has journalled.
    async fn join<'a>(
        &'a self,
        context: &'a RunContext,
        service: &'a Arc<WorkerService>,
        client: &'a CeleryClient,
        message: &str,
    ) -> Result<FollowedMessage<'a>, RunError> {
        let id =
            MessageId::parse(message).map_err(|error| RunError::failed(format!("its record is damaged: {error}")))?;
        let mut waits = Backoff::default();
        let found = loop {
            match self.dispatcher.store.find_dispatch(message).await {
                Ok(found) => break found,
                Err(StoreError::Unavailable(error)) => {
                    tracing::debug!(error, run_id = %self.fence.run, "a run waits for Redis to join its message");
                }
                Err(error) => return Err(RunError::failed(format!("its message cannot be read: {error}"))),
            }
            self.pause(context, waits.next_wait()).await?;
        };
        let is_journalled = found.is_some();
        // Without its bytes it cannot be taken back any more; its id is found all the same.
        let dispatch =
            found.unwrap_or_else(|| self.describe_message(service, id, String::new(), self.dispatcher.store.now()));
        context.log.line(&format!(
            "joins message {message}, which was sent to {}",
            dispatch.queue
        ));
        // Its owner may have ended between the two. What cannot be read counts as sent: it is not sent twice.
        let is_pushed = !is_journalled || self.dispatcher.store.was_pushed(&dispatch).await.unwrap_or(true);
        let mut followed = self.begin(context, service, client, id, dispatch);
        followed.is_pushed = is_pushed;
        followed.look_at_once();
        Ok(followed)
    }

    /// Describes a message of this attempt as the journal has it.
    fn describe_message(&self, service: &WorkerService, id: MessageId, envelope: String, sent: Timestamp) -> Dispatch {
        Dispatch {
            message: id.to_string(),
            task: self.fence.task.clone(),
            node: self.fence.node.clone(),
            run: self.fence.run.clone(),
            attempt: self.fence.attempt,
            service: service.name.clone(),
            queue: service.queue.clone(),
            envelope,
            sent_ms: sent.as_millis(),
        }
    }

    fn begin<'a>(
        &'a self,
        context: &'a RunContext,
        service: &'a Arc<WorkerService>,
        client: &'a CeleryClient,
        id: MessageId,
        dispatch: Dispatch,
    ) -> FollowedMessage<'a> {
        let stage = StageOnWorker {
            task_id: context.task_id.clone(),
            task_name: self.fence.node.clone(),
            run_id: context.run_id.clone(),
            attempt: context.attempt,
            message_id: dispatch.message.clone(),
            hostname: None,
            sent_at: Timestamp::from_millis(dispatch.sent_ms),
        };
        let mark = self
            .dispatcher
            .registry
            .add_run(service.broker.name(), &service.queue, stage);
        FollowedMessage::new(self, context, service, client, id, dispatch, mark)
    }

    /// Whether the message may be ended: another owner of the run may have joined it. What cannot be read now is left to
    /// the reconciler.
    async fn may_end_message(&self, dispatch: &Dispatch) -> bool {
        let store = &self.dispatcher.store;
        let stage = store
            .read_dispatched_stage(&dispatch.task, &dispatch.node, &dispatch.message)
            .await;
        match stage {
            Ok(None) => true,
            Ok(Some(stage)) => stage.owner.as_deref() == Some(self.fence.owner.as_str()),
            Err(_) => false,
        }
    }
}

/// Refuses another attempt of a run whose workers were lost as often as they may be.
fn check_attempts(service: &WorkerService, attempt: u32, why: &str) -> Result<(), RunError> {
    if attempt < service.max_attempts {
        return Ok(());
    }
    Limit::LostWorkers.reached();
    Err(RunError::failed(format!(
        "{why}; that was attempt {attempt} of {} (services.{}.max_attempts)",
        service.max_attempts, service.name
    )))
}

#[cfg(test)]
mod tests {
    use super::{super::services::read_services, *};
    use crate::config::Config;

    #[test]
    fn a_run_whose_workers_are_lost_again_and_again_fails_in_the_end() {
        let config: Config =
            toml::from_str("[services.a]\nrunner = 'celery'\nbroker = 'redis://box/0'\nmax_attempts = 2").unwrap();
        let (services, _) = read_services(&config);
        let before = Limit::LostWorkers.times_reached();
        assert!(check_attempts(&services["a"], 1, "its worker was lost").is_ok());
        assert_eq!(Limit::LostWorkers.times_reached(), before);
        let error = check_attempts(&services["a"], 2, "its worker was lost").unwrap_err();
        assert!(error.to_string().contains("services.a.max_attempts"), "{error}");
        assert!(Limit::LostWorkers.times_reached() > before);
    }
}
