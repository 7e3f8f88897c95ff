//! A program that was started, in its own process group, with a known environment: its output line by line, its end, and
//! what is read after that. None of its processes is left behind, however it ends.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use onceover_limits::lack::Lack;
use onceover_run::{
    RunError,
    tool::{Exit, RUN_VARIABLE, Tool, how_to_install},
};
use rustix::{
    fs::{Access, access},
    process::Signal,
};
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
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

/// Lines of the error output that are kept for the error message.
pub(crate) const TAIL: usize = 20;

static TOOLS: AtomicU64 = AtomicU64::new(0);

/// What happens with a program that was started.
pub(crate) enum SpawnedEvent {
    /// The program itself has ended; its output may not have.
    Ended,
    /// A line or a part of its output; `None` at the end.
    Printed(Option<Vec<u8>>),
    /// A line of its error output; `None` at the end.
    PrintedError(Option<String>),
    /// It ended, and a process that holds its output open prints nothing.
    OutputIdle,
    /// It ended, and a process that holds its output open keeps printing.
    OutputEndless,
}

/// A program that was started, until it and its output have ended.
pub(crate) struct Spawned {
    pub(crate) name: String,
    child: Child,
    guard: ProcessGroupGuard,
    stdout: LineReader<ChildStdout>,
    stderr: LineReader<ChildStderr>,
    /// The last lines of its error output.
    tail: VecDeque<String>,
    status: Option<ExitStatus>,
    /// When reading stops after the end, if there is nothing to read.
    idle_at: Option<Instant>,
    /// When reading stops in any case.
    stop_at: Option<Instant>,
}

impl Spawned {
    /// Starts a program. Its processes are marked with `run`, and apart from those of other programs of that mark.
    pub(crate) fn start(tool: &Tool, stdin: Stdio, run: String, ends: LineEnds) -> Result<Self, RunError> {
        let number = TOOLS.fetch_add(1, Ordering::Relaxed);
        let mark = Mark {
            run,
            tool: Some(format!("{}-{number}", std::process::id())),
        };
        let before = std::time::Instant::now();
        let mut child = build_command(tool, stdin, &mark)
            .spawn()
            .map_err(|why| not_started(tool, &why))?;
        let guard = ProcessGroupGuard::new(&child, mark, before);
        Ok(Self {
            name: tool.program.display().to_string(),
            stdout: LineReader::new(child.stdout.take(), tool.line_limit, ends),
            stderr: LineReader::new(child.stderr.take(), tool.line_limit, LineEnds::NewlineOrReturn),
            child,
            guard,
            tail: VecDeque::with_capacity(TAIL),
            status: None,
            idle_at: None,
            stop_at: None,
        })
    }

    /// Returns its standard input, the first time, if that is a pipe to write to.
    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Returns its process id until it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether the program itself has not ended.
    pub(crate) fn is_running(&self) -> bool {
        self.status.is_none()
    }

    /// Whether it or its output has not ended.
    pub(crate) fn is_under_way(&self) -> bool {
        self.is_running() || !(self.stdout.has_ended() && self.stderr.has_ended())
    }

    /// Waits for what happens next; cancel-safe. At the end of the program the processes that it started are ended.
    pub(crate) async fn next_event(&mut self) -> io::Result<SpawnedEvent> {
        let runs = self.is_running();
        let status = tokio::select! {
            // Output that was written before the end is read before any time limit counts, however late that is.
            biased;
            ended = self.child.wait(), if runs => ended?,
            () = wait_until(self.stop_at), if self.stop_at.is_some() => return Ok(SpawnedEvent::OutputEndless),
            part = self.stdout.next_part(), if !self.stdout.has_ended() => return Ok(SpawnedEvent::Printed(part)),
            line = self.stderr.next(), if !self.stderr.has_ended() => return Ok(SpawnedEvent::PrintedError(line)),
            () = wait_until(self.idle_at), if self.idle_at.is_some() => return Ok(SpawnedEvent::OutputIdle),
        };
        self.note_end(status);
        Ok(SpawnedEvent::Ended)
    }

    /// Ends the processes that the program started; that also closes the pipes.
    fn note_end(&mut self, status: ExitStatus) {
        self.status = Some(status);
        self.kill();
        self.guard.forget_group();
        self.idle_at = Some(Instant::now() + DRAIN);
        self.stop_at = Some(Instant::now() + DRAIN_AT_MOST);
    }

    /// Reads no more of its output.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout.close();
    }

    /// Reads no more of what it prints.
    pub(crate) fn close_output(&mut self) {
        self.stdout.close();
        self.stderr.close();
    }

    /// Keeps a line of the error output for the error message.
    pub(crate) fn keep_error_line(&mut self, line: String) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(short(line));
    }

    /// Forgets the lines that were kept.
    pub(crate) fn forget_error_lines(&mut self) {
        self.tail.clear();
    }

    /// Sends a signal to its process group.
    pub(crate) fn signal(&self, signal: Signal) {
        self.guard.signal(signal);
    }

    /// Kills it and every process that it started.
    pub(crate) fn kill(&mut self) {
        self.guard.signal(Signal::KILL);
        self.guard.kill_marked();
    }

    /// Kills the processes that it started, but those that it keeps.
    pub(crate) fn kill_left(&self) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) {
            self.guard.kill_left(pid);
        }
    }

    /// Waits until no process is left of a program that has ended. Returns how it ended, and whether none is.
    pub(crate) async fn finish(self) -> (Exit, bool) {
        let is_none_left = self.guard.finish().await;
        let exit = Exit {
            status: self.status.expect("it is finished only after its end"),
            stderr: self.tail.into(),
        };
        (exit, is_none_left)
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
pub(crate) fn not_started(tool: &Tool, why: &io::Error) -> RunError {
    let message = cannot_start(&tool.program, why);
    match Lack::in_starting(why) {
        Some(lack) => RunError::lacking(lack, message),
        None => RunError::Failed(message),
    }
}

pub(crate) async fn wait_until(time: Option<Instant>) {
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
