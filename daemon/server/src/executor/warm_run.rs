//! A run whose program keeps its model: the process that was started with the same takes it, or one is started. Lines,
//! errors and time limits are those of a process of one run; only its end is another, since the process stays.

use std::{
    ffi::OsString,
    path::Path,
    time::{Duration, Instant as Clock},
};

use futures_util::future::BoxFuture;
use onceover_catalog::RunnerSpec;
use onceover_process::ServedEvent;
use onceover_run::{Object, RunContext, RunError, Runner, tool::Tool};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    command::{CommandRunner, PROTOCOL, build_request},
    program_lines::ReportedLines,
};
use crate::warm::{
    Acquired, EndReason, GpuNeed, Seat, WarmKey, WarmPool, WarmWant, WarmWorker,
    protocol::{RunEndKind, RunEnding, SERVE_VARIABLE, ServedLine, read_end_of_log, read_line, stop_message},
};

/// How long a program may take until it says that it takes runs.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long the rest of a run's error output is waited for once the run has ended.
const LOG_DRAIN: Duration = Duration::from_secs(1);

/// Runs nodes whose processes take runs one after another.
pub(super) struct WarmRunner<'a> {
    pub(super) pool: &'a WarmPool,
    /// Runs what finds no process.
    pub(super) cold: CommandRunner,
    /// What it needs of the GPU, if it holds a slot of it.
    pub(super) gpu: Option<GpuNeed>,
    /// Cancelled when the daemon stops.
    pub(super) stop: &'a CancellationToken,
}

impl Runner for WarmRunner<'_> {
    fn run<'a>(&'a self, context: &'a RunContext) -> BoxFuture<'a, Result<Object, RunError>> {
        Box::pin(self.run_warm(context))
    }
}

impl WarmRunner<'_> {
    async fn run_warm(&self, context: &RunContext) -> Result<Object, RunError> {
        let begun = Clock::now();
        let mut tool = self.cold.build_tool(context)?.env(SERVE_VARIABLE, "1");
        if let RunnerSpec::Python(..) = context.node.runner {
            // The folder of its first run is not there for the next.
            tool = tool.current_dir(Path::new("/"));
        }
        let want = WarmWant {
            key: WarmKey::new(context, &tool),
            gpu: self.gpu,
        };
        if context.cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let worker = match self.pool.acquire(&want).await {
            Acquired::Kept(worker) => *worker,
            Acquired::New(seat) => {
                context.log.line(&format!("$ {}", tool.in_words()));
                seat.make_room_on_gpu().await;
                self.start(seat, &tool, context).await?
            }
            Acquired::Full => {
                context
                    .log
                    .line("warm: every process that may be kept is at work; this one ends with its run");
                if let Some(need) = self.gpu {
                    self.pool.make_room_on_gpu(&context.node.name, need).await;
                }
                return self.cold.run(context).await;
            }
        };
        context.log.line(&format!(
            "warm: run {} of process {}, started in {:.1} ms",
            worker.runs() + 1,
            worker.program.pid(),
            begun.elapsed().as_secs_f64() * 1000.0
        ));
        self.serve(worker, tool.program, context).await
    }

    /// Starts a process and waits until it takes runs.
    async fn start(&self, seat: Seat, tool: &Tool, context: &RunContext) -> Result<WarmWorker, RunError> {
        let mut worker = seat.start(tool)?;
        let limit = Instant::now() + START_LIMIT;
        let why = loop {
            let event = tokio::select! {
                biased;
                () = context.cancel.cancelled() => {
                    worker.program.terminate();
                    worker.end(EndReason::Cancelled).await?;
                    return Err(RunError::Interrupted);
                }
                () = sleep_until(limit) => break format!("did not do so within {} s", START_LIMIT.as_secs()),
                event = worker.program.next_event() => event?,
            };
            match event {
                ServedEvent::Line(line) => match read_line(&line) {
                    ServedLine::Ready(PROTOCOL) => {
                        worker.note_busy();
                        return Ok(worker);
                    }
                    ServedLine::Ready(other) => break format!("speaks version {other} of the protocol"),
                    _ => context.log.line(&line),
                },
                ServedEvent::ErrorLine(line) => context.log.line(&line),
                ServedEvent::Ended => {
                    let exit = worker.end(EndReason::Protocol).await?;
                    return Err(not_ready(
                        tool,
                        &format!("ended with {}{}", exit.in_words(), exit.stderr_in_words()),
                    ));
                }
            }
        };
        worker.program.terminate();
        worker.end(EndReason::Protocol).await?;
        Err(not_ready(tool, &why))
    }

    /// Has the process do the run, and leaves it to the pool.
    async fn serve(&self, mut worker: WarmWorker, program: OsString, context: &RunContext) -> Result<Object, RunError> {
        worker.program.forget_error_lines();
        worker.program.send(&build_request(context));
        let mut run = ServedRun {
            worker,
            program,
            context,
            grace: self.cold.grace,
            stop: self.stop,
            reported: ReportedLines::default(),
            ending: None,
            is_log_whole: false,
            interruption: Interruption::None,
            next_step: None,
        };
        loop {
            let event = run.next_event().await?;
            if run.handle(event) == Next::Ended {
                break;
            }
        }
        run.conclude(self.pool).await
    }
}

/// Says why a program takes no runs.
fn not_ready(tool: &Tool, why: &str) -> RunError {
    RunError::failed(format!(
        "{} is to take runs one after another (runner.warm of its node file) and {why}; it must write \
         {{\"type\":\"ready\",\"protocol\":{PROTOCOL}}} first, see docs/writing-a-node.md, or have no warm in its node file",
        tool.program.display()
    ))
}

/// What happens while a process does a run.
enum ServedRunEvent {
    Cancelled,
    /// It is time for the next step towards the end.
    StepDue(Step),
    Program(ServedEvent),
}

/// What is done when a run does not end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It was asked to stop; now the process is.
    Terminate,
    Kill,
    /// The run has ended, and its log is taken as it is.
    LeaveLog,
}

/// How far the end of a run was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interruption {
    None,
    /// The program was asked to stop the run.
    Stop,
    /// The process was asked to end: it takes no run any more.
    Signal,
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Ended,
}

/// A run that a process does.
struct ServedRun<'a> {
    worker: WarmWorker,
    program: OsString,
    context: &'a RunContext,
    grace: Duration,
    stop: &'a CancellationToken,
    reported: ReportedLines,
    /// How it has ended; `None` before that, and where the process ended with it.
    ending: Option<RunEnding>,
    /// All that was printed to the error output in it was read.
    is_log_whole: bool,
    interruption: Interruption,
    next_step: Option<(Instant, Step)>,
}

impl ServedRun<'_> {
    async fn next_event(&mut self) -> Result<ServedRunEvent, RunError> {
        let next_step = self.next_step;
        let event = tokio::select! {
            biased;
            () = self.context.cancel.cancelled(), if self.interruption == Interruption::None => ServedRunEvent::Cancelled,
            step = wait_for_step(next_step), if next_step.is_some() => ServedRunEvent::StepDue(step),
            event = self.worker.program.next_event() => ServedRunEvent::Program(event?),
        };
        Ok(event)
    }

    fn handle(&mut self, event: ServedRunEvent) -> Next {
        match event {
            ServedRunEvent::Cancelled => self.interrupt(),
            ServedRunEvent::StepDue(Step::Terminate) => self.terminate(),
            ServedRunEvent::StepDue(Step::Kill) => {
                self.next_step = None;
                self.worker.program.kill();
            }
            ServedRunEvent::StepDue(Step::LeaveLog) => {
                tracing::debug!(
                    run_id = %self.context.run_id,
                    "a program that takes runs does not say where the error output of a run ends"
                );
                return Next::Ended;
            }
            ServedRunEvent::Program(ServedEvent::Line(line)) => self.read_line(&line),
            ServedRunEvent::Program(ServedEvent::ErrorLine(line)) => self.read_error_line(&line),
            ServedRunEvent::Program(ServedEvent::Ended) => return Next::Ended,
        }
        match self.ending.is_some() && self.is_log_whole {
            true => Next::Ended,
            false => Next::GoOn,
        }
    }

    /// Asks for the end of the run, and of the process where that does not help; at once where the daemon stops, since the
    /// process ends anyway.
    fn interrupt(&mut self) {
        self.interruption = Interruption::Stop;
        if self.stop.is_cancelled() {
            self.terminate();
        } else if self.ending.is_none() {
            self.worker.program.send(&stop_message(&self.context.run_id));
            self.next_step = Some((Instant::now() + self.grace, Step::Terminate));
        }
    }

    fn terminate(&mut self) {
        self.interruption = Interruption::Signal;
        self.worker.program.terminate();
        self.next_step = Some((Instant::now() + self.grace, Step::Kill));
    }

    fn read_line(&mut self, line: &str) {
        let own = self.context.run_id.as_str();
        match read_line(line) {
            ServedLine::Ended(ending) if ending.run_id == own => {
                self.ending = Some(ending);
                self.next_step = Some((Instant::now() + LOG_DRAIN, Step::LeaveLog));
            }
            ServedLine::OfRun(run) if run == own => self.reported.read(line, self.context),
            // The program ends, and says why.
            ServedLine::Fault => self.reported.read(line, self.context),
            ServedLine::Ended(_) | ServedLine::OfRun(_) => self.worker.note_late_line(line),
            ServedLine::Ready(_) => {}
            ServedLine::Other => self.context.log.line(line),
        }
    }

    fn read_error_line(&mut self, line: &str) {
        match read_end_of_log(line) {
            Some(run) if run == self.context.run_id.as_str() => self.is_log_whole = true,
            Some(_) => self.worker.note_late_line(line),
            None if self.is_log_whole => {
                tracing::debug!(
                    pid = self.worker.program.pid(),
                    line,
                    "a program printed between two runs"
                );
            }
            None => self.context.log.line(line),
        }
    }

    /// Ends what the run left, gives the process back, and says what came of the run.
    async fn conclude(self, pool: &WarmPool) -> Result<Object, RunError> {
        let (context, reported, worker) = (self.context, self.reported, self.worker);
        let is_interrupted = self.interruption != Interruption::None;
        // A process that was asked to end may have ended the run well before it does.
        let Some(ending) = self.ending.filter(|_| self.interruption != Interruption::Signal) else {
            let reason = match is_interrupted {
                true => EndReason::Cancelled,
                false => EndReason::Died,
            };
            let exit = worker.end(reason).await?;
            if is_interrupted {
                context.log.line(&format!("interrupted: {}", exit.in_words()));
                return Err(RunError::Interrupted);
            }
            context.log.line(&format!("ended with {}", exit.in_words()));
            return reported.judge_exit(&self.program, &exit, context);
        };
        worker.program.kill_left();
        pool.give_back(worker, &ending);
        if is_interrupted {
            context.log.line("interrupted; its process goes on");
            return Err(RunError::Interrupted);
        }
        reported.judge(context, || match ending.end {
            RunEndKind::Success => "the program ended the run well and without an output line; it must write \
                 {\"type\":\"output\",\"run_id\":\"...\",\"output\":{...}}"
                .to_owned(),
            RunEndKind::Failed => "the program says that the run failed, and not why; its log may tell".to_owned(),
            RunEndKind::Stopped => "the program stopped the run, and nobody asked for that".to_owned(),
        })
    }
}

async fn wait_for_step(step: Option<(Instant, Step)>) -> Step {
    match step {
        Some((at, step)) => {
            sleep_until(at).await;
            step
        }
        None => std::future::pending().await,
    }
}
