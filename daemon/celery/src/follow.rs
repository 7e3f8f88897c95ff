//! What workers publish, as it comes, for as long as the receiver lives. Redis keeps nothing of it: after each connection
//! a notice says that something may have been missed, and the reader reads what it waits for.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Msg, aio::PubSub};
use tokio::sync::mpsc;

use super::{
    CeleryError, event,
    event::WorkerEvent,
    names::KombuNames,
    redis_link::{RedisLink, no_answer_within},
    result::TaskResult,
};

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// How long connecting and subscribing may take.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// News that wait for their reader. Redis closes the connection of one that is slower for long, which is a reconnect.
const WAITING: usize = 1024;

/// Something that workers published, or that may have been missed.
#[derive(Debug, Clone, PartialEq)]
pub enum CeleryNews {
    /// A connection was made; what was published before it is lost. Read the results of all open messages.
    Reconnected,
    /// A worker wrote the record of a message, of any client of this Redis.
    Result(TaskResult),
    Event(WorkerEvent),
}

/// What one connection subscribes to.
pub(crate) struct Subscribed {
    pub(crate) link: RedisLink,
    pub(crate) patterns: Vec<String>,
    /// The names of results, which tell their channels from those of events.
    pub(crate) results: KombuNames,
}

/// Starts to follow, one task of the runtime for each server. They end when the receiver is dropped.
pub(crate) fn start(servers: Vec<Subscribed>) -> mpsc::Receiver<CeleryNews> {
    let (sender, receiver) = mpsc::channel(WAITING);
    for server in servers {
        tokio::spawn(follow_server(server, sender.clone()));
    }
    receiver
}

async fn follow_server(server: Subscribed, sender: mpsc::Sender<CeleryNews>) {
    let mut has_failed = false;
    while !sender.is_closed() {
        match subscribe_in_time(&server).await {
            Ok(connection) => {
                has_failed = false;
                listen(connection, &server.results, &sender).await;
            }
            Err(error) if !has_failed => {
                has_failed = true;
                tracing::warn!(%error, "events and results of workers are not heard; trying again");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

async fn subscribe_in_time(server: &Subscribed) -> Result<PubSub, CeleryError> {
    match tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribe(server)).await {
        Ok(subscribed) => subscribed,
        Err(_) => Err(CeleryError::Unanswered {
            server: server.link.server(),
            command: "PSUBSCRIBE",
            reason: no_answer_within(SUBSCRIBE_TIMEOUT),
        }),
    }
}

async fn subscribe(server: &Subscribed) -> Result<PubSub, CeleryError> {
    let mut connection = server.link.subscriber().await?;
    for pattern in &server.patterns {
        connection
            .psubscribe(pattern)
            .await
            .map_err(|error| CeleryError::Refused {
                server: server.link.server(),
                command: "PSUBSCRIBE",
                reason: error.to_string(),
            })?;
    }
    Ok(connection)
}

/// Passes on what one connection hears until it breaks or nobody receives.
async fn listen(connection: PubSub, results: &KombuNames, sender: &mpsc::Sender<CeleryNews>) {
    if sender.send(CeleryNews::Reconnected).await.is_err() {
        return;
    }
    let mut messages = connection.into_on_message();
    loop {
        let message = tokio::select! {
            () = sender.closed() => return,
            message = messages.next() => message,
        };
        let Some(message) = message else { return };
        for news in read_news(&message, results) {
            if sender.send(news).await.is_err() {
                return;
            }
        }
    }
}

fn read_news(message: &Msg, results: &KombuNames) -> Vec<CeleryNews> {
    let (channel, payload) = (message.get_channel_name(), message.get_payload_bytes());
    news_of(channel, payload, results)
}

/// Reads what was published on a channel.
pub(crate) fn news_of(channel: &str, payload: &[u8], results: &KombuNames) -> Vec<CeleryNews> {
    if results.is_result_channel(channel) {
        let result = TaskResult::published(channel, payload);
        return result.map(CeleryNews::Result).into_iter().collect();
    }
    match event::read_events(payload) {
        Ok(events) => events.into_iter().map(CeleryNews::Event).collect(),
        Err(error) => {
            tracing::debug!(%error, channel, "an event is passed over");
            Vec::new()
        }
    }
}
