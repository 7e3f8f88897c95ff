//! The private Redis: finds a server binary, starts it in the data directory, starts it again when it dies and ends it
//! with the daemon. It listens on a unix socket only. What is kept in it is the store's business.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use onceover_types::humane;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, ServerErrorKind, aio::MultiplexedConnection};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::{
    io::AsyncReadExt,
    net::UnixStream,
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use crate::data_dir::DataDir;
use onceover_store::{KEYSPACE_EVENTS, missing_events};

/// Looked for on PATH in this order.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];
/// `sockaddr_un` has room for this many bytes, the closing zero included.
const SOCKET_PATH_MAX: usize = 108;
/// A start without data takes some 30 ms.
const START_WAIT: Duration = Duration::from_secs(10);
/// Reading a large append-only file back takes its time, during which the server answers `LOADING`.
const LOADING_WAIT: Duration = Duration::from_secs(300);
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const END_WAIT: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_millis(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// A server that lived this long is started again at once.
const STEADY: Duration = Duration::from_secs(5);

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
pub enum PrivateRedisError {
    #[error(
        "no Redis server on this machine (looked for {looked_for}); install one with `apt-get install redis-server` \
         (Debian, Ubuntu), `dnf install valkey` (Fedora) or `brew install redis` (macOS), or name a running one with --redis URL"
    )]
    NoServer { looked_for: String },
    #[error("cannot start {}: {source}", server.display())]
    Spawn { server: PathBuf, source: io::Error },
    #[error("{} {how}; the end of {}:\n{tail}", server.display(), log.display())]
    NotReady {
        server: PathBuf,
        how: String,
        log: PathBuf,
        tail: String,
    },
    #[error(
        "the data directory's path leaves no room for a socket, and {} cannot stand in: {why}; name a shorter directory with --data DIR",
        path.display()
    )]
    NoSocket { path: PathBuf, why: String },
    #[error("an earlier Redis (process {pid}) still uses {} and cannot be ended: {why}", dir.display())]
    Leftover { pid: i32, dir: PathBuf, why: String },
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

type Result<T, E = PrivateRedisError> = std::result::Result<T, E>;

/// A running private Redis and the task that keeps it running. Dropping it ends the server too, without waiting.
#[derive(Debug)]
pub struct PrivateRedis {
    url: String,
    pid_file: PathBuf,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl PrivateRedis {
    /// Starts a server in the data directory, or takes over the one an earlier daemon left there, and returns when it
    /// answers. `server` is a path or a name on PATH; without it `valkey-server` and `redis-server` are looked for.
    /// `max_memory` is how many bytes it may take.
    pub async fn start(data: &DataDir, server: Option<&Path>, max_memory: Option<u64>) -> Result<Self> {
        let home = Home::new(data, find_server(server)?, max_memory)?;
        let server = home.up().await?;
        let stop = CancellationToken::new();
        let (url, pid_file) = (home.url.clone(), home.pid_file.clone());
        let task = tokio::spawn(supervise(home, server, stop.clone()));
        Ok(Self {
            url,
            pid_file,
            stop,
            task: Some(task),
        })
    }

    /// `redis+unix:///...?db=0&protocol=resp3`, the same for as long as the data directory stays where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds the server's process id while it runs.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    /// Ends the server (SIGTERM, after ten seconds SIGKILL) and waits until it has ended.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(problem) = task.await
        {
            error!("the private Redis was not ended in order: {problem}");
        }
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Keeps a server up until `stop`.
async fn supervise(home: Home, mut server: Server, stop: CancellationToken) {
    loop {
        let started = Instant::now();
        let how = tokio::select! {
            how = server.ended() => how,
            () = stop.cancelled() => break,
        };
        warn!(
            "the private Redis (process {}) ended ({how}), starting it again",
            server.pid()
        );
        let delay = match started.elapsed() < STEADY {
            true => Duration::from_millis(50),
            false => Duration::ZERO,
        };
        let Some(again) = start_again(&home, delay, &stop).await else {
            // A server that was still reading its data back was asked to end when its start was dropped.
            if let Err(problem) = home.end_by_pid_file().await {
                error!("{problem}");
            }
            return home.clean();
        };
        server = again;
    }
    server.end().await;
    home.clean();
}

/// Starts the server again after a delay, as often as it takes. Returns `None` if it is stopped before.
async fn start_again(home: &Home, mut delay: Duration, stop: &CancellationToken) -> Option<Server> {
    loop {
        let again = async {
            sleep(delay).await;
            home.up().await
        };
        match stop.run_until_cancelled(again).await? {
            Ok(server) => return Some(server),
            Err(problem) => error!("the private Redis does not come back: {problem}"),
        }
        delay = (delay * 2).clamp(Duration::from_millis(100), BACK_OFF_MAX);
    }
}

/// The binary, and where its files are.
#[derive(Debug)]
struct Home {
    binary: PathBuf,
    dir: PathBuf,
    socket: PathBuf,
    /// Set where the socket had to go to a shorter path.
    socket_dir: Option<PathBuf>,
    pid_file: PathBuf,
    log: PathBuf,
    url: String,
    /// Bytes it may take; 0 as many as there are.
    max_memory: u64,
}

impl Home {
    fn new(data: &DataDir, binary: PathBuf, max_memory: Option<u64>) -> Result<Self> {
        let dir = data.redis();
        let (socket, socket_dir) = socket(data.root())?;
        Ok(Self {
            binary,
            pid_file: dir.join("redis.pid"),
            log: data.logs().join("redis.log"),
            url: socket_url(&socket)?,
            dir,
            socket,
            socket_dir,
            max_memory: max_memory.unwrap_or_default(),
        })
    }

    /// A server that answers: the one that is there, else a new one. Two servers in one directory would ruin its
    /// append-only file, so none is started before the former has ended.
    async fn up(&self) -> Result<Server> {
        if let Ok(stream) = UnixStream::connect(&self.socket).await
            && let Ok(Some(pid)) = stream.peer_cred().map(|peer| peer.pid().and_then(Pid::from_raw))
        {
            let mut server = Server::Adopted { pid, stream };
            match self.probe_until_ready(&mut server).await {
                Ok(()) if self.has_our_settings().await && self.set_max_memory().await.is_ok() => {
                    info!("took over the Redis an earlier daemon left (process {pid})");
                    return Ok(server);
                }
                Ok(()) => warn!("ending a Redis (process {pid}) that was left with other settings"),
                Err(how) => warn!("ending a Redis (process {pid}) that was left and {how}"),
            }
            server.end().await;
        }
        self.end_by_pid_file().await?;
        self.clean();
        self.spawn().await
    }

    async fn spawn(&self) -> Result<Server> {
        if let Some(short) = &self.socket_dir {
            make_short_dir(short)?;
        }
        let file_problem = |source| PrivateRedisError::File {
            path: self.log.clone(),
            source,
        };
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(file_problem)?;
        let mut command = Command::new(&self.binary);
        command
            .args([
                "--port",
                "0",
                "--unixsocketperm",
                "700",
                "--save",
                "",
                "--daemonize",
                "no",
            ])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--maxmemory-policy",
                "noeviction",
                "--notify-keyspace-events",
                KEYSPACE_EVENTS,
            ])
            .arg("--maxmemory")
            .arg(self.max_memory.to_string())
            .arg("--unixsocket")
            .arg(&self.socket)
            .arg("--dir")
            .arg(&self.dir)
            .arg("--pidfile")
            .arg(&self.pid_file)
            .arg("--logfile")
            .arg(&self.log)
            // Tokens and keys are none of its business; and an unknown locale, as ssh likes to forward one, would keep it from
            // starting.
            .env_clear()
            .envs(env::vars_os().filter(|(name, _)| name == "PATH" || name == "LD_LIBRARY_PATH"))
            .env("LC_ALL", "C")
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(file_problem)?)
            .stderr(log)
            // Ctrl-C in the daemon's terminal is the daemon's: it still has things to write.
            .process_group(0);
        let child = command.spawn().map_err(|source| PrivateRedisError::Spawn {
            server: self.binary.clone(),
            source,
        })?;
        let mut server = Server::Child(child);
        if let Err(how) = self.probe_until_ready(&mut server).await {
            server.end().await;
            self.clean();
            let (log, tail) = (self.log.clone(), tail(&self.log));
            return Err(PrivateRedisError::NotReady {
                server: self.binary.clone(),
                how,
                log,
                tail,
            });
        }
        info!(
            "private Redis (process {}) listens on {}",
            server.pid(),
            self.socket.display()
        );
        Ok(server)
    }

    /// Waits until the server answers PING. The error completes the sentence "the server ...".
    async fn probe_until_ready(&self, server: &mut Server) -> Result<(), String> {
        let begin = Instant::now();
        let mut last = String::new();
        loop {
            let probe = async {
                let mut connection = self.connect().await?;
                redis::cmd("PING").query_async::<()>(&mut connection).await
            };
            let limit = tokio::select! {
                answer = probe => match answer {
                    Ok(()) => return Ok(()),
                    Err(problem) if problem.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading) => LOADING_WAIT,
                    Err(problem) => {
                        last = problem.to_string();
                        START_WAIT
                    }
                },
                how = server.ended() => return Err(format!("ended before it answered ({how})")),
            };
            if begin.elapsed() > limit {
                return Err(format!("does not answer ({last})"));
            }
            sleep(PROBE_EVERY).await;
        }
    }

    /// Whether a server that was left keeps what it is given, as one started here does.
    async fn has_our_settings(&self) -> bool {
        let ask = async {
            let mut connection = self.connect().await?;
            let mut settings = HashMap::<String, String>::new();
            for name in ["appendonly", "maxmemory-policy", "notify-keyspace-events"] {
                settings.extend(
                    redis::cmd("CONFIG")
                        .arg("GET")
                        .arg(name)
                        .query_async::<HashMap<String, String>>(&mut connection)
                        .await?,
                );
            }
            Ok::<_, RedisError>(settings)
        };
        ask.await.is_ok_and(|settings| {
            settings.get("appendonly").is_some_and(|value| value == "yes")
                && settings
                    .get("maxmemory-policy")
                    .is_some_and(|value| value == "noeviction")
                && settings
                    .get("notify-keyspace-events")
                    .is_some_and(|value| missing_events(value).is_empty())
        })
    }

    /// Gives a server that was left the limit of memory that is configured now.
    async fn set_max_memory(&self) -> Result<(), RedisError> {
        let mut connection = self.connect().await?;
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(self.max_memory);
        set.query_async(&mut connection).await
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WAIT))
            .set_response_timeout(Some(ANSWER_WAIT));
        redis::Client::open(self.url.as_str())?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Ends a server that runs in our directory but is not behind the socket, because that file was removed.
    async fn end_by_pid_file(&self) -> Result<()> {
        let noted = fs::read_to_string(&self.pid_file).ok();
        let Some(pid) = noted.and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw) else {
            return Ok(());
        };
        // The number may belong to another process by now. A server's working directory is the one with its data.
        let lives = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.dir);
        for signal in [Signal::TERM, Signal::KILL] {
            if !lives() {
                return Ok(());
            }
            warn!("ending a Redis (process {pid}) that was left without its socket");
            if let Err(why) = kill_process(pid, signal)
                && lives()
            {
                let (pid, dir) = (pid.as_raw_pid(), self.dir.clone());
                return Err(PrivateRedisError::Leftover {
                    pid,
                    dir,
                    why: why.to_string(),
                });
            }
            let deadline = Instant::now() + END_WAIT;
            while lives() && Instant::now() < deadline {
                sleep(PROBE_EVERY).await;
            }
        }
        if lives() {
            let why = "it outlives SIGKILL".to_string();
            return Err(PrivateRedisError::Leftover {
                pid: pid.as_raw_pid(),
                dir: self.dir.clone(),
                why,
            });
        }
        Ok(())
    }

    /// Removes what a server that has ended may have left. Missing files are what is wanted.
    fn clean(&self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.pid_file);
        if let Some(short) = &self.socket_dir {
            let _ = fs::remove_dir(short);
        }
    }
}

/// A server process: started here, or left by an earlier daemon.
#[derive(Debug)]
enum Server {
    Child(Child),
    /// Not our child, so that its end shows as the end of a connection that is held for this only.
    Adopted {
        pid: Pid,
        stream: UnixStream,
    },
}

impl Server {
    fn pid(&self) -> i32 {
        self.raw_pid().map_or(0, Pid::as_raw_pid)
    }

    fn raw_pid(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
            Self::Adopted { pid, .. } => Some(*pid),
        }
    }

    /// Waits for its end and says how it was. May be dropped and called again.
    async fn ended(&mut self) -> String {
        match self {
            Self::Child(child) => child
                .wait()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string()),
            Self::Adopted { stream, .. } => {
                // Nothing was asked on this connection, so that whatever is read is its end, or words before it.
                let mut buffer = [0; 64];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                "its connection closed".into()
            }
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.raw_pid()
            && let Err(problem) = kill_process(pid, signal)
        {
            warn!("cannot send {signal:?} to the Redis with process id {pid}: {problem}");
        }
    }

    async fn end(mut self) {
        self.signal(Signal::TERM);
        if timeout(END_WAIT, self.ended()).await.is_err() {
            warn!(
                "the private Redis (process {}) did not end within {}, killing it",
                self.pid(),
                humane::duration(END_WAIT)
            );
            self.signal(Signal::KILL);
            if timeout(END_WAIT, self.ended()).await.is_err() {
                error!("the private Redis (process {}) outlives SIGKILL", self.pid());
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Reached with a live server only where the runtime goes away under the supervisor.
        let alive = match self {
            Self::Child(child) => matches!(child.try_wait(), Ok(None)),
            Self::Adopted { stream, .. } => {
                matches!(stream.try_read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
        };
        if alive {
            self.signal(Signal::TERM);
        }
    }
}

/// The configured server, else the first that PATH offers.
fn find_server(configured: Option<&Path>) -> Result<PathBuf> {
    let executable = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    let on_path = |name: &Path| {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|file| executable(file))
    };
    match configured {
        Some(path) if path.as_os_str().as_bytes().contains(&b'/') => executable(path).then(|| path.to_path_buf()),
        Some(name) => on_path(name),
        None => SERVERS.iter().find_map(|name| on_path(Path::new(name))),
    }
    .ok_or_else(|| PrivateRedisError::NoServer {
        looked_for: configured.map_or_else(
            || format!("{} on PATH", SERVERS.join(" and ")),
            |path| format!("{}, as configured", path.display()),
        ),
    })
}

/// Where the private Redis of the daemon that has this data directory (absolute, without links) listens.
pub fn url(data: &Path) -> Result<String> {
    socket_url(&socket(data)?.0)
}

/// The socket, and the folder it is in where it had to go to a shorter path.
fn socket(data: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let socket = data.join("redis/redis.sock");
    if socket.as_os_str().len() < SOCKET_PATH_MAX {
        return Ok((socket, None));
    }
    let short = short_dir(data)?;
    Ok((short.join("redis.sock"), Some(short)))
}

fn socket_url(socket: &Path) -> Result<String> {
    let file_url = Url::from_file_path(socket).map_err(|()| PrivateRedisError::NoSocket {
        path: socket.to_owned(),
        why: "its path is not absolute".into(),
    })?;
    Ok(format!("redis+unix://{}?db=0&protocol=resp3", file_url.path()))
}

/// The same short directory for the same data directory, whatever TMPDIR says today.
fn short_dir(data: &Path) -> Result<PathBuf> {
    let name = blake3::hash(data.as_os_str().as_bytes()).to_hex();
    let path = PathBuf::from(format!("/tmp/onceover-{}", &name[..16]));
    make_short_dir(&path)?;
    Ok(path)
}

fn make_short_dir(path: &Path) -> Result<()> {
    let refuse = |why: String| PrivateRedisError::NoSocket {
        path: path.to_path_buf(),
        why,
    };
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(refuse(error.to_string()));
        }
        _ => {}
    }
    // /tmp is open to every user: what lies there may be a trap.
    let found = fs::symlink_metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(refuse("it is there already and is not this user's alone".into()));
    }
    Ok(())
}

/// The last lines of a log, for an error message.
fn tail(path: &Path) -> String {
    let read = || {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let text = read()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

pub mod memory;
#[cfg(test)]
mod tests;
