//! What `onceoverd check` says of services that Celery workers run: whether their brokers can be reached, who listens on
//! their queues, and which tasks nobody there knows.

use std::{sync::Arc, time::Duration};

use onceover_catalog::{Catalog, RunnerSpec};
use onceover_celery::{WorkerReport, WorkerSurvey};
use tokio::time::timeout;

use super::{
    broker::SharedBroker,
    services::{WorkerService, read_services},
};
use crate::config::Config;

/// How long workers may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a broker may take, with all of its workers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Workers of a queue that are named.
const MOST_NAMED: usize = 5;

/// What is found of the services of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServiceInventory {
    /// A line of each service.
    pub lines: Vec<String>,
    /// What keeps stages from being sent.
    pub wrong: Vec<String>,
}

/// Asks the brokers of a configuration, and their workers, for what its services need.
pub async fn describe_services(config: &Config, catalog: &Catalog) -> ServiceInventory {
    let (services, brokers) = read_services(config);
    let mut found = ServiceInventory::default();
    for broker in &brokers {
        let of_broker = services.values().filter(|service| Arc::ptr_eq(&service.broker, broker));
        match survey_broker(broker).await {
            Ok(survey) => {
                for service in of_broker {
                    let tasks = list_tasks(catalog, &service.name);
                    found.lines.push(describe_service(service, &tasks, &survey));
                }
            }
            Err(why) => {
                for service in of_broker {
                    let line = format!("{} on {}   (not available)", service.name, broker.name());
                    found.lines.push(line);
                    if service.is_used {
                        let wrong = format!("services.{}: {} does not answer: {why}", service.name, broker.name());
                        found.wrong.push(wrong);
                    }
                }
            }
        }
    }
    found
}

async fn survey_broker(broker: &SharedBroker) -> Result<WorkerSurvey, String> {
    match timeout(PATIENCE, broker.client().survey_with_tasks(ANSWER)).await {
        Ok(survey) => survey.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The Celery tasks that the nodes of a service are.
fn list_tasks<'a>(catalog: &'a Catalog, service: &str) -> Vec<&'a str> {
    let nodes = catalog.iter().filter(|node| node.name.service() == service);
    let mut tasks: Vec<_> = nodes
        .filter_map(|node| match &node.runner {
            RunnerSpec::Celery(task) => Some(task.as_str()),
            _ => None,
        })
        .collect();
    tasks.sort_unstable();
    tasks.dedup();
    tasks
}

/// Describes a service whose broker answers.
fn describe_service(service: &WorkerService, tasks: &[&str], survey: &WorkerSurvey) -> String {
    let (name, broker) = (&service.name, service.broker.name());
    if !service.is_used {
        return format!("{name} runs on this machine; messages that were sent before are ended at {broker}");
    }
    let queue = &service.queue;
    let listeners: Vec<&WorkerReport> = survey
        .reports
        .iter()
        .filter(|report| report.queues.iter().any(|name| name == queue))
        .collect();
    let mut line = format!("{name} on {broker}, {}", describe_listeners(queue, &listeners));
    if survey.mute() > 0 {
        line += &format!("; {} connected without an answer", survey.mute());
    }
    let is_known = |task: &str| {
        let mut registered = listeners.iter().flat_map(|report| &report.registered);
        registered.any(|known| known == task)
    };
    // One that has not said which tasks it knows may know each.
    let is_said = !listeners.is_empty() && listeners.iter().all(|report| !report.registered.is_empty());
    for task in tasks.iter().filter(|task| is_said && !is_known(task)) {
        line += &format!("\n             no worker on {queue} knows task {task}");
    }
    line
}

fn describe_listeners(queue: &str, listeners: &[&WorkerReport]) -> String {
    if listeners.is_empty() {
        return format!("no worker is listening on {queue}");
    }
    let named: Vec<_> = listeners
        .iter()
        .take(MOST_NAMED)
        .map(|report| report.hostname.as_str())
        .collect();
    let more = match listeners.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} listening on {queue}: {}{more}", listeners.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "[services.a]\nrunner = 'celery'\nbroker = 'redis://127.0.0.1:1/0'\n\
                            [services.b]\nbroker = 'redis://127.0.0.1:1/0'";

    fn report(hostname: &str, queue: &str, registered: &[&str]) -> WorkerReport {
        WorkerReport {
            hostname: hostname.to_owned(),
            queues: vec![queue.to_owned()],
            pool: None,
            concurrency: None,
            pid: None,
            registered: registered.iter().map(|task| (*task).to_owned()).collect(),
        }
    }

    #[test]
    fn a_task_that_no_listening_worker_knows_is_named_and_silent_workers_are_counted() {
        let config: Config = toml::from_str(SERVICES).unwrap();
        let (services, _) = read_services(&config);
        let mut survey = WorkerSurvey {
            reports: vec![
                report("w1@x", "a_queue", &["a.one"]),
                report("w2@x", "other", &["a.two"]),
            ],
            connected: 3,
            answered: 2,
        };
        let tasks = ["a.one", "a.two"];
        let line = describe_service(&services["a"], &tasks, &survey);
        assert!(
            line.contains("1 listening on a_queue: w1@x; 1 connected without"),
            "{line}"
        );
        assert!(line.contains("no worker on a_queue knows task a.two"), "{line}");
        assert!(!line.contains("knows task a.one"), "{line}");
        // It has not said what it knows.
        survey.reports[0].registered.clear();
        assert!(!describe_service(&services["a"], &tasks, &survey).contains("knows task"));
        survey.reports.clear();
        let line = describe_service(&services["a"], &tasks, &survey);
        assert!(line.contains("no worker is listening on a_queue"), "{line}");
        assert!(describe_service(&services["b"], &tasks, &survey).contains("runs on this machine"));
    }

    #[tokio::test]
    async fn a_broker_that_does_not_answer_is_wrong_for_the_services_that_use_it_alone() {
        let config: Config = toml::from_str(SERVICES).unwrap();
        let found = describe_services(&config, &Catalog::default()).await;
        assert_eq!(found.lines.len(), 2);
        assert_eq!(found.wrong.len(), 1);
        assert!(found.wrong[0].contains("services.a"), "{found:?}");
    }
}
