//! The news of one broker: one subscription for all runs of this daemon, each of which gets what is about its message.
//! News are lost with a connection, so a run also reads its result once in a while, and after each reconnect.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use onceover_celery::{BrokerSettings, CeleryClient, CeleryNews, MessageId, ResultState, TaskResult, WorkerEvent};
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::registry::WorkerRegistry;

/// Before the broker is followed again after that has ended.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);
/// Processes that are remembered of one message: more are no news.
const MOST_PROCESSES: usize = 16;

/// One broker, and who waits for news of its messages.
pub(super) struct SharedBroker {
    name: String,
    settings: BrokerSettings,
    client: CeleryClient,
    boxes: Mutex<HashMap<MessageId, Arc<MailBox>>>,
    /// Whether news have come since the subscription began.
    is_following: watch::Sender<bool>,
}

/// What has arrived about one message.
#[derive(Debug, Default, Clone)]
pub(super) struct Mail {
    /// The newest state; an end stays.
    pub(super) latest: Option<TaskResult>,
    /// The worker that has it.
    pub(super) hostname: Option<String>,
    /// A worker has begun with it.
    pub(super) is_started: bool,
    /// The processes that have begun with it.
    pub(super) processes: BTreeSet<i64>,
    /// News may have been missed.
    pub(super) is_outdated: bool,
}

/// Where news of one message arrive.
#[derive(Debug, Default)]
struct MailBox {
    mail: Mutex<Mail>,
    arrived: Notify,
}

impl MailBox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().expect("no thread panics with the news of a message")
    }

    fn change(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.lock());
        self.arrived.notify_one();
    }
}

impl Mail {
    /// Takes a state of the message.
    pub(super) fn take_result(&mut self, result: TaskResult) {
        if let Some(hostname) = &result.hostname {
            self.hostname = Some(hostname.clone());
        }
        if let Some(pid) = result.pid
            && self.processes.len() < MOST_PROCESSES
        {
            self.processes.insert(pid);
        }
        self.is_started |= matches!(
            result.state,
            ResultState::Started | ResultState::Retry | ResultState::Custom(_)
        );
        let has_ended = self.latest.as_ref().is_some_and(|latest| latest.state.is_terminal());
        if !has_ended || result.state.is_terminal() {
            self.latest = Some(result);
        }
    }

    /// Takes an event of a worker about the message.
    fn take_event(&mut self, event: &WorkerEvent) {
        self.hostname = Some(event.hostname().to_owned());
        match event {
            WorkerEvent::TaskStarted { .. } => self.is_started = true,
            // The result says more.
            WorkerEvent::TaskSucceeded { .. } | WorkerEvent::TaskFailed { .. } | WorkerEvent::TaskRevoked { .. } => {
                self.is_outdated = true;
            }
            _ => {}
        }
    }
}

/// The news of one message, for as long as its run may want them.
pub(super) struct MailSubscription {
    broker: Arc<SharedBroker>,
    id: MessageId,
    mail: Arc<MailBox>,
}

impl MailSubscription {
    /// Waits until something has arrived since the last call.
    pub(super) async fn arrived(&self) {
        self.mail.arrived.notified().await;
    }

    /// What is known of the message. Whether that is outdated is answered once.
    pub(super) fn read(&self) -> Mail {
        let mut mail = self.mail.lock();
        let read = mail.clone();
        mail.is_outdated = false;
        read
    }

    /// The worker that has the message, as far as is known.
    pub(super) fn hostname(&self) -> Option<String> {
        self.mail.lock().hostname.clone()
    }

    /// Adds what was read from the result database, or answered by a worker.
    pub(super) fn add(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.mail.lock());
    }
}

impl Drop for MailSubscription {
    fn drop(&mut self) {
        self.broker.boxes().remove(&self.id);
    }
}

impl SharedBroker {
    pub(super) fn new(name: String, settings: BrokerSettings) -> Self {
        Self {
            name,
            client: CeleryClient::new(&settings),
            settings,
            boxes: Mutex::default(),
            is_following: watch::channel(false).0,
        }
    }

    /// The broker's URL without user and password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    /// The client of its runs, which connects at the first call.
    pub(super) fn client(&self) -> &CeleryClient {
        &self.client
    }

    fn boxes(&self) -> MutexGuard<'_, HashMap<MessageId, Arc<MailBox>>> {
        self.boxes.lock().expect("no thread panics with the list of messages")
    }

    /// Subscribes to the news of a message, until the subscription is dropped.
    pub(super) fn subscribe(self: &Arc<Self>, id: MessageId) -> MailSubscription {
        let mail = Arc::new(MailBox::default());
        self.boxes().insert(id, Arc::clone(&mail));
        MailSubscription {
            broker: Arc::clone(self),
            id,
            mail,
        }
    }

    /// Waits until news come, but not longer than `most`: a message that ends before is found by its result.
    pub(super) async fn wait_for_news(&self, most: Duration) {
        let mut following = self.is_following.subscribe();
        let _ = tokio::time::timeout(most, following.wait_for(|is_following| *is_following)).await;
    }

    /// Follows the broker until `stop`.
    pub(super) async fn follow(self: Arc<Self>, registry: Arc<WorkerRegistry>, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.follow_once(&registry) => {
                    self.is_following.send_replace(false);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(FOLLOW_AGAIN) => {}
            }
        }
    }

    /// Follows the broker until that ends.
    async fn follow_once(&self, registry: &WorkerRegistry) {
        let mut news = self.client.follow();
        while let Some(news) = news.recv().await {
            match news {
                CeleryNews::Reconnected => {
                    self.is_following.send_replace(true);
                    registry.recheck(&self.name);
                    for mail in self.boxes().values() {
                        mail.change(|mail| mail.is_outdated = true);
                    }
                }
                CeleryNews::Result(result) => {
                    if let Some(mail) = self.boxes().get(&result.id) {
                        mail.change(|mail| mail.take_result(result));
                    }
                }
                CeleryNews::Event(event) => {
                    registry.take_event(&self.name, &event);
                    if let Some(id) = event.message()
                        && let Some(mail) = self.boxes().get(&id)
                    {
                        mail.change(|mail| mail.take_event(&event));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn result(state: ResultState, pid: Option<i64>) -> TaskResult {
        TaskResult {
            id: MessageId::generate(),
            state,
            result: Value::Null,
            traceback: None,
            hostname: pid.map(|_| "a@x".to_owned()),
            pid,
            date_done: None,
        }
    }

    #[test]
    fn an_end_is_replaced_by_another_end_alone_and_processes_are_counted_once() {
        let mut mail = Mail::default();
        for pid in [5, 5, 7] {
            mail.take_result(result(ResultState::Started, Some(pid)));
        }
        assert!(mail.is_started && mail.processes.len() == 2);
        mail.take_result(result(ResultState::Revoked, None));
        mail.take_result(result(ResultState::Started, Some(9)));
        assert_eq!(
            mail.latest.as_ref().map(|latest| &latest.state),
            Some(&ResultState::Revoked)
        );
        mail.take_result(result(ResultState::Success, None));
        assert_eq!(mail.latest.map(|latest| latest.state), Some(ResultState::Success));
        assert_eq!(mail.hostname.as_deref(), Some("a@x"));
    }

    #[tokio::test]
    async fn a_run_gets_the_news_of_its_message_until_it_wants_them_no_more() {
        let settings = BrokerSettings::parse("redis://127.0.0.1:1/0", None).unwrap();
        let broker = Arc::new(SharedBroker::new("broker".into(), settings));
        let id = MessageId::generate();
        let subscription = broker.subscribe(id);
        let mail = Arc::clone(&broker.boxes()[&id]);
        mail.change(|mail| mail.is_outdated = true);
        subscription.arrived().await;
        assert!(subscription.read().is_outdated && !subscription.read().is_outdated);
        drop(subscription);
        assert!(broker.boxes().is_empty());
    }
}
