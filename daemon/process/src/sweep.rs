//! Finds and kills processes by the mark in their environment: those that left their group with `setsid`, and those
//! that outlived a daemon that was killed.

use std::{
    cell::Cell,
    fs::{self, File},
    ops::RangeInclusive,
    os::unix::fs::FileExt,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use onceover_run::tool::RUN_VARIABLE;

/// Sets the processes of one program apart from others of the same run.
pub(crate) const TOOL_VARIABLE: &str = "ONCEOVER_TOOL";

/// What a program that takes runs one after another sets for processes that belong to its model, and so outlive a run.
const KEPT_VARIABLE: &str = "ONCEOVER_KEPT";

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
        let last = last_number()?;
        // The clock is read last, so that every delay in between counts.
        let certain = last >= self.pid && last - self.pid <= FEW && self.at.elapsed() < CERTAIN;
        certain.then_some(self.pid..=last)
    }
}

/// Reads the process number that was given out last. The file stays open: it is read for each program that ends.
fn last_number() -> Option<i32> {
    static LOADS: OnceLock<Option<File>> = OnceLock::new();
    let loads = LOADS.get_or_init(|| File::open("/proc/loadavg").ok()).as_ref()?;
    let mut text = [0; 128];
    let length = loads.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    text.trim_end().rsplit(' ').next()?.parse().ok()
}

/// What a search for processes with a mark has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkedFound {
    /// Those that were found, and killed.
    pub(crate) count: usize,
    /// There are certainly none: none was found, and no process began while they were searched for.
    pub(crate) is_none_left: bool,
}

impl Mark {
    /// Whether a process with this environment has the mark.
    fn is_in(&self, environ: &[u8]) -> bool {
        variable(environ, RUN_VARIABLE) == Some(self.run.as_bytes())
            && self
                .tool
                .as_ref()
                .is_none_or(|tool| variable(environ, TOOL_VARIABLE) == Some(tool.as_bytes()))
    }

    /// Sends SIGKILL to every process that has the mark, but to this one and to those that are kept for later runs. Returns
    /// how many there were.
    pub(crate) fn kill_others(&self, spared: i32) -> usize {
        kill_where(pids().filter(|pid| *pid != spared), environ, |environ| {
            self.is_in(environ) && variable(environ, KEPT_VARIABLE).is_none()
        })
    }

    /// Sends SIGKILL to every process that has the mark.
    pub(crate) fn kill(&self, since: Option<&Since>) -> MarkedFound {
        let wanted = |environ: &[u8]| self.is_in(environ);
        let numbers = || since.and_then(Since::numbers);
        let Some(searched) = numbers() else {
            return MarkedFound {
                count: kill_where(pids(), environ, wanted),
                is_none_left: false,
            };
        };
        let is_settled = Cell::new(true);
        let read = |pid| {
            let found = settled_environ(pid);
            // It may have the mark, as soon as it has an environment.
            is_settled.set(is_settled.get() && !matches!(found, Environ::Unsettled));
            found.bytes()
        };
        // A process comes after the one that started it: one of which the number is given out already and which is not there
        // yet is there when its turn comes, or else its parent still was.
        let count = kill_where(searched.clone(), read, wanted);
        MarkedFound {
            count,
            is_none_left: count == 0 && is_settled.get() && numbers() == Some(searched),
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

/// What is known of a process's environment.
enum Environ {
    Known(Vec<u8>),
    /// The process executes a new program for longer than was waited.
    Unsettled,
    /// There is no such process, or none that may be read.
    Unknown,
}

impl Environ {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Known(bytes) => Some(bytes),
            Self::Unsettled | Self::Unknown => None,
        }
    }
}

/// Reads a process's environment. Waits, but not long, while the process executes a new program: then it has none for a
/// moment.
fn settled_environ(pid: i32) -> Environ {
    for wait in 0..=10 {
        if wait > 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
        let Some(found) = environ(pid) else {
            return Environ::Unknown;
        };
        let has_program = || fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        if !found.is_empty() || !has_program() {
            return Environ::Known(found);
        }
    }
    Environ::Unsettled
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
    fn a_search_after_a_short_program_is_certain_and_one_that_finds_a_process_is_not() {
        let mark = Mark {
            run: format!("test-{}/run/1", onceover_types::RunId::generate()),
            tool: None,
        };
        let start = |program: &str| {
            let at = Instant::now();
            let mut command = std::process::Command::new(program);
            let child = command.arg("60").env(RUN_VARIABLE, &mark.run).spawn().unwrap();
            let since = Since::started(i32::try_from(child.id()).unwrap(), at);
            (child, since)
        };
        let (mut left, since) = start("sleep");
        loop {
            let found = mark.kill(Some(&since));
            assert!(!found.is_none_left, "it is there");
            // Right after the start it has no environment yet.
            if found.count > 0 {
                break;
            }
        }
        left.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        // Other processes of the machine begin as well.
        loop {
            let (mut child, since) = start("true");
            child.wait().unwrap();
            let found = mark.kill(Some(&since));
            assert_eq!(found.count, 0);
            if found.is_none_left {
                break;
            }
            assert!(Instant::now() < deadline, "it is never certain");
        }
        assert!(
            !mark.kill(None).is_none_left,
            "it is not known which numbers it can have"
        );
    }

    #[test]
    fn an_empty_prefix_kills_nothing() {
        assert_eq!(sweep(""), 0);
    }
}
