//! The daemon's log: a file a day below the data directory, and stderr. The logs of runs are the executor's.
//!
//! Nothing here blocks: both are written by separate threads, and a disk or a reader that stands still costs lines.

mod stderr;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
    path::Path,
    thread,
    time::Duration,
};

use onceover_types::Timestamp;
use tracing::{Level, Metadata, Subscriber};
use tracing_appender::{
    non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{InitError, RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterFn, ParseError, Targets, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
    util::TryInitError,
};

use crate::config::{LogConfig, LogFormat, LogToStderr};
use stderr::{PatientWriter, leads_nowhere};

/// Days.
const KEPT: usize = 7;
/// Lines that wait for the disk or for the reader of stderr; more are dropped. Room for all of them is taken at the start.
const BUFFERED: usize = 8192;
/// How long lines gather after some were written, so that many lines wake their writer once. The first after a pause is
/// written at once.
const GATHER: Duration = Duration::from_millis(5);
/// Variables that hold a filter, the first that is set counts.
const FILTERS: [&str; 2] = ["ONCEOVER_LOG", "RUST_LOG"];
/// What is written into the file alone, since stderr has it in another way.
const FILE_ONLY: &str = "crate::file";
/// Libraries that log what goes over the wire, secrets included, below `info`: a filter has to name them to get that.
const WIRE: [&str; 7] = [
    "h2",
    "hyper",
    "hyper_util",
    "object_store",
    "redis",
    "reqwest",
    "rustls",
];

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{name}={value:?} is not a log filter ({source}); examples: info, debug, warn,onceover_daemon=trace")]
    Filter {
        /// The variable or the key of the configuration.
        name: &'static str,
        value: String,
        source: ParseError,
    },
    #[error("cannot write a log below {dir}: {source}")]
    File { dir: String, source: InitError },
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// The running log. What is not written yet is written when this is dropped, so it has to live to the end of the daemon.
pub struct Logging {
    format: LogFormat,
    stderr: NonBlocking,
    _guards: [WorkerGuard; 2],
}

impl Logging {
    /// Writes a line that has to be on stderr whatever is logged there, and into the file.
    pub fn announce(&self, text: &str) {
        tracing::info!(target: FILE_ONLY, "{text}");
        // The writer takes everything, and drops what cannot be written.
        let _ = self.stderr.clone().write_all(&line(self.format, Level::INFO, text));
    }
}

/// Which events are logged.
pub struct LogFilter {
    /// The variable or the key of the configuration that it comes from.
    pub name: &'static str,
    pub value: String,
    events: EnvFilter,
}

impl LogFilter {
    /// Reads the filter of the environment, else that of the configuration.
    pub fn read(config: &LogConfig) -> Result<Self, LoggingError> {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let (name, value) = FILTERS
            .iter()
            .find_map(|name| Some((*name, set(name)?)))
            .unwrap_or_else(|| ("log.filter", config.filter.clone()));
        match EnvFilter::try_new(&value) {
            Ok(events) => Ok(Self { name, value, events }),
            Err(source) => Err(LoggingError::Filter { name, value, source }),
        }
    }

    /// Lets the events of the filter through. An [`EnvFilter`] follows each step into and out of a span, of which a request
    /// has several; a filter that says nothing of spans needs none of that.
    fn let_through(self) -> Box<dyn Layer<Registry> + Send + Sync> {
        match plain_targets(&self.value) {
            Some(targets) => targets.boxed(),
            None => self.events.boxed(),
        }
    }

    /// Keeps back what libraries log of the wire, unless the filter names them.
    fn without_wire(&self) -> FilterFn<impl Fn(&Metadata<'_>) -> bool + use<>> {
        let quiet: Vec<_> = WIRE.into_iter().filter(|name| !self.value.contains(name)).collect();
        filter_fn(move |event| {
            let of = event.target().split("::").next().unwrap_or_default();
            *event.level() <= Level::INFO || !quiet.contains(&of)
        })
    }
}

/// Reads a filter that names levels and targets alone. Returns `None` for any other.
fn plain_targets(filter: &str) -> Option<Targets> {
    let is_plain = |part: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:=".contains(&byte);
        !part.is_empty() && !part.ends_with('=') && part.bytes().all(is_known)
    };
    filter.split(',').all(is_plain).then(|| filter.parse().ok()).flatten()
}

/// Starts logging to `onceoverd.<date>.log` in `logs`, to which `onceoverd.log` links, and to stderr as configured.
pub fn start(logs: &Path, config: &LogConfig) -> Result<Logging, LoggingError> {
    let filter = LogFilter::read(config)?;
    let (file, file_guard) = background(appender(logs)?);
    let (stderr, stderr_guard) = background(PatientWriter::new(
        io::stderr(),
        match config.format {
            LogFormat::Text => |dropped| line(LogFormat::Text, Level::WARN, &unread(dropped)),
            LogFormat::Json => |dropped| line(LogFormat::Json, Level::WARN, &unread(dropped)),
        },
    ));
    let is_on_stderr = match config.stderr {
        LogToStderr::Auto => !leads_nowhere(io::stderr()),
        LogToStderr::Always => true,
        LogToStderr::Never => false,
    };
    let lines = is_on_stderr.then(|| {
        let events = match config.format {
            LogFormat::Text => fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(io::stderr().is_terminal())
                .with_writer(Indented(stderr.clone()))
                .boxed(),
            LogFormat::Json => json(stderr.clone()),
        };
        events.with_filter(filter_fn(|event| event.target() != FILE_ONLY))
    });
    let without_wire = filter.without_wire();
    tracing_subscriber::registry()
        .with(filter.let_through())
        .with(without_wire)
        .with(match config.format {
            LogFormat::Text => fmt::layer().with_ansi(false).with_writer(Indented(file)).boxed(),
            LogFormat::Json => json(file),
        })
        .with(lines)
        .try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logging {
        format: config.format,
        stderr,
        _guards: [file_guard, stderr_guard],
    })
}

/// Writes why the daemon ends, as the last line on stderr; into the file as well, when logging has begun.
pub fn report_failure(logging: Option<&Logging>, format: LogFormat, error: &str) {
    let text = match format {
        LogFormat::Text => format!("onceoverd: {error}"),
        LogFormat::Json => error.to_owned(),
    };
    let line = line(format, Level::ERROR, &text);
    // Where nobody reads it, there is nobody to tell.
    let _ = match logging {
        Some(logging) => {
            tracing::error!(target: FILE_ONLY, "{error}");
            logging.stderr.clone().write_all(&line)
        }
        None => PatientWriter::new(io::stderr(), |_| Vec::new()).write_all(&line),
    };
}

/// Text that is no event, in the form of the log.
fn line(format: LogFormat, level: Level, text: &str) -> Vec<u8> {
    let line = match format {
        LogFormat::Text => text.to_owned(),
        LogFormat::Json => serde_json::json!({
            "timestamp": Timestamp::now(),
            "level": level.as_str(),
            "message": text,
            "target": "onceoverd",
        })
        .to_string(),
    };
    (line + "\n").into_bytes()
}

fn unread(dropped: u64) -> String {
    format!("{dropped} lines are missing here, since stderr was not read; the log in the data directory has them")
}

/// An event's fields are beside `timestamp`, `level` and `message`; those of the request it belongs to are in `span`.
fn json<S>(writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(writer)
        .boxed()
}

fn background(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED)
        .finish(Gathering(to))
}

/// Lets lines gather each time that all which had come were written. It is used by the thread that writes them alone.
struct Gathering<W>(W);

impl<W: Write> Write for Gathering<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        thread::sleep(GATHER);
        flushed
    }
}

/// Indents the later lines of an event, so that no text in it looks like an event.
struct Indented(NonBlocking);

impl<'a> MakeWriter<'a> for Indented {
    type Writer = IndentedWriter;

    fn make_writer(&'a self) -> IndentedWriter {
        IndentedWriter(self.0.clone())
    }
}

struct IndentedWriter(NonBlocking);

impl Write for IndentedWriter {
    /// Takes a whole event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&indented(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn indented(event: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = event
        .strip_suffix(b"\n")
        .unwrap_or(event)
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .collect();
    let mut whole = lines.join(&b"\n    "[..]);
    whole.push(b'\n');
    whole
}

/// A panic is an event like any other.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let why = panic.payload_as_str().unwrap_or("without a text");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(location, %backtrace, "panicked: {why}"),
        _ => tracing::error!(location, "panicked: {why}"),
    }
}

fn appender(logs: &Path) -> Result<RollingFileAppender, LoggingError> {
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("onceoverd")
        .filename_suffix("log")
        .latest_symlink("onceoverd.log")
        .max_log_files(KEPT)
        .build(logs)
        .map_err(|source| LoggingError::File {
            dir: logs.display().to_string(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_found_under_one_name_whatever_the_day() {
        let logs = tempfile::tempdir().unwrap();
        let mut writer = appender(logs.path()).unwrap();
        writer.write_all(b"a line\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(
            std::fs::read_to_string(logs.path().join("onceoverd.log")).unwrap(),
            "a line\n"
        );
    }

    #[test]
    fn a_filter_of_levels_and_targets_is_read_as_such_and_none_that_says_more() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for (filter, most) in [
            ("info", [Level::INFO; 2]),
            ("DEBUG", [Level::DEBUG; 2]),
            ("warn,onceover_daemon=trace", [Level::TRACE, Level::WARN]),
            ("onceover_daemon::http=debug,error", [Level::DEBUG, Level::ERROR]),
        ] {
            let targets = plain_targets(filter).unwrap();
            for (target, most) in ["onceover_daemon::http", "hyper"].into_iter().zip(most) {
                for level in levels {
                    assert_eq!(targets.would_enable(target, &level), level <= most, "{filter} {target}");
                }
            }
        }
        for other in [
            "info,",
            "warn, hyper=info",
            "[request]=debug",
            "info,a[b{c=1}]=trace",
            "a=",
            "",
        ] {
            assert!(plain_targets(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_and_no_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(appender(file.path()), Err(LoggingError::File { .. })));
    }

    #[test]
    fn no_text_of_an_event_looks_like_an_event() {
        assert_eq!(indented(b"one\n"), b"one\n");
        assert_eq!(indented(b"one\ntwo\r\nthree\n"), b"one\n    two\n    \n    three\n");
    }
}
