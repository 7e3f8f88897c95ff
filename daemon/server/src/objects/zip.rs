//! A folder as one zip, made while it is sent: neither its files nor the archive are ever whole in memory or on disk.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use onceover_run::{
    log,
    paths::{Opened, files_below},
};

/// Bytes handed over at a time, and how many of these wait.
const CHUNK: usize = 64 * 1024;
const WAITING: usize = 4;
/// Pictures and sound hardly get smaller, so little time is spent on it.
const LEVEL: i64 = 1;

/// `<field>_compression_info`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressionInfo {
    pub files_count: u64,
    pub original_size: u64,
    pub compressed_size: u64,
    /// `compressed_size` by `original_size`; 1 for an empty folder.
    pub compression_ratio: f64,
    /// `zip`.
    pub format: String,
}

impl CompressionInfo {
    pub fn new(files_count: u64, original_size: u64, compressed_size: u64) -> Self {
        Self {
            files_count,
            original_size,
            compressed_size,
            compression_ratio: match original_size {
                0 => 1.0,
                size => (compressed_size as f64 / size as f64 * 1000.0).round() / 1000.0,
            },
            format: "zip".into(),
        }
    }
}

/// Lists the files of a folder that go into its archive, by their path below it: all but the run's log.
pub fn content(root: &Path, folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = files_below(root, folder)?;
    files.retain(|(name, _)| !log::is_log_file(name.as_os_str()));
    Ok(files)
}

/// Begins to make the archive on a separate thread, as fast as its bytes are taken.
pub fn stream(root: PathBuf, folder: PathBuf, files: Vec<(PathBuf, u64)>) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let out = Out {
            buffer: Vec::with_capacity(CHUNK),
            sender: sender.clone(),
        };
        if let Err(error) = write(&root, &folder, &files, out) {
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

fn write(root: &Path, folder: &Path, files: &[(PathBuf, u64)], out: Out) -> io::Result<()> {
    let mut zip = ZipWriter::new_stream(out);
    for (name, size) in files {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .large_file(*size >= u64::from(u32::MAX));
        zip.start_file(name.to_string_lossy(), options)
            .map_err(io::Error::other)?;
        let opened = Opened::in_root(root, &folder.join(name))?;
        io::copy(&mut opened.reader()?, &mut zip)?;
    }
    zip.finish().map_err(io::Error::other)?.into_inner().flush()
}

/// Hands on what is written to it.
struct Out {
    buffer: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Out {
    fn hand_on(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let sent = self.sender.blocking_send(Ok(bytes.into()));
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive any more"))
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.buffer.len();
        let taken = room.min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.hand_on()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}
