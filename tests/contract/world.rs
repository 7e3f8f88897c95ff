//! The daemon that is played against, as a client sees it: plain HTTP and JSON, a receiver of callbacks, and Redis where
//! its address is known.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use futures_util::{StreamExt, stream};
use redis::aio::MultiplexedConnection;
use reqwest::{Method, RequestBuilder, multipart, redirect};
use serde_json::{Map, Value, json};

use crate::{
    check::Stop,
    checks::{AUDIO, MERGE, merge_input},
    listener::{Listener, silence},
    pattern::short,
};

/// How long something that is to happen is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where the daemon is, and what it may be asked to do.
pub struct GatewayTarget {
    pub base: String,
    pub token: Option<String>,
    /// A media file that the daemon can read; without one a second of silence is uploaded.
    pub media: Option<String>,
    /// How the daemon reaches this machine; without one the address that leads to it.
    pub callback_host: Option<String>,
    pub redis: Option<String>,
}

pub struct World {
    target: GatewayTarget,
    /// Follows redirects, as most clients do.
    http: reqwest::Client,
    /// Shows them.
    plain: reqwest::Client,
    prefix: String,
    tasks: Mutex<Vec<String>>,
    count: AtomicU32,
    pub listener: Listener,
    /// Why callbacks do not reach this machine.
    no_callbacks: Option<String>,
    /// Why inputs are not downloaded from this machine.
    no_downloads: Option<String>,
    redis: Result<MultiplexedConnection, String>,
    has_store: bool,
}

/// A run that waits for its input until this is dropped.
pub struct HeldRun<'a> {
    world: &'a World,
    pub task: String,
    file: String,
}

impl HeldRun<'_> {
    /// Lets it go on.
    pub fn release(&self) {
        self.world.listener.release(&self.file);
    }
}

impl Drop for HeldRun<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

impl World {
    /// Looks at what there is: the daemon itself, and whether it reaches this machine.
    pub async fn open(target: GatewayTarget) -> Result<Self> {
        let host = match &target.callback_host {
            Some(host) => host.clone(),
            None => address_towards(&target.base)?,
        };
        let bind = match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => address,
            Ok(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        };
        let redis = match &target.redis {
            Some(url) => connect(url).await,
            None => Err("none was named (REDIS=redis://host:port/db)".into()),
        };
        let client = || reqwest::Client::builder().timeout(PATIENCE);
        let mut world = Self {
            http: client().build()?,
            plain: client().redirect(redirect::Policy::none()).build()?,
            prefix: format!("contract-{:08x}", fastrand::u32(..)),
            tasks: Mutex::default(),
            count: AtomicU32::new(0),
            listener: Listener::start(bind, &host).await.context("a port for callbacks")?,
            no_callbacks: None,
            no_downloads: None,
            redis,
            has_store: false,
            target,
        };
        world.is_onceover().await?;
        world.no_callbacks = world.why_no_callbacks().await?;
        world.no_downloads = world.why_no_downloads().await?;
        let key = format!("{}/probe.txt", world.task("store"));
        let answer = world
            .upload(&[("file_path", &key)], b"probe".to_vec(), "probe.txt")
            .await?;
        let url = answer["body"]["download_url"].as_str().unwrap_or_default();
        world.has_store = !url.is_empty() && !is_of_the_daemon(url);
        Ok(world)
    }

    /// Refuses to go on at anything else: what is harmless here deletes a whole share there (D30).
    async fn is_onceover(&self) -> Result<()> {
        let system = self.get("/v1/system").await?;
        if system["body"]["events_channel"].is_string() {
            return Ok(());
        }
        Err(anyhow!(
            "{} does not answer GET /v1/system as Onceover does ({}), and some checks delete what the older gateway \
             does not protect; nothing was done. With tokens pass one of scope admin: TOKEN=...",
            self.target.base,
            system["http"]
        ))
    }

    async fn why_no_callbacks(&self) -> Result<Option<String>> {
        let (task, hook) = (self.task("reach"), self.name("reach"));
        let answer = self
            .submit_with(&task, MERGE, merge_input(), json!({"callback": self.hook_url(&hook)}))
            .await?;
        if answer["http"] != 200 {
            return Ok(Some(format!("the daemon refuses it: {}", answer["body"]["detail"])));
        }
        let received = self.listener.wait_for(&hook, 1, Duration::from_secs(5)).await;
        let url = self.listener.hook_url("");
        Ok(received
            .is_empty()
            .then(|| format!("none arrived at {url} within 5 s (CALLBACK_HOST=...)")))
    }

    async fn why_no_downloads(&self) -> Result<Option<String>> {
        let (task, file) = (self.task("fetch"), format!("{}.wav", self.name("fetch")));
        let answer = self
            .submit(&task, AUDIO, json!({"video_path": self.listener.file_url(&file)}))
            .await?;
        if answer["http"] != 200 {
            return Ok(Some(format!("the daemon refuses it: {}", answer["body"]["detail"])));
        }
        let status = self.ended(&task).await?;
        let error = &status["body"]["result"]["error"];
        Ok((!error.is_null()).then(|| error.to_string()))
    }

    /// A task id that no check has had; the task is deleted at the end.
    pub fn task(&self, about: &str) -> String {
        let task = format!("{}-{}", self.prefix, self.name(about));
        self.keep_track(&task);
        task
    }

    /// Has a task deleted at the end.
    pub fn keep_track(&self, task: &str) {
        self.tasks.lock().expect("no panic while locked").push(task.to_owned());
    }

    /// A name that no check has had.
    pub fn name(&self, about: &str) -> String {
        format!("{about}-{}", self.count.fetch_add(1, Ordering::Relaxed))
    }

    fn hook_url(&self, name: &str) -> String {
        self.listener.hook_url(name)
    }

    /// Tells what cannot be seen from here, and why.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if let Some(why) = &self.no_callbacks {
            limits.push(format!("callbacks do not reach this machine: {why}"));
        }
        if let Some(why) = &self.no_downloads {
            limits.push(format!(
                "a run cannot be made to wait, since no input comes from this machine: {why}"
            ));
        }
        if let Err(why) = &self.redis {
            limits.push(format!("Redis is not looked at: {why}"));
        }
        if !self.has_store {
            limits.push("the daemon has no object store".into());
        }
        limits
    }

    /// URL of a hook, where callbacks arrive.
    pub fn callback(&self, name: &str) -> Result<String, Stop> {
        match &self.no_callbacks {
            None => Ok(self.hook_url(name)),
            Some(_) => Err(Stop::Skipped("callbacks do not reach this machine".into())),
        }
    }

    /// Waits for callbacks of a hook.
    pub async fn callbacks(&self, name: &str, count: usize) -> Result<Vec<Value>, Stop> {
        let received = self.listener.wait_for(name, count, PATIENCE).await;
        if received.len() < count {
            return Err(Stop::Broken(format!(
                "{} of {count} callbacks came within {PATIENCE:?}",
                received.len()
            )));
        }
        Ok(received.iter().map(|received| received.seen()).collect())
    }

    /// Skips a check of what only an object store does.
    pub fn needs_store(&self) -> Result<(), Stop> {
        match self.has_store {
            true => Ok(()),
            false => Err(Stop::Skipped("the daemon has no object store".into())),
        }
    }

    /// A connection to the daemon's Redis.
    pub fn redis(&self) -> Result<MultiplexedConnection, Stop> {
        let redis = self.redis.clone();
        redis.map_err(|_| Stop::Skipped("Redis is not looked at".into()))
    }

    /// A request, without a redirect being followed.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.plain.request(method, format!("{}{path}", self.target.base)))
    }

    /// The same, with redirects followed.
    pub fn following(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.http.request(method, format!("{}{path}", self.target.base)))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.target.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and returns the answer as checks compare it: `{http, headers, body}`.
    pub async fn send(&self, request: RequestBuilder) -> Result<Value> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let headers: Map<_, _> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))))
            .collect();
        let bytes = answer.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Ok(json!({"http": status, "headers": headers, "body": body}))
    }

    /// Opens a URL that an answer gave: with the token where it is one of the daemon.
    pub async fn open_url(&self, url: &str) -> Result<Value, Stop> {
        let request = self.plain.get(url);
        let request = if is_of_the_daemon(url) {
            self.authorized(request)
        } else {
            request
        };
        let answer = self.send(request).await;
        answer.map_err(|error| Stop::Skipped(format!("the URL does not lead anywhere from here: {error:#}")))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST /v1/tasks`.
    pub async fn submit(&self, task: &str, node: &str, input: Value) -> Result<Value> {
        self.submit_with(task, node, input, json!({})).await
    }

    /// `POST /v1/tasks` with more fields.
    pub async fn submit_with(&self, task: &str, node: &str, input: Value, more: Value) -> Result<Value> {
        let mut body = json!({"task_name": node, "task_id": task, "input_data": input});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.post("/v1/tasks", &body).await
    }

    pub async fn status(&self, task: &str) -> Result<Value> {
        self.get(&format!("/v1/tasks/{task}/status")).await
    }

    /// Asks for the status until the node is done, as clients without a callback do.
    pub async fn ended(&self, task: &str) -> Result<Value> {
        self.status_that(task, |status| {
            !["pending", "running"]
                .iter()
                .any(|word| status["body"]["status"] == *word)
        })
        .await
    }

    /// Asks for the status until it is such.
    pub async fn status_that(&self, task: &str, is_such: impl Fn(&Value) -> bool) -> Result<Value> {
        let start = Instant::now();
        loop {
            let status = self.status(task).await?;
            if is_such(&status) {
                return Ok(status);
            }
            if start.elapsed() > PATIENCE {
                return Err(anyhow!(
                    "waited {PATIENCE:?} for task {task}; its status is {}",
                    short(&status["body"])
                ));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has a node done under a task, and returns the status.
    pub async fn done(&self, task: &str, node: &str, input: Value) -> Result<Value> {
        self.submit(task, node, input).await?;
        self.ended(task).await
    }

    /// Starts a run that waits for its input.
    pub async fn held_run(&self, about: &str) -> Result<HeldRun<'_>, Stop> {
        let held = self.queued_run(about, json!({})).await?;
        if self.listener.wait_for(&held.file, 1, PATIENCE).await.is_empty() {
            return Err(Stop::Broken(format!(
                "the run of {} did not begin within {PATIENCE:?}",
                held.task
            )));
        }
        Ok(held)
    }

    /// The same, perhaps before it begins, and with more fields of the request.
    pub async fn queued_run(&self, about: &str, more: Value) -> Result<HeldRun<'_>, Stop> {
        if self.no_downloads.is_some() {
            return Err(Stop::Skipped("a run cannot be made to wait".into()));
        }
        let (task, file) = (self.task(about), format!("{}.wav", self.name(about)));
        self.listener.hold(&file);
        let input = json!({"video_path": self.listener.file_url(&file)});
        let held = HeldRun {
            world: self,
            task,
            file,
        };
        let answer = self.submit_with(&held.task, AUDIO, input, more).await?;
        if answer["http"] != 200 {
            return Err(Stop::Broken(format!("the submit was answered {answer}")));
        }
        Ok(held)
    }

    /// A media file as input of a task: the one that was named, else a second of silence, uploaded under this name.
    pub async fn media(&self, task: &str, name: &str) -> Result<String, Stop> {
        if let Some(media) = &self.target.media {
            return Ok(media.clone());
        }
        let key = format!("{task}/in/{name}");
        let answer = self.upload(&[("file_path", &key)], silence(), name).await?;
        let url = answer["body"]["download_url"].as_str().unwrap_or_default();
        if answer["http"] != 200 {
            return Err(Stop::Skipped(format!(
                "no media file (MEDIA=...), and an upload was answered {answer}"
            )));
        }
        // Without an object store the daemon itself is where the file is.
        Ok(if is_of_the_daemon(url) {
            format!("share/workflows/{key}")
        } else {
            url.to_owned()
        })
    }

    /// `POST /v1/files/upload` with the fields in the query.
    pub async fn upload(&self, query: &[(&str, &str)], bytes: Vec<u8>, name: &str) -> Result<Value> {
        let part = multipart::Part::bytes(bytes).file_name(name.to_owned());
        let form = multipart::Form::new().part("file", part);
        self.send(
            self.request(Method::POST, "/v1/files/upload")
                .query(query)
                .multipart(form),
        )
        .await
    }

    /// Deletes every task of the checks. Returns those that were not deleted.
    pub async fn clean_up(&self) -> Vec<String> {
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no panic while locked"));
        let deleted = stream::iter(tasks.into_iter().map(|task| async move {
            let path = format!("/v1/tasks/{task}/delete");
            match self.post(&path, &json!({"force": true})).await {
                Ok(answer) if answer["http"] == 404 || answer["body"]["status"] == "success" => None,
                Ok(answer) => Some(format!("{task}: {answer}")),
                Err(error) => Some(format!("{task}: {error:#}")),
            }
        }));
        deleted
            .buffer_unordered(8)
            .filter_map(async |left| left)
            .collect()
            .await
    }
}

/// Whether the daemon itself gives the file out, for want of an object store.
fn is_of_the_daemon(url: &str) -> bool {
    url.contains("/v1/files/download/")
}

async fn connect(url: &str) -> Result<MultiplexedConnection, String> {
    let open = async { redis::Client::open(url)?.get_multiplexed_async_connection().await };
    let connection: redis::RedisResult<_> = open.await;
    connection.map_err(|error| format!("Redis at {url} does not answer: {error}"))
}

/// The address of this machine from which packets to a URL leave.
fn address_towards(base: &str) -> Result<String> {
    let url: reqwest::Url = base.parse().with_context(|| format!("{base} is no URL"))?;
    let host = url.host_str().with_context(|| format!("{base} names no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let target = (host.trim_matches(['[', ']']), port);
    let any: IpAddr = if host.starts_with('[') {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    // Connecting a datagram socket sends nothing.
    let socket = UdpSocket::bind((any, 0))?;
    socket
        .connect(target)
        .with_context(|| format!("there is no way to {host}"))?;
    Ok(match socket.local_addr()?.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    })
}
