//! Keyspace events: Redis reports keys that are written, removed or expire, and so which stages other workers may have changed.
//! It sends names only; the reader of an event reads the key. A server that sends none is no error.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use onceover_types::{NodeName, TaskId, keys};
use redis::{AsyncCommands, Client};
use tokio::sync::mpsc;

use super::{
    Store, StoreError,
    task_memory::{StandingSubscription, TaskMemory},
    transport::RedisConnection,
};

/// The flags that make a server report keys: by event (`E`), strings that are written (`$`), what is removed (`g`) or expires
/// (`x`).
pub const KEYSPACE_EVENTS: &str = "E$gx";
/// Events after which a key may hold another JSON than before.
const EVENTS: [&str; 7] = [
    "set",
    "del",
    "expired",
    "rename_to",
    "rename_from",
    "copy_to",
    "restore",
];

/// A key that is written and removed at once, to find out whether Redis sends events.
const PROBE: &str = "onceover:probe";
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One stage of one task.
pub type StageKey = (TaskId, NodeName);

/// What a [`KeySubscription`] reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNotice {
    /// A key of this stage may have changed.
    Changed(StageKey),
    /// The subscription stands (again); changes may have been missed before.
    Connected,
}

/// A subscription to keyspace events. It receives until it is dropped.
pub struct KeySubscription {
    notices: mpsc::Receiver<KeyNotice>,
    task: tokio::task::JoinHandle<()>,
}

impl KeySubscription {
    fn start(store: &Store) -> Result<Self, StoreError> {
        let database = store.database();
        let listener = KeyListener {
            client: Client::open(store.info.clone()).map_err(|error| StoreError::Url(error.to_string()))?,
            redis: store.redis.clone(),
            channels: EVENTS.map(|event| format!("__keyevent@{database}__:{event}")).to_vec(),
            memory: Arc::clone(&store.tasks),
        };
        let (sender, notices) = mpsc::channel(1024);
        let task = tokio::spawn(async move {
            let mut is_refused = false;
            loop {
                match listener.listen(&sender).await {
                    Ok(()) => return,
                    // A user that may not subscribe tries again, but is logged only once.
                    Err(error) if !std::mem::replace(&mut is_refused, true) => {
                        tracing::info!(%error, "not subscribed to what other workers write");
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Ok(Self { notices, task })
    }

    /// Makes a subscription that hears nothing: no other workers write.
    fn silent() -> Self {
        let (sender, notices) = mpsc::channel(1);
        let task = tokio::spawn(async move { sender.closed().await });
        Self { notices, task }
    }

    /// Waits for the next notice. There is always another one while the program runs.
    pub async fn next(&mut self) -> Option<KeyNotice> {
        self.notices.recv().await
    }
}

impl Drop for KeySubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a subscription listens with.
struct KeyListener {
    client: Client,
    /// What the key is written over that shows whether the server reports any.
    redis: RedisConnection,
    channels: Vec<String>,
    /// Goes by what is reported, while anything is.
    memory: Arc<TaskMemory>,
}

impl KeyListener {
    /// Listens until the connection ends, which is an error, or the receiver is dropped.
    async fn listen(&self, sender: &mpsc::Sender<KeyNotice>) -> redis::RedisResult<()> {
        let connect = async {
            let mut pubsub = self.client.get_async_pubsub().await?;
            pubsub.subscribe(&self.channels).await?;
            Ok::<_, redis::RedisError>(pubsub)
        };
        let pubsub = within(connect).await?;
        if sender.send(KeyNotice::Connected).await.is_err() {
            return Ok(());
        }
        // A user of Redis who may not write it goes without what the report of it would show.
        let _ = within(write_probe(&mut self.redis.clone())).await;
        let mut standing: Option<StandingSubscription> = None;
        let mut messages = pubsub.into_on_message();
        while let Some(message) = messages.next().await {
            if standing.is_none() && message.get_channel_name().ends_with(":set") {
                standing = Some(self.memory.begin_subscription());
            }
            let key = std::str::from_utf8(message.get_payload_bytes()).ok();
            if let Some((task, node)) = key.and_then(parse_stage_key) {
                self.memory.note_changed(&task, &node);
                let permit = match sender.try_reserve() {
                    Ok(permit) => permit,
                    // Until there is room again, what is reported is not read: nothing may go by that meanwhile.
                    Err(_) => {
                        standing = None;
                        let Ok(permit) = sender.reserve().await else {
                            return Ok(());
                        };
                        permit
                    }
                };
                permit.send(KeyNotice::Changed((task, node)));
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into())
    }
}

/// Waits for a step of connecting for as long as that may take.
async fn within<T>(step: impl Future<Output = redis::RedisResult<T>>) -> redis::RedisResult<T> {
    let ended = tokio::time::timeout(CONNECT_TIMEOUT, step).await;
    ended.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

/// Writes a key and removes it in the same step: a server that reports keys reports this one.
async fn write_probe(redis: &mut RedisConnection) -> redis::RedisResult<()> {
    let mut probe = redis::pipe();
    probe.atomic().set(PROBE, "").ignore().del(PROBE).ignore();
    probe.query_async(redis).await
}

/// Finds the stage that a key is named after, in today's spelling or the older one. Its node need not be in the catalog.
pub(super) fn parse_stage_key(key: &str) -> Option<StageKey> {
    let (task, node) = split_stage_key(key)?;
    Some((TaskId::parse(task).ok()?, node))
}

/// Splits such a key into a text, which need not be a task id, and a node.
pub(super) fn split_stage_key(key: &str) -> Option<(&str, NodeName)> {
    if key.starts_with(keys::PREFIX) {
        return None;
    }
    let (rest, last) = key.rsplit_once(':')?;
    let (task, middle) = rest.rsplit_once(':')?;
    let node = match last.contains('.') {
        true if middle == "node" => NodeName::parse(last),
        true => return None,
        false => NodeName::parse(&format!("{middle}.{last}")),
    };
    Some((task, node.ok()?))
}

/// Returns the flags of [`KEYSPACE_EVENTS`] that a server's `notify-keyspace-events` does not have.
pub fn missing_events(setting: &str) -> String {
    let has = |flag: char| setting.contains(flag) || flag != 'E' && setting.contains('A');
    KEYSPACE_EVENTS.chars().filter(|flag| !has(*flag)).collect()
}

impl Store {
    /// Subscribes to what any client writes under names of stages.
    pub fn subscribe_to_keys(&self) -> Result<KeySubscription, StoreError> {
        match &self.redis {
            RedisConnection::Redis(_) => KeySubscription::start(self),
            RedisConnection::Carried { .. } => Ok(KeySubscription::silent()),
        }
    }

    /// Finds out whether the server reports keys that are written, by writing one and removing it in the same step. Needs no
    /// right that [`Store::subscribe_to_keys`] does not need.
    pub async fn tells_of_keys(&self) -> Result<bool, StoreError> {
        let mut redis = self.redis.clone();
        let channel = format!("__keyevent@{}__:set", self.database());
        let listen = async {
            let mut pubsub = Client::open(self.info.clone())?.get_async_pubsub().await?;
            pubsub.subscribe(channel).await?;
            Ok(pubsub)
        };
        let mut pubsub = self.limited(listen).await?;
        self.limited(write_probe(&mut redis)).await?;
        let mut messages = pubsub.on_message();
        let heard = async {
            while let Some(message) = messages.next().await {
                if message.get_payload_bytes() == PROBE.as_bytes() {
                    return true;
                }
            }
            false
        };
        Ok(tokio::time::timeout(PROBE_WAIT, heard).await.unwrap_or(false))
    }

    /// Returns how to turn the events on. Reads the server's setting, which not every user may, so that the advice keeps the
    /// events that others use.
    pub async fn advice_on_keyspace_events(&self) -> String {
        let mut redis = self.redis.clone();
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("notify-keyspace-events");
        let settings: redis::RedisResult<HashMap<String, String>> = ask.query_async(&mut redis).await;
        let setting = settings.ok().and_then(|settings| settings.into_values().next());
        match setting {
            Some(setting) => {
                let wanted = format!("{setting}{}", missing_events(&setting));
                format!("CONFIG SET notify-keyspace-events {wanted}, and notify-keyspace-events {wanted} in redis.conf")
            }
            None => format!("add {KEYSPACE_EVENTS} to its notify-keyspace-events (CONFIG SET, and redis.conf)"),
        }
    }

    /// Lists stages of other workers that are noted as in flight, those that count as lost first, at most `limit`. With
    /// `due_after`, the longest time without news, it lists only those that count as lost.
    pub async fn noted(&self, due_after: Option<Duration>, limit: isize) -> Result<Vec<StageKey>, StoreError> {
        let mut redis = self.redis.clone();
        let noted = "onceover:foreign";
        let now = self.now().as_millis();
        let until = due_after.map_or("+inf".to_owned(), |_| now.to_string());
        let mut members: Vec<String> = self
            .limited(redis.zrangebyscore_limit(noted, "-inf", until, 0, limit))
            .await?;
        if let Some(longest) = due_after {
            // Noted before the clock was set back; a minute is for clocks of machines that differ.
            let beyond = now + longest.as_millis() as i64 + 60_000;
            let more: Vec<String> = self
                .limited(redis.zrangebyscore_limit(noted, beyond, "+inf", 0, limit))
                .await?;
            members.extend(more);
        }
        let stages = members.iter().filter_map(|member| {
            let (task, node) = member.split_once('|')?;
            Some((TaskId::parse(task).ok()?, NodeName::parse(node).ok()?))
        });
        Ok(stages.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_a_key_names_its_stage_in_both_spellings_and_other_keys_name_none() {
        let stage = |key: &str| parse_stage_key(key).map(|(task, node)| format!("{task} {node}"));
        for key in ["t.1:node:ffmpeg.extract_audio", "t.1:ffmpeg:extract_audio"] {
            assert_eq!(stage(key).as_deref(), Some("t.1 ffmpeg.extract_audio"), "{key}");
        }
        assert_eq!(stage("t:node:custom").as_deref(), Some("t node.custom"));
        for key in [
            "onceover:stage:t:a.b",
            "onceover:seq",
            "t:node:a.b.c",
            "t:other:a.b",
            "t:a.b",
            "t",
            "",
            "t*:node:a.b",
            "x:t:node:a.b",
            "t:node:",
            "health:node:a.b",
        ] {
            assert_eq!(stage(key), None, "{key}");
        }
    }

    #[test]
    fn s5_flags_that_a_servers_setting_does_not_have_are_named() {
        for whole in ["E$gx", "AKE", "gxE$", "KEA"] {
            assert_eq!(missing_events(whole), "", "{whole}");
        }
        for (setting, lacks) in [("", "E$gx"), ("Ex", "$g"), ("KA", "E"), ("K$gx", "E")] {
            assert_eq!(missing_events(setting), lacks, "{setting}");
        }
    }
}
