//! The smallest HTTP client that keeps its connection: what it costs must not be taken for the daemon's.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A whole request, ready to be sent again and again.
pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Connection {
    pub fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: vec![0; 4 * 1024 * 1024],
        }
    }

    /// Sends a request and returns the body; anything but success ends the program.
    pub fn send(&mut self, request: &[u8]) -> &str {
        self.stream.write_all(request).expect("the server reads");
        let mut filled = 0;
        let (mut head, mut length) = (None, 0);
        loop {
            let read = self
                .stream
                .read(&mut self.buffer[filled..])
                .expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if head.is_none()
                && let Some(end) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n")
            {
                let text = std::str::from_utf8(&self.buffer[..end]).expect("headers are text");
                let field = |line: &str| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse().ok())?
                };
                length = text.lines().find_map(field).expect("the answer has a length");
                assert!(
                    text.starts_with("HTTP/1.1 2"),
                    "{text}\n{}",
                    String::from_utf8_lossy(&self.buffer[end..filled])
                );
                head = Some(end + 4);
            }
            if let Some(head) = head
                && filled >= head + length
            {
                return std::str::from_utf8(&self.buffer[head..filled]).expect("JSON is text");
            }
        }
    }

    /// Sends the request for a while, one at a time. Returns how long each took, sorted.
    pub fn repeat(&mut self, request: &[u8], time: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut took = Vec::new();
        while start.elapsed() < time {
            let sent = Instant::now();
            self.send(request);
            took.push(sent.elapsed());
        }
        took.sort_unstable();
        took
    }
}

/// Divides requests among so many connections, each of which sends one after another without a pause.
pub fn send_together(port: u16, connections: usize, requests: &[Vec<u8>]) {
    std::thread::scope(|scope| {
        for first in 0..connections {
            scope.spawn(move || {
                let mut client = Connection::open(port);
                for request in requests.iter().skip(first).step_by(connections) {
                    client.send(request);
                }
            });
        }
    });
}

/// Connections among which requests at a fixed rate are divided.
const AT_RATE: usize = 32;

/// Sends a request so many times a second for a while. Returns how long each took, sorted: from the moment when it
/// was due, not from the moment when it was sent, so that a slow answer counts for all the requests that it held up.
pub fn send_at_rate(port: u16, request: &[u8], per_second: f64, time: Duration) -> Vec<Duration> {
    let all = (per_second * time.as_secs_f64()) as usize;
    let start = Instant::now() + Duration::from_millis(100);
    let send = |first: usize| {
        let mut client = Connection::open(port);
        let mut took = Vec::new();
        for number in (first..all).step_by(AT_RATE) {
            let due = start + Duration::from_secs_f64(number as f64 / per_second);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            client.send(request);
            took.push(due.elapsed());
        }
        took
    };
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..AT_RATE).map(|first| scope.spawn(move || send(first))).collect();
        let took = senders.into_iter().map(|sender| sender.join().expect("it sends"));
        took.flatten().collect()
    });
    took.sort_unstable();
    took
}
