//! How commands reach Redis: over a connection that reconnects by itself, or over a [`Transport`] that a simulation puts in
//! its place. A simulation owns the order of calls, the time that scripts see and what a subscription hears.

use std::{fmt, sync::Arc};

use onceover_types::Timestamp;
use redis::{
    Cmd, Pipeline, RedisFuture, Value,
    aio::{ConnectionLike, ConnectionManager},
};
use tokio::sync::mpsc;

/// What a subscription reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// One event, as JSON.
    Event(String),
    /// The connection stands (again); events may have been missed before.
    Connected,
    /// The connection is lost.
    Disconnected,
}

/// Carries commands and events in the place of connections to Redis.
pub trait Transport: Send + Sync {
    /// Sends a command, packed in Redis's protocol, and gives its reply.
    fn send(&self, command: Vec<u8>) -> RedisFuture<'_, Value>;

    /// Sends commands, packed in the same way, that Redis carries out as one transaction, and gives the reply of each.
    /// An error of one is its reply.
    fn send_atomic(&self, commands: Vec<Vec<u8>>) -> RedisFuture<'_, Vec<Value>>;

    /// Gives the time that scripts go by.
    fn now(&self) -> Timestamp;

    /// Begins to listen to the channel of events.
    fn subscribe(&self) -> mpsc::Receiver<Notice>;
}

/// What the store sends its commands over. Clones share one connection.
#[derive(Clone)]
pub(super) enum RedisConnection {
    Redis(ConnectionManager),
    Carried { by: Arc<dyn Transport>, database: i64 },
}

impl RedisConnection {
    /// The time that scripts are to go by; `None` where they go by the server's.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Redis(_) => None,
            Self::Carried { by, .. } => Some(by.now()),
        }
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis(_) => "Redis",
            Self::Carried { .. } => "Carried",
        })
    }
}

impl ConnectionLike for RedisConnection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Redis(redis) => redis.req_packed_command(command),
            Self::Carried { by, .. } => by.send(command.get_packed_command()),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Redis(redis) => redis.req_packed_commands(pipeline, offset, count),
            Self::Carried { by, .. } => {
                let by = Arc::clone(by);
                Box::pin(async move {
                    if pipeline.is_transaction() {
                        let commands = pipeline.cmd_iter().map(Cmd::get_packed_command).collect();
                        // What the caller counts on is the reply of EXEC alone.
                        return Ok(vec![Value::Array(by.send_atomic(commands).await?)]);
                    }
                    let mut replies = Vec::new();
                    for command in pipeline.cmd_iter() {
                        replies.push(by.send(command.get_packed_command()).await?);
                    }
                    Ok(replies.into_iter().skip(offset).take(count).collect())
                })
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Redis(redis) => redis.get_db(),
            Self::Carried { database, .. } => *database,
        }
    }
}
