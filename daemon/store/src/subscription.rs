//! Events as Redis publishes them, for as long as the daemon lives. After each (re)connection a notice says that events may
//! have been missed: the reader then reads the records.

use std::time::Duration;

use futures_util::StreamExt;
use onceover_types::keys;
use redis::{AsyncCommands, Client, ConnectionInfo, aio::PubSub};
use tokio::sync::mpsc::{self, error::SendError};

use super::{
    Store, StoreError,
    transport::{Notice, RedisConnection},
};

/// A subscription to events of all daemons. It receives until it is dropped.
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    /// What receives from Redis; none where a transport does.
    task: Option<tokio::task::JoinHandle<()>>,
}

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Subscription {
    pub(super) fn start(info: ConnectionInfo, channel: String) -> Result<Self, StoreError> {
        let client = Client::open(info).map_err(|error| StoreError::Url(error.to_string()))?;
        let (sender, notices) = mpsc::channel(1024);
        let task = tokio::spawn(async move {
            loop {
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, client.get_async_pubsub()).await;
                if let Ok(Ok(mut pubsub)) = connected
                    && pubsub.subscribe(&channel).await.is_ok()
                    && listen(pubsub, &sender).await.is_err()
                {
                    return;
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Ok(Self {
            notices,
            task: Some(task),
        })
    }

    /// Waits for the next notice. There is always another one while the program runs.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }
}

/// Passes on what one connection hears, until it breaks. An error: nobody receives notices any more.
async fn listen(pubsub: PubSub, sender: &mpsc::Sender<Notice>) -> Result<(), SendError<Notice>> {
    sender.send(Notice::Connected).await?;
    let mut messages = pubsub.into_on_message();
    while let Some(message) = messages.next().await {
        if let Ok(json) = message.get_payload::<String>() {
            sender.send(Notice::Event(json)).await?;
        }
    }
    sender.send(Notice::Disconnected).await
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Store {
    /// Reads the sequence number of the last event.
    pub async fn last_event(&self) -> Result<u64, StoreError> {
        let mut redis = self.redis.clone();
        let last: Option<u64> = self.limited(redis.get("onceover:seq")).await?;
        Ok(last.unwrap_or_default())
    }

    /// Reads the events after `seq`, oldest first, at most `limit`. None: some of them are not kept any more.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<String>>, StoreError> {
        let last = self.last_event().await?;
        let mut redis = self.redis.clone();
        if seq > last {
            return Ok(None);
        }
        let mut range = redis::cmd("XRANGE");
        range
            .arg("onceover:events")
            .arg(format!("({seq}-0"))
            .arg("+")
            .arg("COUNT")
            .arg(limit);
        let entries: Vec<(String, Vec<String>)> = self.limited(range.query_async(&mut redis)).await?;
        let first = entries
            .first()
            .and_then(|(id, _)| id.split('-').next()?.parse::<u64>().ok());
        match first {
            Some(first) if first != seq + 1 => Ok(None),
            None if last > seq => Ok(None),
            _ => Ok(Some(
                entries
                    .into_iter()
                    .filter_map(|(_, fields)| fields.into_iter().nth(1))
                    .collect(),
            )),
        }
    }

    /// Subscribes to every event on this database.
    pub fn subscribe_to_events(&self) -> Result<Subscription, StoreError> {
        self.subscribe(keys::events_channel(self.database()))
    }

    /// Subscribes to the events on this database that a daemon acts upon: all but joins, and hits without a callback.
    pub fn subscribe_to_wakes(&self) -> Result<Subscription, StoreError> {
        self.subscribe(keys::wake_channel(self.database()))
    }

    fn subscribe(&self, channel: String) -> Result<Subscription, StoreError> {
        match &self.redis {
            RedisConnection::Redis(_) => Subscription::start(self.info.clone(), channel),
            // A transport knows one channel, that of all events.
            RedisConnection::Carried { by, .. } => Ok(Subscription {
                notices: by.subscribe(),
                task: None,
            }),
        }
    }
}
