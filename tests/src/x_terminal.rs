//! A terminal with pixels: xterm as a VT340, which has sixels, on an X server that keeps its screen in memory.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::{Daemon, eventually, program};

/// Where the header of a screen's picture (XWD) has its figures, in words of four bytes.
const HEADER_SIZE: usize = 0;
const HEADER_COLOURS: usize = 19;
/// Bytes of an entry in its table of colours.
const COLOUR_ENTRY: usize = 12;

/// Runs until dropped.
pub struct XTerminal {
    server: Child,
    display: String,
    xterm: Child,
}

impl XTerminal {
    /// Opens the dashboard in it.
    pub fn open(daemon: &Daemon, args: &[&str]) -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1000x700x24", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts; `make test-deps` installs it");
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("its output"))
            .read_line(&mut number)
            .expect("the number of its display");
        let display = format!(":{}", number.trim());
        let xterm = Command::new("xterm")
            .args(["-ti", "vt340", "-xrm", "XTerm*decTerminalID: vt340"])
            .args(["-fn", "fixed", "-geometry", "120x36+0+0", "-e"])
            .arg(program("onceover"))
            .args(["--daemon", &daemon.url()])
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DISPLAY", &display)
            .env("LANG", "C.UTF-8")
            .env("HOME", daemon.dir())
            .env("ONCEOVER_LOG_DIR", daemon.dir().join("dashboard-log"))
            .spawn()
            .expect("xterm starts; `make test-deps` installs it");
        Self { server, display, xterm }
    }

    /// Presses a key, by its name in X.
    pub fn press(&self, key: &str) {
        let mut xdotool = Command::new("xdotool");
        let status = xdotool.args(["key", key]).env("DISPLAY", &self.display).status();
        assert!(status.expect("xdotool runs").success());
    }

    /// Waits until as many pixels as wanted have a colour (`0xRRGGBB`).
    pub async fn until_pixels(&self, what: &str, colour: u32, wanted: impl Fn(usize) -> bool) {
        eventually(what, || async { wanted(self.count_pixels(colour)).then_some(()) }).await;
    }

    fn count_pixels(&self, colour: u32) -> usize {
        let mut xwd = Command::new("xwd");
        let output = xwd.args(["-root", "-silent"]).env("DISPLAY", &self.display).output();
        count_colour(&output.expect("xwd runs").stdout, colour)
    }
}

impl Drop for XTerminal {
    fn drop(&mut self) {
        for child in [&mut self.xterm, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts the pixels of a colour in a screen's picture with 32 bits a pixel.
fn count_colour(picture: &[u8], colour: u32) -> usize {
    let word = |index: usize| {
        let bytes = picture.get(index * 4..index * 4 + 4)?;
        usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
    };
    let start = || Some(word(HEADER_SIZE)? + word(HEADER_COLOURS)? * COLOUR_ENTRY);
    // The server may still be starting.
    let Some(pixels) = start().and_then(|start| picture.get(start..)) else {
        return 0;
    };
    let is_colour = |pixel: &&[u8]| pixel[..3] == colour.to_le_bytes()[..3];
    pixels.chunks_exact(4).filter(is_colour).count()
}
