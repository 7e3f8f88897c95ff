//! A real `onceoverd` on a separate data directory and port, with nodes that tests need.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use onceover_types::{NodeName, Problem, StageState, TaskId};
use onceover_wire::{
    ReuseMode, StageView, SubmitRequest, SubmitResponse,
    client::{Client, ClientError},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::{eventually, program, redis_server::connect, until_equal};

/// Nodes that do nothing, wait, fork, fail or ignore signals; each a few lines of shell or Python.
const NODES: &str = include_str!("nodes.toml");
const TREE: &str = include_str!("tree.py");

/// How a test wants its daemon.
#[derive(Default)]
pub struct DaemonBuilder {
    config: String,
    redis: Option<String>,
    media: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    token: Option<String>,
    nodes: Option<String>,
    under: Vec<String>,
}

impl DaemonBuilder {
    /// Starts it by a program that these words begin, such as `nohup`.
    pub fn under(mut self, words: &[&str]) -> Self {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// These nodes (TOML) instead of the usual ones of tests.
    pub fn nodes(mut self, text: &str) -> Self {
        self.nodes = Some(text.to_owned());
        self
    }

    /// More configuration (TOML), before the nodes.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Uses this Redis instead of a private one.
    pub fn redis(mut self, url: &str) -> Self {
        self.redis = Some(url.to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends this token with every request of the harness.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub fn media_root(mut self, dir: &Path) -> Self {
        self.media.push(dir.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let dir = tempfile::Builder::new()
            .prefix("oo")
            .tempdir()
            .expect("a temporary folder");
        let config = dir.path().join("onceover.toml");
        let nodes = self.nodes.as_deref().unwrap_or(NODES);
        let nodes = nodes.replace("@DIR@", &dir.path().display().to_string());
        let tree = TREE.replace("@DIR@", &dir.path().display().to_string());
        fs::write(dir.path().join("tree.py"), tree).expect("the program is written");
        let lease = if self.config.contains("[runs]") {
            ""
        } else {
            "[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '500ms'\n"
        };
        fs::write(&config, format!("{}\n{lease}\n{nodes}", self.config)).expect("the configuration is written");
        let mut daemon = Daemon {
            client: Client::new("http://127.0.0.1"),
            data: dir.path().join("data"),
            port: 0,
            config,
            redis: self.redis,
            media: self.media,
            environment: self.environment,
            token: self.token,
            under: self.under,
            child: None,
            dir,
        };
        daemon.launch().await;
        daemon
    }
}

/// File of what a daemon writes to stdout and stderr.
const OUTPUT: &str = "daemon.out";
/// What a started daemon says about its address.
const LISTENS: &str = "onceoverd listens on http://127.0.0.1:";

/// A running daemon; killed with all it started when dropped.
pub struct Daemon {
    pub client: Client,
    pub data: PathBuf,
    /// The same after a restart; the first start takes one that is free.
    port: u16,
    config: PathBuf,
    redis: Option<String>,
    media: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    token: Option<String>,
    under: Vec<String>,
    child: Option<Child>,
    dir: TempDir,
}

impl Daemon {
    pub fn builder() -> DaemonBuilder {
        DaemonBuilder::default()
    }

    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Folder of the test: data directory, configuration, and what nodes leave as traces.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The command that starts this daemon.
    pub fn command(&self) -> Command {
        self.command_on(&format!("127.0.0.1:{}", self.port))
    }

    /// The same with another address.
    pub fn command_on(&self, listen: &str) -> Command {
        let mut words = self.under.iter().map(PathBuf::from).chain([program("onceoverd")]);
        let mut command = Command::new(words.next().expect("a program"));
        command
            .args(words)
            .arg("--listen")
            .arg(listen)
            .arg("--data")
            .arg(&self.data)
            .arg("--config")
            .arg(&self.config)
            .arg("--media-root")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .env_remove("ONCEOVER_TOKENS")
            .env_remove("ONCEOVER_LOG")
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0);
        for root in &self.media {
            command.arg("--media-root").arg(root);
        }
        if let Some(redis) = &self.redis {
            command.arg("--redis").arg(redis);
        }
        command
    }

    /// Starts it (again) and waits until it is ready.
    pub async fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let said = self.dir.path().join(OUTPUT);
        let output = fs::File::create(&said).expect("a file for its output");
        let mut command = self.command();
        command
            .stdout(output.try_clone().expect("one more handle"))
            .stderr(output);
        self.child = Some(command.spawn().expect("onceoverd starts"));
        let http = reqwest::Client::new();
        let start = std::time::Instant::now();
        loop {
            let text = fs::read_to_string(&said).unwrap_or_default();
            if let Some((_, rest)) = text.split_once(LISTENS)
                && let Some((port, _)) = rest.split_once(';')
            {
                self.port = port.parse().expect("a port");
                self.client = Client::with_token(&self.url(), self.token.as_deref()).expect("a token");
                if let Ok(answer) = http.get(format!("{}/readyz", self.url())).send().await
                    && answer.status().is_success()
                {
                    return;
                }
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(
                ended.is_none() && start.elapsed() < crate::PATIENCE,
                "onceoverd does not get ready ({ended:?}): {text}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().expect("it runs").id()).expect("a pid")
    }

    /// The lowest number that no open file of the daemon has.
    pub fn lowest_free_descriptor(&self) -> u64 {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("its files can be seen");
        let open: Vec<u64> = open
            .flatten()
            .filter_map(|file| file.file_name().to_str()?.parse().ok())
            .collect();
        (0..).find(|number| !open.contains(number)).expect("a number")
    }

    /// Sets how many files the running daemon may open, by the numbers they get.
    pub fn limit_descriptors(&self, most: u64) {
        use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
        let limit = Rlimit {
            current: Some(most),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(Pid::from_raw(self.pid()), Resource::Nofile, limit).expect("its limits can be set");
    }

    /// SIGKILL, and nothing else.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// SIGTERM, and waits for the end; answers how it ended.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await
    }

    /// Waits until it ends by itself; answers how it ended.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("it runs");
        tokio::task::spawn_blocking(move || child.wait().expect("it can be waited for"))
            .await
            .expect("waiting works")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        self.signal_pid(self.pid(), signal);
    }

    fn signal_pid(&self, pid: i32, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// A connection to its private Redis.
    pub async fn redis(&self) -> MultiplexedConnection {
        let url = match &self.redis {
            Some(url) => url.clone(),
            None => self.client.system().await.expect("the daemon answers").redis.url,
        };
        connect(&url).await
    }

    /// Every key in Redis, sorted; without the figures of minutes, which the daemon notes by its clock.
    pub async fn keys(&self) -> Vec<String> {
        let mut redis = self.redis().await;
        let mut keys: Vec<String> = redis.keys("*").await.expect("Redis answers");
        keys.retain(|key| !key.starts_with("onceover:minutes:"));
        keys.sort();
        keys
    }

    /// Everything in Redis that requests can change: the keys and their dumps; of a hash, whose dump changes with its order
    /// when it is read, the sorted fields.
    pub async fn content(&self) -> Vec<(String, Vec<u8>)> {
        let mut redis = self.redis().await;
        let mut content = Vec::new();
        // The daemon's own clock goes on, and so does its lease on the data folder.
        let goes_on = |key: &str| key == "onceover:reaper" || key.starts_with("onceover:directory:");
        for key in self.keys().await.into_iter().filter(|key| !goes_on(key)) {
            let kind: String = redis::cmd("TYPE")
                .arg(&key)
                .query_async(&mut redis)
                .await
                .expect("Redis answers");
            let value = if kind == "hash" {
                let fields: std::collections::BTreeMap<String, Vec<u8>> =
                    redis.hgetall(&key).await.expect("Redis answers");
                format!("{fields:?}").into_bytes()
            } else {
                let dump: Option<Vec<u8>> = redis::cmd("DUMP")
                    .arg(&key)
                    .query_async(&mut redis)
                    .await
                    .expect("Redis answers");
                dump.unwrap_or_default()
            };
            content.push((key, value));
        }
        content
    }

    /// The public JSON of a stage.
    pub async fn projection(&self, task: &str, node: &str) -> Value {
        let json: Option<String> = self
            .redis()
            .await
            .get(format!("{task}:node:{node}"))
            .await
            .expect("Redis answers");
        json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("JSON"))
    }

    /// Waits until nothing runs and nothing waits.
    pub async fn idle(&self) {
        until_equal("runs that wait or run", 0, || async {
            let queues = self.client.queues().await.expect("the daemon answers").queues;
            queues.iter().map(|queue| queue.running + queue.pending).sum()
        })
        .await;
    }

    /// Waits until no delivery is pending.
    pub async fn delivered(&self) {
        let redis = self.redis().await;
        until_equal("pending deliveries", 0u64, || {
            let mut redis = redis.clone();
            async move { redis.zcard("onceover:outbox").await.expect("Redis answers") }
        })
        .await;
    }

    /// Lets `test.wait` go on that waits for this file.
    pub fn release(&self, until: &str) {
        fs::write(self.dir().join(until), "").expect("the file is written");
    }

    /// Ends one run of `test.told`, as the JSON says: `{"output": {...}}` or `{"error": "..."}`.
    pub fn tell(&self, run: &str, end: &Value) {
        let draft = self.dir().join(format!("draft.{run}"));
        fs::write(&draft, end.to_string()).expect("the file is written");
        fs::rename(draft, self.dir().join(format!("go.{run}"))).expect("the file is renamed");
    }

    /// How often a limit was reached, by the daemon's own count.
    pub async fn times_reached(&self, limit: &str) -> u64 {
        let metrics = self.get("/metrics").await.text;
        let start = format!("onceover_limit_reached_total{{limit=\"{limit}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&start));
        let count = count.unwrap_or_else(|| panic!("{limit} is not counted"));
        count.parse().expect("a count")
    }

    /// Sends a request as any HTTP client would.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> HttpAnswer {
        let method = method.parse().expect("a method");
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.url()));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        HttpAnswer::of(request.send().await.expect("the daemon answers")).await
    }

    pub async fn get(&self, path: &str) -> HttpAnswer {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> HttpAnswer {
        self.call("POST", path, Some(&body)).await
    }

    /// What the daemon has written to stdout and stderr, none of which is a terminal, since its last start.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join(OUTPUT)).expect("it was started")
    }

    /// What the daemon has logged to files.
    pub fn logged(&self) -> String {
        let files = fs::read_dir(self.data.join("logs")).into_iter().flatten().flatten();
        // A link beside them has the name of the newest.
        let files = files.filter(|file| file.file_type().is_ok_and(|kind| kind.is_file()));
        files
            .map(|file| fs::read_to_string(file.path()).unwrap_or_default())
            .collect()
    }

    /// Submits and waits until it has succeeded.
    pub async fn done(&self, task: &str, node: &str, input: Value) -> StageView {
        self.submit(task, node, input).await;
        self.until(task, node, StageState::Success).await
    }

    /// Process ids of everything that runs for this daemon's tasks.
    pub fn children(&self) -> Vec<i32> {
        self.marked().into_iter().map(|(pid, _)| pid).collect()
    }

    /// The same with what each is marked with: run and attempt, `<run>/<attempt>`.
    pub fn marked(&self) -> Vec<(i32, String)> {
        let Ok(instance) = fs::read_to_string(self.data.join("instance")) else {
            return Vec::new();
        };
        let id = instance
            .split(|c: char| c == '#' || c.is_whitespace())
            .next()
            .unwrap_or_default();
        let mark = format!("ONCEOVER_RUN={id}/");
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let mut variables = environ.split(|byte| *byte == 0);
            let run = variables.find_map(|variable| variable.strip_prefix(mark.as_bytes()))?;
            Some((pid, String::from_utf8_lossy(run).into_owned()))
        })
        .collect()
    }

    /// How often a test node was begun under this trace name.
    pub fn traces(&self, name: &str) -> usize {
        fs::read_to_string(self.dir.path().join(format!("trace.{name}"))).map_or(0, |text| text.lines().count())
    }

    pub async fn submit(&self, task: &str, node: &str, input: Value) -> SubmitResponse {
        self.try_submit(task, node, input, None, ReuseMode::Auto)
            .await
            .expect("the submit is accepted")
    }

    pub async fn try_submit(
        &self,
        task: &str,
        node: &str,
        input: Value,
        callback: Option<String>,
        reuse: ReuseMode,
    ) -> Result<SubmitResponse, ClientError> {
        self.client.submit(&request(task, node, input, callback, reuse)).await
    }

    /// The stage as it is now.
    pub async fn stage(&self, task: &str, node: &str) -> Option<StageView> {
        let mut view = self.client.task(&task_id(task)).await.ok()?;
        view.stages.swap_remove(&node_name(node))
    }

    /// Waits until the stage is in a state.
    pub async fn until(&self, task: &str, node: &str, state: StageState) -> StageView {
        eventually(&format!("{node} of {task} {state}"), || async {
            self.stage(task, node).await.filter(|stage| stage.status == state)
        })
        .await
    }

    /// Waits until the stage has ended and answers it.
    pub async fn until_ended(&self, task: &str, node: &str) -> StageView {
        eventually(&format!("the end of {node} of {task}"), || async {
            self.stage(task, node).await.filter(|stage| !stage.status.in_flight())
        })
        .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if std::thread::panicking() {
                eprintln!("--- log of the daemon in {}\n{}", self.data.display(), self.logged());
            }
            // SIGTERM first, so that it takes its Redis down; a frozen one has to be thawed for that.
            if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
            }
            for _ in 0..500 {
                if child.try_wait().ok().flatten().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            // It hangs, or ends runs that are slow to end. Its reaper ends those, but would not find Redis any more
            // once the folder was removed.
            let _ = child.kill();
            let _ = child.wait();
            let redis = fs::read_to_string(self.data.join("redis/redis.pid")).unwrap_or_default();
            if let Some(redis) = redis.trim().parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(redis, rustix::process::Signal::KILL);
            }
        }
    }
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    pub status: u16,
    pub content_type: String,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl HttpAnswer {
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let content_type = headers.get("content-type").and_then(|value| value.to_str().ok());
        Self {
            status,
            content_type: content_type.unwrap_or_default().to_owned(),
            headers,
            text: response.text().await.expect("a whole answer"),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's text, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// What kind of problem it tells, `redis-unavailable` for `/problems/redis-unavailable`.
    pub fn problem(&self) -> String {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        let problem: Problem = serde_json::from_str(&self.text).expect("a problem document");
        assert_eq!(problem.status, self.status);
        problem.kind.as_str().trim_start_matches("/problems/").to_owned()
    }

    /// Names of the fields that a problem document refuses.
    pub fn fields(&self) -> Vec<String> {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        let problem: Problem = serde_json::from_str(&self.text).expect("a problem document");
        assert_eq!(problem.status, self.status);
        problem.errors.into_iter().map(|error| error.field).collect()
    }
}

/// Submits a run of `test.told` to the first of these daemons, waits until one of them has begun it, and answers its id.
pub async fn begun(daemons: &[&Daemon], task: &str) -> String {
    let answer = daemons[0].submit(task, "test.told", serde_json::json!({})).await;
    let run = answer.reuse_info.run_id.expect("a run").to_string();
    until_equal("begun", 1, || async {
        daemons.iter().map(|daemon| daemon.traces(&run)).sum::<usize>()
    })
    .await;
    run
}

/// The same; also which of two has begun it, and the other.
pub async fn begun_by_one(first: Daemon, second: Daemon, task: &str) -> (String, Daemon, Daemon) {
    let run = begun(&[&first, &second], task).await;
    if first.traces(&run) == 1 {
        (run, first, second)
    } else {
        (run, second, first)
    }
}

/// A submit request.
pub fn request(task: &str, node: &str, input: Value, callback: Option<String>, reuse: ReuseMode) -> SubmitRequest {
    let Value::Object(input_data) = input else {
        panic!("input_data is an object")
    };
    let input_data: Map<String, Value> = input_data;
    SubmitRequest {
        task_name: node.to_owned(),
        task_id: Some(task.to_owned()),
        callback,
        input_data,
        reuse: Some(reuse),
    }
}

pub fn task_id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a task id")
}

pub fn node_name(text: &str) -> NodeName {
    NodeName::parse(text).expect("a node name")
}

/// A shipped node (TOML of the configuration) whose runner is this command: for a node whose models are not there, in the
/// shape that its own file documents.
pub fn fixture_node(name: &str, command: &[&str]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../assets/nodes/{name}.toml"));
    let shipped = fs::read_to_string(file).expect("the node is shipped");
    let mut node = String::from("[[nodes]]\n");
    // What it needs is not there, and its example is of no use here.
    let mut left_out = false;
    for line in shipped.lines() {
        left_out = !line.starts_with("[[") && (left_out || line.starts_with('['));
        if left_out {
            continue;
        }
        if let Some(table) = line.strip_prefix("[[") {
            node.push_str(&format!("[[nodes.{table}"));
        } else if line.starts_with("runner = ") {
            // An array of texts is the same in TOML and JSON.
            node.push_str(&format!("runner = {{ command = {} }}", Value::from(command)));
        } else {
            node.push_str(line);
        }
        node.push('\n');
    }
    node
}
