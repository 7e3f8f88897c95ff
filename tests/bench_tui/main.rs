//! `make bench-tui`: the dashboard beside a daemon with 100,000 tasks of eight stages, in a terminal whose bytes are
//! counted, and a bare loop of its drawing library that draws as many cells.
//!
//! Arguments: `--only rows,bare,first,load,idle,open` measures some parts (`open` only where it is named), `--tasks N` and
//! `--rate N` set how many tasks there are and how many changes a second are wanted, `--seconds N` how long the load
//! lasts, `--minutes N` how long the dashboard is left open, and `--strict` fails when a goal is missed.

// Both are shared with `make bench`, which uses all of them.
#[allow(dead_code)]
#[path = "../bench/http.rs"]
mod http;
#[path = "../bench/table.rs"]
mod table;

mod changes;
mod parts;
mod pty;
mod seed;

use std::process::ExitCode;

use onceover_tests::{Daemon, RedisServer};
use tokio::runtime::Runtime;

use table::Table;

/// What the command line says.
pub struct LoadOptions {
    only: Vec<String>,
    is_strict: bool,
    pub tasks: usize,
    pub rate: u64,
    pub seconds: u64,
    pub minutes: u64,
}

impl LoadOptions {
    fn parse(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let number = |name: &str, default: u64| {
            value(name).map_or(default, |text| text.parse().expect("a number behind the option"))
        };
        Self {
            only: value("--only").map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()),
            is_strict: arguments.iter().any(|argument| argument == "--strict"),
            tasks: number("--tasks", 100_000) as usize,
            rate: number("--rate", 5_000),
            seconds: number("--seconds", 30),
            minutes: number("--minutes", 30),
        }
    }

    /// Whether a part is measured; one that takes long only where it is named.
    fn wants(&self, part: &str, is_long: bool) -> bool {
        match self.only.is_empty() {
            true => !is_long,
            false => self.only.iter().any(|only| only == part),
        }
    }
}

/// What the parts measure with.
pub struct BenchTui {
    pub options: LoadOptions,
    pub table: Table,
    // Ends first: it needs the server until then.
    pub daemon: Daemon,
    _server: RedisServer,
    pub runtime: Runtime,
}

type Part = fn(&mut BenchTui);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = LoadOptions::parse(&arguments);
    let runtime = Runtime::new().expect("threads can be started");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{processors} processors, load {}", load.trim());
    let (daemon, server) = runtime.block_on(seed::start_seeded(options.tasks));
    let mut bench = BenchTui {
        options,
        table: Table::default(),
        runtime,
        daemon,
        _server: server,
    };
    let parts: [(&str, bool, Part); 6] = [
        ("rows", false, parts::measure_rows),
        ("bare", false, parts::measure_bare),
        ("first", false, parts::measure_first),
        ("load", false, parts::measure_load),
        ("idle", false, parts::measure_idle),
        ("open", true, parts::measure_open),
    ];
    for (name, is_long, part) in parts {
        if bench.options.wants(name, is_long) {
            println!("\n{name}");
            part(&mut bench);
        }
    }
    match bench.table.print() || !bench.options.is_strict {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
