//! Completes command lines in a shell: while a line is typed, the shell starts the program with `COMPLETE` set. Prints
//! the script that makes it do so.

use std::{env, process::ExitCode};

use clap::CommandFactory;
use clap_complete::env::{CompleteEnv, Shells};
use onceover_wire::command_line::explain;

use super::{
    args::Args,
    failure::{CommandResult, Failure},
    out,
};

/// What a shell sets to ask for candidates.
const VARIABLE: &str = "COMPLETE";
/// The name that the shell completes.
pub const PROGRAM: &str = "onceover";

/// Answers a shell that asks for candidates; `None` if none asks.
pub fn answer_shell() -> Option<ExitCode> {
    let complete = CompleteEnv::with_factory(Args::command).var(VARIABLE).bin(PROGRAM);
    match complete.try_complete(env::args_os(), env::current_dir().ok().as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => Some(explain(PROGRAM, &error)),
    }
}

/// Prints the script that makes a shell ask for candidates.
pub fn print_script(shell: &str) -> CommandResult {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(shell) else {
        return Err(Failure::new(format!("no script is known for {shell}")));
    };
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
        .map_err(|error| Failure::new(error.to_string()))?;
    out::print_script(&script)?;
    Ok(true)
}
