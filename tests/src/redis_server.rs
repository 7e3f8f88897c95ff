//! A Redis that is not a daemon's own, for what several daemons share and for servers with other settings.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tempfile::TempDir;

use crate::PATIENCE;

/// Listens on a socket in a separate folder until dropped.
pub struct RedisServer {
    dir: TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts it with more arguments and waits until it answers.
    pub async fn start(arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("oor")
            .tempdir()
            .expect("a temporary folder");
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let child = launch(&dir, &arguments);
        let server = Self { dir, arguments, child };
        server.answers().await;
        server
    }

    /// SIGKILL, and a new one on the same folder.
    pub async fn restart(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
        self.child = launch(&self.dir, &self.arguments);
        self.answers().await;
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url(0)).expect("a Redis URL");
        crate::eventually("Redis", || async {
            let mut redis = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut redis).await.ok()
        })
        .await;
    }

    /// A connection to its first database.
    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url(0)).await
    }

    /// Its own folder.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// URL of one of its databases.
    pub fn url(&self, database: i64) -> String {
        format!(
            "redis+unix://{}?db={database}",
            self.dir.path().join("redis.sock").display()
        )
    }
}

/// Returns a connection that waits as long as a test does: Redis answers a write only when its disk has what was written
/// before, which a busy machine delays.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a Redis URL");
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&patient)
        .await
        .expect("Redis answers")
}

fn launch(dir: &TempDir, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(dir.path().join("redis.sock"))
        .arg("--dir")
        .arg(dir.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (make deps)")
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Daemons that use it have ended before, or must bear it.
        let _ = self.child.kill();
        for _ in 0..100 {
            if self.child.try_wait().ok().flatten().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
