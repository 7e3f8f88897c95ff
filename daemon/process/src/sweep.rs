//! Finds and kills processes by the mark in their environment: those that left their group with `setsid`, and those
//! that outlived a daemon that was killed.

use std::{
    fs,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use onceover_run::tool::RUN_VARIABLE;

/// Sets the processes of one program apart from others of the same run.
pub(crate) const TOOL_VARIABLE: &str = "ONCEOVER_TOOL";

/// What the processes of a run, or of one of its programs, have in their environment.
pub(crate) struct Mark {
    pub(crate) run: String,
    /// The program, if only its processes are meant; `None` for all of the run.
    pub(crate) tool: Option<String>,
}

/// The start of a program. The processes that it started have process numbers that were given out after its own.
pub(crate) struct Since {
    pid: i32,
    at: Instant,
}

/// For how long that is certain. Numbers start again from the lowest when they run out, and no machine gives out all of
/// them (32,768 and more, 1,024 for each processor) in this time.
const CERTAIN: Duration = Duration::from_millis(100);

impl Since {
    /// Notes the start of a program; `at` must be before the program was started.
    pub(crate) fn started(pid: i32, at: Instant) -> Self {
        Self { pid, at }
    }

    /// Returns the only numbers that its processes can have, if these are known to be few.
    fn numbers(&self) -> Option<RangeInclusive<i32>> {
        const FEW: i32 = 256;
        let loads = fs::read_to_string("/proc/loadavg").ok()?;
        let last: i32 = loads.trim_end().rsplit(' ').next()?.parse().ok()?;
        // The clock is read last, so that every delay in between counts.
        let certain = last >= self.pid && last - self.pid <= FEW && self.at.elapsed() < CERTAIN;
        certain.then_some(self.pid..=last)
    }
}

impl Mark {
    /// Sends SIGKILL to every process that has the mark. Returns how many there were.
    pub(crate) fn kill(&self, since: Option<&Since>) -> usize {
        let wanted = |environ: &[u8]| {
            variable(environ, RUN_VARIABLE) == Some(self.run.as_bytes())
                && self
                    .tool
                    .as_ref()
                    .is_none_or(|tool| variable(environ, TOOL_VARIABLE) == Some(tool.as_bytes()))
        };
        match since.and_then(Since::numbers) {
            Some(numbers) => kill_where(numbers, settled_environ, wanted),
            None => kill_where(pids(), environ, wanted),
        }
    }
}

/// Kills every process whose `ONCEOVER_RUN` starts with the prefix (never this one). Returns how many there were. An
/// empty prefix kills nothing.
pub fn sweep(mark_prefix: &str) -> usize {
    if mark_prefix.is_empty() {
        return 0;
    }
    kill_where(pids(), environ, |environ| {
        variable(environ, RUN_VARIABLE).is_some_and(|mark| mark.starts_with(mark_prefix.as_bytes()))
    })
}

/// Sweeps until nothing is left, at most for the given time. Returns whether nothing was left. Blocks.
pub fn sweep_until_gone(mark_prefix: &str, longest: Duration) -> bool {
    let deadline = Instant::now() + longest;
    while sweep(mark_prefix) > 0 {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Returns the pids of processes that have a mark with this prefix.
pub fn marked(mark_prefix: &str) -> Vec<i32> {
    pids()
        .filter(|pid| {
            environ(*pid).is_some_and(|environ| {
                variable(&environ, RUN_VARIABLE).is_some_and(|mark| mark.starts_with(mark_prefix.as_bytes()))
            })
        })
        .collect()
}

/// Kills those of the processes whose environment, as `read` finds it, is wanted. Returns how many there were.
fn kill_where(
    pids: impl Iterator<Item = i32>,
    read: impl Fn(i32) -> Option<Vec<u8>>,
    wanted: impl Fn(&[u8]) -> bool,
) -> usize {
    pids.filter(|pid| read(*pid).is_some_and(|environ| wanted(&environ)))
        .filter(|pid| {
            // The descriptor stands for one process. If another process got the number meanwhile, its environment,
            // which is read again, does not match.
            let Some(fd) = Pid::from_raw(*pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
                return false;
            };
            environ(*pid).is_some_and(|environ| wanted(&environ)) && pidfd_send_signal(&fd, Signal::KILL).is_ok()
        })
        .count()
}

fn pids() -> impl Iterator<Item = i32> {
    let own = i32::try_from(std::process::id()).ok();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(move |pid| Some(*pid) != own)
}

/// Reads a process's environment. Waits, but not long, while the process executes a new program: then it has none for a
/// moment.
fn settled_environ(pid: i32) -> Option<Vec<u8>> {
    let mut found = environ(pid)?;
    for _ in 0..10 {
        let has_program = || fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        if !found.is_empty() || !has_program() {
            break;
        }
        std::thread::sleep(Duration::from_micros(100));
        found = environ(pid)?;
    }
    Some(found)
}

/// Reads a process's environment, which is empty for a process that ended and was not waited for yet.
fn environ(pid: i32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ")).ok()
}

fn variable<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environ = b"A=1\0ONCEOVER_RUN=m/1\0ONCEOVER_RUNNER=x\0";
        assert_eq!(variable(environ, "ONCEOVER_RUN"), Some(&b"m/1"[..]));
        assert_eq!(variable(environ, "ONCEOVER"), None);
        assert_eq!(variable(b"", "A"), None);
    }

    #[test]
    fn an_empty_prefix_kills_nothing() {
        assert_eq!(sweep(""), 0);
    }
}
