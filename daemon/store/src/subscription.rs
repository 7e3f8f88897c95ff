//! Events as Redis publishes them, for as long as the daemon lives. Pub/sub wakes, records tell: after each
//! (re)connection a notice says that something may have been missed.

use std::time::Duration;

use futures_util::StreamExt;
use onceover_types::keys;
use redis::{AsyncCommands, Client, ConnectionInfo};
use tokio::sync::mpsc;

use super::{Store, StoreError};

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One event, as JSON.
    Event(String),
    /// The connection stands (again); events may have been missed before.
    Connected,
    /// The connection is gone.
    Disconnected,
}

/// Receives until dropped.
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    task: tokio::task::JoinHandle<()>,
}

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Subscription {
    pub(super) fn start(info: ConnectionInfo, channel: String) -> Result<Self, StoreError> {
        let client = Client::open(info).map_err(|error| StoreError::Url(error.to_string()))?;
        let (sender, notices) = mpsc::channel(1024);
        let task = tokio::spawn(async move {
            loop {
                if let Ok(Ok(mut pubsub)) = tokio::time::timeout(CONNECT_TIMEOUT, client.get_async_pubsub()).await
                    && pubsub.subscribe(&channel).await.is_ok()
                {
                    if sender.send(Notice::Connected).await.is_err() {
                        return;
                    }
                    let mut messages = pubsub.into_on_message();
                    while let Some(message) = messages.next().await {
                        let Ok(json) = message.get_payload::<String>() else {
                            continue;
                        };
                        if sender.send(Notice::Event(json)).await.is_err() {
                            return;
                        }
                    }
                    if sender.send(Notice::Disconnected).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Ok(Self { notices, task })
    }

    /// The next notice. Never ends while the program runs.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Store {
    /// Events after `seq`, oldest first, at most `limit`. None: some of them are gone.
    pub async fn events_after(&self, seq: u64, limit: usize) -> Result<Option<Vec<String>>, StoreError> {
        let mut redis = self.redis.clone();
        let last: Option<u64> = self.limited(redis.get("onceover:seq")).await?;
        let last = last.unwrap_or_default();
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

    /// Listens to the events of every daemon on this database.
    pub fn subscribe(&self) -> Result<Subscription, StoreError> {
        Subscription::start(self.info.clone(), keys::events_channel(self.database()))
    }
}
