//! Configuration: a TOML file, then the environment and flags on top. Checked whole at start; an error names the
//! file, the line and what is allowed.

mod api;
mod callbacks;
mod gpu_lock;
mod log;
mod pipelines;
mod services;
mod storage;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, Profile};
use onceover_types::{
    humane, read_toml,
    spans::{duration, durations},
};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::{private_redis::memory, python::Environments};
use onceover_nodes::llm::LlmConfig;
use onceover_run::paths::DEFAULT_DOCUMENT;

pub use api::{ApiConfig, UnknownFields};
pub use callbacks::CallbacksConfig;
pub use gpu_lock::GpuLockConfig;
pub use log::{LogConfig, LogFormat, LogToStderr};
pub use pipelines::PipelinesConfig;
pub use services::{
    ServiceConfig, ServiceRunner, ServiceWorker, WhenNoWorker, dispatch_queue, find_workers_queue, is_dispatch_queue,
};
pub use storage::{CoreConfig, FilesConfig, StorageConfig, is_bucket};

/// Everything that can be set. Durations read as `7s`, `1m 30s`, `24h`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the HTTP API.
    pub listen: String,
    /// Folder of the private Redis, the logs and, below `share/workflows`, every task's files.
    pub data: PathBuf,
    /// Folders that inputs may lie in, beside the data folder's own.
    pub media_roots: Vec<PathBuf>,
    /// Folder of the environments of Python nodes, which daemons can share; left out, `nodes` in the data folder.
    pub environments: Option<PathBuf>,
    /// What the defaults of parameters are chosen for; left out, those of the node files count: large models.
    pub profile: Option<Profile>,
    pub redis: RedisConfig,
    /// Runs at a time by resource class. Classes left out keep their default.
    pub slots: IndexMap<String, u32>,
    pub runs: RunsConfig,
    pub reuse: ReuseConfig,
    pub retention: RetentionConfig,
    pub callbacks: CallbacksConfig,
    pub inputs: InputsConfig,
    pub access: AccessConfig,
    pub api: ApiConfig,
    pub pipelines: PipelinesConfig,
    pub llm: LlmConfig,
    pub storage: StorageConfig,
    pub core: CoreConfig,
    pub files: FilesConfig,
    pub log: LogConfig,
    /// Folders of node files, `*.toml`.
    pub node_dirs: Vec<PathBuf>,
    /// More nodes, or other ones in the place of those of the same name.
    pub nodes: Vec<NodeSpec>,
    /// Where the nodes of a service run, by what stands before the dot of their names.
    pub services: IndexMap<String, ServiceConfig>,
    pub gpu_lock: GpuLockConfig,
    /// Defaults of parameters, by node and parameter.
    pub defaults: IndexMap<Spanned<String>, IndexMap<Spanned<String>, Spanned<Value>>>,
    /// Where all this was read from.
    #[serde(skip)]
    source: Option<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    file: PathBuf,
    text: String,
    /// Folder of the environments, before flags.
    environments: PathBuf,
    /// The profile, before flags.
    profile: Option<Profile>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// The Redis to use; left out, the daemon starts a private one.
    pub url: Option<String>,
    /// Program of the private one; left out, `valkey-server` or `redis-server` on the PATH.
    pub server: Option<PathBuf>,
    /// Memory that the private one may take, in bytes; left out, a quarter of the machine's.
    pub max_memory: Option<u64>,
}

impl RedisConfig {
    /// Bytes that the private Redis may take; None: it is not known how many there are.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory.or_else(memory::share_of_machine)
    }
}

/// Less memory does not hold an empty Redis and what is always in it.
const LEAST_MEMORY: u64 = 8 << 20;
/// Ended runs of a stage that can be kept.
const MOST_RUNS_PER_STAGE: u64 = 100;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunsConfig {
    /// How long a run is held for a daemon that is not heard of.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// How often a daemon says that a run goes on.
    #[serde(deserialize_with = "duration")]
    pub heartbeat: Duration,
    /// How long a program may take to end by itself after it was asked to.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// How often a run may be lost with its daemon before it is FAILED.
    pub max_lost: u32,
    /// How long runs may go on after the daemon was asked to stop, before they are handed back.
    #[serde(deserialize_with = "duration")]
    pub drain: Duration,
    /// How deep folders may be that a run leaves in its own; one that leaves deeper ones has failed.
    pub max_depth: u64,
    /// How many files and folders a run may leave; one that leaves more has failed.
    pub max_files: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReuseConfig {
    /// How a result's files are looked at before it is reused.
    pub verify: Verify,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// By size and time of change.
    #[default]
    Stat,
    /// By their bytes as well: reads every file when a run ends and at every hit.
    Hash,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// How long a finished stage is kept (S1).
    #[serde(deserialize_with = "duration")]
    pub ttl: Duration,
    /// How many events a reader can be behind.
    pub events: u64,
    /// How many ended runs of a stage are kept; 0: only the newest is shown.
    pub runs_per_stage: u64,
    /// How long the files of a task are kept.
    pub files: KeepFiles,
    /// What was changed within this time is never collected.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepFiles {
    /// Until the task is deleted or `onceoverd gc` is called.
    #[default]
    Keep,
    /// Until its record expires.
    WithRecord,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputsConfig {
    /// Addresses, networks (CIDR) and host names that inputs may be downloaded from although they are not public.
    pub allow: Vec<String>,
    /// Largest download.
    pub max_bytes: u64,
    /// Largest transcript, subtitle file or other document that is read whole.
    pub max_document: u64,
    /// Largest `input_data` of a request, as JSON.
    pub max_json: u64,
    /// Largest `input_data` of all stages of a task together.
    pub max_task: u64,
    /// Limit of one download.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    /// File of tokens, a line each: `read <token>` or `admin <token>`.
    pub tokens_file: Option<PathBuf>,
    /// Host names that the API answers to, beside localhost and loopback addresses.
    pub hosts: Vec<String>,
    /// Requests under way at a time; more are answered 503.
    pub max_requests: usize,
    /// Connections open at a time; fewer where the system lets the daemon open fewer files.
    pub max_connections: usize,
    /// How long the head of a request may take, and a new connection to send one.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// How long the body of a request may keep it waiting; the limit starts again with each 16 KiB.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// How long a connection may be idle before its next request, or with an answer that the client does not read.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// How long a link is good for that `GET /v1/links` makes.
    #[serde(deserialize_with = "duration")]
    pub link_lifetime: Duration,
}

/// Longest [`AccessConfig::link_lifetime`]: a link cannot be taken back.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 86_400);

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8788".into(),
            data: default_data_dir(),
            media_roots: Vec::new(),
            environments: None,
            profile: None,
            redis: RedisConfig::default(),
            slots: IndexMap::new(),
            runs: RunsConfig::default(),
            reuse: ReuseConfig::default(),
            retention: RetentionConfig::default(),
            callbacks: CallbacksConfig::default(),
            inputs: InputsConfig::default(),
            access: AccessConfig::default(),
            api: ApiConfig::default(),
            pipelines: PipelinesConfig::default(),
            llm: LlmConfig::default(),
            storage: StorageConfig::default(),
            core: CoreConfig::default(),
            files: FilesConfig::default(),
            log: LogConfig::default(),
            node_dirs: Vec::new(),
            nodes: Vec::new(),
            services: IndexMap::new(),
            gpu_lock: GpuLockConfig::default(),
            defaults: IndexMap::new(),
            source: None,
        }
    }
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(7),
            heartbeat: Duration::from_secs(2),
            grace: Duration::from_secs(3),
            max_lost: 5,
            drain: Duration::ZERO,
            max_depth: 256,
            max_files: 1_000_000,
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(86_400),
            events: 10_000,
            runs_per_stage: 5,
            files: KeepFiles::Keep,
            grace: Duration::from_secs(3600),
        }
    }
}

impl Default for InputsConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            max_bytes: 20 << 30,
            max_document: DEFAULT_DOCUMENT,
            max_json: 4 << 20,
            max_task: 64 << 20,
            timeout: Duration::from_secs(1800),
        }
    }
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            tokens_file: None,
            hosts: Vec::new(),
            max_requests: 1024,
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            link_lifetime: Duration::from_secs(15 * 60),
        }
    }
}

fn default_data_dir() -> PathBuf {
    use etcetera::BaseStrategy;
    match etcetera::choose_base_strategy() {
        Ok(base) => base.data_dir().join("onceover"),
        Err(_) => PathBuf::from("onceover-data"),
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {path} cannot be read: {why}")]
    Read { path: PathBuf, why: std::io::Error },
    // Not `source`, or it would be shown twice.
    #[error("{path}: {why}")]
    Parse { path: PathBuf, why: Box<toml::de::Error> },
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// Reads the file, when there is one.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).map_err(|why| ConfigError::Read { path: path.into(), why })?;
        let mut config: Self = read_toml(&text).map_err(|why| ConfigError::Parse {
            path: path.into(),
            why: Box::new(why),
        })?;
        config.source = Some(Source {
            file: path.into(),
            text,
            environments: config.environments_folder(),
            profile: config.profile,
        });
        Ok(config)
    }

    /// The file it was read from.
    pub fn file(&self) -> Option<&Path> {
        self.source.as_ref().map(|source| source.file.as_path())
    }

    /// Where in the file something is, as the beginning of a message; empty without a file.
    pub fn line(&self, offset: usize) -> String {
        let Some(source) = &self.source else {
            return String::new();
        };
        let before = source.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("{}, line {line}: ", source.file.display())
    }

    fn environments_folder(&self) -> PathBuf {
        self.environments.clone().unwrap_or_else(|| self.data.join("nodes"))
    }

    /// Folder of the environments of Python nodes.
    pub fn environments(&self) -> Environments {
        let folder = self.environments_folder();
        let (plain, plain_profile) = match &self.source {
            Some(source) => (source.environments.clone(), source.profile),
            None => (Self::default().environments_folder(), None),
        };
        let mut flags = String::new();
        if let Some(file) = self.file() {
            flags.push_str(&format!(" --config {}", file.display()));
        }
        if folder != plain {
            flags.push_str(&format!(" --environments {}", folder.display()));
        }
        if let Some(profile) = self.profile.filter(|profile| plain_profile != Some(*profile)) {
            flags.push_str(&format!(" --profile {profile}"));
        }
        Environments::new(folder).with_flags(flags)
    }

    /// Slots of each resource class: the defaults (cpu = cores, gpu = 1, io = 4, llm = 4), then what is configured, then the
    /// queues of Celery workers.
    pub fn slots(&self) -> IndexMap<String, u32> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let mut slots: IndexMap<String, u32> = [("cpu", cores), ("gpu", 1), ("io", 4), ("llm", 4)]
            .map(|(name, count)| (name.to_owned(), count))
            .into();
        slots.extend(self.slots.iter().map(|(name, count)| (name.clone(), *count)));
        // How many runs go on there is up to the workers.
        let sent = self.services.iter().filter(|(_, service)| service.broker.is_some());
        slots.extend(sent.map(|(name, service)| (dispatch_queue(&service.queue(name)), 0)));
        slots
    }

    /// Refuses values that cannot be, alone or beside others.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_runs()?;
        self.check_access()?;
        self.callbacks.check()?;
        self.check_sizes()?;
        self.storage.check()?;
        services::check(&self.services)?;
        services::check_files(&self.services, self.storage.url.is_some())?;
        self.gpu_lock.check()?;
        self.check_slots()
    }

    fn check_runs(&self) -> Result<(), ConfigError> {
        if self.runs.heartbeat * 2 > self.runs.lease {
            return refuse(format!(
                "runs.heartbeat ({}) must be at most half of runs.lease ({}), or a run is lost with one late beat",
                humane::duration(self.runs.heartbeat),
                humane::duration(self.runs.lease)
            ));
        }
        if self.runs.heartbeat.is_zero() || self.retention.ttl.as_secs() == 0 {
            return refuse("runs.heartbeat must be above zero, and retention.ttl at least 1s".into());
        }
        if self.retention.runs_per_stage > MOST_RUNS_PER_STAGE {
            return refuse(format!(
                "retention.runs_per_stage must be at most {MOST_RUNS_PER_STAGE}"
            ));
        }
        if self.runs.max_lost == 0 {
            return refuse("runs.max_lost must be at least 1".into());
        }
        if self.runs.max_depth == 0 || self.runs.max_files == 0 {
            return refuse("runs.max_depth and runs.max_files must be at least 1".into());
        }
        Ok(())
    }

    fn check_access(&self) -> Result<(), ConfigError> {
        if self.access.max_requests == 0 || self.access.max_connections == 0 {
            return refuse("access.max_requests and access.max_connections must be at least 1".into());
        }
        let access = &self.access;
        for (key, time) in [
            ("header_timeout", access.header_timeout),
            ("body_timeout", access.body_timeout),
            ("idle_timeout", access.idle_timeout),
        ] {
            if time.is_zero() {
                return refuse(format!("access.{key} must be above zero"));
            }
        }
        if !(Duration::from_secs(1)..=LONGEST_LINK).contains(&self.access.link_lifetime) {
            return refuse("access.link_lifetime must be from 1s to 168h (a week): a link cannot be taken back".into());
        }
        if let Some(host) = self
            .access
            .hosts
            .iter()
            .find(|host| host.is_empty() || host.contains(['/', ':', ' ']))
        {
            return refuse(format!(
                "access.hosts: '{host}' is no host name; give names without scheme and port"
            ));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        if self.inputs.timeout.is_zero() || self.inputs.max_bytes == 0 {
            return refuse("inputs.timeout and inputs.max_bytes must be above zero".into());
        }
        if self.inputs.max_json == 0 || self.inputs.max_task < self.inputs.max_json {
            return refuse("inputs.max_json must be above zero, and inputs.max_task at least as much".into());
        }
        if self.callbacks.max_per_run == 0 {
            return refuse("callbacks.max_per_run must be at least 1".into());
        }
        if self.redis.max_memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return refuse(format!("redis.max_memory must be at least {LEAST_MEMORY} (bytes)"));
        }
        if self.files.max_bytes == 0 {
            return refuse("files.max_bytes must be above zero".into());
        }
        Ok(())
    }

    fn check_slots(&self) -> Result<(), ConfigError> {
        // Beside others on a shared Redis, a daemon may leave a class to them.
        if let (None, Some((name, _))) = (&self.redis.url, self.slots.iter().find(|(_, count)| **count == 0)) {
            return refuse(format!(
                "slots.{name} is 0, so that what needs it would wait for ever; give at least 1, or leave it out. Only with \
                 redis.url, where daemons of other machines run it, can it be 0"
            ));
        }
        for name in self.slots.keys() {
            if name.is_empty()
                || !name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            {
                return refuse(format!(
                    "slots: '{name}' is no name for a resource class (A-Z a-z 0-9 _ -)"
                ));
            }
        }
        Ok(())
    }
}

fn refuse(text: String) -> Result<(), ConfigError> {
    Err(ConfigError::Value(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn defaults_are_the_decided_ones() {
        let config = parse("").unwrap();
        assert_eq!(config.listen, "127.0.0.1:8788");
        assert_eq!((config.runs.lease.as_secs(), config.runs.heartbeat.as_secs()), (7, 2));
        assert_eq!(config.retention.ttl.as_secs(), 86_400);
        assert_eq!(config.slots()["gpu"], 1);
    }

    #[test]
    fn an_error_names_the_line_and_what_is_allowed() {
        let error = parse("listen = '127.0.0.1:1'\nlissten = 'x'").unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("lissten") && error.contains("media_roots"),
            "{error}"
        );
        let error = parse("[access]\ntoken_file = 'x'").unwrap_err();
        assert!(error.contains("line 2") && error.contains("tokens_file"), "{error}");
        let error = parse("[inputs]\nmax_byte = 5").unwrap_err();
        assert!(error.contains("line 2") && error.contains("max_bytes"), "{error}");
        for wrong in [
            "max_bytes = 0",
            "max_bytes = '20 GiB'",
            "timeout = '0s'",
            "allow = 'nas'",
        ] {
            assert!(parse(&format!("[inputs]\n{wrong}")).is_err(), "{wrong}");
        }
        let error = parse("[access]\nhosts = ['http://box']").unwrap_err();
        assert!(error.contains("access.hosts"), "{error}");
        for lifetime in ["0s", "169h"] {
            let error = parse(&format!("[access]\nlink_lifetime = '{lifetime}'")).unwrap_err();
            assert!(error.contains("access.link_lifetime"), "{error}");
        }
        let error = parse("[slots]\nio = 0").unwrap_err();
        assert!(error.contains("slots.io is 0"), "{error}");
        parse("redis.url = 'redis://box'\n[slots]\nio = 0").unwrap();
        let error = parse("[runs]\nlease = '1s'\nheartbeat = '1s'").unwrap_err();
        assert!(error.contains("runs.heartbeat"), "{error}");
    }

    #[test]
    fn a_profile_is_one_of_those_there_are_and_a_flag_for_it_stands_in_the_commands_that_are_named() {
        assert_eq!(parse("").unwrap().profile, None);
        let config = parse("profile = 'cpu'").unwrap();
        assert_eq!(config.profile, Some(Profile::Cpu));
        let error = parse("listen = '127.0.0.1:1'\nprofile = 'gpu'").unwrap_err();
        for part in ["line 2", "gpu", "cpu", "cuda"] {
            assert!(error.contains(part), "{error}");
        }
        let command = config.environments().command("nodes install all");
        assert!(command.ends_with("nodes install all --profile cpu"), "{command}");
    }

    #[test]
    fn durations_are_for_people() {
        let config =
            parse("[runs]\nlease = '500ms'\nheartbeat = '100ms'\n[callbacks]\nschedule = ['0s', '1m 30s']").unwrap();
        assert_eq!(config.runs.lease, Duration::from_millis(500));
        assert_eq!(config.callbacks.schedule[1], Duration::from_secs(90));
    }
}
