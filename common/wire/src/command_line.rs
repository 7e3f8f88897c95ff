//! What the command lines of both programs have in common.

use std::{
    env,
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::{Command, builder::Resettable};

/// Returns the variable's text; `None` where it is not set, blank, or no text. A compose file has `NAME=` for a
/// variable that is not set.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns the same command, to which an empty variable counts as not set.
pub fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(env::var_os);
        match value.is_some_and(|value| value.is_empty()) {
            true => arg.env(Resettable::Reset),
            false => arg,
        }
    })
}

/// Prints what clap answers instead of arguments: help, the version, or what is wrong with them. A closed pipe is no
/// failure; if help cannot be written for another reason, that is reported and is a failure.
pub fn explain(program: &str, error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(why) if !error.use_stderr() && why.kind() != ErrorKind::BrokenPipe => {
            // If that cannot be written either, nothing is left to report it to.
            let _ = writeln!(io::stderr(), "{program}: {}", unwritten(&why));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

/// Says in a line that stdout could not be written to.
pub fn unwritten(why: &io::Error) -> String {
    format!("cannot write to stdout: {why}")
}
