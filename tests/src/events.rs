//! Events as they arrive, from Redis and over HTTP, without the program's own client in between.

use std::time::Duration;

use futures_util::StreamExt;

use crate::{Daemon, PATIENCE};

/// One message of `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: u64,
    pub event: String,
    pub data: String,
}

/// An open `GET /v1/events`.
pub struct Sse {
    response: reqwest::Response,
    text: String,
}

impl Sse {
    pub async fn open(daemon: &Daemon, last: Option<u64>) -> Self {
        let mut request = reqwest::Client::new().get(format!("{}/v1/events", daemon.url()));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.expect("the daemon answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    pub async fn next(&mut self) -> Message {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = message.lines().filter_map(|line| line.strip_prefix(name));
                    lines.next().map(|value| value.trim_start().to_owned())
                };
                let read = field("event:").map(|event| Message {
                    id: field("id:").and_then(|id| id.parse().ok()).expect("an id"),
                    event,
                    data: field("data:").unwrap_or_default(),
                });
                self.text = rest.to_owned();
                match read {
                    Some(message) => return message,
                    // A comment that keeps the connection open.
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("an event in time").expect("the stream goes on");
            self.text
                .push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).expect("text"));
        }
    }
}

/// A subscription to a channel of a database.
pub struct Channel(redis::aio::PubSub);

impl Channel {
    /// Listens to all events.
    pub async fn open(url: &str, database: i64) -> Self {
        Self::subscribe(url, &format!("onceover:{database}:events")).await
    }

    /// Listens to the events that daemons act upon.
    pub async fn open_wakes(url: &str, database: i64) -> Self {
        Self::subscribe(url, &format!("onceover:{database}:wake")).await
    }

    async fn subscribe(url: &str, name: &str) -> Self {
        let client = redis::Client::open(url).expect("a Redis URL");
        let mut channel = client.get_async_pubsub().await.expect("Redis answers");
        channel.subscribe(name).await.expect("it subscribes");
        Self(channel)
    }

    pub async fn next(&mut self) -> String {
        let mut messages = self.0.on_message();
        let message = tokio::time::timeout(PATIENCE, messages.next()).await;
        let message = message.expect("an event in time").expect("the channel goes on");
        message.get_payload().expect("text")
    }

    /// The next message, if one comes at once.
    pub async fn pending(&mut self) -> Option<String> {
        let mut messages = self.0.on_message();
        let message = tokio::time::timeout(Duration::from_millis(50), messages.next()).await;
        message
            .ok()
            .flatten()
            .map(|message| message.get_payload().expect("text"))
    }
}
