//! Runs one external program, never through a shell: in its own process group, with a known environment. Reads its
//! output line by line, and leaves none of its processes behind, however it ends.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
    pin::Pin,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use onceover_limits::lack::Lack;
use onceover_run::{
    Programs, RunContext, RunError,
    tool::{Exit, ProgramOutput, RUN_VARIABLE, Tool, how_to_install},
};
use rustix::{
    fs::{Access, access},
    process::Signal,
};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::{Instant, sleep_until},
};

use crate::{
    environment,
    guard::ProcessGroupGuard,
    lines::{LineEnds, LineReader},
    sweep::{Mark, TOOL_VARIABLE},
};

/// How long more output is waited for after the program ended, while a process that we cannot find holds its pipes.
const DRAIN: Duration = Duration::from_secs(1);

/// How long output of such a process is read.
const DRAIN_AT_MOST: Duration = Duration::from_secs(5);

/// Bytes that an empty pipe takes at once, however small Linux makes it: one page.
const FITS_PIPE: usize = 4096;

/// Lines of the error output that are kept for the error message.
pub(crate) const TAIL: usize = 20;

static TOOLS: AtomicU64 = AtomicU64::new(0);

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
    let stdin = program.child.stdin.take();
    let mut feed: Feed = Box::pin(async move {
        if let (Some(mut stdin), Some(request)) = (stdin, request) {
            // It is no error of ours if a program does not read its input.
            let _ = stdin.write_all(&request).await;
        }
    });
    while program.is_under_way() {
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
    Ended(io::Result<ExitStatus>),
    /// A line or a part of its output; `None` at the end.
    Printed(Option<Vec<u8>>),
    /// A line of its error output; `None` at the end.
    PrintedError(Option<String>),
    /// Its input is written.
    Fed,
    /// It ended, and a process that holds its output open prints nothing.
    OutputIdle,
    /// It ended, and a process that holds its output open keeps printing.
    OutputEndless,
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// A program that was started, until it and its output have ended.
struct Running<'a> {
    context: &'a RunContext,
    printed: ProgramOutput<'a>,
    name: String,
    grace: Duration,
    child: Child,
    guard: ProcessGroupGuard,
    stdout: LineReader<ChildStdout>,
    stderr: LineReader<ChildStderr>,
    /// The last lines of its error output.
    tail: VecDeque<String>,
    fed: bool,
    status: Option<ExitStatus>,
    interrupted: bool,
    /// When SIGKILL follows SIGTERM.
    kill_at: Option<Instant>,
    /// When reading stops after the end, if there is nothing to read.
    idle_at: Option<Instant>,
    /// When reading stops in any case.
    stop_at: Option<Instant>,
}

impl<'a> Running<'a> {
    /// Starts a program. Returns with it what is still to be written to its standard input.
    fn start(
        tool: &Tool,
        request: Option<Vec<u8>>,
        context: &'a RunContext,
        printed: ProgramOutput<'a>,
    ) -> Result<(Self, Option<Vec<u8>>), RunError> {
        let number = TOOLS.fetch_add(1, Ordering::Relaxed);
        let mark = Mark {
            run: context.mark.clone(),
            tool: Some(format!("{}-{number}", std::process::id())),
        };
        let before = std::time::Instant::now();
        let (stdin, unwritten) = make_stdin(request).map_err(|why| not_started(tool, &why))?;
        let mut child = build_command(tool, stdin, &mark)
            .spawn()
            .map_err(|why| not_started(tool, &why))?;
        let guard = ProcessGroupGuard::new(&child, mark, before);
        let ends = match printed {
            ProgramOutput::Lines(_) => LineEnds::Newline,
            ProgramOutput::Bytes(_) => LineEnds::Nowhere,
        };
        let program = Self {
            context,
            printed,
            name: tool.program.display().to_string(),
            grace: tool.grace,
            stdout: LineReader::new(child.stdout.take(), tool.line_limit, ends),
            stderr: LineReader::new(child.stderr.take(), tool.line_limit, LineEnds::NewlineOrReturn),
            child,
            guard,
            tail: VecDeque::with_capacity(TAIL),
            fed: unwritten.is_none(),
            status: None,
            interrupted: false,
            kill_at: None,
            idle_at: None,
            stop_at: None,
        };
        Ok((program, unwritten))
    }

    fn is_under_way(&self) -> bool {
        self.status.is_none() || !(self.stdout.has_ended() && self.stderr.has_ended())
    }

    async fn next_event(&mut self, feed: &mut Feed) -> ProgramEvent {
        let runs = self.status.is_none();
        tokio::select! {
            // Output that was written before the end is read before any time limit counts, however late that is.
            biased;
            () = self.context.cancel.cancelled(), if !self.interrupted && runs => ProgramEvent::Cancelled,
            () = wait_until(self.kill_at), if self.kill_at.is_some() && runs => ProgramEvent::GraceOver,
            ended = self.child.wait(), if runs => ProgramEvent::Ended(ended),
            () = wait_until(self.stop_at), if self.stop_at.is_some() => ProgramEvent::OutputEndless,
            part = self.stdout.next_part(), if !self.stdout.has_ended() => ProgramEvent::Printed(part),
            line = self.stderr.next(), if !self.stderr.has_ended() => ProgramEvent::PrintedError(line),
            () = feed, if !self.fed => ProgramEvent::Fed,
            () = wait_until(self.idle_at), if self.idle_at.is_some() => ProgramEvent::OutputIdle,
        }
    }

    async fn handle(&mut self, event: ProgramEvent) -> Result<Next, RunError> {
        match event {
            ProgramEvent::Cancelled => {
                self.interrupted = true;
                self.guard.signal(Signal::TERM);
                self.kill_at = Some(Instant::now() + self.grace);
            }
            ProgramEvent::GraceOver => {
                self.kill_at = None;
                self.guard.signal(Signal::KILL);
                self.guard.kill_marked();
            }
            ProgramEvent::Ended(Err(why)) => {
                return Err(RunError::failed(format!("cannot wait for {}: {why}", self.name)));
            }
            ProgramEvent::Ended(Ok(status)) => self.note_end(status),
            ProgramEvent::Printed(Some(part)) => self.pass_on(part).await,
            ProgramEvent::PrintedError(Some(line)) => self.keep_error_line(line),
            ProgramEvent::Printed(None) | ProgramEvent::PrintedError(None) => {}
            ProgramEvent::Fed => self.fed = true,
            ProgramEvent::OutputIdle => {
                let why = "a process that it left holds its output open; reading stops here";
                self.context.log.line(why);
                return Ok(Next::Stop);
            }
            ProgramEvent::OutputEndless => {
                let why = "a process that it left keeps writing; reading stops here";
                self.context.log.line(why);
                return Ok(Next::Stop);
            }
        }
        Ok(Next::GoOn)
    }

    /// Ends the processes that the program started; that also closes the pipes.
    fn note_end(&mut self, status: ExitStatus) {
        self.status = Some(status);
        self.guard.signal(Signal::KILL);
        self.guard.kill_marked();
        self.guard.forget_group();
        self.idle_at = Some(Instant::now() + DRAIN);
        self.stop_at = Some(Instant::now() + DRAIN_AT_MOST);
    }

    async fn pass_on(&mut self, part: Vec<u8>) {
        match &mut self.printed {
            ProgramOutput::Lines(on_line) => on_line(&String::from_utf8_lossy(&part)),
            ProgramOutput::Bytes(to) => {
                if to.send(part).await.is_err() {
                    self.stdout.close();
                }
            }
        }
    }

    fn keep_error_line(&mut self, line: String) {
        self.context.log.line(&line);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(short(line));
    }

    async fn finish(self) -> Result<Exit, RunError> {
        self.guard.finish(self.context).await;
        let exit = Exit {
            status: self.status.expect("the loop ends only after the program did"),
            stderr: self.tail.into(),
        };
        if self.interrupted {
            self.context.log.line(&format!("interrupted: {}", exit.in_words()));
            return Err(RunError::Interrupted);
        }
        if !exit.is_success() {
            self.context.log.line(&format!("ended with {}", exit.in_words()));
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

fn build_command(tool: &Tool, stdin: Stdio, mark: &Mark) -> Command {
    let variables = environment::program_variables();
    let given = tool.environment.iter().map(|(name, value)| (name, value));
    let path = tool
        .environment
        .iter()
        .rev()
        .chain(&variables.always)
        .find(|(name, _)| name == "PATH");
    let named = variables.if_named.iter().filter(|(name, _)| tool.names_variable(name));
    let mut command = match path.and_then(|(_, path)| find_program(&tool.program, path)) {
        Some(found) => {
            let mut command = Command::new(found);
            command.arg0(&tool.program);
            command
        }
        None => Command::new(&tool.program),
    };
    command
        .args(&tool.args)
        .env_clear()
        .envs(variables.always.iter().map(|(name, value)| (name, value)))
        .envs(named.map(|(name, value)| (name, value)))
        .envs(given)
        .env(RUN_VARIABLE, &mark.run)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some(tool) = &mark.tool {
        command.env(TOOL_VARIABLE, tool);
    }
    if let Some(dir) = &tool.dir {
        command.current_dir(dir);
    }
    command
}

/// Finds a program on the `PATH` that it will get: to start one by its name, with a separate environment, copies the daemon's
/// memory map, and by its path does not. Returns `None` where the name has to be left to the start itself.
fn find_program(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if name.is_empty() || name.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    for folder in std::env::split_paths(path) {
        // It is below the folder that the program starts in.
        if !folder.is_absolute() {
            return None;
        }
        let found = folder.join(name);
        if access(&found, Access::EXEC_OK).is_ok() && is_binary(&found) {
            return Some(found);
        }
        // A script, for example, or a file that may not be executed.
        if found.exists() {
            return None;
        }
    }
    None
}

/// Whether a file is a program that the system executes by itself, and not through a shell.
fn is_binary(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = |mut file: std::fs::File| io::Read::read_exact(&mut file, &mut start);
    path.is_file() && std::fs::File::open(path).and_then(read).is_ok() && start == *b"\x7fELF"
}

/// Says why a program could not be started.
fn not_started(tool: &Tool, why: &io::Error) -> RunError {
    let message = cannot_start(&tool.program, why);
    match Lack::in_starting(why) {
        Some(lack) => RunError::lacking(lack, message),
        None => RunError::Failed(message),
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Shortens a line for an error message.
fn short(mut line: String) -> String {
    const LONGEST: usize = 400;
    if line.len() > LONGEST {
        line.truncate(line.floor_char_boundary(LONGEST));
        line.push('…');
    }
    line
}

pub(crate) fn cannot_start(program: &OsStr, why: &io::Error) -> String {
    let name = program.display();
    match why.kind() {
        io::ErrorKind::NotFound => {
            let advice = how_to_install(&program.to_string_lossy());
            format!("cannot start {name}: there is no such program on the PATH; {advice}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("cannot start {name}: the daemon's user may not execute it (chmod +x)")
        }
        _ => format!("cannot start {name}: {why}"),
    }
}
