//! The dashboard in a real terminal: a pty whose screen can be read and waited for.

use std::time::Duration;

use termlens::{ExitStatus, Input, MouseButton, Screen, Terminal, TerminalBuilder};

use crate::{Daemon, PATIENCE, program};

/// A running `onceover`.
pub struct Dashboard {
    terminal: Terminal,
}

impl Dashboard {
    /// Opens it on a daemon, which need not be there.
    pub fn open(daemon: &Daemon, columns: u16, rows: u16) -> Self {
        Self::open_with(daemon, columns, rows, &[])
    }

    pub fn open_with(daemon: &Daemon, columns: u16, rows: u16, args: &[&str]) -> Self {
        Self::open_in(daemon, columns, rows, args, &[])
    }

    /// The same with more in its environment, a token for example.
    pub fn open_in(daemon: &Daemon, columns: u16, rows: u16, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut terminal = Self::builder(daemon, columns, rows)
            .args(["--daemon", &daemon.url()])
            .args(args);
        for (name, value) in environment {
            terminal = terminal.env(name, value);
        }
        let terminal = terminal
            .spawn(program("onceover"))
            .expect("onceover starts in a terminal");
        Self { terminal }
    }

    /// Opens it without the daemon's address, which it has to find by itself.
    pub fn open_bare(daemon: &Daemon, columns: u16, rows: u16, args: &[&str]) -> Self {
        let terminal = Self::builder(daemon, columns, rows).args(args);
        let terminal = terminal.spawn(program("onceover"));
        Self {
            terminal: terminal.expect("onceover starts in a terminal"),
        }
    }

    /// Opens another program of this workspace.
    pub fn open_program(daemon: &Daemon, columns: u16, rows: u16, name: &str, args: &[String]) -> Self {
        let terminal = Self::builder(daemon, columns, rows).args(args);
        let terminal = terminal.spawn(program(name));
        Self {
            terminal: terminal.expect("it starts in a terminal"),
        }
    }

    /// Opens a shell, to start it from.
    pub fn in_shell(daemon: &Daemon, columns: u16, rows: u16) -> Self {
        let mut shell = Self::builder(daemon, columns, rows).env("PS1", "$ ");
        if let Some(path) = std::env::var_os("PATH") {
            shell = shell.env("PATH", path);
        }
        let shell = shell.args(["--norc", "--noprofile", "-i"]);
        Self {
            terminal: shell.spawn("bash").expect("bash starts in a terminal"),
        }
    }

    fn builder(daemon: &Daemon, columns: u16, rows: u16) -> TerminalBuilder {
        Terminal::builder()
            .size(columns, rows)
            .env_clear()
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("HOME", daemon.dir())
            .env("ONCEOVER_LOG_DIR", daemon.dir().join("dashboard-log"))
            .timeout(PATIENCE)
    }

    pub fn press(&mut self, key: char) {
        self.send(termlens::Key::Char(key));
    }

    /// Types a text, a key a character.
    pub fn type_text(&mut self, text: &str) {
        for c in text.chars() {
            self.press(c);
        }
    }

    pub fn send(&mut self, key: impl Input + std::fmt::Debug) {
        tokio::task::block_in_place(|| self.terminal.send(key)).expect("it takes the key");
    }

    /// Clicks on the cell where a text begins.
    pub fn click_on(&mut self, text: &str) {
        let (row, column) = self
            .screen()
            .find(text)
            .unwrap_or_else(|| panic!("no {text:?} on the screen"));
        self.click(column, row);
    }

    pub fn click(&mut self, column: u16, row: u16) {
        tokio::task::block_in_place(|| self.terminal.click(column, row)).expect("it takes the click");
    }

    /// Drags the mouse from one cell to another; both are column and row.
    pub fn drag(&mut self, from: (u16, u16), to: (u16, u16)) {
        let drag = || self.terminal.drag(MouseButton::Left, from.0, from.1, to.0, to.1);
        tokio::task::block_in_place(drag).expect("it takes the drag");
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        tokio::task::block_in_place(|| self.terminal.resize(columns, rows)).expect("it can be resized");
    }

    /// Waits until the screen is as wanted. When it never is, the message shows the screen.
    pub fn until(&mut self, wanted: impl FnMut(&Screen) -> bool) -> Screen {
        self.within(PATIENCE, wanted)
    }

    pub fn within(&mut self, limit: Duration, wanted: impl FnMut(&Screen) -> bool) -> Screen {
        tokio::task::block_in_place(|| self.terminal.wait_until_for(wanted, limit))
            .unwrap_or_else(|error| panic!("{error}"));
        self.terminal.screen()
    }

    /// Waits for a text anywhere.
    pub fn shows(&mut self, text: &str) -> Screen {
        self.until(|screen| screen.contains(text))
    }

    /// Returns the number of the process.
    pub fn pid(&self) -> i32 {
        let pid = self.terminal.pid().expect("it runs");
        i32::try_from(pid).expect("a number of a process")
    }

    pub fn screen(&self) -> Screen {
        self.terminal.screen()
    }

    pub fn signal(&mut self, signal: termlens::Signal) {
        self.terminal.signal(signal).expect("it can be signalled");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        tokio::task::block_in_place(|| self.terminal.wait_exit()).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The row that holds a text; the line that names the pages, and what the cursor is on, is none.
pub fn row_with(screen: &Screen, text: &str) -> Option<String> {
    screen
        .text()
        .lines()
        .find(|line| line.contains(text) && !line.contains("1 Tasks"))
        .map(str::to_owned)
}

/// Percentage in the row of a text.
pub fn percent(screen: &Screen, text: &str) -> Option<u32> {
    let row = row_with(screen, text)?;
    let before = row.split(" %").next()?;
    before.rsplit(' ').next()?.parse().ok()
}
