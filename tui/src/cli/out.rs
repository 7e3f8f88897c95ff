//! What commands print: to stdout what was asked for, to stderr what people should know beside it. Text is shown as the
//! locale allows; JSON is UTF-8 everywhere.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use onceover_wire::command_line::unwritten;
use serde::Serialize;

use super::Failure;
use crate::{glyphs::Glyphs, view::text::harmless};

/// Prints text.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&Glyphs::from_env().shown(text))
}

/// Prints a value as JSON for people and programs.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    write(&serde_json::to_string_pretty(value)?)
}

/// Prints a value as one line of JSON.
pub fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    write(&serde_json::to_string(value)?)
}

/// Writes what is UTF-8 anyway, and a line's end. A reader that went away (`| head`) has had enough: that is no failure.
fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|error| Failure::unwritten(&error)),
    }
}

/// Prints a script to stdout.
pub fn print_script(script: &[u8]) -> Result<(), Failure> {
    write(String::from_utf8_lossy(script).trim_end())
}

/// Prints a warning to stderr, so that what stdout holds stays as it is.
pub fn warn(text: &str) {
    say("! ", text);
}

/// Prints to stderr what goes on.
pub fn tell(text: &str) {
    say("onceover: ", text);
}

/// Prints why it ends.
pub fn failed(failure: &Failure) -> ExitCode {
    tell(&failure.text);
    ExitCode::from(failure.code)
}

fn say(before: &str, text: &str) {
    let lines: Vec<_> = text.lines().map(harmless).collect();
    let text = lines.join("\n");
    // Where that cannot be written, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{before}{}", Glyphs::from_env().shown(&text));
}

impl Failure {
    /// That what was asked for was done, and could not be printed.
    pub(super) fn unwritten(error: &io::Error) -> Self {
        Self {
            text: unwritten(error),
            code: super::NOT_SUCCESSFUL,
        }
    }
}
