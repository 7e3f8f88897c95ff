//! A proxy before Redis that breaks things on demand: whole connections (stall, delay, cut, refuse) and single requests,
//! chosen by the daemon's script they call or by their command: not passed on, answered with an error, or applied with
//! the reply lost. It counts what passes, and can record it.

mod frames;

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use frames::{script_name, take_frame, words};

/// Bytes of requests that one read takes at least.
const READ_AT_ONCE: usize = 1 << 16;

/// What happens to all connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Pass,
    /// Everything arrives so much later.
    Delay(Duration),
    /// Nothing is passed on and nothing is closed: a network that swallows.
    Stall,
    /// What is open is closed, and what is opened is closed at once.
    Refuse,
    /// Each connection is closed when it has passed on so many bytes of replies.
    CutAfter(usize),
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this error and not passed on.
    Error(&'static str),
    /// Not passed on; its connection closes.
    LoseRequest,
    /// Passed on and applied; its connection closes instead of the reply.
    LoseReply,
}

struct State {
    mode: Mode,
    /// Counts the times that everything open is closed.
    cuts: u64,
}

#[derive(Default)]
struct Plan {
    /// Names of scripts by their hash, learned as they are loaded.
    scripts: HashMap<String, String>,
    faults: Vec<(String, Fault)>,
    struck: usize,
    seen: HashMap<String, usize>,
    /// Requests that Redis executes by themselves, by command: without what is queued for an `EXEC`.
    sent: HashMap<String, usize>,
    /// Filled while something is recorded.
    recorded: Option<Vec<RoundTrip>>,
}

/// One request: its command and arguments.
pub type RequestWords = Vec<Vec<u8>>;

/// The requests of one connection that were sent before any of their replies came.
pub type RoundTrip = Vec<RequestWords>;

/// Where a request stands among those of its connection.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// No reply is outstanding.
    begins_trip: bool,
    /// After a `MULTI`.
    is_queued: bool,
}

/// Listens until dropped.
pub struct Proxy {
    url: String,
    upstream: String,
    state: watch::Sender<State>,
    plan: Arc<Mutex<Plan>>,
    server: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

impl Proxy {
    /// Before a server with a URL as [`crate::RedisServer::url`] gives it; listens on a socket.
    pub async fn unix(upstream: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("oop")
            .tempdir()
            .expect("a temporary folder");
        let path = dir.path().join("proxy.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let url = format!("redis+unix://{}{}", path.display(), database(upstream));
        Self::start(url, upstream, dir, Listener::Unix(listener))
    }

    /// The same on a port.
    pub async fn tcp(upstream: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let number = database(upstream).trim_start_matches("?db=").to_owned();
        let url = format!("redis://127.0.0.1:{port}/{number}");
        Self::start(url, upstream, dir, Listener::Tcp(listener))
    }

    fn start(url: String, upstream: &str, dir: tempfile::TempDir, listener: Listener) -> Self {
        let state = watch::Sender::new(State {
            mode: Mode::Pass,
            cuts: 0,
        });
        let plan = Arc::new(Mutex::new(Plan::default()));
        let upstream = upstream.split('?').next().unwrap_or_default().to_owned();
        let server = tokio::spawn(serve(listener, upstream.clone(), state.clone(), Arc::clone(&plan)));
        Self {
            url,
            upstream,
            state,
            plan,
            server,
            _dir: dir,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn mode(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Closes every connection that is open now.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// The next request of this kind (a script's file name, else a command in lower case) meets the fault.
    pub fn fail_next(&self, kind: &str, fault: Fault) {
        self.plan().faults.push((kind.to_owned(), fault));
    }

    /// Takes back what has not happened yet.
    pub fn fail_no_more(&self) {
        self.plan().faults.clear();
    }

    /// Faults of single requests so far.
    pub fn struck(&self) -> usize {
        self.plan().struck
    }

    /// Requests of a kind so far.
    pub fn seen(&self, kind: &str) -> usize {
        self.plan().seen.get(kind).copied().unwrap_or_default()
    }

    /// Requests so far that Redis executed by themselves, by command in lower case: an `EXEC` counts, what it executes
    /// does not, and neither do the commands of scripts.
    pub fn sent(&self) -> HashMap<String, usize> {
        self.plan().sent.clone()
    }

    /// Calls of scripts so far, by their file names.
    pub fn scripts_called(&self) -> HashMap<String, usize> {
        let plan = self.plan();
        let calls = plan.scripts.values().map(|name| {
            let calls = plan.seen.get(name).copied().unwrap_or_default();
            (name.clone(), calls)
        });
        calls.collect()
    }

    /// The file name of a script, if it was loaded through this proxy.
    pub fn name_of_script(&self, hash: &str) -> Option<String> {
        self.plan().scripts.get(hash).cloned()
    }

    /// Records from now on what passes.
    pub fn record(&self) {
        self.plan().recorded = Some(Vec::new());
    }

    /// Ends the recording. Returns what passed, in the order in which it was sent.
    pub fn recorded(&self) -> Vec<RoundTrip> {
        self.plan().recorded.take().unwrap_or_default()
    }

    /// Lets who connects from now on reach the server itself. Both are behind sockets.
    pub fn step_aside(&self) {
        let socket = |url: &str| {
            let path = url.strip_prefix("redis+unix://").and_then(|url| url.split('?').next());
            PathBuf::from(path.expect("a Redis behind a socket"))
        };
        let path = socket(&self.url);
        fs::remove_file(&path).expect("the socket is there");
        std::os::unix::fs::symlink(socket(&self.upstream), &path).expect("a link can be made");
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().expect("no panic while locked")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn database(url: &str) -> &str {
    url.find("?db=").map_or("", |at| &url[at..])
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

async fn dial(upstream: &str) -> std::io::Result<Box<dyn Stream>> {
    Ok(match upstream.strip_prefix("redis+unix://") {
        Some(path) => Box::new(UnixStream::connect(path).await?),
        None => {
            let address = upstream.trim_start_matches("redis://");
            Box::new(TcpStream::connect(address.split('/').next().unwrap_or_default()).await?)
        }
    })
}

async fn serve(listener: Listener, upstream: String, state: watch::Sender<State>, plan: Arc<Mutex<Plan>>) {
    // Ends with the server, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok(client) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if state.borrow().mode == Mode::Refuse {
            continue;
        }
        let (upstream, state, plan) = (upstream.clone(), state.subscribe(), Arc::clone(&plan));
        connections.spawn(async move {
            let Ok(server) = dial(&upstream).await else { return };
            let _ = Connection::new(client, server, state, plan).run().await;
        });
    }
}

/// What is to become of the reply to a request.
enum Due {
    Pass,
    Lose,
    Say(&'static str),
}

struct Connection {
    client: Box<dyn Stream>,
    server: Box<dyn Stream>,
    state: watch::Receiver<State>,
    plan: Arc<Mutex<Plan>>,
    due: VecDeque<Due>,
    passed: usize,
    /// A `MULTI` came, and its `EXEC` did not yet.
    queues: bool,
}

/// The connection is over.
struct Closed;

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Connection {
    fn new(
        client: Box<dyn Stream>,
        server: Box<dyn Stream>,
        state: watch::Receiver<State>,
        plan: Arc<Mutex<Plan>>,
    ) -> Self {
        Self {
            client,
            server,
            state,
            plan,
            due: VecDeque::new(),
            passed: 0,
            queues: false,
        }
    }

    async fn run(mut self) -> Result<(), Closed> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let cuts = self.state.borrow().cuts;
        loop {
            // Looked at after each read: what arrives once a mode was set meets that mode.
            let (mode, cuts_now) = {
                let state = self.state.borrow_and_update();
                (state.mode, state.cuts)
            };
            if mode == Mode::Refuse || cuts_now != cuts {
                return Err(Closed);
            }
            if mode != Mode::Stall {
                if !up.is_empty() || !down.is_empty() {
                    self.later(mode).await;
                }
                while let Some(request) = take_frame(&mut up) {
                    self.request(&request).await?;
                }
                self.say().await?;
                while let Some(reply) = take_frame(&mut down) {
                    self.reply(&reply, mode).await?;
                }
            }
            // What was written at once arrives at once.
            up.reserve(READ_AT_ONCE);
            let read = tokio::select! {
                changed = self.state.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Err(Closed),
                },
                read = self.client.read_buf(&mut up), if mode != Mode::Stall => read?,
                read = self.server.read_buf(&mut down), if mode != Mode::Stall => read?,
            };
            if read == 0 {
                return Err(Closed);
            }
        }
    }

    async fn later(&self, mode: Mode) {
        if let Mode::Delay(time) = mode {
            tokio::time::sleep(time).await;
        }
    }

    async fn request(&mut self, request: &[u8]) -> Result<(), Closed> {
        let standing = Standing {
            begins_trip: self.due.is_empty() && !self.queues,
            is_queued: self.queues,
        };
        let (kind, fault) = self
            .plan
            .lock()
            .expect("no panic while locked")
            .judge(request, standing);
        self.queues = match kind.as_str() {
            "multi" => true,
            "exec" | "discard" => false,
            _ => self.queues,
        };
        match fault {
            Some(Fault::LoseRequest) => return Err(Closed),
            Some(Fault::Error(text)) => {
                self.due.push_back(Due::Say(text));
                return Ok(());
            }
            Some(Fault::LoseReply) => self.due.push_back(Due::Lose),
            // Its confirmation is a push, not a reply.
            None if kind.ends_with("subscribe") => {}
            None => self.due.push_back(Due::Pass),
        }
        Ok(self.server.write_all(request).await?)
    }

    async fn reply(&mut self, reply: &[u8], mode: Mode) -> Result<(), Closed> {
        if reply.first() != Some(&b'>') && matches!(self.due.pop_front(), Some(Due::Lose)) {
            return Err(Closed);
        }
        if let Mode::CutAfter(bytes) = mode {
            let left = bytes.saturating_sub(self.passed).min(reply.len());
            self.client.write_all(&reply[..left]).await?;
            if left < reply.len() {
                return Err(Closed);
            }
        } else {
            self.client.write_all(reply).await?;
        }
        self.passed += reply.len();
        self.say().await
    }

    /// The errors whose turn it is.
    async fn say(&mut self) -> Result<(), Closed> {
        while let Some(Due::Say(text)) = self.due.front() {
            self.client.write_all(format!("-{text}\r\n").as_bytes()).await?;
            self.due.pop_front();
        }
        Ok(())
    }
}

impl Plan {
    /// The kind of a request, and the fault that it is to meet.
    fn judge(&mut self, request: &[u8], standing: Standing) -> (String, Option<Fault>) {
        let words = words(request);
        let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).into_owned());
        let command = word(0).unwrap_or_default().to_lowercase();
        if command == "script"
            && let Some(text) = word(2)
            && let Some(name) = script_name(&text)
        {
            let hash = redis::Script::new(&text).get_hash().to_owned();
            self.scripts.insert(hash, name);
        }
        if !standing.is_queued || command == "exec" {
            *self.sent.entry(command.clone()).or_default() += 1;
        }
        if let Some(recorded) = &mut self.recorded {
            let request: RequestWords = words.iter().map(|word| word.to_vec()).collect();
            match recorded.last_mut() {
                Some(trip) if !standing.begins_trip => trip.push(request),
                _ => recorded.push(vec![request]),
            }
        }
        let script = word(1).filter(|_| command == "evalsha");
        let kind = script
            .and_then(|hash| self.scripts.get(&hash).cloned())
            .unwrap_or(command);
        *self.seen.entry(kind.clone()).or_default() += 1;
        let planned = self.faults.iter().position(|(of, _)| *of == kind);
        let fault = planned.map(|at| self.faults.remove(at).1);
        self.struck += usize::from(fault.is_some());
        (kind, fault)
    }
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands;

    use super::*;
    use crate::{RedisServer, redis_server::connect, until_equal};

    async fn connection(proxy: &Proxy) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(proxy.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    #[tokio::test]
    async fn single_requests_meet_their_faults() {
        let server = RedisServer::start(&[]).await;
        let mut direct = connect(&server.url(2)).await;
        for proxy in [Proxy::unix(&server.url(2)).await, Proxy::tcp(&server.url(2)).await] {
            let _: () = direct.set("n", 0).await.unwrap();
            for (fault, applied) in [
                (Fault::Error("LOADING not yet"), 0),
                (Fault::LoseRequest, 0),
                (Fault::LoseReply, 1),
            ] {
                let mut redis = connection(&proxy).await;
                let _: i64 = redis.get("n").await.unwrap();
                proxy.fail_next("incrby", fault);
                let before = proxy.struck();
                assert!(redis.incr::<_, _, i64>("n", 1).await.is_err());
                assert_eq!(proxy.struck(), before + 1);
                assert_eq!(direct.get::<_, i64>("n").await.unwrap(), applied, "{fault:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_redis_executes_by_itself_is_counted_and_recorded_by_round_trips() {
        let server = RedisServer::start(&[]).await;
        let proxy = Proxy::unix(&server.url(0)).await;
        let mut redis = connection(&proxy).await;
        let before = proxy.sent();
        let of = |command: &str| {
            let count = |sent: &HashMap<String, usize>| sent.get(command).copied().unwrap_or_default();
            count(&proxy.sent()) - count(&before)
        };
        proxy.record();
        let _: Option<i64> = redis.get("a").await.unwrap();
        let _: (i64, Option<i64>) = redis::pipe()
            .atomic()
            .incr("a", 1)
            .get("b")
            .query_async(&mut redis)
            .await
            .unwrap();
        let recorded = proxy.recorded();
        let commands: Vec<Vec<String>> = recorded
            .iter()
            .map(|trip| {
                let words = trip
                    .iter()
                    .map(|request| String::from_utf8_lossy(&request[0]).to_lowercase());
                words.collect()
            })
            .collect();
        assert_eq!(commands, [vec!["get"], vec!["multi", "incrby", "get", "exec"]]);
        let counted = ["get", "multi", "incrby", "exec"].map(of);
        assert_eq!(counted, [1, 1, 0, 1], "what an EXEC executes is a part of it");
        proxy.step_aside();
        let _: i64 = connection(&proxy).await.incr("a", 1).await.unwrap();
        assert_eq!(of("incrby"), 0, "who connects now does not pass");
        assert_eq!(redis.get::<_, i64>("a").await.unwrap(), 2);
    }

    #[tokio::test]
    async fn whole_connections_meet_their_faults() {
        let server = RedisServer::start(&[]).await;
        let proxy = Proxy::tcp(&server.url(0)).await;
        let mut redis = connection(&proxy).await;
        let _: () = redis.set("key", "x".repeat(100)).await.unwrap();
        proxy.mode(Mode::Stall);
        let ping = tokio::spawn({
            let mut redis = redis.clone();
            async move { redis.ping::<String>().await }
        });
        let mut direct = redis::Client::open(server.url(0)).unwrap().get_connection().unwrap();
        let _: String = redis::cmd("PING").query(&mut direct).unwrap();
        assert!(!ping.is_finished());
        proxy.mode(Mode::Delay(Duration::from_millis(5)));
        assert!(ping.await.unwrap().is_ok(), "what was stalled goes on");
        proxy.cut();
        until_equal("a cut connection", true, || {
            let mut redis = redis.clone();
            async move { redis.ping::<String>().await.is_err() }
        })
        .await;
        let mut redis = connection(&proxy).await;
        proxy.mode(Mode::CutAfter(30));
        assert!(redis.get::<_, String>("key").await.is_err());
        proxy.mode(Mode::Refuse);
        let client = redis::Client::open(proxy.url()).unwrap();
        assert!(client.get_multiplexed_async_connection().await.is_err());
        proxy.mode(Mode::Pass);
        assert!(connection(&proxy).await.ping::<String>().await.is_ok());
    }
}
