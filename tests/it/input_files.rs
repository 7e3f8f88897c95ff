//! Files that a request names must be there when a run would start, and then alone (O4).

use std::fs;

use onceover_tests::{Daemon, HttpAnswer, media, redis_server::RedisServer};
use onceover_types::StageState;
use serde_json::{Value, json};

const AUDIO: &str = "ffmpeg.extract_audio";
/// Takes `path`, a file or a folder.
const REQUEST: &str = "test.request";
const WAIT: &str = "test.wait";

fn submit(task: &str, node: &str, input: Value) -> Value {
    json!({"task_name": node, "task_id": task, "input_data": input})
}

fn refusal(answer: &HttpAnswer, field: &str) -> String {
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec![field.to_owned()]),
        "{answer:?}"
    );
    answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn o4_a_missing_input_is_refused_and_nothing_is_stored() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    let gone = daemon.dir().join("gone.mp4");
    let answer = daemon
        .post("/v1/tasks", submit("t1", AUDIO, json!({"video_path": gone})))
        .await;
    let why = refusal(&answer, "input_data.video_path");
    assert!(
        why.contains("gone.mp4") && why.contains("there is no such file"),
        "{why}"
    );
    // Where a file is wanted a folder is none.
    let answer = daemon
        .post(
            "/v1/tasks",
            submit("t1", AUDIO, json!({"video_path": daemon.dir().join("data")})),
        )
        .await;
    assert!(refusal(&answer, "input_data.video_path").contains("it is a folder, a file is needed"));
    // A relative path is below the task's folder, which is not made for that.
    let answer = daemon
        .post("/v1/tasks", submit("t1", REQUEST, json!({"path": "notes/a.json"})))
        .await;
    let why = refusal(&answer, "input_data.path");
    assert!(why.contains("share/workflows/t1/notes/a.json"), "{why}");
    // A link that leads to nothing, or out.
    std::os::unix::fs::symlink("/etc/hostname", daemon.dir().join("out.mp4")).unwrap();
    let answer = daemon
        .post(
            "/v1/tasks",
            submit("t1", AUDIO, json!({"video_path": daemon.dir().join("out.mp4")})),
        )
        .await;
    assert!(refusal(&answer, "input_data.video_path").contains("which is not below"));
    // All of them at once, with what no stage gives.
    let answer = daemon
        .post(
            "/v1/tasks",
            submit("t1", "ffmpeg.split_audio_segments", json!({"audio_path": gone})),
        )
        .await;
    assert_eq!(
        answer.fields().iter().collect::<std::collections::BTreeSet<_>>().len(),
        2,
        "{answer:?}"
    );
    assert_eq!(daemon.content().await, before);
    assert_eq!(fs::read_dir(daemon.data.join("share/workflows")).unwrap().count(), 0);
    let metrics = daemon.get("/metrics").await.text;
    assert!(metrics.contains("reason=\"input_missing\""), "{metrics}");
    // Where both will do a folder is one.
    fs::create_dir(daemon.dir().join("folder")).unwrap();
    daemon
        .done("t2", REQUEST, json!({"path": daemon.dir().join("folder")}))
        .await;
}

#[tokio::test]
async fn o4_hits_and_joins_pass_without_their_input() {
    // What test.request waits for does not begin.
    let server = RedisServer::start(&[]).await;
    let shared = Daemon::builder().redis(&server.url(0));
    let daemon = shared.config("[slots]\nio = 0").start().await;
    let clip = daemon.dir().join("clip.mp4");
    media::clip(&clip, 1);
    let input = json!({"video_path": clip});
    daemon.done("t1", AUDIO, input.clone()).await;
    fs::remove_file(&clip).unwrap();
    let hit = daemon.submit("t1", AUDIO, input.clone()).await;
    assert!(hit.reuse_info.reuse_hit);
    // So does a run that is under way.
    let notes = daemon.dir().join("notes.txt");
    fs::write(&notes, "").unwrap();
    daemon.submit("t2", REQUEST, json!({"path": notes})).await;
    fs::remove_file(&notes).unwrap();
    let joined = daemon.submit("t2", REQUEST, json!({"path": notes})).await;
    assert_eq!(joined.reuse_info.stage_status, Some(StageState::Pending));
    // A forced run needs it, and is refused with what the explanation says.
    let body = json!({"reuse": "never"});
    let again = format!("/v1/tasks/t1/stages/{AUDIO}");
    let answer = daemon.post(&format!("{again}/resubmit"), body).await;
    assert!(refusal(&answer, "input_data.video_path").contains("there is no such file"));
    let explained = daemon.get(&format!("{again}/reuse?reuse=never")).await.json();
    assert_eq!(
        (&explained["decision"], &explained["reason"]),
        (&json!("refuse"), &json!("input_missing"))
    );
    assert!(
        explained["message"].as_str().unwrap().contains("there is no such file"),
        "{explained}"
    );
    let explained = daemon.get(&format!("{again}/reuse")).await.json();
    assert_eq!(explained["decision"], "hit");
    // The standing result was not touched.
    assert_eq!(daemon.stage("t1", AUDIO).await.unwrap().status, StageState::Success);
}

#[tokio::test]
async fn o4_what_is_no_file_of_this_machine_is_not_looked_at() {
    let daemon = Daemon::builder()
        .config("[inputs]\nallow = ['127.0.0.0/8']")
        .start()
        .await;
    for (task, path) in [
        ("url", "http://127.0.0.1:1/clip.mp4"),
        ("placeholder", "${{ stages.test.echo.output.file }}"),
    ] {
        let answer = daemon
            .post("/v1/tasks", submit(task, REQUEST, json!({"path": path})))
            .await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(daemon.until_ended(task, REQUEST).await.status, StageState::Failed);
    }
}

#[tokio::test]
async fn o4_a_stage_in_flight_may_still_put_a_file_into_the_tasks_folder() {
    let daemon = Daemon::start().await;
    let before = submit("t1", REQUEST, json!({"path": "made/later.txt"}));
    refusal(&daemon.post("/v1/tasks", before.clone()).await, "input_data.path");
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    // Only there: nothing of this task comes elsewhere.
    let elsewhere = submit("t1", REQUEST, json!({"path": daemon.dir().join("later.txt")}));
    refusal(&daemon.post("/v1/tasks", elsewhere).await, "input_data.path");
    assert_eq!(daemon.post("/v1/tasks", before).await.status, 200);
    daemon.until_ended("t1", REQUEST).await;
    daemon.release("go");
}
