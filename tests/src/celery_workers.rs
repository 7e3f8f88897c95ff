//! Real Celery workers on a separate broker. They run `tests/celery/worker_app.py` in a virtual environment that is made
//! once: with the newest Celery, or with that which ONCEOVER_CELERY names.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::Value;

use crate::{RedisServer, eventually, free_port, redis_server::connect};

/// The queue that workers listen to unless a test says otherwise: that of the service `probe`.
pub const PROBE_QUEUE: &str = "probe_queue";

/// Where the databases of the broker are: messages, and results.
const MESSAGES: u32 = 0;
const RESULTS: u32 = 1;
/// What the keys of results begin with; the id of the message follows.
const RESULT_KEY: &str = "celery-task-meta-";

/// The Redis that workers take messages from, and leave results in.
pub struct CeleryBroker {
    redis: RedisServer,
    port: u16,
}

impl CeleryBroker {
    /// Starts it. What it has answered is on its disk, so that a restart loses nothing.
    pub async fn start() -> Self {
        Self::start_with("always").await
    }

    /// Starts one that is measured: it flushes each second, as a daemon's private Redis does.
    pub async fn start_measured() -> Self {
        Self::start_with("everysec").await
    }

    async fn start_with(flush: &str) -> Self {
        let port = free_port();
        let text = port.to_string();
        Self {
            redis: RedisServer::start(&["--port", &text, "--appendonly", "yes", "--appendfsync", flush]).await,
            port,
        }
    }

    /// Kills it, and starts it on what it has written.
    pub async fn restart(&mut self) {
        self.redis.restart().await;
    }

    /// URL of one of its databases, as Celery takes it.
    pub fn url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// URL of the database that messages are in.
    pub fn message_url(&self) -> String {
        self.url(MESSAGES)
    }

    /// URL of the database that results are in.
    pub fn result_url(&self) -> String {
        self.url(RESULTS)
    }

    /// Configuration (TOML) of a service whose nodes its workers run, with more lines of it.
    pub fn service(&self, name: &str, more: &str) -> String {
        service_at(name, &self.message_url(), &self.result_url(), more)
    }

    async fn connect(&self, database: u32) -> MultiplexedConnection {
        connect(&self.url(database)).await
    }

    /// Counts the messages that no worker has taken.
    pub async fn depth(&self, queue: &str) -> u64 {
        let mut redis = self.connect(MESSAGES).await;
        redis.llen(queue).await.expect("the broker answers")
    }

    /// Removes the messages that no worker has taken, as if they had never been sent.
    pub async fn drop_messages(&self, queue: &str) {
        let mut redis = self.connect(MESSAGES).await;
        let _: u64 = redis.del(queue).await.expect("the broker answers");
    }

    /// Lists the messages that were ever sent and are not taken back: those that wait, that a worker holds, and that have
    /// a result.
    pub async fn message_ids(&self, queue: &str) -> BTreeSet<String> {
        let mut redis = self.connect(MESSAGES).await;
        let waiting: Vec<String> = redis.lrange(queue, 0, -1).await.expect("the broker answers");
        let held: Vec<String> = redis.hvals("unacked").await.expect("the broker answers");
        let mut ids: BTreeSet<String> = waiting.iter().filter_map(|text| read_id(text)).collect();
        // What a worker holds is a list of the message, its exchange and its routing key.
        ids.extend(held.iter().filter_map(|text| {
            let parts: Value = serde_json::from_str(text).ok()?;
            id_of(&parts[0])
        }));
        ids.extend(self.result_ids().await);
        ids
    }

    /// Lists the messages that have a result, of whatever state.
    pub async fn result_ids(&self) -> BTreeSet<String> {
        let mut redis = self.connect(RESULTS).await;
        let keys: Vec<String> = redis.keys(format!("{RESULT_KEY}*")).await.expect("the broker answers");
        keys.iter()
            .filter_map(|key| key.strip_prefix(RESULT_KEY))
            .map(str::to_owned)
            .collect()
    }

    /// Reads all results, of whatever state.
    async fn read_results(&self) -> Vec<Value> {
        let mut redis = self.connect(RESULTS).await;
        let mut results = Vec::new();
        for id in self.result_ids().await {
            let text: Option<String> = redis
                .get(format!("{RESULT_KEY}{id}"))
                .await
                .expect("the broker answers");
            results.push(serde_json::from_str(&text.unwrap_or_default()).unwrap_or_default());
        }
        results
    }

    /// Waits until a worker has begun a task, and answers the process that runs it.
    pub async fn running_process(&self) -> i32 {
        eventually("a task that has begun", || async {
            let results = self.read_results().await;
            let begun = results.iter().find(|result| result["status"] == "STARTED")?;
            i32::try_from(begun["result"]["pid"].as_i64()?).ok()
        })
        .await
    }

    /// Lists how the messages that have a result stand.
    pub async fn result_states(&self) -> Vec<String> {
        let results = self.read_results().await;
        let states = results.iter().map(|result| result["status"].as_str());
        states.map(|state| state.unwrap_or_default().to_owned()).collect()
    }

    /// Waits until what workers hold is older than these seconds, so that the broker gives it out again.
    pub async fn until_held_for(&self, seconds: f64) {
        eventually("messages that are held for long", || async {
            let mut redis = self.connect(MESSAGES).await;
            let taken: Vec<(String, f64)> = redis.zrange_withscores("unacked_index", 0, -1).await.ok()?;
            let (now, micros): (f64, f64) = redis::cmd("TIME").query_async(&mut redis).await.ok()?;
            let now = now + micros / 1_000_000.0;
            taken.iter().all(|(_, at)| now - at > seconds).then_some(())
        })
        .await;
    }
}

/// Configuration (TOML) of a service whose nodes the workers of a broker of any kind run, with more lines of it.
pub fn service_at(name: &str, broker: &str, results: &str, more: &str) -> String {
    format!("[services.{name}]\nrunner = 'celery'\nbroker = '{broker}'\nresults = '{results}'\n{more}\n")
}

/// Reads the id of a message.
fn read_id(message: &str) -> Option<String> {
    id_of(&serde_json::from_str(message).ok()?)
}

fn id_of(message: &Value) -> Option<String> {
    message["headers"]["id"].as_str().map(str::to_owned)
}

/// How a test wants a worker.
#[derive(Debug, Clone)]
pub struct WorkerStart {
    name: String,
    pool: String,
    concurrency: u32,
    queue: String,
    /// The module of its app, in this folder.
    app: (&'static str, PathBuf),
    environment: Vec<(String, String)>,
}

impl WorkerStart {
    /// A worker with this name, a pool `prefork` of two processes that acknowledges early, and the queue of `probe`.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            pool: "prefork".to_owned(),
            concurrency: 2,
            queue: PROBE_QUEUE.to_owned(),
            app: ("worker_app", celery_sources()),
            environment: Vec::new(),
        }
    }

    /// With another kind of pool.
    pub fn pool(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.pool);
        self
    }

    /// Runs so many tasks at a time.
    pub fn concurrency(mut self, most: u32) -> Self {
        self.concurrency = most;
        self
    }

    /// Listens to another queue.
    pub fn queue(mut self, queue: &str) -> Self {
        queue.clone_into(&mut self.queue);
        self
    }

    /// Runs nodes of Onceover, and listens to this queue.
    pub fn of_onceover(mut self, queue: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/celery");
        self.app = ("onceover_worker", folder);
        self.queue(queue).env("NO_PROXY", "127.0.0.1")
    }

    /// Acknowledges a message once its task has ended. What it holds for more than two seconds is given out again.
    pub fn acks_late(self) -> Self {
        self.env("WORKER_ACKS", "late").env("WORKER_VISIBILITY", "2")
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, and waits until it takes messages.
    pub async fn start(self, broker: &CeleryBroker) -> CeleryWorker {
        self.start_at(&broker.url(MESSAGES), &broker.url(RESULTS)).await
    }

    /// The same on a broker of any kind, by the URLs that Celery takes.
    pub async fn start_at(self, broker: &str, results: &str) -> CeleryWorker {
        let folder = tempfile::Builder::new()
            .prefix("oow")
            .tempdir()
            .expect("a temporary folder");
        let log = folder.path().join("worker.log");
        let output = fs::File::create(&log).expect("a file for its output");
        let python = tokio::task::spawn_blocking(install_celery)
            .await
            .expect("the installation ends");
        let hostname = format!("{}@test", self.name);
        let child = Command::new(python)
            .args([
                "-m",
                "celery",
                "-A",
                self.app.0,
                "worker",
                "--without-mingle",
                "-l",
                "INFO",
            ])
            .args(["-n", &hostname, "-Q", &self.queue, "-P", &self.pool])
            .args(["-c", &self.concurrency.to_string()])
            .current_dir(&self.app.1)
            .env("ONCEOVER_CACHE", folder.path().join("cache"))
            .env("CELERY_BROKER_URL", broker)
            .env("CELERY_RESULT_BACKEND", results)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Tests run as root in containers, too.
            .env("C_FORCE_ROOT", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("one more handle"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("the worker starts");
        let mut worker = CeleryWorker {
            hostname,
            child: Some(child),
            log,
            _folder: folder,
        };
        worker.until_ready().await;
        worker
    }
}

/// A running worker; killed with its processes when dropped.
pub struct CeleryWorker {
    hostname: String,
    child: Option<Child>,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl CeleryWorker {
    /// Returns the name that it has in events and results.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Returns what it has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn until_ready(&mut self) {
        let ready = format!("{} ready.", self.hostname);
        eventually(&format!("the worker {}", self.hostname), || {
            let text = self.logged();
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "the worker has ended ({ended:?}): {text}");
            let is_ready = text.contains(&ready);
            async move { is_ready.then_some(()) }
        })
        .await;
    }

    /// Kills it with all its processes, as the kernel or a power failure does.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.wait();
    }

    /// Asks it to stop, and waits for the end: it ends the tasks that it runs first.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let main = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(main.expect("a pid"), rustix::process::Signal::TERM).expect("it runs");
        tokio::task::spawn_blocking(move || child.wait().expect("it can be waited for"))
            .await
            .expect("waiting works");
    }
}

impl Drop for CeleryWorker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the worker {}\n{}", self.hostname, self.logged());
        }
        self.kill();
    }
}

/// Folder of the app that workers run.
pub fn celery_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("celery")
}

/// Installs Celery, once for all tests, and answers the Python that has it.
pub fn install_celery() -> PathBuf {
    let versions = std::env::var("ONCEOVER_CELERY").unwrap_or_else(|_| "latest".to_owned());
    let installed = Command::new(celery_sources().join("install.sh"))
        .arg(versions)
        .stderr(Stdio::inherit())
        .output()
        .expect("bash runs");
    assert!(installed.status.success(), "Celery is installed, see above");
    let said = String::from_utf8(installed.stdout).expect("text");
    PathBuf::from(said.lines().last().expect("its Python"))
}
