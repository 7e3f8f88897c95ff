//! `onceover man`: writes the manual pages, from the same arguments that the help is made of.

use std::{fs, path::Path};

use clap::CommandFactory;

use super::{
    args::Args,
    failure::{CommandResult, Failure},
};

/// Writes a page for the program and one for each of its commands.
pub fn run(folder: &Path) -> CommandResult {
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    written.map_err(|error| {
        Failure::new(format!(
            "cannot write manual pages to {}: {error}; name a folder that can be written to",
            folder.display()
        ))
    })?;
    Ok(true)
}
