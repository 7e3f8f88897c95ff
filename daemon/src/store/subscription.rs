//! Events as Redis publishes them, for as long as the daemon lives. Pub/sub wakes, records tell: after each
//! (re)connection a notice says that something may have been missed.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Client, ConnectionInfo};
use tokio::sync::mpsc;

use super::StoreError;

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
