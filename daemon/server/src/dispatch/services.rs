//! Where the workers of each service are, as the configuration says.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use onceover_celery::TermSignal;

use super::{broker::SharedBroker, paths::PathMap};
use crate::config::{Config, ServiceConfig, ServiceRunner, ServiceWorker, WhenNoWorker};

/// A service whose nodes run on Celery workers, or did: its messages are known as long as its broker is.
pub(super) struct WorkerService {
    pub(super) name: String,
    /// Whether its nodes run there. If not, what was sent before is ended.
    pub(super) is_used: bool,
    /// The queue that its workers listen on.
    pub(super) queue: String,
    pub(super) start_deadline: Option<Duration>,
    pub(super) max_attempts: u32,
    pub(super) cancel_signal: TermSignal,
    /// How long stages wait for a worker before they run here; none: for ever.
    pub(super) local_after: Option<Duration>,
    pub(super) paths: PathMap,
    pub(super) sees_files: bool,
    /// Whether they are `onceover_worker.py`, and get the node with each message.
    pub(super) is_onceover: bool,
    pub(super) broker: Arc<SharedBroker>,
}

/// The services that have workers, by name.
pub(super) type WorkerServices = IndexMap<String, Arc<WorkerService>>;

/// Reads the services of the configuration that have a broker. Those of one broker share what is known of it.
pub(super) fn read_services(config: &Config) -> (WorkerServices, Vec<Arc<SharedBroker>>) {
    let mut brokers: Vec<Arc<SharedBroker>> = Vec::new();
    let mut services = IndexMap::new();
    for (name, service) in &config.services {
        let Some(settings) = service.broker_settings() else {
            continue;
        };
        let known = brokers.iter().find(|broker| *broker.settings() == settings);
        let broker = if let Some(broker) = known {
            Arc::clone(broker)
        } else {
            let shown = settings.to_string();
            let url = shown.split(", ").next().unwrap_or_default().to_owned();
            let is_taken = brokers.iter().any(|broker| broker.name() == url);
            let broker = Arc::new(SharedBroker::new(if is_taken { shown } else { url }, settings));
            brokers.push(Arc::clone(&broker));
            broker
        };
        services.insert(name.clone(), Arc::new(read_service(name, service, broker)));
    }
    (services, brokers)
}

fn read_service(name: &str, service: &ServiceConfig, broker: Arc<SharedBroker>) -> WorkerService {
    WorkerService {
        name: name.to_owned(),
        is_used: service.runner == ServiceRunner::Celery,
        queue: service.queue(name),
        start_deadline: service.start_deadline,
        max_attempts: service.max_attempts,
        cancel_signal: service.cancel_signal,
        local_after: (service.when_no_worker == WhenNoWorker::Local).then_some(service.local_after),
        paths: PathMap::new(&service.paths),
        sees_files: service.sees_files,
        is_onceover: service.worker == ServiceWorker::Onceover,
        broker,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_broker_share_its_subscription_and_those_without_one_have_none() {
        let config: Config = toml::from_str(
            "[services.a]\nrunner = 'celery'\nbroker = 'redis://:secret@box/0'\n\
             [services.b]\nbroker = 'redis://:secret@box/0'\n\
             [services.c]\nrunner = 'celery'\nbroker = 'redis://:secret@box/0'\nresults = 'redis://box/1'\n\
             when_no_worker = 'local'\nlocal_after = '5s'\n\
             [services.d]\nrunner = 'local'\n",
        )
        .unwrap();
        let (services, brokers) = read_services(&config);
        assert_eq!(services.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(brokers.len(), 2);
        assert!(Arc::ptr_eq(&services["a"].broker, &services["b"].broker));
        assert!(services["a"].is_used && !services["b"].is_used);
        assert_ne!(brokers[0].name(), brokers[1].name());
        assert!(brokers.iter().all(|broker| !broker.name().contains("secret")));
        assert_eq!(services["a"].local_after, None);
        assert_eq!(services["c"].local_after, Some(Duration::from_secs(5)));
    }
}
