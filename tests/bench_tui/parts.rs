//! What is measured of the dashboard.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use onceover_tests::{processes::ProcessMemory, program};

use crate::{
    BenchTui,
    changes::ChangeLoad,
    pty::Pty,
    table::{Goal, percentile, spread},
};

/// A text of every task's row.
const OF_TASKS: &str = "seed-";
/// Nothing is written for so long once all tasks are read.
const QUIET: Duration = Duration::from_secs(3);
/// Between two keys.
const KEY_PAUSE: Duration = Duration::from_millis(97);

fn open_dashboard(bench: &BenchTui) -> Pty {
    let url = bench.daemon.url();
    let home = bench.daemon.dir().to_owned();
    Pty::start(&program("onceover"), &["--daemon", &url], &home, &[OF_TASKS])
}

/// Opens the dashboard and waits until it has read all tasks.
fn open_loaded(bench: &BenchTui) -> Pty {
    let dashboard = open_dashboard(bench);
    dashboard.wait_until_quiet(QUIET);
    dashboard
}

/// Returns the share of one processor that was used, in percent.
fn percent(used: Duration, time: Duration) -> f64 {
    100.0 * used.as_secs_f64() / time.as_secs_f64()
}

/// Measures a read of all rows: how long it takes, how long Redis and the daemon keep others waiting meanwhile, and what
/// the daemon needs for it.
pub fn measure_rows(bench: &mut BenchTui) {
    let (client, pid) = (bench.daemon.client.clone(), bench.daemon.pid());
    let before = ProcessMemory::of_process(pid).anonymous;
    let (took, mut redis_waits, mut daemon_waits) = bench.runtime.block_on(async {
        let mut redis = bench.daemon.redis().await;
        let reader = client.clone();
        let read = tokio::spawn(async move {
            let begun = Instant::now();
            let mut cursor: Option<String> = None;
            loop {
                let page = reader.rows(500, cursor.as_deref()).await.expect("a page");
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => return begun.elapsed(),
                }
            }
        });
        let (mut redis_waits, mut daemon_waits) = (Vec::new(), Vec::new());
        while !read.is_finished() {
            let asked = Instant::now();
            let _: String = redis::cmd("PING").query_async(&mut redis).await.expect("Redis answers");
            redis_waits.push(asked.elapsed());
            let asked = Instant::now();
            client.system().await.expect("the daemon answers");
            daemon_waits.push(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (read.await.expect("it reads"), redis_waits, daemon_waits)
    });
    let grown = ProcessMemory::of_process(pid).anonymous - before;
    let p99 = |waits: &mut Vec<Duration>| {
        waits.sort_unstable();
        percentile(waits, 99)
    };
    let (redis, daemon) = (p99(&mut redis_waits), p99(&mut daemon_waits));
    let table = &mut bench.table;
    table.say("all rows read over HTTP", "s", spread([took.as_secs_f64()]));
    table.goal(
        "a PING of Redis meanwhile, p99",
        Goal::AtMost(10.0),
        "ms",
        spread([redis]),
    );
    table.goal(
        "the daemon's figures meanwhile, p99",
        Goal::AtMost(10.0),
        "ms",
        spread([daemon]),
    );
    table.say("memory that the daemon has more after it", "MB", spread([grown]));
}

/// Measures a loop that draws as many cells, 30 times a second.
pub fn measure_bare(bench: &mut BenchTui) {
    let mut path: PathBuf = program("onceover");
    path.pop();
    path.push("examples/bare_frames");
    let bare = Pty::start(&path, &[], bench.daemon.dir(), &[]);
    std::thread::sleep(Duration::from_secs(1));
    let (used, frames, bytes, begun) = (bare.used(), bare.count_frames(), bare.bytes(), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let time = begun.elapsed();
    let frames = (bare.count_frames() - frames) as f64;
    let table = &mut bench.table;
    table.say("a bare loop: frames", "/s", spread([frames / time.as_secs_f64()]));
    table.say(
        "  bytes of a frame",
        "",
        spread([(bare.bytes() - bytes) as f64 / frames.max(1.0)]),
    );
    table.say("  processor time", "%", spread([percent(bare.used() - used, time)]));
    table.say("  memory", "MB", spread([bare.resident()]));
}

/// Measures how soon there is something to see, and how soon everything is there.
pub fn measure_first(bench: &mut BenchTui) {
    let (mut first, mut tasks, mut all, mut memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let begun = Instant::now();
        let dashboard = open_loaded(bench);
        let millis = |time: Option<Duration>| time.map_or(f64::INFINITY, |time| time.as_secs_f64() * 1_000.0);
        first.push(millis(dashboard.first_frame()));
        tasks.push(millis(dashboard.first_time_of(OF_TASKS)));
        all.push((begun.elapsed() - QUIET).as_secs_f64());
        memory.push(dashboard.resident());
    }
    let table = &mut bench.table;
    table.goal("first frame", Goal::AtMost(300.0), "ms", spread(first));
    table.goal("first tasks on the screen", Goal::AtMost(300.0), "ms", spread(tasks));
    table.say("all tasks read", "s", spread(all));
    table.goal("memory with all tasks", Goal::AtMost(200.0), "MB", spread(memory));
}

/// Measures frames and keys while everything changes, in the default order and sorted by what changes.
pub fn measure_load(bench: &mut BenchTui) {
    let mut dashboard = open_loaded(bench);
    for (order, keys) in [("active first", ""), ("by updated", "Su")] {
        dashboard.press(keys);
        let changes = ChangeLoad::begin(bench.daemon.port(), bench.options.tasks, bench.options.rate);
        std::thread::sleep(Duration::from_secs(1));
        let (used, frames, begun) = (dashboard.used(), dashboard.count_frames(), Instant::now());
        let mut took = Vec::new();
        let mut missing = 0;
        for key in ["j", "j", "k"].iter().cycle() {
            if begun.elapsed() >= Duration::from_secs(bench.options.seconds) {
                break;
            }
            match dashboard.time_key(key) {
                Some(time) => took.push(time),
                None => missing += 1,
            }
            std::thread::sleep(KEY_PAUSE);
        }
        let time = begun.elapsed();
        let frames = (dashboard.count_frames() - frames) as f64 / time.as_secs_f64();
        let used = percent(dashboard.used() - used, time);
        let rate = changes.end();
        assert_eq!(missing, 0, "keys without a frame");
        took.sort_unstable();
        let table = &mut bench.table;
        table.say(&format!("changes, {order}"), "/s", spread([rate]));
        table.goal(&format!("frames, {order}"), Goal::AtMost(30.5), "/s", spread([frames]));
        table.say(
            &format!("key to frame, {order}, p50"),
            "ms",
            spread([percentile(&took, 50)]),
        );
        let name = format!("key to frame, {order}, p99");
        table.goal(&name, Goal::AtMost(33.0), "ms", spread([percentile(&took, 99)]));
        table.say(&format!("processor time, {order}"), "%", spread([used]));
        let name = format!("memory, {order}");
        table.goal(&name, Goal::AtMost(200.0), "MB", spread([dashboard.resident()]));
    }
}

/// Measures a minute in which nothing happens.
pub fn measure_idle(bench: &mut BenchTui) {
    let dashboard = open_loaded(bench);
    let (bytes, used, begun) = (dashboard.bytes(), dashboard.used(), Instant::now());
    std::thread::sleep(Duration::from_secs(60));
    let used = percent(dashboard.used() - used, begun.elapsed());
    let bytes = (dashboard.bytes() - bytes) as f64;
    let table = &mut bench.table;
    table.goal("bytes in an idle minute", Goal::AtMost(0.0), "", spread([bytes]));
    table.goal("processor time in it", Goal::AtMost(0.1), "%", spread([used]));
}

/// Measures a dashboard that is left open while 200 changes come a second.
pub fn measure_open(bench: &mut BenchTui) {
    const RATE: u64 = 200;
    let dashboard = open_loaded(bench);
    let changes = ChangeLoad::begin(bench.daemon.port(), bench.options.tasks, RATE);
    std::thread::sleep(Duration::from_secs(60));
    let (early, used, begun) = (dashboard.resident(), dashboard.used(), Instant::now());
    let minutes = bench.options.minutes.saturating_sub(1);
    for minute in 1..=minutes {
        std::thread::sleep(Duration::from_secs(60));
        println!("  minute {:>2}: {:.1} MB", minute + 1, dashboard.resident());
    }
    let used = percent(dashboard.used() - used, begun.elapsed());
    let growth = 100.0 * (dashboard.resident() - early) / early;
    let rate = changes.end();
    let table = &mut bench.table;
    table.say("changes", "/s", spread([rate]));
    table.goal(
        "growth of memory after a minute",
        Goal::AtMost(5.0),
        "%",
        spread([growth]),
    );
    table.goal("processor time", Goal::AtMost(10.0), "%", spread([used]));
}
