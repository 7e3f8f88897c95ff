//! What Linux says about a process.

use std::{fs, time::Duration};

/// Clock ticks of a second in `/proc`: `USER_HZ`, which is 100 on every processor that Linux runs on but Alpha and
/// Itanium.
const TICKS: u64 = 100;

/// Processor time, user and system together.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    pub own: Duration,
    /// Of children that have ended, and of theirs.
    pub children: Duration,
}

impl CpuTime {
    /// Reads what a process has used so far.
    pub fn of_process(pid: i32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        // The name, which comes before, may hold blanks and brackets.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .map(|field| field.parse().expect("clock ticks"))
            .collect();
        let time = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS);
        Self {
            own: time(ticks[0] + ticks[1]),
            children: time(ticks[2] + ticks[3]),
        }
    }

    pub fn in_all(self) -> Duration {
        self.own + self.children
    }
}

/// Megabytes that a process holds in memory: those of files and its own.
#[derive(Debug, Clone, Copy)]
pub struct ProcessMemory {
    pub resident: f64,
    /// What no file has, such as the heap: `RssAnon`.
    pub anonymous: f64,
}

impl ProcessMemory {
    pub fn of_process(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kilobytes.unwrap_or_else(|| panic!("Linux names no {name}")) / 1024.0
        };
        Self {
            resident: megabytes("VmRSS:"),
            anonymous: megabytes("RssAnon:"),
        }
    }
}
