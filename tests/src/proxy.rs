//! A proxy before Redis that breaks things on demand: whole connections (stall, delay, cut, refuse) and single requests,
//! chosen by the daemon's script they call or by their command: not passed on, answered with an error, or applied with
//! the reply lost.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

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
}

/// Listens until dropped.
pub struct Proxy {
    url: String,
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
        let server = tokio::spawn(serve(listener, upstream, state.clone(), Arc::clone(&plan)));
        Self {
            url,
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
        let (kind, fault) = self.plan.lock().expect("no panic while locked").judge(request);
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
    fn judge(&mut self, request: &[u8]) -> (String, Option<Fault>) {
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

/// The file that a script ends with; the store may have put it into a function.
fn script_name(text: &str) -> Option<String> {
    let text = text.strip_suffix("\nend)()\n").unwrap_or(text);
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/store/src/lua");
    let folders = fs::read_dir(folder).ok()?.flatten();
    let files = folders
        .filter_map(|folder| fs::read_dir(folder.path()).ok())
        .flat_map(|folder| folder.flatten().map(|file| file.path()));
    let named = files.filter_map(|path| {
        let content = fs::read_to_string(&path).ok()?;
        let name = path.file_stem()?.to_str()?.to_owned();
        text.ends_with(&content).then_some((content.len(), name))
    });
    named.max().map(|(_, name)| name)
}

/// The words of a request: an array of bulk strings.
fn words(request: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let Some((_, mut at)) = line(request, 0) else {
        return words;
    };
    while let Some((length, start)) = line(request, at) {
        let end = start + usize::try_from(length).unwrap_or_default();
        words.push(&request[start..end.min(request.len())]);
        at = end + 2;
    }
    words
}

/// Takes the first whole frame (request or reply) from what has arrived.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = frame_end(buffer, 0)?;
    let rest = buffer.split_off(end);
    Some(std::mem::replace(buffer, rest))
}

/// Number in the line that begins at `at`, and where the next line begins.
fn line(buffer: &[u8], at: usize) -> Option<(i64, usize)> {
    let end = at + buffer.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(buffer.get(at + 1..end)?).ok();
    Some((number.and_then(|text| text.parse().ok()).unwrap_or(-1), end + 2))
}

fn frame_end(buffer: &[u8], at: usize) -> Option<usize> {
    let kind = *buffer.get(at)?;
    let (number, next) = line(buffer, at)?;
    let members = match kind {
        b'$' | b'!' | b'=' if number >= 0 => {
            let end = next + usize::try_from(number).ok()? + 2;
            return (end <= buffer.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => number.max(0),
        b'%' => number.max(0) * 2,
        _ => 0,
    };
    (0..members).try_fold(next, |at, _| frame_end(buffer, at))
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands;

    use super::*;
    use crate::{RedisServer, redis_server::connect, until_equal};

    #[test]
    fn frames_are_taken_whole_and_one_by_one() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n%1\r\n+k\r\n*-1\r\n>2\r\n:1\r\n$-1\r\n_\r\n".to_vec();
        let mut cut = whole[..15].to_vec();
        assert_eq!(take_frame(&mut cut), None);
        let mut buffer = whole;
        let frames: Vec<_> = std::iter::from_fn(|| take_frame(&mut buffer)).collect();
        let starts: Vec<_> = frames.iter().map(|frame| frame[0]).collect();
        assert_eq!(starts, b"*%>_");
        assert_eq!(words(&frames[0]), [b"GET".as_slice(), b"a"]);
    }

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
