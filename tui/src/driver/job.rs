//! The dashboard as a job of a shell: ctrl-Z gives the terminal back and stops the job, `fg` continues it.

use std::{fs, io, time::Duration};

use rustix::process::{Signal as Number, getpid, kill_current_process_group, kill_process};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::terminal::Terminal;

/// A signal to our own process arrives within this time.
const SOON: Duration = Duration::from_millis(500);

/// What a shell, or another process, asks for by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSignal {
    Stop,
    /// The process has been continued already.
    Continued,
}

/// Whether a shell waits for this job, which would take the terminal and could continue the job: a process of the same
/// session, and not of the job, started it. Otherwise (`ssh -t host onceover`, a pane of tmux) nothing would continue
/// it.
pub fn has_shell() -> bool {
    let Some(own) = ProcessIds::read(getpid().as_raw_nonzero().get()) else {
        return false;
    };
    let mut parent = own.parent;
    while let Some(other) = ProcessIds::read(parent) {
        if other.session != own.session {
            return false;
        }
        if other.group != own.group {
            return true;
        }
        parent = other.parent;
    }
    false
}

/// The parent, the group and the session of a process. An id is 0 where what it names is outside our namespace of
/// processes (a container that was entered, a sandbox), which the system calls of `rustix` cannot express: their type
/// of an id has no 0.
struct ProcessIds {
    parent: i32,
    group: i32,
    session: i32,
}

impl ProcessIds {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `pid (name) state parent group session ...`: a name may hold anything, brackets and blanks among it.
    fn parse(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut ids = after_name.split_ascii_whitespace().skip(1).map(str::parse);
        let mut id = || ids.next()?.ok();
        Some(Self {
            parent: id()?,
            group: id()?,
            session: id()?,
        })
    }
}

/// Listens to the signals by which a shell stops and continues the job.
pub struct Job {
    stop: Signal,
    continued: Signal,
}

impl Job {
    pub fn listen() -> io::Result<Self> {
        let catch = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            stop: catch(Number::TSTP)?,
            continued: catch(Number::CONT)?,
        })
    }

    /// Waits for the next of these signals.
    pub async fn next(&mut self) -> JobSignal {
        tokio::select! {
            _ = self.stop.recv() => JobSignal::Stop,
            _ = self.continued.recv() => JobSignal::Continued,
        }
    }

    /// Stops the whole job until `fg`, for ctrl-Z, as the terminal would do it. Where make or `sh -c` started the
    /// dashboard, the shell waits for them, and they do not stop because the dashboard does.
    pub async fn stop_all(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.leave();
        kill_current_process_group(Number::TSTP)?;
        // The signal comes to us as well, and must not be taken for another one later.
        let _ = timeout(SOON, self.stop.recv()).await;
        self.stand_still(terminal).await
    }

    /// Stops this process alone, which was asked to by a signal.
    pub async fn stop(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.leave();
        self.stand_still(terminal).await
    }

    /// Stops this process, which was asked to by a signal while another program of the job has the terminal.
    pub fn stop_beside(&self) -> io::Result<()> {
        kill_process(getpid(), Number::STOP)?;
        Ok(())
    }

    async fn stand_still(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        kill_process(getpid(), Number::STOP)?;
        // The stop may reach another thread first, and this one may wake before the signal to continue is taken in.
        let _ = timeout(SOON, self.continued.recv()).await;
        terminal.enter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_a_session_outside_the_container_are_read() {
        let ids = ProcessIds::parse("17 (sh) 1 2 (x) S 0 17 0 34816 17 4194304 0").unwrap();
        assert_eq!((ids.parent, ids.group, ids.session), (0, 17, 0));
        assert!(ProcessIds::parse("17 (sh) S").is_none());
    }
}
