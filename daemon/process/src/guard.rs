//! Ends a program's processes, found by its group and its mark, also when the run's future is dropped.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Child, time::Instant};

use crate::sweep::{Mark, Since};

/// How long a killed process may take to end before the log reports it.
const SWEEP: Duration = Duration::from_secs(5);

/// How often processes are searched for that fork while they are killed.
const TRIES: usize = 10;

/// Owns a program's process group. If it is dropped before [`ProcessGroupGuard::finish`], it kills the group.
pub(crate) struct ProcessGroupGuard {
    group: Option<Pid>,
    mark: Mark,
    since: Option<Since>,
    /// No process that has the mark is left.
    is_clean: bool,
}

impl ProcessGroupGuard {
    /// Makes the guard of a child; `before` is a time before the child was started.
    pub(crate) fn new(child: &Child, mark: Mark, before: std::time::Instant) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self {
            group: pid.and_then(Pid::from_raw),
            since: pid.map(|pid| Since::started(pid, before)),
            mark,
            is_clean: false,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that no process is left in the group.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Kills every process that has the mark, wherever it moved to. Returns how many there were.
    pub(crate) fn kill_marked(&mut self) -> usize {
        let found = self.mark.kill(self.since.as_ref());
        self.is_clean = found.is_none_left;
        found.count
    }

    /// Forgets the group once its leader was waited for: from then on another group may have its number.
    pub(crate) fn forget_group(&mut self) {
        self.group = None;
    }

    /// Kills every process that has the mark but the program itself, whose number is given, and those that it keeps for
    /// later runs.
    pub(crate) fn kill_left(&self, pid: i32) {
        // A process that forks meanwhile may be missed the first time.
        for _ in 0..TRIES {
            if self.mark.kill_others(pid) == 0 {
                break;
            }
        }
    }

    /// Waits until every process that has the mark has ended. Returns whether all have.
    pub(crate) async fn finish(mut self) -> bool {
        let deadline = Instant::now() + SWEEP;
        let mut is_none_left = true;
        while !self.is_clean && self.kill_marked() > 0 {
            if Instant::now() > deadline {
                is_none_left = false;
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.is_clean = true;
        is_none_left
    }
}

impl Drop for ProcessGroupGuard {
    fn drop(&mut self) {
        if !self.is_clean {
            self.signal(Signal::KILL);
            // A process that forks meanwhile may be missed the first time.
            for _ in 0..TRIES {
                if self.kill_marked() == 0 {
                    break;
                }
            }
        }
    }
}
