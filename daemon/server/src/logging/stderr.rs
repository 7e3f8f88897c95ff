//! Standard error as the log may use it: a reader that stands still or has left costs lines, never the daemon.

use std::{
    io::{self, Write},
    os::fd::AsFd,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, fstat, stat},
};

/// How long a reader that stands still is waited for, once; until it reads again nothing is waited for.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// As much as a pipe that can be written to takes without blocking (PIPE_BUF of Linux).
const PIECE: usize = 4096;

/// Writes whole lines to a file descriptor and never blocks for long. A line is written whole or not at all.
pub struct PatientWriter<F> {
    to: F,
    /// The rest of a line that was begun.
    rest: Vec<u8>,
    is_stuck: bool,
    dropped: u64,
    /// The line that tells how many were dropped.
    notice: fn(u64) -> Vec<u8>,
}

impl<F: AsFd> PatientWriter<F> {
    pub fn new(to: F, notice: fn(u64) -> Vec<u8>) -> Self {
        Self {
            to,
            rest: Vec::new(),
            is_stuck: false,
            dropped: 0,
            notice,
        }
    }

    /// Writes the bytes as far as the reader takes them and returns how many it took.
    fn push(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            if !self.is_writable()? {
                break;
            }
            let piece = &bytes[done..bytes.len().min(done + PIECE)];
            match rustix::io::write(&self.to, piece) {
                Ok(count) => done += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn is_writable(&mut self) -> io::Result<bool> {
        let wait = if self.is_stuck { NOW } else { PATIENCE };
        let mut asked = [PollFd::new(&self.to, PollFlags::OUT)];
        let ready = match poll(&mut asked, Some(&wait)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => return self.is_writable(),
            Err(error) => return Err(error.into()),
        };
        self.is_stuck = !ready;
        Ok(ready)
    }

    /// Finishes the line that was begun, and tells of those that were dropped since.
    fn catch_up(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let done = self.push(&rest)?;
        self.rest = rest[done..].to_vec();
        if self.rest.is_empty() && self.dropped > 0 && self.is_writable()? {
            let notice = (self.notice)(std::mem::take(&mut self.dropped));
            let done = self.push(&notice)?;
            self.rest = notice[done..].to_vec();
        }
        Ok(())
    }
}

impl<F: AsFd> Write for PatientWriter<F> {
    /// Takes a whole event; what became of it is not the caller's affair.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.catch_up()?;
        if !self.rest.is_empty() {
            self.dropped += 1;
            return Ok(line.len());
        }
        match self.push(line)? {
            0 if !line.is_empty() => self.dropped += 1,
            done => self.rest = line[done..].to_vec(),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether what is written there is kept by nobody: `/dev/null`, or closed.
pub fn leads_nowhere(to: impl AsFd) -> bool {
    match (fstat(to), stat("/dev/null")) {
        (Ok(to), Ok(null)) => FileType::from_raw_mode(to.st_mode).is_char_device() && to.st_rdev == null.st_rdev,
        (Err(_), _) => true,
        (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::fd::OwnedFd, time::Instant};

    use super::*;

    fn notice(dropped: u64) -> Vec<u8> {
        format!("{dropped} dropped\n").into_bytes()
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_time_and_is_told_how_many() {
        let (reader, writer) = io::pipe().unwrap();
        let mut writer = PatientWriter::new(writer, notice);
        let begin = Instant::now();
        let line = format!("{}\n", "x".repeat(9_999));
        for _ in 0..1000 {
            writer.write_all(line.as_bytes()).unwrap();
        }
        assert!(begin.elapsed().as_secs_f64() < 2.0, "{:?}", begin.elapsed());
        let dropped = writer.dropped;
        assert!((900..1000).contains(&dropped), "{dropped}");

        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            io::BufReader::new(reader).read_to_string(&mut text).unwrap();
            text
        });
        while !writer.is_writable().unwrap() {}
        writer.write_all(b"at last\n").unwrap();
        drop(writer);
        let text = reading.join().unwrap();
        let lines: Vec<_> = text.lines().collect();
        let whole = lines.iter().filter(|line| line.len() == 9_999).count();
        assert_eq!(whole as u64 + dropped, 1000, "each line is there whole or counted");
        assert_eq!(lines[whole..], [format!("{dropped} dropped"), "at last".to_owned()]);
    }

    #[test]
    fn a_reader_that_left_is_an_error_and_no_panic() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(PatientWriter::new(writer, notice).write_all(b"a line\n").is_err());
    }

    #[test]
    fn only_what_keeps_nothing_leads_nowhere() {
        let null: OwnedFd = std::fs::File::create("/dev/null").unwrap().into();
        assert!(leads_nowhere(&null));
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        assert!(!leads_nowhere(&file));
        assert!(!leads_nowhere(io::pipe().unwrap().1));
    }
}
