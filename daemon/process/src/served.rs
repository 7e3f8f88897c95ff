//! A program that takes runs one after another: it is written to and read for as long as it lives. What the messages
//! and lines mean is its owner's business. Dropping it kills it and every process that it started.

use std::{collections::VecDeque, io, process::Stdio, time::Duration};

use onceover_run::{
    RunError,
    tool::{Exit, Tool},
};
use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    time::{Instant, sleep_until},
};

use crate::{
    lines::LineEnds,
    spawned::{Spawned, SpawnedEvent},
};

/// What happens with a program that takes runs.
#[derive(Debug)]
pub enum ServedEvent {
    /// A line of its output.
    Line(String),
    /// A line of its error output.
    ErrorLine(String),
    /// It has ended, and all that it printed was read.
    Ended,
}

/// A program that takes runs one after another.
pub struct ServedProgram {
    process: Spawned,
    stdin: Option<ChildStdin>,
    /// What is to be written to its standard input.
    input: VecDeque<u8>,
    pid: u32,
}

impl ServedProgram {
    /// Starts the program. `mark` is the value of `ONCEOVER_RUN` in the environment of its processes.
    pub fn start(tool: &Tool, mark: String) -> Result<Self, RunError> {
        let mut process = Spawned::start(tool, Stdio::piped(), mark, LineEnds::Newline)?;
        Ok(Self {
            stdin: process.take_stdin(),
            input: VecDeque::new(),
            pid: process.pid().unwrap_or_default(),
            process,
        })
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has a line written to its standard input, after those before. It is written while events are waited for.
    pub fn send(&mut self, line: &[u8]) {
        self.input.extend(line);
    }

    /// Waits for what happens next; cancel-safe.
    pub async fn next_event(&mut self) -> Result<ServedEvent, RunError> {
        loop {
            if !self.process.is_under_way() {
                return Ok(ServedEvent::Ended);
            }
            let event = tokio::select! {
                // It goes first, or a program that prints without end would never be asked to stop.
                biased;
                written = write_some(&mut self.stdin, &self.input), if self.is_writing() => {
                    self.note_written(written);
                    continue;
                }
                event = self.process.next_event() => event,
            };
            let event =
                event.map_err(|why| RunError::failed(format!("cannot wait for {}: {why}", self.process.name)))?;
            match event {
                SpawnedEvent::Printed(Some(line)) => {
                    return Ok(ServedEvent::Line(String::from_utf8_lossy(&line).into_owned()));
                }
                SpawnedEvent::PrintedError(Some(line)) => {
                    self.process.keep_error_line(line.clone());
                    return Ok(ServedEvent::ErrorLine(line));
                }
                SpawnedEvent::Ended | SpawnedEvent::Printed(None) | SpawnedEvent::PrintedError(None) => {}
                SpawnedEvent::OutputIdle | SpawnedEvent::OutputEndless => self.process.close_output(),
            }
        }
    }

    fn is_writing(&self) -> bool {
        self.stdin.is_some() && !self.input.is_empty()
    }

    fn note_written(&mut self, written: io::Result<usize>) {
        match written {
            Ok(count) if count > 0 => {
                self.input.drain(..count.min(self.input.len()));
            }
            // It reads no more; its end says why.
            _ => self.close_input(),
        }
    }

    fn close_input(&mut self) {
        self.stdin = None;
        self.input.clear();
    }

    /// Forgets the lines of the error output that its [`Exit`] would have: they are of another run.
    pub fn forget_error_lines(&mut self) {
        self.process.forget_error_lines();
    }

    /// Asks it to end by SIGTERM.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Kills it and every process that it started.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the processes that it started, but those that belong to what it keeps for later runs.
    pub fn kill_left(&self) {
        self.process.kill_left();
    }

    /// Closes its input, by which it ends, kills it after the grace time, and waits until no process of it is left.
    pub async fn end(mut self, grace: Duration) -> Result<Exit, RunError> {
        self.close_input();
        let kill_at = Instant::now() + grace;
        let mut is_killed = false;
        loop {
            tokio::select! {
                // It goes first, or a program that prints without end would never be killed.
                biased;
                () = sleep_until(kill_at), if !is_killed => {
                    is_killed = true;
                    self.kill();
                }
                event = self.next_event() => if let ServedEvent::Ended = event? {
                    break;
                },
            }
        }
        let (exit, is_none_left) = self.process.finish().await;
        if !is_none_left {
            tracing::warn!(
                pid = self.pid,
                "a process of a program that took runs does not end although it was killed"
            );
        }
        Ok(exit)
    }
}

/// Writes as much of the input as goes now; cancel-safe.
async fn write_some(stdin: &mut Option<ChildStdin>, input: &VecDeque<u8>) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(input.as_slices().0).await,
        None => Ok(0),
    }
}
