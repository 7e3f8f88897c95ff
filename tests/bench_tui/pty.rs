//! A program in a terminal whose bytes are counted, and whose frames are timed by the marks around them.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use onceover_tests::processes::{CpuTime, ProcessMemory};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

const FRAME_BEGIN: &[u8] = b"\x1b[?2026h";
const FRAME_END: &[u8] = b"\x1b[?2026l";

/// What the program has written.
#[derive(Default)]
struct Written {
    bytes: u64,
    /// When each frame began and ended.
    frames: Vec<(Instant, Instant)>,
    begun: Option<Instant>,
    /// The texts that are waited for, and when each was first written.
    wanted: Vec<(&'static [u8], Option<Instant>)>,
    /// The end of what was read before: a mark can lie across two reads.
    tail: Vec<u8>,
}

impl Written {
    fn take(&mut self, read: &[u8], now: Instant) {
        self.bytes += read.len() as u64;
        let mut text = std::mem::take(&mut self.tail);
        let old = text.len();
        text.extend_from_slice(read);
        for end in old + 1..=text.len() {
            // What ends here has not been looked at before.
            let before = &text[..end];
            if before.ends_with(FRAME_BEGIN) {
                self.begun = Some(now);
            } else if before.ends_with(FRAME_END)
                && let Some(begun) = self.begun.take()
            {
                self.frames.push((begun, now));
            }
            for (wanted, at) in &mut self.wanted {
                if at.is_none() && before.ends_with(wanted) {
                    *at = Some(now);
                }
            }
        }
        self.tail = text.split_off(text.len().saturating_sub(16));
    }
}

/// A running program.
pub struct Pty {
    child: Child,
    keys: File,
    written: Arc<Mutex<Written>>,
    started: Instant,
}

impl Pty {
    /// Starts a program; `wanted` are texts whose first time is noted.
    pub fn start(program: &Path, arguments: &[&str], home: &Path, wanted: &[&'static str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let size = Winsize {
            ws_row: 60,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).expect("a size");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .expect("the other end");
        let stream = || Stdio::from(slave.try_clone().expect("the other end"));
        let started = Instant::now();
        // The terminal is the one that the program controls, whatever this one was started in. `setsid` becomes it.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("HOME", home)
            .env("ONCEOVER_LOG_DIR", home.join("dashboard-log"))
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("the program starts");
        let keys = File::from(master);
        let written = Arc::new(Mutex::new(Written {
            wanted: wanted.iter().map(|text| (text.as_bytes(), None)).collect(),
            ..Written::default()
        }));
        let (mut reader, to) = (keys.try_clone().expect("a descriptor"), written.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            // The end of the program is an error of the terminal.
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let now = Instant::now();
                to.lock().expect("no panic").take(&buffer[..read], now);
            }
        });
        Self {
            child,
            keys,
            written,
            started,
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().expect("no panic")
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a number of a process")
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("it takes the key");
    }

    pub fn bytes(&self) -> u64 {
        self.written().bytes
    }

    pub fn count_frames(&self) -> usize {
        self.written().frames.len()
    }

    /// Returns how long after the start the first frame ended.
    pub fn first_frame(&self) -> Option<Duration> {
        let written = self.written();
        written.frames.first().map(|(_, end)| *end - self.started)
    }

    /// Returns how long after the start the text was written.
    pub fn first_time_of(&self, text: &str) -> Option<Duration> {
        let written = self.written();
        let (_, at) = written.wanted.iter().find(|(wanted, _)| *wanted == text.as_bytes())?;
        at.map(|at| at - self.started)
    }

    /// Presses a key and returns how long it takes until a frame is on the screen that began after it.
    pub fn time_key(&mut self, key: &str) -> Option<Duration> {
        let pressed = Instant::now();
        self.press(key);
        while pressed.elapsed() < Duration::from_secs(5) {
            let found = {
                let written = self.written();
                let later = written.frames.iter().rev().take_while(|(begun, _)| *begun > pressed);
                later.last().map(|(_, end)| *end - pressed)
            };
            if found.is_some() {
                return found;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        None
    }

    /// Waits until nothing is written for so long.
    pub fn wait_until_quiet(&self, quiet: Duration) {
        let mut last = (self.bytes(), Instant::now());
        while last.1.elapsed() < quiet {
            std::thread::sleep(Duration::from_millis(50));
            let bytes = self.bytes();
            if bytes != last.0 {
                last = (bytes, Instant::now());
            }
        }
    }

    pub fn used(&self) -> Duration {
        CpuTime::of_process(self.pid()).own
    }

    /// Megabytes in memory.
    pub fn resident(&self) -> f64 {
        ProcessMemory::of_process(self.pid()).resident
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
