//! Keeps the model in step with the daemon: the event stream, Redis pub/sub beside it, snapshots, and a
//! regular look at the daemon. All IO; what it learns goes out as events, and what to make of them is the
//! state machine's business.
//!
//! Events come twice where Redis can be reached, over pub/sub and over the daemon's stream: the sequence
//! number tells which is the second one. The stream is held open as the sign that the daemon lives.

use std::time::Duration;

use futures_util::StreamExt;
use onceover_types::{TaskStatus, causes};
use onceover_wire::{
    RedisInfo, SystemInfo, TaskItem,
    client::{Client, ClientError, Feed, TaskQuery},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    model::{MissingPart, Source},
    update::{Snapshot, UiEvent},
};

/// Tasks read at once, and at most.
const PAGE: u32 = 200;
const MOST_TASKS: usize = 2_000;
/// Running tasks read beside them, where there are more.
const MOST_RUNNING: usize = 1_000;
/// Pages in a row that may be empty before reading is given up; the index can have old entries.
const MOST_PAGES: usize = 200;
/// The daemon is looked at this often, and has this long to answer.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const LOOK_PATIENCE: Duration = Duration::from_secs(4);
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// Longest pause before the next try; with the time a try may take, tries are at most 5 s apart.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The daemon has to say twice that its Redis is up before the loss of our own connection is just ours.
const REPRIEVE_LOOKS: u32 = 2;

/// What the dashboard asks of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedRequest {
    /// Read everything again.
    Reread,
}

/// Why a session with the daemon ended.
struct Ended {
    missing: MissingPart,
    reason: String,
}

impl Ended {
    fn daemon(reason: impl Into<String>) -> Self {
        Self {
            missing: MissingPart::Daemon,
            reason: reason.into(),
        }
    }

    fn redis(reason: impl Into<String>) -> Self {
        Self {
            missing: MissingPart::Redis,
            reason: reason.into(),
        }
    }

    fn of(error: &ClientError) -> Self {
        Self {
            missing: MissingPart::of(error),
            reason: short_reason(error),
        }
    }
}

/// An error in a few words; the address is on the screen already.
pub fn short_reason(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { source, .. } if source.is_timeout() => "no answer in time".into(),
        ClientError::Unreachable { source, .. } if source.is_connect() => "connection refused or no route".into(),
        ClientError::Unreachable { source, .. } => format!("the connection broke: {}", causes(source)),
        other => other.to_string(),
    }
}

/// Runs until the dashboard is gone.
pub async fn run(
    client: Client,
    redis: Option<String>,
    events: mpsc::Sender<UiEvent>,
    mut requests: mpsc::Receiver<FeedRequest>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut delivered = false;
        let ended = tokio::select! {
            ended = session(&client, redis.as_deref(), &events, &mut requests, &mut delivered) => ended,
            () = events.closed() => return,
        };
        let Err(ended) = ended else {
            return;
        };
        tracing::warn!(reason = %ended.reason, "connection lost");
        if delivered {
            pause = FIRST_PAUSE;
        }
        let lost = UiEvent::Lost {
            missing: ended.missing,
            reason: ended.reason,
            retry_in_ms: pause.as_millis() as i64,
        };
        if events.send(lost).await.is_err() {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // What was asked for meanwhile is done anyway by the next session.
        while requests.try_recv().is_ok() {}
    }
}

/// One connection to the daemon, from its first answer to its end; `delivered` says whether it came to a
/// snapshot. Ok when the dashboard is gone.
async fn session(
    client: &Client,
    redis: Option<&str>,
    events: &mpsc::Sender<UiEvent>,
    requests: &mut mpsc::Receiver<FeedRequest>,
    delivered: &mut bool,
) -> Result<(), Ended> {
    let stream = timeout(CONNECT_PATIENCE, client.events(None))
        .await
        .map_err(|_| Ended::daemon("no answer in time"))?
        .map_err(|error| Ended::of(&error))?;
    let mut stream = std::pin::pin!(stream);
    let (found, mut findings) = mpsc::channel::<Finding>(256);
    let mut session = Session::begin(client, redis, events, found);
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let went = tokio::select! {
            item = stream.next() => session.take_item(item).await,
            request = requests.recv() => session.take_request(request),
            _ = look.tick() => session.look(),
            finding = findings.recv() => session.take_finding(finding).await,
        };
        *delivered |= session.delivered;
        match went? {
            Went::On => {}
            Went::DashboardGone => return Ok(()),
        }
    }
}

/// What became of something that a session has heard of.
enum Went {
    On,
    DashboardGone,
}

impl Went {
    fn sent(sent: Result<(), mpsc::error::SendError<UiEvent>>) -> Self {
        match sent {
            Ok(()) => Self::On,
            Err(_) => Self::DashboardGone,
        }
    }
}

/// What a connection to the daemon has under way.
struct Session<'a> {
    client: &'a Client,
    redis: Option<&'a str>,
    events: &'a mpsc::Sender<UiEvent>,
    found: mpsc::Sender<Finding>,
    snapshot: Option<Aborting>,
    /// Another snapshot follows the one under way.
    again: bool,
    delivered: bool,
    subscriber: Option<Aborting>,
    subscribed: bool,
    looking: Option<Aborting>,
    /// Our own Redis connection broke; the daemon says whether its does.
    looks_since_break: Option<u32>,
}

impl<'a> Session<'a> {
    fn begin(
        client: &'a Client,
        redis: Option<&'a str>,
        events: &'a mpsc::Sender<UiEvent>,
        found: mpsc::Sender<Finding>,
    ) -> Self {
        let mut session = Self {
            client,
            redis,
            events,
            found,
            snapshot: None,
            again: false,
            delivered: false,
            subscriber: None,
            subscribed: false,
            looking: None,
            looks_since_break: None,
        };
        session.read_snapshot();
        session
    }

    fn read_snapshot(&mut self) {
        let read = read_snapshot_into(self.client.clone(), self.found.clone());
        self.snapshot = Some(spawn(read));
    }

    async fn take_item(&mut self, item: Option<Result<Feed, ClientError>>) -> Result<Went, Ended> {
        match item {
            Some(Ok(Feed::Event(change))) => Ok(Went::sent(self.events.send(UiEvent::Change(change)).await)),
            Some(Ok(Feed::Reset(_))) => {
                let _ = self.events.send(UiEvent::Reset).await;
                Ok(Went::On)
            }
            Some(Err(error)) => Err(Ended::of(&error)),
            None => Err(Ended::daemon("the daemon closed the event stream")),
        }
    }

    fn take_request(&mut self, request: Option<FeedRequest>) -> Result<Went, Ended> {
        match request {
            None => return Ok(Went::DashboardGone),
            // A snapshot under way may have been read before what is missed now.
            Some(FeedRequest::Reread) if self.snapshot.is_some() => self.again = true,
            Some(FeedRequest::Reread) => self.read_snapshot(),
        }
        Ok(Went::On)
    }

    fn look(&mut self) -> Result<Went, Ended> {
        if self.looking.is_none() {
            self.looking = Some(spawn(look_into(self.client.clone(), self.found.clone())));
        }
        Ok(Went::On)
    }

    async fn take_finding(&mut self, finding: Option<Finding>) -> Result<Went, Ended> {
        match finding {
            None => Ok(Went::DashboardGone),
            Some(Finding::Snapshot(Err(error))) => Err(Ended::of(&error)),
            Some(Finding::Snapshot(Ok(read))) => self.take_snapshot(read).await,
            Some(Finding::Look(answer)) => self.take_look(answer).await,
            Some(Finding::Change(change)) => Ok(Went::sent(self.events.send(UiEvent::Change(change)).await)),
            Some(Finding::Subscribed) => {
                self.subscribed = true;
                self.looks_since_break = None;
                let _ = self.events.send(UiEvent::Source(Source::PubSub)).await;
                Ok(Went::On)
            }
            Some(Finding::SubscriptionLost { reason, refused }) => self.take_loss(reason, refused).await,
        }
    }

    async fn take_snapshot(&mut self, read: Box<Snapshot>) -> Result<Went, Ended> {
        if self.subscriber.is_none() {
            let url = self.redis.map_or_else(|| read.system.redis.url.clone(), str::to_owned);
            let channel = read.system.events_channel.clone();
            self.subscriber = Some(spawn(subscribe(url, channel, self.found.clone())));
        }
        self.snapshot = None;
        if std::mem::take(&mut self.again) {
            self.read_snapshot();
        }
        if !read.system.redis.up {
            return Err(redis_away(&read.system.redis));
        }
        self.delivered = true;
        Ok(Went::sent(self.events.send(UiEvent::Snapshot(read)).await))
    }

    async fn take_look(&mut self, answer: Result<Box<SystemInfo>, Option<ClientError>>) -> Result<Went, Ended> {
        self.looking = None;
        let system = answer.map_err(|error| match error {
            Some(error) => Ended::of(&error),
            None => Ended::daemon("no answer in time"),
        })?;
        if !system.redis.up {
            return Err(redis_away(&system.redis));
        }
        if let Some(looks) = &mut self.looks_since_break {
            *looks += 1;
        }
        let _ = self.events.send(UiEvent::System(system)).await;
        Ok(Went::On)
    }

    async fn take_loss(&mut self, reason: String, refused: bool) -> Result<Went, Ended> {
        let _ = self.events.send(UiEvent::Source(Source::Stream)).await;
        if !self.subscribed {
            return Ok(Went::On);
        }
        // It worked before. Where it cannot be had again at once, Redis is away, unless the daemon still reaches it.
        let looks = *self.looks_since_break.get_or_insert(0);
        if refused && looks < REPRIEVE_LOOKS {
            return Err(Ended::redis(reason));
        }
        Ok(Went::On)
    }
}

/// The daemon cannot reach its Redis; it tells why.
fn redis_away(redis: &RedisInfo) -> Ended {
    let reason = redis.error.clone();
    Ended::redis(reason.unwrap_or_else(|| "the daemon cannot reach it".to_owned()))
}

enum Finding {
    Snapshot(Result<Box<Snapshot>, ClientError>),
    /// The error is None when there was no answer in time.
    Look(Result<Box<SystemInfo>, Option<ClientError>>),
    Change(Box<onceover_wire::Event>),
    Subscribed,
    SubscriptionLost {
        reason: String,
        /// The try to connect again failed too.
        refused: bool,
    },
}

/// A task that ends with its handle.
struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Aborting {
    Aborting(tokio::spawn(work))
}

async fn read_snapshot_into(client: Client, found: mpsc::Sender<Finding>) {
    let read = read_snapshot(&client).await.map(Box::new);
    let _ = found.send(Finding::Snapshot(read)).await;
}

async fn look_into(client: Client, found: mpsc::Sender<Finding>) {
    let answer = match timeout(LOOK_PATIENCE, client.system()).await {
        Ok(answer) => answer.map(Box::new).map_err(Some),
        Err(_) => Err(None),
    };
    let _ = found.send(Finding::Look(answer)).await;
}

/// The daemon's figures first, then page after page of its tasks: what the pages hold is then at least
/// as new as the figures' sequence number.
pub async fn read_snapshot(client: &Client) -> Result<Snapshot, ClientError> {
    let system = client.system().await?;
    let (mut items, complete) = read_tasks(client, None, MOST_TASKS).await?;
    if !complete {
        // What runs is looked for first, however old its task is.
        let running = TaskStatus::Running.as_str().to_owned();
        items.extend(read_tasks(client, Some(running), MOST_RUNNING).await?.0);
    }
    Ok(Snapshot {
        system,
        items,
        complete,
    })
}

/// The newest tasks, all or those of a status; and whether these are all.
async fn read_tasks(
    client: &Client,
    status: Option<String>,
    most: usize,
) -> Result<(Vec<TaskItem>, bool), ClientError> {
    let mut items = Vec::new();
    let mut query = TaskQuery {
        limit: Some(PAGE),
        status,
        ..TaskQuery::default()
    };
    for _ in 0..MOST_PAGES {
        let page = client.tasks(&query).await?;
        items.extend(page.items);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() || items.len() >= most {
            break;
        }
    }
    Ok((items, query.cursor.is_none()))
}

/// Follows the channel for as long as its handle lives, connecting again and again.
async fn subscribe(url: String, channel: String, found: mpsc::Sender<Finding>) {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        let reason = match listen(&url, &channel, &found).await {
            Listened::Gone => return,
            Listened::Broke(reason) => {
                pause = FIRST_PAUSE;
                tries = 0;
                reason
            }
            Listened::Refused(reason) => {
                tries += 1;
                reason
            }
        };
        tracing::info!(%reason, "not subscribed to Redis");
        let lost = Finding::SubscriptionLost {
            reason,
            refused: tries > 0,
        };
        if found.send(lost).await.is_err() {
            return;
        }
        if tries > 0 {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

enum Listened {
    /// Nobody wants to know any more.
    Gone,
    /// There was a subscription, and it broke.
    Broke(String),
    /// There was none.
    Refused(String),
}

async fn listen(url: &str, channel: &str, found: &mpsc::Sender<Finding>) -> Listened {
    let connect = async {
        let mut subscription = redis::Client::open(url)?.get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        Ok::<_, redis::RedisError>(subscription)
    };
    let (mut sink, mut stream) = match timeout(CONNECT_PATIENCE, connect).await {
        Ok(Ok(subscription)) => subscription.split(),
        Ok(Err(error)) => return Listened::Refused(error.to_string()),
        Err(_) => return Listened::Refused("no answer in time".into()),
    };
    if found.send(Finding::Subscribed).await.is_err() {
        return Listened::Gone;
    }
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else {
                    return Listened::Broke("Redis closed the connection".into());
                };
                // What cannot be read is a gap in the sequence, and repaired as one.
                if let Ok(change) = serde_json::from_slice(message.get_payload_bytes())
                    && found.send(Finding::Change(Box::new(change))).await.is_err()
                {
                    return Listened::Gone;
                }
            }
            _ = ping.tick() => match timeout(PING_PATIENCE, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Listened::Broke(error.to_string()),
                Err(_) => return Listened::Broke("Redis does not answer".into()),
            },
        }
    }
}
