//! What programs of nodes, and those who read, do not get to see.

use std::fs;

use onceover_tests::Daemon;
use onceover_types::StageState;
use serde_json::json;

/// Looks at how its parent and its neighbours were started, and prints what it finds of secrets.
const SPY: &str = r#"
[[nodes]]
name = "test.spy"
queue = "cpu"
timeout_seconds = 30
needs = { environment = ["SPY_TOKEN"] }
runner = { command = ["python3", "-S", "-c", '''
import glob, json, os, sys
json.load(sys.stdin)
found = []
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    pid = path.split("/")[2]
    try:
        command = open(f"/proc/{pid}/cmdline", "rb").read()
        text = open(path, "rb").read()
    except OSError:
        continue
    mine = int(pid) == os.getpid()
    if not mine and (b"onceoverd" in command or b"redis" in command) and b"CANARY" in text:
        found.append(path)
fds = [os.readlink(f"/proc/{os.getppid()}/fd/0")]
print(json.dumps({"type": "output", "output": {"found": found, "stdin": fds, "own": os.environ.get("SPY_TOKEN")}}))
'''] }

# Puts links in the place of its log and of nodes/.
[[nodes]]
name = "test.links"
queue = "cpu"
timeout_seconds = 30
runner = { command = ["python3", "-S", "-c", '''
import json, os, sys
out = json.load(sys.stdin)["output_dir"]
os.remove(out + "/run.log")
os.symlink("@DIR@/outside/secret", out + "/run.log")
os.symlink("@DIR@/outside", out + "/../../nodes")
open(out + "/made", "w").close()
print(json.dumps({"type": "output", "output": {"n": 1}}))
'''] }

[[nodes]]
name = "test.echo"
queue = "cpu"
timeout_seconds = 30
runner = { command = ["sh", "-c", '''echo '{"type":"output","output":{"n":1}}' '''] }
"#;

#[tokio::test]
async fn secrets_of_the_environment_are_in_no_process_that_a_program_can_look_at() {
    let token = "CANARY0123456789abcdef";
    let daemon = Daemon::builder()
        .nodes(SPY)
        .env("ONCEOVER_TOKENS", &format!("admin:{token}"))
        .env("MINIO_SECRET_KEY", "CANARY-of-the-store")
        .env("SPY_TOKEN", "CANARY-of-the-node")
        .token(token)
        .start()
        .await;
    let stage = daemon.done("t1", "test.spy", json!({})).await;
    // What its node asks for a program still gets, and the token is still asked for.
    let output: serde_json::Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(
        output,
        json!({"found": [], "stdin": ["/dev/null"], "own": "CANARY-of-the-node"})
    );
    let answer = reqwest::get(format!("{}/v1/tasks", daemon.url())).await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn links_that_a_program_leaves_lead_neither_readers_nor_the_daemon_out() {
    let daemon = Daemon::builder().nodes(SPY).start().await;
    let outside = daemon.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "CANARY").unwrap();
    daemon.done("t1", "test.links", json!({})).await;
    for follow in ["", "?follow=true"] {
        let log = daemon.get(&format!("/v1/tasks/t1/stages/test.links/log{follow}")).await;
        assert_eq!(log.status, 404, "{log:?}");
        assert!(log.text.contains("/problems/no-log"), "{log:?}");
    }
    daemon.done("t1", "test.echo", json!({})).await;
    let left: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["secret"]);
    let link = daemon.data.join("share/workflows/t1/nodes/test.links");
    assert!(
        link.join("made").is_file(),
        "the link by which its files are found is there"
    );
}

#[tokio::test]
async fn secrets_nested_in_an_input_are_shown_nowhere() {
    let daemon = Daemon::start().await;
    let input = json!({"output": {"n": 1}, "deep": [{"password": "CANARY"}, {"a": {"api_key": ["CANARY"]}}]});
    daemon.submit("t1", "test.echo", input).await;
    daemon.until("t1", "test.echo", StageState::Success).await;
    for path in ["/v1/tasks/t1", "/v1/tasks", "/v1/tasks/t1/stages/test.echo/log"] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.text.contains("CANARY"), "{path}: {}", answer.text);
    }
    assert!(
        !daemon
            .projection("t1", "test.echo")
            .await
            .to_string()
            .contains("CANARY")
    );
    assert!(!daemon.logged().contains("CANARY"));
}
