//! A process that keeps its model between runs. Its owner reads it and writes to it: a run, then a task of the pool until
//! the next run. It leaves the pool's list when it has ended; dropped before that, it is killed.

use std::{ffi::OsString, time::Duration};

use futures_util::FutureExt;
use onceover_process::{ServedEvent, ServedProgram};
use onceover_run::{
    RunContext, RunError,
    tool::{Exit, Tool},
};
use onceover_types::NodeName;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    pool::Seat,
    protocol::{RunEnding, ServedLine, read_line},
};

/// Lines that are read of a process when it is claimed, at most.
const MOST_READ: usize = 100;

/// What a process was started with: it takes the runs that would be started with the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmKey {
    pub node: NodeName,
    /// The device that the request names; a program keeps one model, on one device.
    pub device: Option<String>,
    program: OsString,
    args: Vec<OsString>,
    inherited: Vec<String>,
    environment: Vec<(OsString, OsString)>,
}

impl WarmKey {
    /// Makes the key of a run and its program. Variables of the daemon never change while it runs, so their names are
    /// enough.
    pub fn new(context: &RunContext, tool: &Tool) -> Self {
        let node = &context.node;
        let parameter = node
            .queue
            .by_device()
            .map(|queues| &queues.by)
            .or(node.needs.gpu.as_ref());
        let device = parameter
            .and_then(|name| context.input.get(name))
            .and_then(Value::as_str);
        Self {
            node: node.name.clone(),
            device: device.map(str::to_owned),
            program: tool.program.clone(),
            args: tool.args.clone(),
            inherited: tool.inherited.clone(),
            environment: tool.environment.clone(),
        }
    }
}

/// Why a process was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// It did nothing for `warm.idle`.
    Idle,
    /// It said that it cannot go on.
    Spent,
    /// It keeps no model.
    KeepsNothing,
    /// It has had `warm.max_runs`.
    MaxRuns,
    /// Its memory has grown by `warm.max_growth`.
    Growth,
    /// There were `warm.max_processes`, and another one was wanted.
    Processes,
    /// All of them together had more memory than `warm.max_memory`.
    Memory,
    /// The memory of the GPU was needed.
    GpuMemory,
    /// Another holder has the lock of the GPU.
    GpuLock,
    /// A run was cancelled, and it did not stop by itself.
    Cancelled,
    /// It does not speak the protocol.
    Protocol,
    /// It ended by itself, or was killed from outside.
    Died,
    /// The daemon stops.
    Shutdown,
}

impl EndReason {
    /// Returns the word that measurements have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Spent => "spent",
            Self::KeepsNothing => "keeps_nothing",
            Self::MaxRuns => "max_runs",
            Self::Growth => "growth",
            Self::Processes => "processes",
            Self::Memory => "memory",
            Self::GpuMemory => "gpu_memory",
            Self::GpuLock => "gpu_lock",
            Self::Cancelled => "cancelled",
            Self::Protocol => "protocol",
            Self::Died => "died",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A process that takes runs one after another.
pub struct WarmWorker {
    pub program: ServedProgram,
    seat: Seat,
    /// Bytes of memory that it had after its first run.
    first_memory: Option<u64>,
    runs: u64,
}

impl WarmWorker {
    pub(super) fn new(program: ServedProgram, seat: Seat) -> Self {
        Self {
            program,
            seat,
            first_memory: None,
            runs: 0,
        }
    }

    /// Returns how many runs it has had.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Notes that it takes a run.
    pub fn note_busy(&self) {
        self.seat.note_busy();
    }

    /// Notes a run that has ended. Returns by how many bytes its memory has grown since its first one.
    pub(super) fn note_run(&mut self, ending: &RunEnding) -> u64 {
        self.runs += 1;
        if self.first_memory.is_none() {
            self.first_memory = ending.memory;
        }
        self.seat.note_run(self.runs, ending);
        let (first, now) = (self.first_memory, ending.memory);
        now.unwrap_or_default()
            .saturating_sub(first.or(now).unwrap_or_default())
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Counts a line of a run that is over.
    pub fn note_late_line(&self, line: &str) {
        self.seat.note_late_line();
        tracing::debug!(
            pid = self.program.pid(),
            line,
            "a late line of a program that takes runs was dropped"
        );
    }

    /// Reads what it prints while it does nothing. Returns the worker when it is claimed; `None` when it has ended, at the
    /// latest after `longest`.
    pub(super) async fn wait_for_claim(mut self, claim: CancellationToken, longest: Duration) -> Option<Self> {
        let time = tokio::time::sleep(longest);
        tokio::pin!(time);
        let reason = loop {
            tokio::select! {
                biased;
                () = claim.cancelled() => match self.has_ended() {
                    true => break EndReason::Died,
                    false => return Some(self),
                },
                () = &mut time => break EndReason::Idle,
                event = self.program.next_event() => match event {
                    Ok(ServedEvent::Line(line) | ServedEvent::ErrorLine(line)) => self.note_idle_line(&line),
                    Ok(ServedEvent::Ended) | Err(_) => break EndReason::Died,
                },
            }
        };
        // Its end is nobody's business.
        let _ = self.end(reason).await;
        None
    }

    /// Whether it has ended, as far as that is known now.
    fn has_ended(&mut self) -> bool {
        // What it has printed comes first. One that prints without end has not ended.
        for _ in 0..MOST_READ {
            match self.program.next_event().now_or_never() {
                None => return false,
                Some(Ok(ServedEvent::Line(line) | ServedEvent::ErrorLine(line))) => self.note_idle_line(&line),
                Some(Ok(ServedEvent::Ended) | Err(_)) => return true,
            }
        }
        false
    }

    fn note_idle_line(&self, line: &str) {
        match read_line(line) {
            ServedLine::Ended(_) | ServedLine::OfRun(_) => self.note_late_line(line),
            ServedLine::Ready(_) | ServedLine::Fault | ServedLine::Other => {
                tracing::debug!(pid = self.program.pid(), line, "a program printed between two runs");
            }
        }
    }

    /// Ends the process: it ends by itself when its input is closed, or is killed after the grace time.
    pub async fn end(self, reason: EndReason) -> Result<Exit, RunError> {
        self.seat.note_end(reason);
        let pid = self.program.pid();
        let ended = self.program.end(self.seat.grace()).await;
        if let Ok(exit) = &ended {
            tracing::debug!(
                pid,
                reason = reason.as_str(),
                how = exit.in_words(),
                "a warm process has ended"
            );
        }
        ended
    }
}
