//! A broker that survives its server: a master, a replica that follows it, and a Sentinel that makes the replica the
//! master when the master is lost.

use std::{
    collections::HashMap,
    fs,
    process::{Child, Command, Stdio},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::{RedisServer, eventually, free_port};

/// The name that the Sentinel has for the master.
pub const MASTER: &str = "main";

/// Two servers and their Sentinel, which end when dropped.
pub struct ReplicatedBroker {
    master: Option<RedisServer>,
    replica: RedisServer,
    sentinel: Child,
    port: u16,
    /// Nobody listens there.
    unused: u16,
    _dir: TempDir,
}

impl ReplicatedBroker {
    /// Starts all three, and waits until the Sentinel knows the replica.
    pub async fn start() -> Self {
        let [leads, follows, port] = [free_port(), free_port(), free_port()];
        let (leads, follows) = (leads.to_string(), follows.to_string());
        let master = RedisServer::start(&["--port", &leads, "--repl-diskless-sync-delay", "0"]).await;
        let replica = RedisServer::start(&["--port", &follows, "--replicaof", "127.0.0.1", &leads]).await;
        let mut connection = master.connect().await;
        until_replicated(&mut connection).await;
        let dir = tempfile::Builder::new()
            .prefix("oos")
            .tempdir()
            .expect("a temporary folder");
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor {MASTER} 127.0.0.1 {leads} 1\n\
             sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 2000\n"
        );
        fs::write(dir.path().join("sentinel.conf"), settings).expect("its settings are written");
        let sentinel = Command::new("redis-server")
            .args(["./sentinel.conf", "--sentinel"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (make deps)");
        let broker = Self {
            master: Some(master),
            replica,
            sentinel,
            port,
            unused: free_port(),
            _dir: dir,
        };
        broker.until_replica_is_known().await;
        broker
    }

    async fn until_replica_is_known(&self) {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).expect("a URL");
        eventually("the Sentinel knows the replica", || async {
            let mut sentinel = client.get_multiplexed_async_connection().await.ok()?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("REPLICAS").arg(MASTER);
            let known: Vec<HashMap<String, String>> = question.query_async(&mut sentinel).await.ok()?;
            // Before the replica has answered itself, it is not chosen.
            let has_answered = |replica: &HashMap<String, String>| {
                let is = |field: &str, wanted: &str| replica.get(field).is_some_and(|value| value == wanted);
                is("master-link-status", "ok") && replica.get("runid").is_some_and(|run| !run.is_empty())
            };
            known.iter().any(has_answered).then_some(())
        })
        .await;
    }

    /// URL of a database as workers take it. They have the master's name among their settings.
    pub fn worker_url(&self, database: u32) -> String {
        format!("sentinel://127.0.0.1:{}/{database}", self.port)
    }

    /// URL of a database as the daemon takes it, with a Sentinel that is not there before the one that is.
    pub fn url(&self, database: u32) -> String {
        format!(
            "sentinel://127.0.0.1:{}/{database};{}?master_name={MASTER}",
            self.unused,
            self.worker_url(database)
        )
    }

    /// Kills the master as soon as the replica has all that was written so far.
    pub async fn lose_master(&mut self) {
        let master = self.master.take().expect("it was not lost before");
        let mut connection = master.connect().await;
        // Only what a connection has written itself is waited for.
        let _: i64 = redis::cmd("INCR")
            .arg("written")
            .query_async(&mut connection)
            .await
            .expect("the master answers");
        until_replicated(&mut connection).await;
        drop(master);
    }

    /// Waits until the replica is the master.
    pub async fn until_failed_over(&self) {
        let client = redis::Client::open(self.replica.url(0)).expect("a URL");
        eventually("the replica is the master", || async {
            // The Sentinel closes the connections of a server that it makes the master.
            let mut replica = client.get_multiplexed_async_connection().await.ok()?;
            let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut replica).await.ok()?;
            matches!(role.first(), Some(redis::Value::BulkString(name)) if name == b"master").then_some(())
        })
        .await;
    }
}

/// Waits until a replica has what this connection wrote.
async fn until_replicated(master: &mut MultiplexedConnection) {
    loop {
        let replicas: i64 = redis::cmd("WAIT")
            .arg(1)
            .arg(1000)
            .query_async(master)
            .await
            .expect("the master answers");
        if replicas >= 1 {
            return;
        }
    }
}

impl Drop for ReplicatedBroker {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}
