//! One message, followed from its queue to its end: by the news of the broker, and by looking for it where they say nothing.

use std::{sync::Arc, time::Duration};

use onceover_celery::{
    CeleryClient, MessageId, SightingState, TaskResult, TaskSighting, TerminateOutcome, Whereabouts,
};
use onceover_limits::Limit;
use onceover_run::{RunContext, RunError};
use onceover_store::Dispatch;
use onceover_types::humane;
use onceover_wire::WorkerState;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    super::{
        Capacity, RunMark,
        broker::{Mail, MailSubscription},
        definition::read_worker_log,
        dispatcher::QUESTION,
        outcome::{MessageEnd, read_end, read_progress},
        services::WorkerService,
    },
    CeleryRunner,
};

/// Between two reads of the result while news come.
const READ_EVERY: Duration = Duration::from_secs(30);
/// Between two reads after one that failed, and between two looks for a message that nobody may have.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two looks for a message that no worker has begun with, and for one that runs.
const LOOK_WAITING: Duration = Duration::from_secs(3);
const LOOK_RUNNING: Duration = Duration::from_secs(2);
/// Between two questions for a message that runs on a worker which is there: it may have been restarted in between.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Looks that find a message nowhere before it counts as lost.
const MISSES: u32 = 2;
/// Processes that may begin with one message: it ends each that runs it.
pub(crate) const MOST_PROCESSES: usize = 3;
/// Between two looks whether a message that was revoked has ended.
const REVOKED: Duration = Duration::from_millis(250);

/// What has become of a message.
pub(super) enum MessageFate {
    Ended(MessageEnd),
    /// No worker has it any more, and none will answer.
    Lost(String),
    /// It was taken back, and the run goes on on this machine.
    Elsewhere(String),
}

/// A message that is followed.
pub(super) struct FollowedMessage<'a> {
    runner: &'a CeleryRunner<'a>,
    context: &'a RunContext,
    pub(super) service: &'a Arc<WorkerService>,
    pub(super) client: &'a CeleryClient,
    id: MessageId,
    pub(super) dispatch: Dispatch,
    news: MailSubscription,
    /// Shows people where it runs.
    mark: Option<RunMark>,
    /// When the result is read next, and when the message is looked for.
    next_read: Instant,
    next_look: Instant,
    /// Until when nobody is asked for a message whose worker is there.
    next_question: Instant,
    /// Looks in a row that found it nowhere.
    misses: u32,
    /// It was put into its queue, as far as is known.
    pub(super) is_pushed: bool,
    /// The worker that the journal names.
    noted_worker: Option<String>,
    /// A worker has taken it.
    is_taken: bool,
    /// It was revoked, since its run goes on on this machine.
    is_revoked: bool,
    /// Since when nobody has listened on the queue; none while a worker does.
    unheard_since: Option<Instant>,
    /// The newest message of its progress.
    shown: String,
}

impl<'a> FollowedMessage<'a> {
    pub(super) fn new(
        runner: &'a CeleryRunner<'a>,
        context: &'a RunContext,
        service: &'a Arc<WorkerService>,
        client: &'a CeleryClient,
        id: MessageId,
        dispatch: Dispatch,
        mark: Option<RunMark>,
    ) -> Self {
        let now = Instant::now();
        Self {
            runner,
            context,
            news: service.broker.subscribe(id),
            service,
            client,
            id,
            dispatch,
            mark,
            next_read: now + READ_EVERY,
            next_look: now + LOOK_WAITING,
            next_question: now,
            misses: 0,
            is_pushed: false,
            noted_worker: None,
            is_taken: false,
            is_revoked: false,
            unheard_since: None,
            shown: String::new(),
        }
    }

    /// Has the result read and the message looked for before anything else.
    pub(super) fn look_at_once(&mut self) {
        let now = Instant::now();
        (self.next_read, self.next_look) = (now, now);
    }

    /// Notes that the message is in its queue. Where that is not possible, a later owner looks for it before anything else.
    pub(super) async fn note_pushed(&mut self) {
        self.is_pushed = true;
        self.note(None).await;
    }

    async fn note(&self, worker: Option<&str>) {
        if let Err(error) = self.runner.dispatcher.store.note_dispatch(&self.dispatch, worker).await {
            tracing::debug!(%error, run_id = %self.dispatch.run, "what is known of a message is not noted");
        }
    }

    /// Notes which worker has the message, for other daemons that show it. A short run ends before that.
    async fn note_worker(&mut self) {
        let hostname = self.news.hostname();
        if hostname.is_some() && hostname != self.noted_worker {
            self.note(hostname.as_deref()).await;
            self.noted_worker = hostname;
        }
    }

    /// Follows the message until it has ended one way or another.
    pub(super) async fn follow(&mut self) -> Result<MessageFate, RunError> {
        let cancel = &self.context.cancel;
        loop {
            let checked = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                fate = self.check() => Some(fate),
            };
            match checked {
                Some(Some(fate)) => return Ok(fate),
                Some(None) => {}
                None => {
                    self.end_with_run().await;
                    return Err(RunError::Interrupted);
                }
            }
            let next = self.next_read.min(self.next_look);
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.news.arrived() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes what has arrived, and does what is due.
    async fn check(&mut self) -> Option<MessageFate> {
        let mut mail = self.news.read();
        let has_ended = mail.latest.as_ref().is_some_and(|latest| latest.state.is_terminal());
        // The stored result is the authority, also where news of an end came.
        if mail.is_outdated || has_ended || self.next_read <= Instant::now() {
            mail = self.read_result().await.unwrap_or(mail);
        }
        if let Some(fate) = self.judge(&mail).await {
            return Some(self.leave_if_revoked(fate));
        }
        self.show(&mail);
        if !self.service.is_used {
            return self.leave_workers().await;
        }
        if !self.is_taken
            && let Some(fate) = self.wait_for_worker().await
        {
            return Some(fate);
        }
        if self.next_look <= Instant::now() {
            return self.look().await;
        }
        None
    }

    /// Reads the stored result. Returns nothing where that is not possible.
    async fn read_result(&mut self) -> Option<Mail> {
        match self.client.results(&[self.id]).await {
            Ok(results) => {
                self.next_read = Instant::now() + READ_EVERY;
                if let Some(result) = results.into_iter().flatten().next() {
                    self.news.add(|mail| mail.take_result(result));
                }
            }
            Err(error) => {
                self.next_read = Instant::now() + AGAIN;
                tracing::debug!(%error, run_id = %self.dispatch.run, "a worker's result is not read yet");
                return None;
            }
        }
        Some(self.news.read())
    }

    /// Whether the message has ended by what is known of it.
    async fn judge(&self, mail: &Mail) -> Option<MessageFate> {
        let latest = mail.latest.as_ref()?;
        if let Some(end) = read_end(latest, self.dispatch.node.as_str(), &self.service.paths) {
            self.log_of_worker(latest);
            return Some(MessageFate::Ended(end));
        }
        let end = find_endless(mail)?;
        if let Err(error) = self.client.revoke(&self.id, Some(self.service.cancel_signal)).await {
            tracing::debug!(%error, run_id = %self.dispatch.run, "a message that ends its workers is not revoked yet");
        }
        Some(MessageFate::Ended(end))
    }

    /// Puts into the run's log what the worker says of it: a traceback, or what the program wrote.
    fn log_of_worker(&self, result: &TaskResult) {
        for line in read_worker_log(&result.result) {
            self.context.log.line(line);
        }
        for line in result.traceback.iter().flat_map(|traceback| traceback.lines()) {
            self.context.log.line(line);
        }
    }

    /// Reports how far the worker is.
    fn show(&mut self, mail: &Mail) {
        if mail.is_started && !self.is_taken {
            self.is_taken = true;
            self.runner.began.send_replace(Instant::now());
        }
        if let (Some(mark), Some(hostname)) = (&self.mark, &mail.hostname) {
            mark.note_hostname(hostname);
        }
        if let Some(progress) = mail.latest.as_ref().and_then(read_progress) {
            self.report(progress.percent, progress.message);
        }
    }

    fn report(&mut self, percent: f64, message: String) {
        if message != self.shown {
            self.context.log.line(&message);
            self.shown.clone_from(&message);
        }
        self.context.progress.report(percent, Some(message));
    }

    fn measure(&self) -> Capacity {
        let service = self.service;
        self.runner
            .dispatcher
            .registry
            .capacity(service.broker.name(), &service.queue)
    }

    /// What is due while no worker has taken the message. The time limit does not count yet.
    async fn wait_for_worker(&mut self) -> Option<MessageFate> {
        self.runner.began.send_replace(Instant::now() + LOOK_WAITING);
        let queue = &self.service.queue;
        let capacity = self.measure();
        if capacity.listeners > 0 {
            self.unheard_since = None;
            self.report(0.0, format!("waiting in {queue}"));
        } else {
            self.report(0.0, format!("no worker is listening on {queue}"));
            let since = *self.unheard_since.get_or_insert_with(Instant::now);
            if self.service.local_after.is_some_and(|after| since.elapsed() >= after) && self.take_back().await {
                let why = format!(
                    "no worker has listened on {} for {}",
                    queue,
                    humane::duration(since.elapsed())
                );
                return Some(MessageFate::Elsewhere(why));
            }
        }
        let deadline = self.service.start_deadline?;
        let waited = self.runner.dispatcher.store.now().as_millis() - self.dispatch.sent_ms;
        if u128::try_from(waited).is_ok_and(|waited| waited >= deadline.as_millis()) && self.take_back().await {
            return Some(MessageFate::Ended(MessageEnd::Failed(format!(
                "no worker on {queue} began with it within {} (services.{}.start_deadline)",
                humane::duration(deadline),
                self.service.name
            ))));
        }
        None
    }

    /// Takes the message out of its queue. `false`: a worker has or had it, or that is not known.
    async fn take_back(&self) -> bool {
        let envelope = self.dispatch.envelope.as_bytes();
        match self.client.take_back(&self.dispatch.queue, envelope).await {
            Ok(is_back) => is_back,
            Err(error) => {
                tracing::debug!(%error, run_id = %self.dispatch.run, "a message is not taken back yet");
                false
            }
        }
    }

    /// Looks where the message is.
    async fn look(&mut self) -> Option<MessageFate> {
        self.next_look = Instant::now()
            + match self.is_taken {
                true => LOOK_RUNNING,
                false => LOOK_WAITING,
            };
        self.note_worker().await;
        if self.is_with_its_worker() {
            return None;
        }
        self.next_question = Instant::now() + ASK_AGAIN;
        let envelope = self.dispatch.envelope.as_bytes();
        let place = match self.client.locate(&self.dispatch.queue, &self.id, envelope).await {
            Ok(Whereabouts::Queued { .. }) => {
                self.misses = 0;
                return None;
            }
            Ok(place) => place,
            Err(error) => {
                tracing::debug!(%error, run_id = %self.dispatch.run, "a message is not found yet");
                return None;
            }
        };
        let sightings = match self.client.query_tasks(&[self.id], QUESTION).await {
            Ok(sightings) => sightings,
            Err(error) => {
                tracing::debug!(%error, run_id = %self.dispatch.run, "workers are not asked yet");
                return None;
            }
        };
        if let Some(sighting) = sightings.iter().find(|sighting| sighting.id == self.id) {
            self.note_sighting(sighting);
            return None;
        }
        // It may have ended meanwhile.
        let mail = self.read_result().await?;
        if let Some(fate) = self.judge(&mail).await {
            return Some(fate);
        }
        if self.may_be_somewhere(&place, &mail) {
            self.misses = 0;
            return None;
        }
        self.misses += 1;
        self.next_look = Instant::now() + AGAIN;
        if self.misses < MISSES {
            return None;
        }
        if !self.is_pushed && mail.latest.is_none() && !mail.is_started {
            self.push_again().await;
            return None;
        }
        let worker = mail
            .hostname
            .map_or_else(String::new, |hostname| format!(", last seen on {hostname}"));
        Some(MessageFate::Lost(format!(
            "its message was lost with its worker: it is neither in {} nor with any worker{worker}, and has no result",
            self.dispatch.queue
        )))
    }

    /// Sends a message that was journalled and, as far as is known, never sent: it is nowhere, and no worker has begun with
    /// it. So what ended its owner between the two costs no attempt.
    async fn push_again(&mut self) {
        self.misses = 0;
        let envelope = self.dispatch.envelope.as_bytes();
        match self.client.push(&self.dispatch.queue, envelope).await {
            Ok(()) => {
                let line = format!("sent to {}: it was journalled and not sent", self.dispatch.queue);
                self.context.log.line(&line);
                self.note_pushed().await;
            }
            // It is looked for before it is sent once more.
            Err(error) => {
                tracing::debug!(%error, run_id = %self.dispatch.run, "a message is not sent yet");
            }
        }
    }

    /// Whether a worker has begun with the message and is there, as far as is known without asking.
    fn is_with_its_worker(&self) -> bool {
        if !self.is_taken || self.misses > 0 || self.next_question <= Instant::now() {
            return false;
        }
        let state = self.news.hostname().and_then(|hostname| self.find_state(&hostname));
        matches!(state, Some(WorkerState::Online | WorkerState::Mute))
    }

    fn note_sighting(&mut self, sighting: &TaskSighting) {
        self.misses = 0;
        let is_active = sighting.state == SightingState::Active;
        self.news.add(|mail| {
            mail.hostname = Some(sighting.hostname.clone());
            mail.is_started |= is_active;
            mail.processes.extend(sighting.pid);
        });
        if is_active && !self.is_taken {
            self.report(0.0, format!("running on {}", sighting.hostname));
        }
        let mail = self.news.read();
        self.show(&mail);
    }

    /// Whether a worker that does not answer may have the message. One that no worker has and that none has acknowledged
    /// would be delivered again, but only after the workers' visibility timeout, an hour by default: it counts as lost, and
    /// the reconciler revokes it when it comes.
    fn may_be_somewhere(&self, place: &Whereabouts, mail: &Mail) -> bool {
        let state = mail.hostname.as_deref().and_then(|hostname| self.find_state(hostname));
        let is_over = matches!(state, Some(WorkerState::Lost | WorkerState::Offline));
        match place {
            Whereabouts::Queued { .. } => true,
            Whereabouts::Unacked | Whereabouts::Nowhere => {
                !is_over && (state == Some(WorkerState::Mute) || self.measure().mute > 0)
            }
        }
    }

    fn find_state(&self, hostname: &str) -> Option<WorkerState> {
        let broker = self.service.broker.name();
        self.runner.dispatcher.registry.judge_worker(broker, hostname)
    }

    /// Ends the message of a service whose nodes are not run by workers any more.
    async fn leave_workers(&mut self) -> Option<MessageFate> {
        let why = format!("services.{} runs on this machine now", self.service.name);
        if self.take_back().await {
            return Some(MessageFate::Elsewhere(format!("{why}; its message was taken back")));
        }
        if self.next_look > Instant::now() {
            return None;
        }
        self.report(0.0, format!("{why}; waiting until the worker has given it up"));
        if let Err(error) = self.client.revoke(&self.id, Some(self.service.cancel_signal)).await {
            tracing::debug!(%error, run_id = %self.dispatch.run, "a message is not revoked yet");
        }
        self.is_revoked = true;
        let fate = self.look().await?;
        Some(self.leave_if_revoked(fate))
    }

    /// Sends the run to this machine, unless a worker has done it before its message was revoked.
    fn leave_if_revoked(&self, fate: MessageFate) -> MessageFate {
        match fate {
            MessageFate::Ended(MessageEnd::Output(_)) => fate,
            _ if self.is_revoked => MessageFate::Elsewhere(format!(
                "services.{} runs on this machine now; its message was revoked",
                self.service.name
            )),
            _ => fate,
        }
    }

    /// Ends the message of a run that was cancelled or has reached its time limit. That of a run which another owner has
    /// or will have stays: it is joined.
    async fn end_with_run(&mut self) {
        if self.runner.stop.is_cancelled() || !self.runner.may_end_message(&self.dispatch).await {
            return;
        }
        if self.take_back().await {
            self.context
                .log
                .line("its message was taken back before a worker began with it");
            return;
        }
        let signal = self.service.cancel_signal;
        let replies = match self
            .client
            .terminate(&self.id, signal, QUESTION.min(self.runner.grace))
            .await
        {
            Ok(replies) => replies,
            Err(error) => {
                self.context
                    .log
                    .line(&format!("its worker was not asked to end it: {error}"));
                return;
            }
        };
        for reply in &replies {
            if let TerminateOutcome::CannotTerminate(_) = &reply.outcome {
                let line = format!("{} goes on with it: its pool cannot end a task", reply.hostname);
                self.say_lingering(&line).await;
                return;
            }
        }
        let _ = timeout(self.runner.grace, self.wait_for_end()).await;
        let mail = self.news.read();
        let has_ended = mail.latest.is_some_and(|latest| latest.state.is_terminal());
        if has_ended {
            self.forget().await;
            self.context.log.line(&format!("its worker has ended it ({signal})"));
            return;
        }
        let line = match mail.hostname {
            Some(hostname) => format!("{hostname} may go on with it: it has not ended it yet"),
            None => "a worker may go on with it: none has ended it yet".to_owned(),
        };
        self.say_lingering(&line).await;
    }

    /// Says in the log and in the stage that a worker goes on with the message of a run that has ended. The stage says so
    /// until the message is forgotten.
    async fn say_lingering(&self, text: &str) {
        self.context.log.line(text);
        if let Err(error) = self.runner.dispatcher.store.note_lingering(&self.dispatch, text).await {
            tracing::debug!(%error, run_id = %self.dispatch.run, "that a worker goes on is not shown");
        }
    }

    /// Forgets a message that has ended with its run. Where that is not possible now, the reconciler does.
    async fn forget(&self) {
        if let Err(error) = self.runner.dispatcher.store.forget_dispatch(&self.dispatch).await {
            tracing::debug!(%error, run_id = %self.dispatch.run, "a message is not forgotten yet");
        }
    }

    /// Waits until the message has ended.
    async fn wait_for_end(&mut self) {
        loop {
            let mail = self.read_result().await.unwrap_or_else(|| self.news.read());
            if mail.latest.is_some_and(|latest| latest.state.is_terminal()) {
                return;
            }
            let _ = timeout(REVOKED, self.news.arrived()).await;
        }
    }
}

/// How a message ends that ends each process which begins with it; none for others.
fn find_endless(mail: &Mail) -> Option<MessageEnd> {
    if mail.processes.len() <= MOST_PROCESSES {
        return None;
    }
    Limit::MessageProcesses.reached();
    Some(MessageEnd::Failed(format!(
        "{} processes of workers began with it and none ended it: it ends what runs it; its message was revoked",
        mail.processes.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_ends_each_process_which_begins_with_it_fails_its_run() {
        let mut mail = Mail::default();
        mail.processes.extend([1, 2, 3]);
        assert_eq!(find_endless(&mail), None);
        mail.processes.insert(4);
        let before = Limit::MessageProcesses.times_reached();
        assert!(matches!(find_endless(&mail), Some(MessageEnd::Failed(why)) if why.contains("4 processes")));
        assert!(Limit::MessageProcesses.times_reached() > before);
    }
}
