//! The supervisor against a real server: it starts, comes back with its data, is shared with nobody and leaves nothing.

use std::os::unix::process::CommandExt;

use rustix::process::test_kill_process;
use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(PROBE_EVERY).await;
    }
}

fn pid(file: &Path) -> Option<Pid> {
    Pid::from_raw(fs::read_to_string(file).ok()?.trim().parse().ok()?)
}

async fn ask<T: redis::FromRedisValue>(url: &str, words: &[&str]) -> redis::RedisResult<T> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await
}

async fn set(url: &str, value: &str) {
    ask::<()>(url, &["SET", "key", value]).await.unwrap();
}

async fn get(url: &str) -> Option<String> {
    ask(url, &["GET", "key"]).await.ok().flatten()
}

fn open(base: &TempDir) -> DataDir {
    DataDir::open(&base.path().join("data")).unwrap()
}

/// A server as a killed daemon leaves it.
struct Leftover {
    child: std::process::Child,
}

impl Leftover {
    async fn start(data: &DataDir, appendonly: &str) -> Self {
        let socket = data.redis().join("redis.sock");
        let child = std::process::Command::new(find_server(None).unwrap())
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--maxmemory-policy",
                "noeviction",
                "--notify-keyspace-events",
                onceover_store::KEYSPACE_EVENTS,
                "--appendonly",
                appendonly,
            ])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(data.redis())
            .arg("--pidfile")
            .arg(data.redis().join("redis.pid"))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let url = format!("unix://{}", socket.display());
        until("the left server answers", async || {
            ask::<()>(&url, &["PING"]).await.is_ok()
        })
        .await;
        Self { child }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    fn is_gone(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_starts_answers_and_leaves_no_process() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    set(server.url(), "value").await;
    assert_eq!(get(server.url()).await.as_deref(), Some("value"));
    let process = pid(server.pid_file()).unwrap();
    // Only a separate group keeps it out of the way of the terminal's ctrl-C.
    assert_eq!(rustix::process::getpgid(Some(process)).unwrap(), process);
    let socket = data.redis().join("redis.sock");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
    server.stop().await;
    assert!(test_kill_process(process).is_err());
    assert!(!socket.exists() && !data.redis().join("redis.pid").exists());
}

#[tokio::test]
async fn o2_killed_it_comes_back_with_its_data() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    set(server.url(), "kept").await;
    for _ in 0..3 {
        let former = pid(server.pid_file()).unwrap();
        kill_process(former, Signal::KILL).unwrap();
        until("it is back", async || {
            get(server.url()).await.as_deref() == Some("kept") && pid(server.pid_file()) != Some(former)
        })
        .await;
    }
    server.stop().await;
}

#[tokio::test]
async fn o2_a_healthy_leftover_is_taken_over_watched_and_ended() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let mut left = Leftover::start(&data, "yes").await;
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    assert_eq!(pid(server.pid_file()).unwrap().as_raw_pid(), left.pid());
    set(server.url(), "kept").await;
    left.child.kill().unwrap();
    until("a new one took its place", async || {
        get(server.url()).await.as_deref() == Some("kept")
            && pid(server.pid_file()).is_some_and(|pid| pid.as_raw_pid() != left.pid())
    })
    .await;
    assert!(left.is_gone());
    server.stop().await;

    let mut left = Leftover::start(&data, "yes").await;
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    server.stop().await;
    until("the left one has ended", async || left.is_gone()).await;
}

#[tokio::test]
async fn a_leftover_that_keeps_nothing_is_replaced() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let mut left = Leftover::start(&data, "no").await;
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    until("the left one has ended", async || left.is_gone()).await;
    assert_ne!(pid(server.pid_file()).unwrap().as_raw_pid(), left.pid());
    server.stop().await;
}

#[tokio::test]
async fn a_leftover_whose_socket_was_removed_is_ended_before_a_new_one_starts() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let mut left = Leftover::start(&data, "yes").await;
    ask::<()>(
        &format!("unix://{}", data.redis().join("redis.sock").display()),
        &["SET", "key", "kept"],
    )
    .await
    .unwrap();
    fs::remove_file(data.redis().join("redis.sock")).unwrap();
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    until("the left one has ended", async || left.is_gone()).await;
    assert_eq!(get(server.url()).await.as_deref(), Some("kept"));
    server.stop().await;
}

#[tokio::test]
async fn stale_files_of_a_machine_that_went_down_do_not_matter() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    drop(std::os::unix::net::UnixListener::bind(data.redis().join("redis.sock")).unwrap());
    // A process that is alive, but is no server of ours: it must survive.
    fs::write(data.redis().join("redis.pid"), format!("{}\n", std::process::id())).unwrap();
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    assert!(ask::<()>(server.url(), &["PING"]).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_one_ends_its_server() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    let process = pid(server.pid_file()).unwrap();
    drop(server);
    until("the server has ended", async || test_kill_process(process).is_err()).await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one_elsewhere() {
    let base = tempfile::tempdir().unwrap();
    let data = DataDir::open(&base.path().join("long".repeat(30)).join("data with blanks")).unwrap();
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    assert!(
        server.url().starts_with("redis+unix:///tmp/onceover-"),
        "{}",
        server.url()
    );
    set(server.url(), "kept").await;
    server.stop().await;
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    assert_eq!(get(server.url()).await.as_deref(), Some("kept"));
    let socket = PathBuf::from(Url::parse(server.url()).unwrap().path());
    server.stop().await;
    assert!(!socket.parent().unwrap().exists());
}

#[tokio::test]
async fn blanks_and_percent_signs_in_the_path_reach_the_client() {
    let base = tempfile::tempdir().unwrap();
    let data = DataDir::open(&base.path().join("a b%20#ü")).unwrap();
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    assert!(ask::<()>(server.url(), &["PING"]).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn what_is_missing_or_broken_is_said() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let missing = PrivateRedis::start(&data, Some(Path::new("/nowhere/redis-server")), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("/nowhere/redis-server") && missing.contains("apt-get install"),
        "{missing}"
    );
    fs::create_dir_all(data.redis().join("appendonlydir")).unwrap();
    fs::write(data.redis().join("appendonlydir/appendonly.aof.manifest"), "garbage\n").unwrap();
    let broken = PrivateRedis::start(&data, None, None).await.unwrap_err().to_string();
    assert!(
        broken.contains("ended before it answered") && broken.contains("manifest"),
        "{broken}"
    );
}

#[tokio::test]
async fn stop_does_not_wait_for_a_server_that_cannot_come_back() {
    let base = tempfile::tempdir().unwrap();
    let data = open(&base);
    let server = PrivateRedis::start(&data, None, None).await.unwrap();
    let process = pid(server.pid_file()).unwrap();
    fs::write(data.redis().join("appendonlydir/appendonly.aof.manifest"), "garbage\n").unwrap();
    kill_process(process, Signal::KILL).unwrap();
    until("it tried and failed", async || {
        fs::read_to_string(data.logs().join("redis.log")).is_ok_and(|log| log.contains("manifest file"))
    })
    .await;
    timeout(PATIENCE, server.stop()).await.unwrap();
    assert!(!data.redis().join("redis.sock").exists());
}
