//! Programs of the user that have the terminal for a while: the editor and the pager. They get the text as a file.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitStatus,
};

use onceover_wire::command_line::variable;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

/// Bytes of an edited text that are read at most.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// What a shell exits with where the program does not exist.
const NOT_FOUND: i32 = 127;

/// A program that shows a text.
#[derive(Debug, Clone)]
pub struct TextProgram {
    /// As the user wrote it, arguments included.
    command: String,
    /// The variable that names another one.
    variable: &'static str,
}

impl TextProgram {
    /// Finds the user's editor.
    pub fn editor() -> Self {
        let named = variable("VISUAL").or_else(|| variable("EDITOR"));
        Self {
            command: named.unwrap_or_else(|| "vi".to_owned()),
            variable: "EDITOR",
        }
    }

    /// Finds the user's pager.
    pub fn pager() -> Self {
        Self {
            command: variable("PAGER").unwrap_or_else(|| "less -R".to_owned()),
            variable: "PAGER",
        }
    }

    /// Starts it on a file. The shell divides the command into words, as it does for git.
    pub fn start(&self, file: &Path) -> io::Result<Child> {
        Command::new("sh")
            .arg("-c")
            .arg(format!("{} \"$@\"", self.command))
            .arg(&self.command)
            .arg(file)
            .kill_on_drop(true)
            .spawn()
    }

    /// Says why it has failed; `None` if it has not.
    pub fn describe_failure(&self, status: ExitStatus) -> Option<String> {
        let (command, variable) = (&self.command, self.variable);
        match status.code() {
            Some(0) => None,
            Some(NOT_FOUND) => Some(format!("cannot run {command}: no such program; set ${variable}")),
            _ => Some(format!("{command} has failed: {status}")),
        }
    }

    /// Says why it could not be started.
    pub fn describe_error(&self, error: &io::Error) -> String {
        format!("cannot run {}: {error}; set ${}", self.command, self.variable)
    }
}

/// Asks a program to end.
pub fn end_child(child: &Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(id, Signal::TERM);
    }
}

/// A text as a file that only the user can read; it is removed when this is dropped.
#[derive(Debug)]
pub struct TextFile {
    file: NamedTempFile,
}

impl TextFile {
    /// Writes a text into a new file, whose name has this ending.
    pub fn write(text: &str, ending: &str) -> io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix("onceover-").suffix(ending).tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        Ok(Self { file })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reads the text as it is now. Editors put another file in its place.
    pub fn read(&self) -> io::Result<String> {
        if fs::metadata(self.path())?.len() > MOST_BYTES {
            return Err(io::Error::other("it is larger than 16 MiB"));
        }
        fs::read_to_string(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(command: &str) -> TextProgram {
        TextProgram {
            command: command.to_owned(),
            variable: "EDITOR",
        }
    }

    #[tokio::test]
    async fn tui08_an_editor_with_arguments_changes_the_file_and_a_missing_one_says_so() {
        let file = TextFile::write("{\"language\": \"ja\"}\n", ".json").unwrap();
        let editor = program("sed -i s/ja/ko/");
        let status = editor.start(file.path()).unwrap().wait().await.unwrap();
        assert_eq!(editor.describe_failure(status), None);
        assert_eq!(file.read().unwrap(), "{\"language\": \"ko\"}\n");
        let missing = program("no-such-editor-here");
        let status = missing.start(file.path()).unwrap().wait().await.unwrap();
        let why = missing.describe_failure(status).unwrap();
        assert!(why.contains("no such program; set $EDITOR"), "{why}");
    }
}
