//! Asks the workers of each broker which queues they listen to, again and again, and tells the registry. Events of workers
//! say more in between, but nothing depends on them: they are lost with a connection.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use onceover_celery::{CeleryError, PoolKind, WorkerEvent, WorkerReport};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    known::{BrokerAnswer, WorkerAnswer, WorkerBeat},
    registry::{WatchedBroker, WorkerRegistry},
};

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
    while !stop.is_cancelled() {
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = ask_workers(registry.broker(index)) => answer,
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
async fn ask_workers(broker: &WatchedBroker) -> Result<BrokerAnswer, CeleryError> {
    let survey = broker.client.survey(ANSWER).await?;
    let mut depths = HashMap::new();
    for queue in &broker.queues {
        depths.insert(queue.name.clone(), broker.client.depth(&queue.name).await?);
    }
    Ok(BrokerAnswer {
        mute: u32::try_from(survey.mute()).unwrap_or(u32::MAX),
        workers: survey.reports.into_iter().map(read_report).collect(),
        depths,
    })
}

fn read_report(report: WorkerReport) -> WorkerAnswer {
    WorkerAnswer {
        hostname: report.hostname,
        queues: report.queues,
        is_solo: report.pool == Some(PoolKind::Solo),
        pool: report.pool.map(|pool| pool.to_string()),
        concurrency: report
            .concurrency
            .map_or(1, |most| u32::try_from(most).unwrap_or(u32::MAX)),
    }
}

impl WorkerRegistry {
    /// Takes an event of a worker; those of tasks are not its business.
    pub fn take_event(&self, broker: &str, event: &WorkerEvent) {
        match event {
            WorkerEvent::Online { hostname, version, .. } => self.note_online(broker, hostname, version.as_deref()),
            WorkerEvent::Offline { hostname, .. } => self.note_offline(broker, hostname),
            WorkerEvent::Heartbeat {
                hostname,
                version,
                active,
                processed,
                ..
            } => {
                let beat = WorkerBeat {
                    version: version.clone(),
                    active: *active,
                    processed: *processed,
                };
                self.note_beat(broker, hostname, beat);
            }
            _ => {}
        }
    }
}
