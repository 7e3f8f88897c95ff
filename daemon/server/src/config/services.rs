//! `[services.<name>]`: where the nodes of a service run, on this machine or on Celery workers.

use std::{collections::HashMap, time::Duration};

use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, RunnerSpec};
use onceover_celery::{BrokerSettings, BrokerUrlError, TermSignal};
use onceover_types::NodeName;
use serde::{Deserialize, Deserializer, de::Error};

use super::{ConfigError, duration};

/// What stands before the name of a queue of Celery workers, where it names the queue of ours whose runs go there.
const DISPATCH_PREFIX: &str = "celery:";

/// Returns the queue of ours whose runs go to a queue of Celery workers.
pub fn dispatch_queue(queue: &str) -> String {
    format!("{DISPATCH_PREFIX}{queue}")
}

/// Returns the queue of Celery workers to which the runs of a queue of ours go; none where they go to no workers.
pub fn find_workers_queue(queue: &str) -> Option<&str> {
    queue.strip_prefix(DISPATCH_PREFIX)
}

/// Whether the runs of a queue of ours go to Celery workers.
pub fn is_dispatch_queue(queue: &str) -> bool {
    find_workers_queue(queue).is_some()
}

/// Where the nodes of one service run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceConfig {
    /// What runs its nodes.
    pub runner: ServiceRunner,
    /// Which program its workers are.
    pub worker: ServiceWorker,
    /// The Redis that the workers take messages from.
    pub broker: Option<String>,
    /// The Redis that they write results to; left out, the broker's.
    pub results: Option<String>,
    /// The queue that they listen on; left out, `<service>_queue`.
    pub queue: Option<String>,
    /// The name of the task; left out, the node's.
    pub task: Option<String>,
    /// How long a message may wait for a worker; left out, for ever.
    #[serde(deserialize_with = "some_duration")]
    pub start_deadline: Option<Duration>,
    /// How many attempts a run has whose workers are lost.
    pub max_attempts: u32,
    /// The signal by which a worker ends a run that is cancelled.
    #[serde(deserialize_with = "signal")]
    pub cancel_signal: TermSignal,
    /// What becomes of stages while no worker listens.
    pub when_no_worker: WhenNoWorker,
    /// How long they wait for one before they run here, where `when_no_worker` says that.
    #[serde(deserialize_with = "duration")]
    pub local_after: Duration,
    /// Folders of this machine by what the workers call them.
    pub paths: IndexMap<String, String>,
    /// Whether what workers write lies on this machine too.
    pub sees_files: bool,
}

/// What runs the nodes of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceRunner {
    /// This daemon.
    #[default]
    Local,
    /// Celery workers.
    Celery,
}

/// Which program the workers of a service are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceWorker {
    /// One that has the nodes itself, and takes contexts as those of the older gateway do.
    #[default]
    Gateway,
    /// `onceover_worker.py`, which gets the programs of the nodes with each message.
    Onceover,
}

/// The task of `onceover_worker.py`.
const ONCEOVER_TASK: &str = "onceover.run";

/// What becomes of stages while no worker listens on their queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenNoWorker {
    /// They wait for one.
    #[default]
    Wait,
    /// They run here after a time.
    Local,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            runner: ServiceRunner::Local,
            worker: ServiceWorker::Gateway,
            broker: None,
            results: None,
            queue: None,
            task: None,
            start_deadline: None,
            max_attempts: 3,
            cancel_signal: TermSignal::Term,
            when_no_worker: WhenNoWorker::Wait,
            local_after: Duration::from_secs(60),
            paths: IndexMap::new(),
            sees_files: true,
        }
    }
}

impl ServiceConfig {
    /// The queue that its workers listen on.
    pub fn queue(&self, service: &str) -> String {
        self.queue.clone().unwrap_or_else(|| format!("{service}_queue"))
    }

    /// The name of the task that runs a node.
    pub fn task(&self, node: &NodeName) -> String {
        let task = self.task.clone();
        task.unwrap_or_else(|| match self.worker {
            ServiceWorker::Gateway => node.to_string(),
            ServiceWorker::Onceover => ONCEOVER_TASK.to_owned(),
        })
    }

    /// Whether its workers can run a node: those of Onceover run programs, not what is built into the daemon.
    pub fn can_run(&self, node: &NodeSpec) -> bool {
        let variants = node.variants.iter().filter_map(|variant| variant.runner.as_ref());
        let is_builtin = |runner: &RunnerSpec| matches!(runner, RunnerSpec::Builtin(_));
        self.worker == ServiceWorker::Gateway || !variants.chain([&node.runner]).any(is_builtin)
    }

    /// Where its workers take messages from and leave results; none without a broker.
    pub fn broker_settings(&self) -> Option<BrokerSettings> {
        self.settings(self.broker.as_deref()?).ok()
    }

    fn settings(&self, broker: &str) -> Result<BrokerSettings, BrokerUrlError> {
        let results = self.results.as_deref().unwrap_or(broker);
        BrokerSettings::parse(broker, Some(results))
    }

    fn check(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.contains('.') {
            return Err(format!(
                "'{name}' is no service: give what stands before the dot of its nodes' names"
            ));
        }
        let Some(broker) = &self.broker else {
            return match self.runner {
                ServiceRunner::Local => Ok(()),
                ServiceRunner::Celery => Err(format!(
                    "services.{name}: runner = \"celery\" needs broker = \"redis://...\", the Redis that the workers use"
                )),
            };
        };
        self.settings(broker)
            .map_err(|error| format!("services.{name}: {error}"))?;
        let queue = self.queue(name);
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if queue.is_empty() || !queue.chars().all(is_allowed) {
            return Err(format!(
                "services.{name}.queue: '{queue}' cannot be the name of a queue here (A-Z a-z 0-9 _ - .)"
            ));
        }
        if self.max_attempts == 0 {
            return Err(format!("services.{name}.max_attempts must be at least 1"));
        }
        for path in self.paths.iter().flat_map(|(ours, theirs)| [ours, theirs]) {
            if !path.starts_with('/') {
                return Err(format!(
                    "services.{name}.paths: '{path}' must be an absolute path, as {{ \"/here\" = \"/there\" }}"
                ));
            }
        }
        Ok(())
    }
}

/// Refuses services whose workers have no way to get at files: neither the folders of this machine nor an object store.
pub(super) fn check_files(services: &IndexMap<String, ServiceConfig>, has_store: bool) -> Result<(), ConfigError> {
    for (name, service) in services {
        let takes_objects =
            service.runner == ServiceRunner::Celery && service.worker == ServiceWorker::Onceover && !service.sees_files;
        if takes_objects && !has_store {
            return Err(ConfigError::Value(format!(
                "services.{name}: its workers do not see the files of this machine (sees_files = false), so they need an \
                 object store; name one with storage.url"
            )));
        }
    }
    Ok(())
}

/// Refuses services that cannot be, alone or beside others.
pub(super) fn check(services: &IndexMap<String, ServiceConfig>) -> Result<(), ConfigError> {
    let mut brokers: HashMap<String, (&str, &str)> = HashMap::new();
    for (name, service) in services {
        service.check(name).map_err(ConfigError::Value)?;
        let Some(broker) = &service.broker else { continue };
        let queue = service.queue(name);
        let (first, known) = *brokers.entry(queue.clone()).or_insert((name.as_str(), broker.as_str()));
        if known != broker.as_str() {
            return Err(ConfigError::Value(format!(
                "services.{first} and services.{name} use one queue name, {queue}, at two brokers; give one of the queues \
                 another name"
            )));
        }
    }
    Ok(())
}

fn signal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TermSignal, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use onceover_catalog::parse_node;

    use super::*;

    fn refusal(text: &str) -> String {
        let services: IndexMap<String, ServiceConfig> = toml::from_str(text).unwrap();
        check(&services).unwrap_err().to_string()
    }

    #[test]
    fn a_service_of_workers_needs_a_broker_and_names_what_is_wrong() {
        for (text, named) in [
            ("[whisper]\nrunner = 'celery'", "broker"),
            ("[whisper]\nbroker = 'amqp://box'", "services.whisper"),
            ("[whisper]\nbroker = 'sentinel://box'", "master_name"),
            (
                "[whisper]\nbroker = 'redis://box/0'\nqueue = 'a b'",
                "services.whisper.queue",
            ),
            ("[whisper]\nbroker = 'redis://box/0'\nmax_attempts = 0", "max_attempts"),
            (
                "[whisper]\nbroker = 'redis://box/0'\npaths = { 'a' = '/b' }",
                "absolute",
            ),
            ("['whisper.large']\nrunner = 'local'", "before the dot"),
            (
                "[a]\nbroker = 'redis://box/0'\nqueue = 'q'\n[b]\nbroker = 'redis://other/0'\nqueue = 'q'",
                "two brokers",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(named), "{text}: {refusal}");
        }
    }

    #[test]
    fn workers_of_onceover_need_a_way_to_files_and_run_only_programs() {
        let services: IndexMap<String, ServiceConfig> = toml::from_str(
            "[mine]\nrunner = 'celery'\nworker = 'onceover'\nbroker = 'redis://box/0'\nsees_files = false\n\
             [other]\nrunner = 'celery'\nbroker = 'redis://box/0'\nsees_files = false",
        )
        .unwrap();
        check(&services).unwrap();
        let refusal = check_files(&services, false).unwrap_err().to_string();
        assert!(
            refusal.contains("services.mine") && refusal.contains("storage.url"),
            "{refusal}"
        );
        check_files(&services, true).unwrap();
        let (mine, other) = (&services["mine"], &services["other"]);
        let name = NodeName::parse("mine.node").unwrap();
        assert_eq!(
            (mine.task(&name), other.task(&name)),
            (ONCEOVER_TASK.to_owned(), "mine.node".to_owned())
        );
        for (runner, is_run) in [
            ("command = ['true']", true),
            ("python = 'a/b.py'", true),
            ("builtin = 'ffmpeg.probe'", false),
        ] {
            let node = parse_node(&format!("name = 'mine.node'\nrunner = {{ {runner} }}")).unwrap();
            assert_eq!((mine.can_run(&node), other.can_run(&node)), (is_run, true), "{runner}");
        }
    }

    #[test]
    fn what_is_left_out_follows_from_the_name_of_the_service() {
        let services: IndexMap<String, ServiceConfig> =
            toml::from_str("[faster_whisper]\nrunner = 'celery'\nbroker = 'redis://box/0'").unwrap();
        check(&services).unwrap();
        let service = &services["faster_whisper"];
        assert_eq!(service.queue("faster_whisper"), "faster_whisper_queue");
        assert_eq!((service.max_attempts, service.start_deadline), (3, None));
        assert!(is_dispatch_queue(&dispatch_queue(&service.queue("faster_whisper"))));
        assert!(!is_dispatch_queue("gpu"));
    }
}
