//! Running one external program: its own process group, a known environment, its output line by line,
//! and nothing of it left behind however it ends. Never through a shell.

mod guard;
mod lines;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep_until},
};

#[cfg(test)]
pub(crate) use self::sweep::marked;
pub use self::sweep::{sweep, sweep_until_gone};
use self::{
    guard::Guard,
    lines::{Ends, LineReader},
    sweep::Mark,
};
use super::run::{RunContext, RunError};
use crate::{environment, lack::Lack};

/// By which processes of a run are found, whatever group or session they moved to.
pub const RUN_VARIABLE: &str = "ONCEOVER_RUN";

/// Sets the processes of one program apart from others of the same run.
const TOOL_VARIABLE: &str = "ONCEOVER_TOOL";

/// How long a program may take to end by itself after SIGTERM, before SIGKILL.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3);

/// Bytes of one line of output; what is longer is cut.
pub const DEFAULT_LINE_LIMIT: usize = 64 * 1024;

/// How long more output is waited for after the program ended, while a process we cannot find holds its pipes.
const DRAIN: Duration = Duration::from_secs(1);

/// How long such a process can go on writing.
const DRAIN_AT_MOST: Duration = Duration::from_secs(5);

/// Lines of the error output kept for the error message.
const TAIL: usize = 20;

/// Variables a program gets from the daemon's environment; those that end in `*` by prefix.
const INHERITED: [&str; 11] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_*",
    "TMPDIR",
    "TZ",
    "CUDA_*",
    "LD_LIBRARY_PATH",
    "HF_HOME",
    "VIRTUAL_ENV",
    "PYTHON*",
];

static TOOLS: AtomicU64 = AtomicU64::new(0);

/// Whether every program gets this variable of the daemon's environment.
pub fn is_inherited(name: &str) -> bool {
    INHERITED.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// A program to run, with everything it gets.
#[derive(Debug)]
pub struct Tool {
    program: OsString,
    args: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    inherited: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    grace: Duration,
    line_limit: usize,
}

/// How a program ended. Only `success` says that it did what it was asked.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    /// The last lines of its error output.
    pub stderr: Vec<String>,
}

impl Exit {
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// `exit code 1`, `signal 9 (SIGKILL ...)`.
    pub fn in_words(&self) -> String {
        if let Some(code) = self.status.code() {
            return format!("exit code {code}");
        }
        match self.status.signal() {
            Some(9) => "signal 9 (SIGKILL; the machine may be out of memory)".into(),
            Some(11) => "signal 11 (SIGSEGV, it crashed)".into(),
            Some(6) => "signal 6 (SIGABRT, it gave up)".into(),
            Some(signal) => format!("signal {signal}"),
            None => "an unknown end".into(),
        }
    }

    /// The error output's last lines as the end of an error message; empty if there was none.
    pub fn stderr_in_words(&self) -> String {
        if self.stderr.is_empty() {
            String::new()
        } else {
            format!("; it said: {}", self.stderr.join(" / "))
        }
    }
}

/// Who gets what a program prints.
enum Taker<F> {
    Lines(F),
    Bytes(mpsc::Sender<Vec<u8>>),
}

impl<F: FnMut(&str)> Taker<F> {
    fn ends(&self) -> Ends {
        match self {
            Self::Lines(_) => Ends::Newline,
            Self::Bytes(_) => Ends::Nowhere,
        }
    }

    /// Whether more is wanted.
    async fn take(&mut self, part: Vec<u8>) -> bool {
        match self {
            Self::Lines(on_line) => {
                on_line(&String::from_utf8_lossy(&part));
                true
            }
            Self::Bytes(to) => to.send(part).await.is_ok(),
        }
    }
}

impl Tool {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            stdin: None,
            inherited: Vec::new(),
            environment: Vec::new(),
            dir: None,
            grace: DEFAULT_GRACE,
            line_limit: DEFAULT_LINE_LIMIT,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Written to its standard input, which is then closed. Without it the input is empty.
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// More variables to take from the daemon's environment; `NAME` or `PREFIX*`.
    pub fn inherit(mut self, names: &[String]) -> Self {
        self.inherited.extend_from_slice(names);
        self
    }

    /// A variable it gets whatever the daemon's environment has.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    pub fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes;
        self
    }

    /// Runs the program to its end. Each line of its output goes to `on_stdout`, each of its error output
    /// to the run's log. When the run's token is cancelled the whole group gets SIGTERM, after the grace
    /// time SIGKILL, and the answer is `Interrupted`. Dropping the future kills at once.
    pub async fn run(self, context: &RunContext, on_stdout: impl FnMut(&str) + Send) -> Result<Exit, RunError> {
        self.run_into(context, Taker::Lines(on_stdout)).await
    }

    /// Runs the program as `run` does, and sends its output, which is no text, in parts as they come. It waits where
    /// they are not taken; where nobody takes them any more, the program's output is closed.
    pub async fn run_for_bytes(self, context: &RunContext, to: mpsc::Sender<Vec<u8>>) -> Result<Exit, RunError> {
        self.run_into(context, Taker::<fn(&str)>::Bytes(to)).await
    }

    async fn run_into<F: FnMut(&str) + Send>(
        self,
        context: &RunContext,
        mut taker: Taker<F>,
    ) -> Result<Exit, RunError> {
        if context.cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        context.log.line(&format!("$ {}", self.in_words()));
        let mark = Mark {
            run: context.mark.clone(),
            tool: Some(format!(
                "{}-{}",
                std::process::id(),
                TOOLS.fetch_add(1, Ordering::Relaxed)
            )),
        };
        let before = std::time::Instant::now();
        let mut child = self.spawn(&mark)?;
        let mut guard = Guard::new(&child, mark, before);

        let mut stdout = LineReader::new(child.stdout.take(), self.line_limit, taker.ends());
        let mut stderr = LineReader::new(child.stderr.take(), self.line_limit, Ends::NewlineOrReturn);
        let mut tail = VecDeque::with_capacity(TAIL);
        let stdin = child.stdin.take();
        let request = self.stdin.as_deref().unwrap_or_default();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input is its own affair.
                let _ = stdin.write_all(request).await;
            }
        };
        tokio::pin!(feed);

        let mut fed = false;
        let mut status = None;
        let mut interrupted = false;
        // When SIGKILL follows SIGTERM.
        let mut kill_at = None;
        // When reading stops after the end: if nothing is there to read, and in any case.
        let (mut idle_at, mut stop_at) = (None, None);
        while status.is_none() || !(stdout.ended() && stderr.ended()) {
            tokio::select! {
                // What was written before the end is read before any clock is looked at, however late that is.
                biased;
                () = context.cancel.cancelled(), if !interrupted && status.is_none() => {
                    interrupted = true;
                    guard.signal(Signal::TERM);
                    kill_at = Some(Instant::now() + self.grace);
                }
                () = at(kill_at), if kill_at.is_some() && status.is_none() => {
                    kill_at = None;
                    guard.signal(Signal::KILL);
                    guard.kill_marked();
                }
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended.map_err(|why| RunError::failed(format!(
                        "cannot wait for {}: {why}", self.program.display()
                    )))?);
                    // What it started goes with it; that also closes the pipes.
                    guard.signal(Signal::KILL);
                    guard.kill_marked();
                    guard.forget_group();
                    idle_at = Some(Instant::now() + DRAIN);
                    stop_at = Some(Instant::now() + DRAIN_AT_MOST);
                }
                () = at(stop_at), if stop_at.is_some() => {
                    context.log.line("a process it left goes on writing; not read further");
                    break;
                }
                part = stdout.next_part(), if !stdout.ended() => {
                    if let Some(part) = part
                        && !taker.take(part).await
                    {
                        stdout.close();
                    }
                }
                line = stderr.next(), if !stderr.ended() => {
                    if let Some(line) = line {
                        context.log.line(&line);
                        if tail.len() == TAIL {
                            tail.pop_front();
                        }
                        tail.push_back(short(line));
                    }
                }
                () = &mut feed, if !fed => fed = true,
                () = at(idle_at), if idle_at.is_some() => {
                    context.log.line("a process it left holds its output open; not read further");
                    break;
                }
            }
        }
        guard.finish(context).await;
        let exit = Exit {
            status: status.expect("the loop ends only after the program did"),
            stderr: tail.into(),
        };
        if interrupted {
            context.log.line(&format!("interrupted: {}", exit.in_words()));
            return Err(RunError::Interrupted);
        }
        if !exit.success() {
            context.log.line(&format!("ended with {}", exit.in_words()));
        }
        Ok(exit)
    }

    fn spawn(&self, mark: &Mark) -> Result<Child, RunError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(environment::vars_os().filter(|(name, _)| self.inherits(name)))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(RUN_VARIABLE, &mark.run)
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(tool) = &mark.tool {
            command.env(TOOL_VARIABLE, tool);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command.spawn().map_err(|why| {
            let message = cannot_start(&self.program, &why);
            match Lack::in_starting(&why) {
                Some(lack) => RunError::lacking(lack, message),
                None => RunError::Failed(message),
            }
        })
    }

    fn inherits(&self, name: &OsStr) -> bool {
        name.to_str()
            .is_some_and(|name| is_inherited(name) || self.inherited.iter().any(|pattern| matches(pattern, name)))
    }

    fn in_words(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|arg| {
                let arg = arg.to_string_lossy();
                let plain = |c: char| c.is_alphanumeric() || "-_./:,=+%@".contains(c);
                if !arg.is_empty() && arg.chars().all(plain) {
                    arg.into_owned()
                } else {
                    format!("'{}'", arg.replace('\'', r"'\''"))
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A line as an error message can carry it.
fn short(mut line: String) -> String {
    const LONGEST: usize = 400;
    if line.len() > LONGEST {
        line.truncate(line.floor_char_boundary(LONGEST));
        line.push('…');
    }
    line
}

fn cannot_start(program: &OsStr, why: &io::Error) -> String {
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

/// How to get a program that is not there.
pub fn how_to_install(program: &str) -> String {
    let package = match program {
        "ffmpeg" | "ffprobe" => "ffmpeg",
        "python3" => "python3",
        "espeak-ng" => "espeak-ng",
        _ => return "install it, or give its absolute path".into(),
    };
    format!("install it with: apt-get install {package}")
}
