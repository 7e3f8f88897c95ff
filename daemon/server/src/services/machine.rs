//! How busy this machine was in the last minutes, with the stages that ran then. Samples are taken while runs are under way
//! or a client has asked in the last minutes: a daemon that is left alone reads nothing.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::{MachineLoad, MachineSample, SampledStage};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::machine_load::{LoadReader, LoadReading, count_cpus};

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(5);
/// Samples that are kept: those of ten minutes.
const MOST_SAMPLES: usize = 120;
/// How long a sample is kept, and how long an answer keeps the samples coming.
const KEPT: Duration = Duration::from_secs(600);
/// Stages that a sample names; of the others it has the number.
const MOST_STAGES: usize = 8;
/// How long an answer waits for a sample, where there is no new one yet.
const FIRST_SAMPLE: Duration = Duration::from_millis(1_500);

/// Stages that run on this daemon now.
pub struct StagesNow {
    /// The first of them.
    pub stages: Vec<(TaskId, NodeName)>,
    /// How many there are in all.
    pub total: usize,
}

/// Lists the stages that run now, at most so many.
type ActiveStages = Box<dyn Fn(usize) -> StagesNow + Send + Sync>;

/// Keeps the samples, and knows whether more are wanted.
pub struct MachineMonitor {
    data: PathBuf,
    active: ActiveStages,
    cpus: u32,
    samples: Mutex<VecDeque<MachineSample>>,
    asked_at: Mutex<Option<Instant>>,
    /// Wakes the sampler where there is no new sample.
    wanted: Notify,
    /// Changes with each sample.
    taken: watch::Sender<u64>,
}

impl MachineMonitor {
    /// Makes a monitor of the machine with this data directory.
    pub fn new(data: PathBuf, active: ActiveStages) -> Self {
        Self {
            data,
            active,
            cpus: count_cpus(),
            samples: Mutex::default(),
            asked_at: Mutex::default(),
            wanted: Notify::new(),
            taken: watch::Sender::new(0),
        }
    }

    /// Reads the samples of the last minutes; where there is no new one, waits a moment for it.
    pub async fn read_machine(&self) -> MachineLoad {
        *lock(&self.asked_at) = Some(Instant::now());
        if !self.has_new_sample() {
            let mut taken = self.taken.subscribe();
            self.wanted.notify_one();
            // A machine that does not tell in time has the samples that it has.
            let _ = timeout(FIRST_SAMPLE, taken.changed()).await;
        }
        let oldest = oldest_kept(Timestamp::now());
        let samples = lock(&self.samples);
        MachineLoad {
            interval_ms: INTERVAL.as_millis() as u64,
            cpus: self.cpus,
            samples: samples.iter().filter(|sample| sample.at >= oldest).cloned().collect(),
        }
    }

    /// Whether the newest sample is one of the last interval; one of a time to come is from before the clock was set back.
    fn has_new_sample(&self) -> bool {
        let newest = lock(&self.samples).back().map(|sample| sample.at);
        let age = newest.map(|at| Timestamp::now().as_millis() - at.as_millis());
        age.is_some_and(|age| (0..2 * INTERVAL.as_millis() as i64).contains(&age))
    }

    /// Whether runs are under way or a client has asked lately.
    fn is_wanted(&self) -> bool {
        let is_asked = lock(&self.asked_at).is_some_and(|at| at.elapsed() < KEPT);
        is_asked || (self.active)(0).total > 0
    }

    /// Keeps what was read, with the stages that run now.
    fn keep(&self, reading: LoadReading) {
        let now = Timestamp::now();
        let running = (self.active)(MOST_STAGES);
        let more_stages = running.total.saturating_sub(running.stages.len());
        let sample = MachineSample {
            at: now,
            cpu_percent: reading.cpu_percent,
            memory: reading.memory,
            disk: reading.disk,
            daemon: reading.daemon,
            gpus: reading.gpus,
            stages: running
                .stages
                .into_iter()
                .map(|(task_id, task_name)| SampledStage { task_id, task_name })
                .collect(),
            more_stages: u32::try_from(more_stages).unwrap_or(u32::MAX),
        };
        let mut samples = lock(&self.samples);
        let oldest = oldest_kept(now);
        while samples.len() >= MOST_SAMPLES || samples.front().is_some_and(|first| first.at < oldest) {
            samples.pop_front();
        }
        samples.push_back(sample);
        drop(samples);
        self.taken.send_modify(|count| *count += 1);
    }
}

/// Takes samples while they are wanted, until `stop`.
pub async fn sample_machine(monitor: Arc<MachineMonitor>, stop: CancellationToken) {
    let mut reader = LoadReader::new(&monitor.data);
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = monitor.wanted.notified() => {
                if monitor.has_new_sample() {
                    continue;
                }
                ticks.reset();
            }
            _ = ticks.tick() => {
                if !monitor.is_wanted() {
                    continue;
                }
            }
        }
        // Disks and drivers can hang: no thread of the runtime waits for them.
        let read = tokio::task::spawn_blocking(move || {
            let reading = reader.read();
            (reader, reading)
        });
        match read.await {
            Ok((returned, reading)) => {
                reader = returned;
                if let Some(reading) = reading {
                    monitor.keep(reading);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the machine was not sampled");
                reader = LoadReader::new(&monitor.data);
            }
        }
    }
}

/// Returns the time before which samples are too old.
fn oldest_kept(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - KEPT.as_millis() as i64)
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().expect("no thread panics with the samples")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> LoadReading {
        LoadReading {
            cpu_percent: 12.5,
            memory: Default::default(),
            disk: None,
            daemon: Default::default(),
            gpus: Vec::new(),
        }
    }

    fn monitor(running: usize) -> MachineMonitor {
        let stage = || ("t1".parse().unwrap(), "test.echo".parse().unwrap());
        let active = move |most: usize| StagesNow {
            stages: (0..running.min(most)).map(|_| stage()).collect(),
            total: running,
        };
        MachineMonitor::new("/".into(), Box::new(active))
    }

    #[test]
    fn samples_and_the_stages_that_they_name_are_bounded() {
        let monitor = monitor(11);
        for _ in 0..MOST_SAMPLES + 5 {
            monitor.keep(reading());
        }
        let samples = lock(&monitor.samples);
        assert_eq!(samples.len(), MOST_SAMPLES);
        let last = samples.back().unwrap();
        assert_eq!((last.stages.len(), last.more_stages), (MOST_STAGES, 3));
    }

    #[tokio::test]
    async fn nothing_is_sampled_while_nothing_runs_and_nobody_asks() {
        assert!(!monitor(0).is_wanted());
        assert!(monitor(1).is_wanted(), "a run is under way");
        let asked = monitor(0);
        *lock(&asked.asked_at) = Some(Instant::now());
        assert!(asked.is_wanted());
    }

    #[test]
    fn a_sample_of_a_time_to_come_is_not_new() {
        let monitor = monitor(0);
        monitor.keep(reading());
        assert!(monitor.has_new_sample());
        let later = Timestamp::from_millis(Timestamp::now().as_millis() + 3_600_000);
        lock(&monitor.samples).back_mut().unwrap().at = later;
        assert!(!monitor.has_new_sample());
    }

    #[tokio::test]
    async fn the_first_answer_has_a_sample() {
        let monitor = Arc::new(monitor(0));
        let stop = CancellationToken::new();
        tokio::spawn(sample_machine(Arc::clone(&monitor), stop.clone()));
        let load = monitor.read_machine().await;
        assert_eq!(load.samples.len(), 1);
        assert!(load.cpus >= 1);
        stop.cancel();
    }
}
