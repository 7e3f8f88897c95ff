//! Runs one external program, never through a shell: in its own process group, with a known environment. Reads its
//! output line by line, and leaves none of its processes behind, however it ends.

use std::{
    future::Future,
    io::{self, Write},
    pin::Pin,
    process::Stdio,
    time::Duration,
};

use futures_util::future::BoxFuture;
use onceover_run::{
    Programs, RunContext, RunError,
    tool::{Exit, ProgramOutput, Tool},
};
use rustix::process::Signal;
use tokio::{io::AsyncWriteExt, time::Instant};

use crate::{
    lines::LineEnds,
    spawned::{Spawned, SpawnedEvent, not_started, wait_until},
};

/// Bytes that an empty pipe takes at once, however small Linux makes it: one page.
const FITS_PIPE: usize = 4096;

/// Starts programs of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalPrograms;

impl Programs for LocalPrograms {
    fn run<'a>(
        &'a self,
        tool: Tool,
        context: &'a RunContext,
        printed: ProgramOutput<'a>,
    ) -> BoxFuture<'a, Result<Exit, RunError>> {
        Box::pin(run(tool, context, printed))
    }
}

async fn run(mut tool: Tool, context: &RunContext, printed: ProgramOutput<'_>) -> Result<Exit, RunError> {
    if context.cancel.is_cancelled() {
        return Err(RunError::Interrupted);
    }
    context.log.line(&format!("$ {}", tool.in_words()));
    let request = tool.stdin.take();
    let (mut program, request) = Running::start(&tool, request, context, printed)?;
    let stdin = program.process.take_stdin();
    let mut feed: Feed = Box::pin(async move {
        if let (Some(mut stdin), Some(request)) = (stdin, request) {
            // It is no error of ours if a program does not read its input.
            let _ = stdin.write_all(&request).await;
        }
    });
    while program.process.is_under_way() {
        let event = program.next_event(&mut feed).await;
        if program.handle(event).await? == Next::Stop {
            break;
        }
    }
    program.finish().await
}

/// Writes a program's standard input.
type Feed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens while a program runs.
enum ProgramEvent {
    /// The run was cancelled.
    Cancelled,
    /// The grace time after SIGTERM is over.
    GraceOver,
    /// Its input is written.
    Fed,
    /// The program printed or ended.
    Spawned(io::Result<SpawnedEvent>),
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// A program of a run, until it and its output have ended.
struct Running<'a> {
    context: &'a RunContext,
    printed: ProgramOutput<'a>,
    grace: Duration,
    process: Spawned,
    fed: bool,
    interrupted: bool,
    /// When SIGKILL follows SIGTERM.
    kill_at: Option<Instant>,
}

impl<'a> Running<'a> {
    /// Starts a program. Returns with it what is still to be written to its standard input.
    fn start(
        tool: &Tool,
        request: Option<Vec<u8>>,
        context: &'a RunContext,
        printed: ProgramOutput<'a>,
    ) -> Result<(Self, Option<Vec<u8>>), RunError> {
        let (stdin, unwritten) = make_stdin(request).map_err(|why| not_started(tool, &why))?;
        let ends = match printed {
            ProgramOutput::Lines(_) => LineEnds::Newline,
            ProgramOutput::Bytes(_) => LineEnds::Nowhere,
        };
        let program = Self {
            context,
            printed,
            grace: tool.grace,
            process: Spawned::start(tool, stdin, context.mark.clone(), ends)?,
            fed: unwritten.is_none(),
            interrupted: false,
            kill_at: None,
        };
        Ok((program, unwritten))
    }

    async fn next_event(&mut self, feed: &mut Feed) -> ProgramEvent {
        let runs = self.process.is_running();
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled(), if !self.interrupted && runs => ProgramEvent::Cancelled,
            () = wait_until(self.kill_at), if self.kill_at.is_some() && runs => ProgramEvent::GraceOver,
            () = feed, if !self.fed => ProgramEvent::Fed,
            event = self.process.next_event() => ProgramEvent::Spawned(event),
        }
    }

    async fn handle(&mut self, event: ProgramEvent) -> Result<Next, RunError> {
        match event {
            ProgramEvent::Cancelled => {
                self.interrupted = true;
                self.process.signal(Signal::TERM);
                self.kill_at = Some(Instant::now() + self.grace);
            }
            ProgramEvent::GraceOver => {
                self.kill_at = None;
                self.process.kill();
            }
            ProgramEvent::Fed => self.fed = true,
            ProgramEvent::Spawned(Ok(event)) => return Ok(self.handle_process(event).await),
            ProgramEvent::Spawned(Err(why)) => {
                return Err(RunError::failed(format!(
                    "cannot wait for {}: {why}",
                    self.process.name
                )));
            }
        }
        Ok(Next::GoOn)
    }

    async fn handle_process(&mut self, event: SpawnedEvent) -> Next {
        match event {
            SpawnedEvent::Ended | SpawnedEvent::Printed(None) | SpawnedEvent::PrintedError(None) => {}
            SpawnedEvent::Printed(Some(part)) => self.pass_on(part).await,
            SpawnedEvent::PrintedError(Some(line)) => {
                self.context.log.line(&line);
                self.process.keep_error_line(line);
            }
            SpawnedEvent::OutputIdle => {
                let why = "a process that it left holds its output open; reading stops here";
                self.context.log.line(why);
                return Next::Stop;
            }
            SpawnedEvent::OutputEndless => {
                let why = "a process that it left keeps writing; reading stops here";
                self.context.log.line(why);
                return Next::Stop;
            }
        }
        Next::GoOn
    }

    async fn pass_on(&mut self, part: Vec<u8>) {
        match &mut self.printed {
            ProgramOutput::Lines(on_line) => on_line(&String::from_utf8_lossy(&part)),
            ProgramOutput::Bytes(to) => {
                if to.send(part).await.is_err() {
                    self.process.close_stdout();
                }
            }
        }
    }

    async fn finish(self) -> Result<Exit, RunError> {
        let (exit, is_none_left) = self.process.finish().await;
        let log = &self.context.log;
        if !is_none_left {
            log.line("a process of this run does not end although it was killed");
        }
        if self.interrupted {
            log.line(&format!("interrupted: {}", exit.in_words()));
            return Err(RunError::Interrupted);
        }
        if !exit.is_success() {
            log.line(&format!("ended with {}", exit.in_words()));
        }
        Ok(exit)
    }
}

/// Makes the standard input of a program. A request that fits into a pipe is written before the program starts, so that
/// nothing has to be done for it later; a longer one is returned.
fn make_stdin(request: Option<Vec<u8>>) -> io::Result<(Stdio, Option<Vec<u8>>)> {
    match request {
        None => Ok((Stdio::null(), None)),
        Some(request) if request.len() <= FITS_PIPE => {
            let (reader, mut writer) = io::pipe()?;
            writer.write_all(&request)?;
            Ok((reader.into(), None))
        }
        Some(request) => Ok((Stdio::piped(), Some(request))),
    }
}
