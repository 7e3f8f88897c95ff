//! An external program as a run starts it: what it gets, who takes what it prints, and how it ended. What starts it is
//! behind [`Programs`](crate::Programs).

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use tokio::sync::mpsc;

/// The variable by which processes of a run are found, whatever group or session they moved to.
pub const RUN_VARIABLE: &str = "ONCEOVER_RUN";

/// How long a program may take to end by itself after SIGTERM, before SIGKILL.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3);

/// Bytes of one line of output; a longer line is cut.
pub const DEFAULT_LINE_LIMIT: usize = 64 * 1024;

/// Variables that every program gets from the daemon's environment; those that end in `*` by prefix.
pub const INHERITED: [&str; 11] = [
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
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Written to its standard input, which is then closed.
    pub stdin: Option<Vec<u8>>,
    /// More variables of the daemon's environment; `NAME` or `PREFIX*`.
    pub inherited: Vec<String>,
    /// Variables that it gets with these values, whatever the daemon's environment has.
    pub environment: Vec<(OsString, OsString)>,
    pub dir: Option<PathBuf>,
    /// How long it may take to end by itself after SIGTERM.
    pub grace: Duration,
    /// Bytes of one line of output; a longer line is cut.
    pub line_limit: usize,
}

/// How a program ended. Only `is_success` means that it did its work.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    /// The last lines of its error output.
    pub stderr: Vec<String>,
}

impl Exit {
    /// Whether it ended with exit code 0.
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Says how it ended: `exit code 1`, `signal 9 (SIGKILL ...)`.
    pub fn in_words(&self) -> String {
        if let Some(code) = self.status.code() {
            return format!("exit code {code}");
        }
        match self.status.signal() {
            Some(9) => "signal 9 (SIGKILL; the machine may be out of memory)".into(),
            Some(11) => "signal 11 (SIGSEGV, it crashed)".into(),
            Some(6) => "signal 6 (SIGABRT, it aborted)".into(),
            Some(signal) => format!("signal {signal}"),
            None => "an unknown end".into(),
        }
    }

    /// Returns the last lines of the error output as the end of an error message; empty if there was none.
    pub fn stderr_in_words(&self) -> String {
        if self.stderr.is_empty() {
            String::new()
        } else {
            format!("; it printed: {}", self.stderr.join(" / "))
        }
    }
}

/// Takes what a program prints.
pub enum ProgramOutput<'a> {
    /// Each line, without its end.
    Lines(Box<dyn FnMut(&str) + Send + 'a>),
    /// Bytes in parts as they arrive. The program waits while they are not taken, and its output is closed when the
    /// receiver was dropped.
    Bytes(mpsc::Sender<Vec<u8>>),
}

impl Tool {
    /// Makes a call of a program without arguments.
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

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets what is written to its standard input, which is then closed. Without it the input is empty.
    pub fn stdin(mut self, bytes: Vec<u8>) -> Self {
        self.stdin = Some(bytes);
        self
    }

    /// Adds variables to take from the daemon's environment; `NAME` or `PREFIX*`.
    pub fn inherit(mut self, names: &[String]) -> Self {
        self.inherited.extend_from_slice(names);
        self
    }

    /// Adds a variable with this value, whatever the daemon's environment has.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the folder that it runs in.
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Sets how long it may take to end after SIGTERM.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets the bytes after which a line of output is cut.
    pub fn line_limit(mut self, bytes: usize) -> Self {
        self.line_limit = bytes;
        self
    }

    /// Whether it gets this variable of the daemon's environment, which not every program gets.
    pub fn names_variable(&self, name: &OsStr) -> bool {
        name.to_str()
            .is_some_and(|name| self.inherited.iter().any(|pattern| matches(pattern, name)))
    }

    /// Returns its command line, for logs.
    pub fn in_words(&self) -> String {
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

/// Says how to install a program that is missing.
pub fn how_to_install(program: &str) -> String {
    let package = match program {
        "ffmpeg" | "ffprobe" => "ffmpeg",
        "python3" => "python3",
        "espeak-ng" => "espeak-ng",
        _ => return "install it, or give its absolute path".into(),
    };
    format!("install it with: apt-get install {package}")
}
