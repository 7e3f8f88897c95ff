//! The dashboard as a job of a shell: ctrl-Z gives the terminal back and stops, `fg` goes on.

use std::{fs, io, time::Duration};

use rustix::process::{Signal as Number, getpid, kill_current_process_group, kill_process};
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
    let Some(own) = Place::of(getpid().as_raw_nonzero().get()) else {
        return false;
    };
    let mut parent = own.parent;
    while let Some(place) = Place::of(parent) {
        if place.session != own.session {
            return false;
        }
        if place.group != own.group {
            return true;
        }
        parent = place.parent;
    }
    false
}

/// Where a process stands among the others. An id is 0 where what it names is outside our namespace of processes (a
/// container that was entered, a sandbox), which the calls of the C library's kind cannot say with a type that has no 0.
struct Place {
    parent: i32,
    group: i32,
    session: i32,
}

impl Place {
    fn of(pid: i32) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_a_session_outside_the_container_are_read() {
        let place = Place::parse("17 (sh) 1 2 (x) S 0 17 0 34816 17 4194304 0").unwrap();
        assert_eq!((place.parent, place.group, place.session), (0, 17, 0));
        assert!(Place::parse("17 (sh) S").is_none());
    }
}
