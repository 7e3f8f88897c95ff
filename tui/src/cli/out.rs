//! Prints what commands have: to stdout what was asked for, to stderr what people should know beside it. Text is
//! printed as the locale allows; JSON is UTF-8 everywhere.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use crossterm::{
    cursor::MoveToColumn,
    queue,
    terminal::{Clear, ClearType},
};
use serde::Serialize;

use super::{failure::Failure, terminal::count_columns};
use crate::{
    glyphs::Glyphs,
    view::text::{cut, harmless},
};

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

/// Writes UTF-8 and the end of the line. A reader that closes the pipe (`| head`) has read enough: that is no failure.
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

/// Prints a line as it is.
pub fn print_line(line: &str) -> Result<(), Failure> {
    write(line)
}

/// Prints a script to stdout.
pub fn print_script(script: &[u8]) -> Result<(), Failure> {
    write(String::from_utf8_lossy(script).trim_end())
}

/// Prints a warning to stderr, so that what stdout holds stays as it is.
pub fn print_warning(text: &str) {
    write_to_stderr("! ", text);
}

/// Prints to stderr what the command does or waits for.
pub fn print_note(text: &str) {
    write_to_stderr("onceover: ", text);
}

/// Writes a line of stderr that the next one replaces, cut to the terminal; an empty text leaves no line.
pub fn rewrite_note(text: &str) {
    let line = cut(&harmless(text), count_columns().saturating_sub(1));
    let mut err = io::stderr().lock();
    // Where stderr cannot be written to, there is nowhere to say so.
    let _ = queue!(err, MoveToColumn(0), Clear(ClearType::UntilNewLine));
    let _ = write!(err, "{}", Glyphs::from_env().shown(&line));
    let _ = err.flush();
}

/// Prints why the command failed: a line for people, or with `json` a problem document in one line. Returns its exit
/// code.
pub fn print_failure(failure: &Failure, json: bool) -> ExitCode {
    if json {
        // Where stderr cannot be written to, there is nowhere to say so.
        let _ = writeln!(io::stderr(), "{}", failure.document());
    } else {
        print_note(&failure.text);
    }
    ExitCode::from(failure.code)
}

fn write_to_stderr(before: &str, text: &str) {
    let lines: Vec<_> = text.lines().map(harmless).collect();
    let text = lines.join("\n");
    // Where stderr cannot be written to, there is nowhere to say so.
    let _ = writeln!(io::stderr(), "{before}{}", Glyphs::from_env().shown(&text));
}
