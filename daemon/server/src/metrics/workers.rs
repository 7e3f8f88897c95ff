//! What is measured of Celery workers. Labels are brokers and queues of the configuration; no host name is one.

use std::collections::BTreeMap;

use onceover_wire::{WorkerQueue, WorkerState, WorkersReport};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    broker: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerLabels {
    broker: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkerQueueLabels {
    broker: String,
    queue: String,
}

/// Gauges of brokers, workers and their queues.
#[derive(Debug, Default)]
pub(super) struct WorkerGauges {
    up: Family<BrokerLabels, Gauge>,
    workers: Family<WorkerLabels, Gauge>,
    depth: Family<WorkerQueueLabels, Gauge>,
    waiting: Family<WorkerQueueLabels, Gauge>,
    in_flight: Family<WorkerQueueLabels, Gauge>,
    slots: Family<WorkerQueueLabels, Gauge>,
    listeners: Family<WorkerQueueLabels, Gauge>,
}

impl WorkerGauges {
    /// Adds the gauges to the daemon's.
    pub(super) fn register(&self, own: &mut Registry) {
        let celery = own.sub_registry_with_prefix("celery");
        celery.register(
            "broker_up",
            "Whether the workers of the broker could be asked",
            self.up.clone(),
        );
        celery.register("workers", "Workers by how they are", self.workers.clone());
        celery.register(
            "queue_depth",
            "Messages that no worker has taken, of all senders",
            self.depth.clone(),
        );
        celery.register(
            "queue_waiting",
            "Stages that wait for a worker to be free",
            self.waiting.clone(),
        );
        celery.register(
            "queue_in_flight",
            "Stages that were sent to a worker and have not ended",
            self.in_flight.clone(),
        );
        celery.register("queue_slots", "Stages that may be in flight", self.slots.clone());
        celery.register("queue_listeners", "Workers that listen", self.listeners.clone());
    }

    /// Sets the gauges to what is known now; what is not known is left out.
    pub(super) fn set(&self, report: &WorkersReport) {
        self.up.clear();
        self.workers.clear();
        for broker in &report.brokers {
            let labels = BrokerLabels {
                broker: broker.broker.clone(),
            };
            self.up.get_or_create(&labels).set(i64::from(broker.up));
            self.set_workers(report, &broker.broker);
        }
        for family in [
            &self.depth,
            &self.waiting,
            &self.in_flight,
            &self.slots,
            &self.listeners,
        ] {
            family.clear();
        }
        for queue in &report.queues {
            self.set_queue(queue);
        }
    }

    fn set_workers(&self, report: &WorkersReport, broker: &str) {
        let mut counts: BTreeMap<WorkerState, i64> = WorkerState::ALL.map(|state| (state, 0)).into();
        for worker in report.workers.iter().filter(|worker| worker.broker == broker) {
            *counts.entry(worker.state).or_default() += 1;
        }
        for (state, count) in counts {
            let labels = WorkerLabels {
                broker: broker.to_owned(),
                state: state.as_str(),
            };
            self.workers.get_or_create(&labels).set(count);
        }
    }

    fn set_queue(&self, queue: &WorkerQueue) {
        let labels = WorkerQueueLabels {
            broker: queue.broker.clone(),
            queue: queue.name.clone(),
        };
        if let Some(depth) = queue.depth {
            self.depth.get_or_create(&labels).set(super::gauge(depth));
        }
        self.waiting.get_or_create(&labels).set(super::gauge(queue.waiting));
        self.in_flight.get_or_create(&labels).set(super::gauge(queue.in_flight));
        self.slots.get_or_create(&labels).set(i64::from(queue.slots));
        self.listeners
            .get_or_create(&labels)
            .set(super::gauge(queue.listeners.len() as u64));
    }
}

#[cfg(test)]
mod tests {
    use onceover_wire::{BrokerSeen, WorkerSeen};
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn workers_are_counted_by_state_and_queues_by_broker_and_name() {
        let broker = "redis://broker:6379/0";
        let worker = |hostname: &str, state| WorkerSeen {
            hostname: hostname.into(),
            broker: broker.into(),
            state,
            queues: vec!["q".into()],
            pool: None,
            concurrency: 2,
            active: None,
            processed: None,
            version: None,
            heard_at: None,
        };
        let report = WorkersReport {
            brokers: vec![BrokerSeen {
                broker: broker.into(),
                up: true,
                error: None,
                asked_at: None,
                mute: 0,
            }],
            queues: vec![WorkerQueue {
                name: "q".into(),
                broker: broker.into(),
                queue: "celery:q".into(),
                depth: None,
                waiting: 4,
                in_flight: 3,
                slots: 5,
                listeners: vec!["a@x".into(), "b@x".into()],
                reason: None,
                stages: Vec::new(),
            }],
            workers: vec![
                worker("a@x", WorkerState::Online),
                worker("b@x", WorkerState::Online),
                worker("c@x", WorkerState::Lost),
            ],
            warm: Vec::new(),
        };
        let gauges = WorkerGauges::default();
        let mut registry = Registry::default();
        gauges.register(registry.sub_registry_with_prefix("onceover"));
        gauges.set(&report);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"onceover_celery_broker_up{broker="redis://broker:6379/0"} 1"#,
            r#"onceover_celery_workers{broker="redis://broker:6379/0",state="online"} 2"#,
            r#"onceover_celery_workers{broker="redis://broker:6379/0",state="lost"} 1"#,
            r#"onceover_celery_workers{broker="redis://broker:6379/0",state="mute"} 0"#,
            r#"onceover_celery_queue_waiting{broker="redis://broker:6379/0",queue="q"} 4"#,
            r#"onceover_celery_queue_in_flight{broker="redis://broker:6379/0",queue="q"} 3"#,
            r#"onceover_celery_queue_listeners{broker="redis://broker:6379/0",queue="q"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("queue_depth{"), "it is not known:\n{text}");
    }
}
