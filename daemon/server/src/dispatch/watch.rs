//! Asks the workers of each broker which queues they listen to, again and again, and tells the registry. Events of workers
//! say more in between, but nothing depends on them: they are lost with a connection.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use onceover_celery::{CeleryClient, CeleryError, WorkerEvent, WorkerReport};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::registry::{BrokerAnswer, WatchedBroker, WorkerAnswer, WorkerRegistry};

/// How long workers may take to answer. A worker that is not busy with a `solo` pool answers in milliseconds.
const ANSWER: Duration = Duration::from_millis(700);
/// Questions that are wanted within this time are one.
const APART: Duration = Duration::from_millis(200);

/// Watches the workers of all brokers until `stop`.
pub async fn watch_workers(registry: Arc<WorkerRegistry>, stop: CancellationToken) {
    let mut watches = JoinSet::new();
    for index in 0..registry.count_brokers() {
        watches.spawn(watch_broker(Arc::clone(&registry), index, stop.clone()));
    }
    while watches.join_next().await.is_some() {}
}

async fn watch_broker(registry: Arc<WorkerRegistry>, index: usize, stop: CancellationToken) {
    let mut client = None;
    while !stop.is_cancelled() {
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = ask_workers(registry.broker(index), &mut client) => answer,
        };
        match answer {
            Ok(answer) => registry.take_answer(index, answer, Instant::now()),
            Err(error) => registry.note_failure(index, &error.to_string(), Instant::now()),
        }
        let pause = registry.find_pause(index, Instant::now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
            () = registry.question_wanted(index) => sleep(APART).await,
        }
    }
}

/// Asks the workers of a broker once.
async fn ask_workers(broker: &WatchedBroker, client: &mut Option<CeleryClient>) -> Result<BrokerAnswer, CeleryError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(CeleryClient::connect(&broker.settings).await?),
    };
    let reports = client.inspect(ANSWER).await?;
    let mut depths = HashMap::new();
    for queue in &broker.queues {
        depths.insert(queue.name.clone(), client.depth(&queue.name).await?);
    }
    Ok(BrokerAnswer {
        workers: reports.into_iter().map(read_report).collect(),
        mute: 0,
        depths,
    })
}

fn read_report(report: WorkerReport) -> WorkerAnswer {
    WorkerAnswer {
        hostname: report.hostname,
        queues: report.queues,
        pool: report.pool,
        concurrency: report.concurrency,
        version: report.version,
    }
}

impl WorkerRegistry {
    /// Takes an event of a worker; those of tasks are not its business.
    pub fn take_event(&self, broker: &str, event: &WorkerEvent) {
        match event {
            WorkerEvent::Online { hostname, .. } => self.note_online(broker, hostname),
            WorkerEvent::Offline { hostname, .. } => self.note_offline(broker, hostname),
            WorkerEvent::Heartbeat {
                hostname,
                active,
                processed,
                ..
            } => self.note_beat(broker, hostname, *active, *processed),
            _ => {}
        }
    }
}
