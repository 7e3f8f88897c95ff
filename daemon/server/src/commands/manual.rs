//! `onceoverd man` and `onceoverd completions`: manual pages and completion, from the same arguments that the help is
//! made of.

use std::{fs, path::Path};

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

use crate::console::print_line;

/// Writes a page for the program and one for each of its commands.
pub fn write_pages(program: Command, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(program, folder))
        .with_context(|| format!("cannot write manual pages to {}", folder.display()))
}

/// Prints the script that completes the program's arguments in a shell.
pub fn print_completions(mut program: Command, shell: Shell) {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    print_line!("{}", String::from_utf8_lossy(&script).trim_end());
}
