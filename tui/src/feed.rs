//! Keeps the model in step with the daemon: it follows the event stream and Redis pub/sub beside it, reads snapshots
//! and checks the daemon regularly. It does IO alone and never changes the model: what it learns goes out as events,
//! and the state machine decides what they mean.
//!
//! Where Redis can be reached, events come twice, over pub/sub and over the daemon's stream; the sequence number shows
//! which one is the second. The stream is kept open as the sign that the daemon lives.

use std::{
    error::Error,
    io::{self, ErrorKind},
    iter,
    time::Duration,
};

use futures_util::StreamExt;
use onceover_types::causes;
use onceover_wire::{
    SystemInfo,
    client::{Client, ClientError, Feed},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use crate::{
    model::{MissingPart, Source, store::RowsEnd},
    update::{Snapshot, UiEvent},
};

mod parts;

use parts::{ReadPart, read_all_into};

pub use parts::read_snapshot;

/// Parts that were read and wait to be taken in.
const WAITING_PARTS: usize = 2;
/// The daemon says this often that it lives.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(500);
/// One that says nothing of the kind is asked this often, and has this long to answer while its events come in.
const CHECK_EVERY: Duration = Duration::from_millis(500);
const CHECK_PATIENCE: Duration = Duration::from_secs(4);
/// An answer is passed on so long after the one before, about every 2 s: the model asks the daemon for more with each.
const PASS_ON_EVERY: Duration = Duration::from_millis(1_900);
/// Without a sign of life for this long the daemon is shown as slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Without one for this much longer the connection counts as lost. Together it is more than the 2 s that the daemon
/// waits for its Redis, so that it can still say which of the two does not answer.
const LOST_AFTER_SLOW: Duration = Duration::from_millis(1_600);
const CONNECT_PATIENCE: Duration = Duration::from_millis(2_500);
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// Longest pause before the next try; with the time a try may take, tries are at most 5 s apart.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The daemon has to answer this often that its Redis is up before the loss of our connection counts as ours alone.
const REPRIEVE_CHECKS: u32 = 2;

/// What the dashboard asks of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedRequest {
    /// Read everything again.
    Reread,
}

/// Why a session with the daemon ended.
struct SessionEnd {
    missing: MissingPart,
    reason: String,
}

impl SessionEnd {
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

    fn from_error(error: &ClientError) -> Self {
        Self {
            missing: MissingPart::from_error(error),
            reason: short_reason(error),
        }
    }
}

/// Describes an error in a few words; the address is on the screen already.
pub fn short_reason(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { source, .. } if source.is_timeout() => "no answer in time".into(),
        ClientError::Unreachable { source, .. } if source.is_connect() => describe_connect(source),
        ClientError::Unreachable { source, .. } => format!("the connection was lost: {}", causes(source)),
        other => other.to_string(),
    }
}

/// Says why there is no connection: what the system reports, without what led to it.
fn describe_connect(error: &(dyn Error + 'static)) -> String {
    let chain = iter::successors(Some(error), |error| (*error).source());
    let of_system = chain.filter_map(|error| error.downcast_ref::<io::Error>()).last();
    match of_system.map(io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => "no route".into(),
        _ => format!("no connection: {}", causes(error)),
    }
}

/// Runs until the dashboard ends: connects, and connects again after a loss.
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
            ended = run_session(&client, redis.as_deref(), &events, &mut requests, &mut delivered) => ended,
            () = events.closed() => return,
        };
        let Err(ended) = ended else {
            return;
        };
        tracing::warn!(reason = %ended.reason, "connection lost");
        if ended.missing == MissingPart::Access {
            renew_token(&client);
        }
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
        // The next session reads everything anyway.
        while requests.try_recv().is_ok() {}
        // A key that asks to read again is a try at once.
        tokio::select! {
            () = sleep(pause) => {}
            Some(FeedRequest::Reread) = requests.recv() => renew_token(&client),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reads the token again: the user may have put another one into its file.
fn renew_token(client: &Client) {
    if let Err(error) = client.renew_token() {
        tracing::warn!(%error, "the token cannot be read");
    }
}

/// Runs one connection to the daemon, from its first answer to its end; sets `delivered` when a snapshot was sent.
/// Returns `Ok` when the dashboard has ended.
async fn run_session(
    client: &Client,
    redis: Option<&str>,
    events: &mpsc::Sender<UiEvent>,
    requests: &mut mpsc::Receiver<FeedRequest>,
    delivered: &mut bool,
) -> Result<(), SessionEnd> {
    let stream = timeout(CONNECT_PATIENCE, client.events(None, Some(HEARTBEAT_EVERY)))
        .await
        .map_err(|_| SessionEnd::daemon("no answer in time"))?
        .map_err(|error| SessionEnd::from_error(&error))?;
    let mut stream = std::pin::pin!(stream);
    let (found, mut findings) = mpsc::channel::<Finding>(256);
    let (part_read, mut parts) = mpsc::channel::<ReadPart>(WAITING_PARTS);
    let mut session = Session::begin(client, redis, events, found, part_read);
    let mut check = interval(CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let went = tokio::select! {
            item = stream.next() => session.take_item(item).await,
            request = requests.recv() => session.take_request(request),
            _ = check.tick() => session.check_daemon(),
            finding = findings.recv() => session.take_finding(finding).await,
            part = parts.recv() => session.take_part(part).await,
            () = sleep_until(session.silence_due()) => session.take_silence().await,
        };
        *delivered |= session.delivered;
        match went? {
            Went::On => {}
            Went::DashboardEnded => return Ok(()),
        }
    }
}

/// Whether a session goes on.
enum Went {
    On,
    DashboardEnded,
}

impl Went {
    fn from_send(sent: Result<(), mpsc::error::SendError<UiEvent>>) -> Self {
        match sent {
            Ok(()) => Self::On,
            Err(_) => Self::DashboardEnded,
        }
    }
}

/// What a connection to the daemon has under way.
struct Session<'a> {
    client: &'a Client,
    redis: Option<&'a str>,
    events: &'a mpsc::Sender<UiEvent>,
    found: mpsc::Sender<Finding>,
    part_read: mpsc::Sender<ReadPart>,
    /// The read of all tasks under way.
    reading: Option<Aborting>,
    /// Another one follows it.
    again: bool,
    delivered: bool,
    subscriber: Option<Aborting>,
    subscribed: bool,
    /// The check under way.
    check: Option<Aborting>,
    checked_at: Option<Instant>,
    /// The daemon says by itself that it lives.
    has_heartbeats: bool,
    /// When the daemon last gave a sign of life: an event, or the answer to a check.
    heard_at: Instant,
    /// Since when the daemon is shown as slow. The rest of the time counts from here: where this program itself was
    /// stopped, the daemon has that long to give a sign.
    slow_since: Option<Instant>,
    passed_on_at: Option<Instant>,
    /// Checks answered since our Redis connection was lost: they say whether the daemon's still works.
    checks_since_loss: Option<u32>,
}

impl<'a> Session<'a> {
    fn begin(
        client: &'a Client,
        redis: Option<&'a str>,
        events: &'a mpsc::Sender<UiEvent>,
        found: mpsc::Sender<Finding>,
        part_read: mpsc::Sender<ReadPart>,
    ) -> Self {
        let mut session = Self {
            client,
            redis,
            events,
            found,
            part_read,
            reading: None,
            again: false,
            delivered: false,
            subscriber: None,
            subscribed: false,
            check: None,
            checked_at: None,
            has_heartbeats: false,
            heard_at: Instant::now(),
            slow_since: None,
            passed_on_at: None,
            checks_since_loss: None,
        };
        session.read_all();
        session
    }

    fn read_all(&mut self) {
        let read = read_all_into(self.client.clone(), self.part_read.clone());
        self.reading = Some(spawn(read));
    }

    async fn take_item(&mut self, item: Option<Result<Feed, ClientError>>) -> Result<Went, SessionEnd> {
        match item {
            Some(Ok(Feed::Event(change))) => {
                self.note_life().await;
                Ok(Went::from_send(self.events.send(UiEvent::Change(change)).await))
            }
            Some(Ok(Feed::Heartbeat(heartbeat))) => {
                self.has_heartbeats = true;
                if !heartbeat.redis_up {
                    return Err(describe_redis_loss(heartbeat.error));
                }
                self.note_life().await;
                Ok(Went::On)
            }
            Some(Ok(Feed::Reset(_))) => {
                self.note_life().await;
                let _ = self.events.send(UiEvent::Reset).await;
                Ok(Went::On)
            }
            Some(Err(error)) => Err(SessionEnd::from_error(&error)),
            None => Err(SessionEnd::daemon("the daemon closed the event stream")),
        }
    }

    fn take_request(&mut self, request: Option<FeedRequest>) -> Result<Went, SessionEnd> {
        match request {
            None => return Ok(Went::DashboardEnded),
            // What is being read may have been read before what is missing now.
            Some(FeedRequest::Reread) if self.reading.is_some() => self.again = true,
            Some(FeedRequest::Reread) => {
                renew_token(self.client);
                self.read_all();
            }
        }
        Ok(Went::On)
    }

    /// Returns when the silence of the daemon has to be shown, or has lasted too long.
    fn silence_due(&self) -> Instant {
        match self.slow_since {
            None => self.heard_at + SLOW_AFTER,
            Some(since) => since + LOST_AFTER_SLOW,
        }
    }

    /// Takes in that the daemon has given no sign of life for too long.
    async fn take_silence(&mut self) -> Result<Went, SessionEnd> {
        if self.slow_since.is_some() {
            return Err(SessionEnd::daemon("no answer in time"));
        }
        self.slow_since = Some(Instant::now());
        Ok(Went::from_send(self.events.send(UiEvent::Slow(true)).await))
    }

    /// Notes that the daemon lives.
    async fn note_life(&mut self) {
        self.heard_at = Instant::now();
        if self.slow_since.take().is_some() {
            let _ = self.events.send(UiEvent::Slow(false)).await;
        }
    }

    /// Asks the daemon for its figures, unless that is under way. Where it says by itself that it lives, they are asked for
    /// only as often as they are passed on.
    fn check_daemon(&mut self) -> Result<Went, SessionEnd> {
        let is_wanted = !self.has_heartbeats || self.checks_since_loss.is_some();
        let is_due = is_wanted || self.checked_at.is_none_or(|at| at.elapsed() >= PASS_ON_EVERY);
        if is_due && self.check.is_none() {
            self.checked_at = Some(Instant::now());
            self.check = Some(spawn(check_into(self.client.clone(), self.found.clone())));
        }
        Ok(Went::On)
    }

    async fn take_finding(&mut self, finding: Option<Finding>) -> Result<Went, SessionEnd> {
        match finding {
            None => Ok(Went::DashboardEnded),
            Some(Finding::Check(answer)) => self.take_check(answer).await,
            Some(Finding::Change(change)) => Ok(Went::from_send(self.events.send(UiEvent::Change(change)).await)),
            Some(Finding::Subscribed) => {
                self.subscribed = true;
                self.checks_since_loss = None;
                let _ = self.events.send(UiEvent::Source(Source::PubSub)).await;
                Ok(Went::On)
            }
            Some(Finding::SubscriptionLost { reason, refused }) => self.take_loss(reason, refused).await,
        }
    }

    async fn take_part(&mut self, part: Option<ReadPart>) -> Result<Went, SessionEnd> {
        match part {
            None => Ok(Went::DashboardEnded),
            Some(ReadPart::Failed(error)) => Err(SessionEnd::from_error(&error)),
            Some(ReadPart::First(read)) => self.take_snapshot(read).await,
            Some(ReadPart::Later(rows)) => {
                let end = rows.end;
                let sent = self.events.send(UiEvent::Rows(rows)).await;
                self.note_part(end);
                Ok(Went::from_send(sent))
            }
        }
    }

    /// Notes the end of a read, and begins the next one if that was asked for meanwhile.
    fn note_part(&mut self, end: RowsEnd) {
        if end == RowsEnd::More {
            return;
        }
        self.reading = None;
        if std::mem::take(&mut self.again) {
            self.read_all();
        }
    }

    async fn take_snapshot(&mut self, read: Box<Snapshot>) -> Result<Went, SessionEnd> {
        if self.subscriber.is_none() {
            let url = self.redis.map_or_else(|| read.system.redis.url.clone(), str::to_owned);
            let channel = read.system.events_channel.clone();
            self.subscriber = Some(spawn(subscribe(url, channel, self.found.clone())));
        }
        if !read.system.redis.up {
            return Err(describe_redis_loss(read.system.redis.error));
        }
        self.delivered = true;
        let end = read.end;
        let sent = self.events.send(UiEvent::Snapshot(read)).await;
        self.note_part(end);
        Ok(Went::from_send(sent))
    }

    async fn take_check(&mut self, answer: Result<Box<SystemInfo>, Option<ClientError>>) -> Result<Went, SessionEnd> {
        self.check = None;
        let system = answer.map_err(|error| match error {
            Some(error) => SessionEnd::from_error(&error),
            None => SessionEnd::daemon("no answer in time"),
        })?;
        if !system.redis.up {
            return Err(describe_redis_loss(system.redis.error));
        }
        self.note_life().await;
        let is_due = self.passed_on_at.is_none_or(|at| at.elapsed() >= PASS_ON_EVERY);
        if !is_due {
            return Ok(Went::On);
        }
        self.passed_on_at = Some(Instant::now());
        if let Some(checks) = &mut self.checks_since_loss {
            *checks += 1;
        }
        let _ = self.events.send(UiEvent::System(system)).await;
        Ok(Went::On)
    }

    /// Takes in that our Redis connection was lost, or cannot be made.
    async fn take_loss(&mut self, reason: String, refused: bool) -> Result<Went, SessionEnd> {
        let _ = self.events.send(UiEvent::Source(Source::Stream)).await;
        if !self.subscribed {
            return Ok(Went::On);
        }
        // It has worked before. If it does not work again at once, Redis is down, unless the daemon still reaches it.
        let checks = *self.checks_since_loss.get_or_insert(0);
        if refused && checks < REPRIEVE_CHECKS {
            return Err(SessionEnd::redis(reason));
        }
        Ok(Went::On)
    }
}

/// Says why the daemon cannot reach its Redis.
fn describe_redis_loss(reason: Option<String>) -> SessionEnd {
    SessionEnd::redis(reason.unwrap_or_else(|| "the daemon cannot reach it".to_owned()))
}

/// What a task of the session has found.
enum Finding {
    /// The error is `None` when there was no answer in time.
    Check(Result<Box<SystemInfo>, Option<ClientError>>),
    Change(Box<onceover_wire::Event>),
    Subscribed,
    SubscriptionLost {
        reason: String,
        /// Connecting again failed, too.
        refused: bool,
    },
}

/// A task that ends when its handle is dropped.
struct Aborting(JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Aborting {
    Aborting(tokio::spawn(work))
}

async fn check_into(client: Client, found: mpsc::Sender<Finding>) {
    let answer = match timeout(CHECK_PATIENCE, client.system()).await {
        Ok(answer) => answer.map(Box::new).map_err(Some),
        Err(_) => Err(None),
    };
    let _ = found.send(Finding::Check(answer)).await;
}

/// Follows the channel until the dashboard ends, and connects again after each loss.
async fn subscribe(url: String, channel: String, found: mpsc::Sender<Finding>) {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        let reason = match listen(&url, &channel, &found).await {
            Listened::DashboardEnded => return,
            Listened::Lost(reason) => {
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

/// How a subscription has ended.
enum Listened {
    DashboardEnded,
    /// There was a subscription, and it was lost.
    Lost(String),
    /// There was no subscription.
    Refused(String),
}

/// Subscribes to the channel, and passes changes on until the subscription ends.
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
        return Listened::DashboardEnded;
    }
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else {
                    return Listened::Lost("Redis closed the connection".into());
                };
                // A message that cannot be read is a gap in the sequence, and is repaired as one.
                if let Ok(change) = serde_json::from_slice(message.get_payload_bytes())
                    && found.send(Finding::Change(Box::new(change))).await.is_err()
                {
                    return Listened::DashboardEnded;
                }
            }
            _ = ping.tick() => match timeout(PING_PATIENCE, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Listened::Lost(error.to_string()),
                Err(_) => return Listened::Lost("Redis does not answer".into()),
            },
        }
    }
}
