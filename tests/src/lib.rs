//! What the tests share: real daemons on separate data directories and ports, their private Redis, a receiver for
//! callbacks, and waiting for conditions. No test waits for a fixed time.

pub mod callbacks;
pub mod celery_sentinel;
pub mod celery_workers;
pub mod chat;
pub mod daemon;
pub mod events;
pub mod hooks;
pub mod http_proxy;
pub mod internet;
pub mod media;
pub mod model;
pub mod processes;
pub mod proxy;
pub mod redis_calls;
pub mod redis_info;
pub mod redis_server;
pub mod reference;
#[cfg(test)]
mod rules;
pub mod s3;
pub mod screen;
pub mod simulated_workers;
#[cfg(test)]
mod structure;
pub mod tally;
pub mod worker;
pub mod x_terminal;

use std::{
    fmt::Debug,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

pub use daemon::{Daemon, DaemonBuilder, HttpAnswer, fixture_node};
pub use proxy::Proxy;
pub use redis_server::RedisServer;
pub use s3::S3Server;
pub use tally::Tally;
pub use worker::PythonWorker;

/// How long a condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `onceover`, as a terminal that shows all of Unicode would start it, whatever the locale of the tests is.
pub fn onceover() -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program("onceover"));
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The same against this daemon, with its log in the daemon's folder.
pub fn onceover_at(daemon: &Daemon) -> tokio::process::Command {
    let mut command = onceover();
    command.args(["--daemon", &daemon.url(), "--log-dir"]).arg(daemon.dir());
    command
}

/// A certificate that no CA has signed, and its key: for `localhost` and 127.0.0.1, for a hundred years.
pub const CERTIFICATE: &str = include_str!("localhost.pem");

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A program of this workspace, as `make test` builds it before the tests run.
pub fn program(name: &str) -> PathBuf {
    let current = std::env::current_exe().expect("a program knows its own path");
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let mut folders = current.ancestors().skip(1);
    let found = folders.find(|folder| !folder.ends_with("deps"));
    let path = found.expect("programs lie in target/<profile>").join(name);
    assert!(
        path.is_file(),
        "{} is missing; `make test` builds it, or `cargo build --workspace`",
        path.display()
    );
    path
}

/// Waits until `look` answers something.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `look` answers as expected; the last answer is in the message when it never does.
pub async fn until_equal<T, F>(what: &str, expected: T, mut look: impl FnMut() -> F)
where
    T: PartialEq + Debug,
    F: Future<Output = T>,
{
    let start = Instant::now();
    loop {
        let found = look().await;
        if found == expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "waited {PATIENCE:?} for {what}: expected {expected:?}, last saw {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
