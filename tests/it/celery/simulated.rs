//! Many stages on many workers that die at random. The workers are simulated (`tests/src/simulated_workers.rs`): short
//! in `make test`; 200 workers and 100,000 stages in `make simulate-celery` and `make soak`, which print what was used
//! up first.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use onceover_tests::{
    Daemon,
    celery_workers::{CeleryBroker, PROBE_QUEUE},
    processes::{CpuTime, ProcessMemory},
    redis_info::{processor_seconds, used_memory},
    redis_server::connect,
    simulated_workers::{FleetFigures, SimulatedWorkers, WorkerDeath},
};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};

use super::{NODES, NOOP, wanted};

/// Submits of one request.
const BATCH: usize = 1_000;
/// Between two checks of the queue.
const CHECK: Duration = Duration::from_millis(20);
/// The time over which the highest rate is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// A lost message is found within a minute, also while other workers die.
const STUCK: Duration = Duration::from_secs(120);
/// The share of the stages over which is measured: what was lost last is waited for alone.
const MEASURED: f64 = 0.99;
/// Simulations of more stages also wait until lost messages are forgotten.
const SHORT: usize = 1_000;
/// Workers die at random until this share of the stages has ended: what they have lost takes half a minute to be found.
const DYING: f64 = 0.8;

/// How large a simulation is.
#[derive(Clone, Copy)]
struct SimulationSize {
    workers: usize,
    stages: usize,
    deaths: usize,
    /// The longest time that a task takes.
    longest_ms: usize,
}

impl SimulationSize {
    fn read() -> Self {
        let wanted = |name: &str, short| wanted(&format!("ONCEOVER_SIMULATED_{name}"), short);
        let stages = wanted("STAGES", 500);
        Self {
            workers: wanted("WORKERS", 20),
            stages,
            deaths: wanted("DEATHS", (stages / 250).clamp(3, 400)),
            longest_ms: wanted("MS", 40),
        }
    }

    /// The death that comes next, once so many stages have ended; none while it is too early.
    fn choose_death(&self, died: usize, ended: usize) -> Option<WorkerDeath> {
        const KINDS: [WorkerDeath; 5] = [
            WorkerDeath::Killed { keeps_name: false },
            WorkerDeath::ProcessLost,
            WorkerDeath::Stopped,
            WorkerDeath::Killed { keeps_name: true },
            WorkerDeath::Killed { keeps_name: false },
        ];
        let due = self.stages as f64 * DYING * (died + 1) as f64 / (self.deaths + 1) as f64;
        (died < self.deaths && ended as f64 >= due).then(|| KINDS[died % KINDS.len()])
    }
}

/// What the programs have used up to a moment.
#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    /// Seconds of processor time.
    daemon: f64,
    state: f64,
    broker: f64,
    workers: f64,
    /// Bytes that the daemon's Redis holds.
    memory: f64,
    /// Stages that have ended.
    ended: usize,
}

/// What is simulated.
struct Simulation {
    size: SimulationSize,
    // The workers and the daemon end before the broker that they use.
    fleet: SimulatedWorkers,
    daemon: Daemon,
    state: MultiplexedConnection,
    messages: MultiplexedConnection,
    _broker: CeleryBroker,
}

/// What was seen while it ran.
#[derive(Default)]
struct Watched {
    /// The most stages that ended in a second, over some seconds.
    best: f64,
    /// The most messages that were seen in the queue, and checks that could count all that were in flight.
    deepest: u64,
    checks: usize,
    died: usize,
    /// What was used until nearly all stages had ended.
    used: Option<Used>,
    violations: Vec<String>,
}

impl Simulation {
    async fn start() -> Self {
        let size = SimulationSize::read();
        let broker = CeleryBroker::start_measured().await;
        let fleet = SimulatedWorkers::start(&broker, PROBE_QUEUE, size.workers).await;
        let daemon = Daemon::builder()
            .config("[runs]\nlease = '15s'")
            .config(&broker.service("probe", "max_attempts = 20"))
            .nodes(NODES)
            .start()
            .await;
        Self {
            state: daemon.redis().await,
            messages: connect(&broker.message_url()).await,
            size,
            fleet,
            daemon,
            _broker: broker,
        }
    }

    async fn measure(&self, ended: usize) -> Used {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let (mut state, mut messages) = (self.state.clone(), self.messages.clone());
        Used {
            at: Instant::now(),
            ended,
            daemon: CpuTime::of_process(self.daemon.pid()).own.as_secs_f64(),
            workers: CpuTime::of_process(own).own.as_secs_f64(),
            state: processor_seconds(&mut state).await,
            broker: processor_seconds(&mut messages).await,
            memory: used_memory(&mut state).await as f64,
        }
    }

    /// Watches the stages until all have ended, and ends workers meanwhile.
    async fn watch(&mut self) -> Watched {
        let mut watched = Watched::default();
        let mut state = self.state.clone();
        let (mut progress, mut ended) = (Instant::now(), 0);
        let (mut window, mut before) = (Instant::now(), 0);
        while ended < self.size.stages {
            let (now_ended, held): (usize, u64) = redis::pipe()
                .zcard("onceover:tasks:status:completed")
                .zcard(format!("onceover:held:celery:{PROBE_QUEUE}"))
                .query_async(&mut state)
                .await
                .expect("Redis answers");
            if now_ended > ended {
                (progress, ended) = (Instant::now(), now_ended);
            }
            assert!(
                progress.elapsed() < STUCK,
                "{ended} of {} stages have ended, and no other one in {STUCK:?}; {held} are with workers",
                self.size.stages
            );
            if window.elapsed() >= WINDOW {
                watched.best = watched
                    .best
                    .max((ended - before) as f64 / window.elapsed().as_secs_f64());
                (window, before) = (Instant::now(), ended);
            }
            if watched.used.is_none() && ended as f64 >= MEASURED * self.size.stages as f64 {
                watched.used = Some(self.measure(ended).await);
            }
            self.check_queue(held, &mut watched).await;
            if let Some(death) = self.size.choose_death(watched.died, ended) {
                self.fleet.end_one(death).await;
                watched.died += 1;
            }
            tokio::time::sleep(CHECK).await;
        }
        watched
    }

    /// No more is sent than the workers can take, and one.
    async fn check_queue(&self, held: u64, watched: &mut Watched) {
        let most = self.fleet.most_in_flight();
        if held > most {
            watched
                .violations
                .push(format!("{held} stages hold a slot, {most} may"));
        }
        let Some(sample) = self.fleet.sample_queue().await else {
            return;
        };
        watched.checks += 1;
        watched.deepest = watched.deepest.max(sample.waiting);
        if sample.waiting + sample.in_hand > sample.most {
            watched.violations.push(format!("more is sent than may be: {sample:?}"));
        }
    }

    /// Each stage has ended once, and nothing is left of them.
    async fn check_ends(&self) {
        let stages = self.size.stages;
        let totals = self.daemon.client.system().await.expect("the daemon answers").tasks;
        assert_eq!((totals.completed, totals.failed), (stages as u64, 0));
        // Each end that is committed is counted once in the bucket of its duration.
        let counts: HashMap<String, String> = self
            .state
            .clone()
            .hgetall(format!("onceover:durations:{NOOP}"))
            .await
            .expect("Redis answers");
        let buckets = counts.iter().filter(|(name, _)| name.parse::<u32>().is_ok());
        let committed: usize = buckets.map(|(_, count)| count.parse::<usize>().expect("a count")).sum();
        assert_eq!(committed, stages, "results that were committed: {counts:?}");
        assert_eq!(self.fleet.faults(), Vec::<String>::new());
        self.daemon.idle().await;
        if stages > SHORT {
            self.until_forgotten().await;
        }
    }

    /// Messages of attempts that were lost are forgotten by the reconciler, which finds them nowhere twice.
    async fn until_forgotten(&self) {
        let start = Instant::now();
        loop {
            let left: usize = self
                .state
                .clone()
                .hlen("onceover:dispatches")
                .await
                .expect("Redis answers");
            if left == 0 {
                return;
            }
            assert!(start.elapsed() < STUCK, "{left} messages are not forgotten");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn print(&self, before: &Used, watched: &Watched) {
        let SimulationSize { workers, stages, .. } = self.size;
        let after = watched.used.as_ref().expect("all stages have ended");
        let seconds = (after.at - before.at).as_secs_f64();
        let FleetFigures {
            begun,
            redelivered,
            busy,
        } = self.fleet.figures();
        println!(
            "{stages} stages on {workers} simulated workers, {} of which died: each succeeded once, in {begun} tasks \
             ({redelivered} of messages that came again); {} of them in {seconds:.0} s:",
            watched.died, after.ended
        );
        let ended = after.ended as f64;
        let average = ended / seconds;
        println!(
            "  {average:.0} stages/s, {:.0} in the best {WINDOW:?}",
            watched.best.max(average)
        );
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let parts = [
            ("daemon", after.daemon - before.daemon),
            ("its Redis", after.state - before.state),
            ("broker", after.broker - before.broker),
            ("simulated workers and test", after.workers - before.workers),
        ];
        for (name, used) in parts {
            println!(
                "  {name:<28} {:>5.1} % of a core {:>8.0} us a stage",
                100.0 * used / seconds,
                1e6 * used / ended
            );
        }
        // What is closest to a whole core is used up first; the daemon alone may use several.
        if let Some((name, used)) = parts.iter().max_by(|one, other| one.1.total_cmp(&other.1)) {
            println!(
                "  used most: {name}, {:.1} % of a core at {average:.0} stages/s",
                100.0 * used / seconds
            );
        }
        let all: f64 = parts.iter().map(|(_, used)| used).sum();
        println!(
            "  all of {cores} cores              {:>5.1} %",
            100.0 * all / seconds / cores
        );
        println!(
            "  workers were busy for        {:>5.1} % of their time",
            100.0 * busy.as_secs_f64() / seconds / workers as f64
        );
        println!(
            "  memory: {:.0} bytes of Redis a stage, {:.1} MB of the daemon",
            (after.memory - before.memory) / stages as f64,
            ProcessMemory::of_process(self.daemon.pid()).resident
        );
        println!(
            "  {} checks of the queue, at most {} messages in it",
            watched.checks, watched.deepest
        );
    }
}

/// Submits all stages, each of a separate task, to the daemon behind a URL.
async fn submit_all(url: String, size: SimulationSize) {
    let http = reqwest::Client::new();
    let numbers: Vec<usize> = (0..size.stages).collect();
    for numbers in numbers.chunks(BATCH) {
        let tasks: Vec<Value> = numbers
            .iter()
            .map(|number| {
                let seconds = fastrand::usize(..=size.longest_ms) as f64 / 1000.0;
                json!({"task_name": NOOP, "task_id": format!("s{number}"), "input_data": {"seconds": seconds}})
            })
            .collect();
        let request = http
            .post(format!("{url}/v1/tasks/batch"))
            .json(&json!({ "tasks": tasks }));
        let answer = request.send().await.expect("the daemon answers");
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_simulated_workers_that_die_at_random_leave_one_result_of_each_stage() {
    let mut simulation = Simulation::start().await;
    let before = simulation.measure(0).await;
    let submitting = tokio::spawn(submit_all(simulation.daemon.url(), simulation.size));
    let watched = simulation.watch().await;
    submitting.await.expect("all stages are submitted");
    simulation.check_ends().await;
    simulation.print(&before, &watched);
    assert!(watched.died > 0, "no worker died");
    assert!(
        watched.checks > 0,
        "the queue was never still for as long as a check takes"
    );
    assert_eq!(watched.violations, Vec::<String>::new());
}
