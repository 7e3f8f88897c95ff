//! `make bench`: what Onceover costs beside what the machine can do at all, both measured in turns in one run and put
//! into ratios, because absolute figures of a machine that others use as well say little.
//!
//! Arguments: `--strict` fails when a goal is missed, `--only A,B` measures some parts, `--rounds N` sets how many
//! turns there are and `--seconds N` how long one is. `ONCEOVER_BENCH_SUBMITS` is the number of submits over which
//! memory is watched.

mod costs;
mod http;
mod parts;
mod probe;
mod setup;
mod table;
mod wrk;

use std::{
    fs,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::runtime::Runtime;

use parts::{
    catalog, celery, delay, files, foreign, keys, media, memory, queued, redis_costs, requests, scale, stages, videos,
};
use setup::{Bench, Options};
use table::Table;

type Part = fn(&mut Bench);

/// All parts, in the order in which they are measured: stages first, since folders cost more after others were
/// removed.
const PARTS: [(&str, Part); 14] = [
    ("stages", stages::measure),
    ("delay", delay::measure),
    ("requests", requests::measure),
    ("redis", redis_costs::measure),
    ("catalog", catalog::measure),
    ("foreign", foreign::measure),
    ("files", files::measure),
    ("scale", scale::measure),
    ("queued", queued::measure),
    ("keys", keys::measure),
    ("videos", videos::measure),
    ("memory", memory::measure),
    ("celery", celery::measure),
    ("media", media::measure),
];

/// Parts that take long, or install what others do not need: they are measured only where `--only` names them.
const BY_NAME_ALONE: [&str; 2] = ["celery", "media"];

/// Nanoseconds since 1970.
fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    u64::try_from(now.as_nanos()).expect("it is not so late")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started")
}

fn main() -> ExitCode {
    let now = nanos();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        // The program of the node `bench.stamp`.
        Some("stamp") => {
            println!(r#"{{"type":"output","output":{{"at":{now}}}}}"#);
            return ExitCode::SUCCESS;
        }
        Some("probe") => {
            runtime().block_on(probe::serve(&arguments[1]));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let options = Options::parse(&arguments);
    if let Some(unknown) = options
        .only
        .iter()
        .find(|only| PARTS.iter().all(|(name, _)| name != only))
    {
        let names = PARTS.map(|(name, _)| name).join(", ");
        eprintln!("--only: there is no part {unknown}; the parts are {names}");
        return ExitCode::FAILURE;
    }
    measure(Bench {
        runtime: runtime(),
        options,
        table: Table::default(),
    })
}

fn measure(mut bench: Bench) -> ExitCode {
    println!("{}", describe_machine());
    for (name, part) in PARTS {
        let only = &bench.options.only;
        let is_wanted = match only.is_empty() {
            true => !BY_NAME_ALONE.contains(&name),
            false => only.iter().any(|only| only == name),
        };
        if is_wanted {
            println!("\n{name}");
            part(&mut bench);
        }
    }
    match bench.table.print() || !bench.options.strict {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn describe_machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} x {}, Linux {}, load {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("CPU", |model| model.trim_start_matches([' ', '\t', ':'])),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}
