//! A data directory belongs to one daemon at a time, and a copy of it is another directory (O2).

use std::{fs, path::Path, process::Command, time::Duration};

use onceover_tests::{Daemon, PATIENCE, RedisServer, eventually};
use onceover_types::StageState;
use serde_json::json;

const WAIT: &str = "test.wait";

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn id(data: &Path) -> String {
    let text = fs::read_to_string(data.join("instance")).unwrap();
    text.split_once('#').unwrap().0.to_owned()
}

/// Starts the daemon's program on another data directory.
fn start_on(daemon: &Daemon, data: &Path) -> tokio::process::Child {
    let mut command = daemon.command_on("127.0.0.1:0");
    command.arg("--data").arg(data);
    // The last one counts, and there may be only one.
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = arguments.iter().position(|argument| argument == "--data").unwrap();
    let kept = arguments[..at].iter().chain(&arguments[at + 2..]);
    let log = fs::File::create(data.with_extension("out")).unwrap();
    tokio::process::Command::new(command.get_program())
        .args(kept)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until the daemon on this directory is ready; answers its address.
async fn ready(data: &Path) -> String {
    eventually("the other daemon is ready", || async {
        let text = fs::read_to_string(data.with_extension("out")).ok()?;
        let (_, rest) = text.split_once("onceoverd listens on ")?;
        let address = rest.split_once(';')?.0.to_owned();
        let answer = reqwest::get(format!("{address}/readyz")).await.ok()?;
        answer.status().is_success().then_some(address)
    })
    .await
}

async fn end(mut child: tokio::process::Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    child.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_a_copied_data_folder_has_an_identity_of_its_own_and_ends_no_run_of_the_first() {
    let daemon = Daemon::start().await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let other = daemon.dir().join("copy");
    copy(&daemon.data, &other);
    let second = start_on(&daemon, &other);
    ready(&other).await;
    assert_ne!(id(&other), id(&daemon.data));
    assert_eq!(daemon.children().len(), 1, "the run of the first goes on");
    end(second).await;
    assert_eq!(daemon.children().len(), 1, "the run of the first goes on");
    daemon.release("go");
    let stage = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!((stage.attempt, daemon.get("/readyz").await.status), (1, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_on_one_redis_a_copy_is_refused_while_the_first_is_alive_and_both_are_named() {
    let server = RedisServer::start(&[]).await;
    let mut daemon = Daemon::builder().redis(&server.url(0)).start().await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let other = daemon.dir().join("copy");
    copy(&daemon.data, &other);
    for _ in 0..2 {
        let ended = tokio::time::timeout(PATIENCE, start_on(&daemon, &other).wait()).await;
        assert!(!ended.expect("it ends").unwrap().success());
        let said = fs::read_to_string(other.with_extension("out")).unwrap();
        for part in [&other, &daemon.data] {
            let part = part.canonicalize().unwrap().display().to_string();
            assert!(said.contains(&format!("{part} on ")), "{part}: {said}");
        }
        assert!(said.contains("--data"), "{said}");
    }
    daemon.release("go");
    assert_eq!(daemon.until("t1", WAIT, StageState::Success).await.attempt, 1);
    // Killed or ended, the same folder continues at once; the copy is a separate one then.
    daemon.kill();
    let again = std::time::Instant::now();
    daemon.launch().await;
    assert!(again.elapsed() < Duration::from_secs(8), "{:?}", again.elapsed());
    daemon.stop().await;
    let second = start_on(&daemon, &other);
    ready(&other).await;
    assert_ne!(id(&other), id(&daemon.data));
    end(second).await;
}
