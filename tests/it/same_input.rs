//! R8: the same input is the same parameters, the same files and the same results of earlier stages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Body,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::stream;
use onceover_tests::Daemon;
use onceover_wire::{ReuseMode, SubmitResponse};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const READ: &str = "same.read";
const FIRST: &str = "same.first";
const SECOND: &str = "same.second";

/// One node reads a file, two make a chain.
const NODES: &str = r#"
[[nodes]]
name = "same.read"
queue = "io"
runner = { command = ["python3", "-S", "-c", '''
import json, os, sys
path = json.load(sys.stdin)["input"]["path"]
text = " ".join(sorted(os.listdir(path))) if os.path.isdir(path) else open(path).read()
print(json.dumps({"type": "output", "output": {"text": text}}))
'''] }
parameters = [{ name = "path", aliases = ["file"], type = "path", expects = "file_or_folder", required = true }]

[[nodes]]
name = "same.first"
queue = "io"
runner = { command = ["python3", "-S", "-c", '''
import json, sys
print(json.dumps({"type": "output", "output": {"text": json.load(sys.stdin)["input"].get("text", "none")}}))
'''] }

[[nodes]]
name = "same.second"
queue = "io"
runner = { command = ["python3", "-S", "-c", '''
import json, sys
print(json.dumps({"type": "output", "output": {"text": json.load(sys.stdin)["input"]["text"]}}))
'''] }
parameters = [{ name = "text", type = "string", fallbacks = [{ node = "same.first", field = "text" }] }]
"#;

async fn start(config: &str) -> Daemon {
    Daemon::builder().config(config).nodes(NODES).start().await
}

async fn ask(daemon: &Daemon, node: &str, input: Value, mode: ReuseMode) -> SubmitResponse {
    let answer = daemon.try_submit("t1", node, input, None, mode).await;
    answer.expect("the submit is accepted")
}

/// What a submit says of its input: of a hit `Ok(input_changed)`, of a miss the reason.
async fn verdict(daemon: &Daemon, node: &str, input: Value, mode: ReuseMode) -> Result<Option<bool>, String> {
    let info = ask(daemon, node, input, mode).await.reuse_info;
    if info.reuse_hit {
        return Ok(info.input_changed.expect("a hit speaks of its input"));
    }
    daemon.idle().await;
    Err(info.reason.expect("a miss has a reason"))
}

fn file(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let path = daemon.dir().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Gives a file another time of change, as a copy of it has.
fn touch(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(10)).unwrap();
}

#[tokio::test]
async fn r8_a_file_replaced_under_its_name_is_other_input() {
    use ReuseMode::{Auto, Strict};
    let daemon = start("").await;
    let path = file(&daemon, "in.txt", "one");
    let input = || json!({"path": path});
    daemon.done("t1", READ, input()).await;
    assert_eq!(verdict(&daemon, READ, input(), Auto).await, Ok(Some(false)));
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, Ok(Some(false)));

    fs::write(&path, "two!").unwrap();
    assert_eq!(verdict(&daemon, READ, input(), Auto).await, Ok(Some(true)));
    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, changed);
    let stage = daemon.stage("t1", READ).await.unwrap();
    assert_eq!(stage.output.get(), r#"{"text":"two!"}"#);
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, Ok(Some(false)));

    // Without hashes another time of change is another file.
    touch(&path);
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, changed);

    // A file that is not there cannot be compared; the result is answered still (R2).
    fs::remove_file(&path).unwrap();
    assert_eq!(verdict(&daemon, READ, input(), Auto).await, Ok(None));
}

#[tokio::test]
async fn r8_a_folder_that_got_another_file_is_other_input() {
    let daemon = start("").await;
    let folder = daemon.dir().join("pictures");
    fs::create_dir_all(folder.join("deep")).unwrap();
    let input = || json!({"file": folder});
    daemon.done("t1", READ, input()).await;
    assert_eq!(
        verdict(&daemon, READ, input(), ReuseMode::Strict).await,
        Ok(Some(false))
    );
    fs::write(folder.join("deep/2.jpg"), "").unwrap();
    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), ReuseMode::Strict).await, changed);
}

#[tokio::test]
async fn r8_with_hashes_bytes_alone_decide() {
    let daemon = start("[reuse]\nverify = 'hash'").await;
    let path = file(&daemon, "in.txt", "one");
    let input = || json!({"path": path});
    daemon.done("t1", READ, input()).await;
    touch(&path);
    assert_eq!(
        verdict(&daemon, READ, input(), ReuseMode::Strict).await,
        Ok(Some(false))
    );
    let before = path.metadata().unwrap().modified().unwrap();
    fs::write(&path, "two").unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(before)
        .unwrap();
    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), ReuseMode::Strict).await, changed);
}

#[tokio::test]
async fn r8_with_hashes_results_survive_a_copy_of_the_data_folder() {
    let mut daemon = Daemon::builder().config("[reuse]\nverify = 'hash'").start().await;
    daemon.done("t1", "test.file", json!({"text": "kept"})).await;
    daemon.stop().await;
    let data = daemon.dir().join("data");
    let copy = daemon.dir().join("copy");
    for (from, to) in [(&data, &copy), (&copy, &data)] {
        assert!(
            Command::new("cp")
                .arg("-r")
                .arg(from)
                .arg(to)
                .status()
                .unwrap()
                .success()
        );
        fs::remove_dir_all(from).unwrap();
    }
    daemon.launch().await;
    let answer = ask(&daemon, "test.file", json!({"text": "kept"}), ReuseMode::Strict).await;
    assert!(answer.reuse_info.reuse_hit, "{answer:?}");
}

#[tokio::test]
async fn r8_a_stage_whose_source_ran_again_has_other_input() {
    use ReuseMode::{Auto, Never, Strict};
    let daemon = start("").await;
    daemon.done("t1", FIRST, json!({"text": "one"})).await;
    daemon.done("t1", SECOND, json!({})).await;
    assert_eq!(verdict(&daemon, SECOND, json!({}), Strict).await, Ok(Some(false)));
    let reference = json!({"text": "${{ stages.same.first.output.text }}"});
    daemon.done("t2", FIRST, json!({"text": "one"})).await;
    daemon.done("t2", SECOND, reference.clone()).await;

    for task in ["t1", "t2"] {
        let again = daemon
            .try_submit(task, FIRST, json!({"text": "two"}), None, Never)
            .await;
        assert!(!again.unwrap().reuse_info.reuse_hit);
    }
    daemon.idle().await;
    assert_eq!(verdict(&daemon, SECOND, json!({}), Auto).await, Ok(Some(true)));
    let answer = daemon.try_submit("t2", SECOND, reference, None, Auto).await.unwrap();
    assert_eq!(answer.reuse_info.input_changed, Some(Some(true)), "by a reference");
    let explained = daemon
        .get("/v1/tasks/t1/stages/same.second/reuse?reuse=strict")
        .await
        .json();
    assert_eq!(
        (&explained["decision"], &explained["reason"]),
        (&json!("run"), &json!("input_changed"))
    );

    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, SECOND, json!({}), Strict).await, changed);
    let stage = daemon.stage("t1", SECOND).await.unwrap();
    assert_eq!(stage.output.get(), r#"{"text":"two"}"#);
    assert_eq!(verdict(&daemon, SECOND, json!({}), Strict).await, Ok(Some(false)));
}

#[tokio::test]
async fn r8_a_result_without_evidence_is_not_known_to_be_the_same() {
    let daemon = start("").await;
    let path = file(&daemon, "in.txt", "one");
    let input = || json!({"path": path});
    daemon.done("t1", READ, input()).await;
    // As a former version left it.
    let mut redis = daemon.redis().await;
    let fields = ["res_in_files", "res_in_sources"];
    let removed: i64 = redis.hdel("onceover:stage:t1:same.read", &fields).await.unwrap();
    assert_eq!(removed, 2);
    assert_eq!(verdict(&daemon, READ, input(), ReuseMode::Auto).await, Ok(None));
    let explained = daemon
        .get("/v1/tasks/t1/stages/same.read/reuse?reuse=strict")
        .await
        .json();
    assert_eq!(
        (&explained["decision"], &explained["reason"]),
        (&json!("run"), &json!("input_unknown"))
    );
    let unknown = Err("input_unknown".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), ReuseMode::Strict).await, unknown);
    assert_eq!(
        verdict(&daemon, READ, input(), ReuseMode::Strict).await,
        Ok(Some(false))
    );
}

/// Serves a text with the validators that it is given.
async fn serve(tag: Arc<Mutex<Option<&'static str>>>) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}/in.txt", listener.local_addr().unwrap());
    let answer = move || {
        let tag = *tag.lock().unwrap();
        async move {
            match tag {
                Some(tag) => ([(header::ETAG, tag)], "text").into_response(),
                None => Response::new(Body::from_stream(stream::iter([Ok::<_, std::io::Error>("text")]))),
            }
        }
    };
    let app = Router::new().route("/in.txt", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn r8_a_url_is_known_by_what_its_server_says_of_it() {
    use ReuseMode::{Auto, Strict};
    let daemon = start("[inputs]\nallow = ['127.0.0.2']").await;
    let tag = Arc::new(Mutex::new(Some("\"a\"")));
    let url = serve(Arc::clone(&tag)).await;
    let input = || json!({"path": url});
    daemon.done("t1", READ, input()).await;
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, Ok(Some(false)));
    assert_eq!(
        verdict(&daemon, READ, input(), Auto).await,
        Ok(None),
        "a hit asks no server"
    );
    *tag.lock().unwrap() = Some("\"b\"");
    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, changed);
    *tag.lock().unwrap() = None;
    let unknown = Err("input_unknown".to_owned());
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, unknown);
    assert_eq!(verdict(&daemon, READ, input(), Strict).await, unknown, "and stays so");
}

#[tokio::test]
async fn r8_a_strict_hit_is_one_call() {
    let daemon = start("").await;
    let path = file(&daemon, "in.txt", "one");
    let input = || json!({"path": path});
    daemon.done("t1", READ, input()).await;
    let ask = async |_| {
        assert_eq!(
            verdict(&daemon, READ, input(), ReuseMode::Strict).await,
            Ok(Some(false))
        );
    };
    // The daemon's own reads of queues and leases come in between now and then.
    assert_eq!(daemon.fewest_calls("evalsha:", ask).await, 1);
}

#[tokio::test]
async fn r8_a_dry_run_of_another_input_agrees_with_its_submit_and_changes_nothing() {
    use ReuseMode::{Auto, Never, Strict};
    let daemon = start("").await;
    let (first, second) = (file(&daemon, "a.txt", "one"), file(&daemon, "b.txt", "two"));
    let path = "/v1/tasks/t1/stages/same.read/reuse";
    let explain = async |input: &PathBuf, mode: ReuseMode| {
        let body = json!({"input_data": {"path": input}, "reuse": mode});
        let answer = daemon.post(path, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        (said["decision"].clone(), said["reason"].clone())
    };
    assert_eq!(explain(&first, Auto).await, (json!("run"), json!("absent")));
    daemon.done("t1", READ, json!({"path": first})).await;
    let before = daemon.stage("t1", READ).await.expect("the stage");
    for (input, mode, decision, reason) in [
        (&first, Strict, "hit", "hit"),
        (&second, Auto, "hit", "hit"),
        (&second, Strict, "run", "input_changed"),
        (&first, Never, "run", "forced"),
    ] {
        assert_eq!(explain(input, mode).await, (json!(decision), json!(reason)), "{mode:?}");
    }
    let after = daemon.stage("t1", READ).await.expect("the stage");
    assert_eq!((after.run_id, after.reuse_hits), (before.run_id, before.reuse_hits));
    let changed = Err("input_changed".to_owned());
    assert_eq!(verdict(&daemon, READ, json!({"path": second}), Strict).await, changed);
    // What a submit refuses is refused here.
    let refused = daemon.post(path, json!({"input_data": {"path": 7}})).await;
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["input_data.path".to_owned()])
    );
}
