//! The dashboard as a job of a shell: ctrl-Z gives the terminal back and stops, `fg` goes on.

use std::{fs, io, time::Duration};

use rustix::process::{
    Pid, Signal as Number, getpgid, getpid, getppid, getsid, kill_current_process_group, kill_process,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

use super::terminal::Terminal;

/// A signal to our own process is here within this time.
const SOON: Duration = Duration::from_millis(500);

/// What a shell, or somebody, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSignal {
    Stop,
    /// It has gone on already.
    Continued,
}

/// Whether a shell waits for this job, which would take the terminal and could let it go on: somebody of the same session,
/// and not of the job, started it. Otherwise (`ssh -t host onceover`, a pane of tmux) a stop would be for ever.
pub fn has_shell() -> bool {
    let (Ok(session), Ok(group)) = (getsid(None), getpgid(None)) else {
        return false;
    };
    let mut parent = getppid();
    while let Some(pid) = parent {
        if getsid(Some(pid)) != Ok(session) {
            return false;
        }
        if getpgid(Some(pid)) != Ok(group) {
            return true;
        }
        parent = parent_of(pid);
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}

pub struct Job {
    stop: Signal,
    goes_on: Signal,
}

impl Job {
    pub fn listen() -> io::Result<Self> {
        let of = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            stop: of(Number::TSTP)?,
            goes_on: of(Number::CONT)?,
        })
    }

    pub async fn next(&mut self) -> JobSignal {
        tokio::select! {
            _ = self.stop.recv() => JobSignal::Stop,
            _ = self.goes_on.recv() => JobSignal::Continued,
        }
    }

    /// Back to the shell until `fg`, for ctrl-Z: with all of the job, as the terminal would do it. Where make or `sh -c`
    /// started the dashboard, the shell waits for them, and they do not stop because it does.
    pub async fn stop_all(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.leave();
        kill_current_process_group(Number::TSTP)?;
        // It comes to us as well, and is not to be taken for another one later.
        let _ = timeout(SOON, self.stop.recv()).await;
        self.stand_still(terminal).await
    }

    /// The same for this process alone, which was asked to stop by a signal.
    pub async fn stop(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        terminal.leave();
        self.stand_still(terminal).await
    }

    async fn stand_still(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        kill_process(getpid(), Number::STOP)?;
        // The stop may reach another thread first; what wakes us may come before its signal is taken in.
        let _ = timeout(SOON, self.goes_on.recv()).await;
        terminal.enter()
    }
}
