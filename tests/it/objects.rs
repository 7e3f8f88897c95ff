//! Files of finished stages in an object store that speaks S3 for real: up in the background, once, whatever is killed or
//! away meanwhile, and gone with their task.

use std::process::Command;

use onceover_tests::{
    Daemon, DaemonBuilder, RedisServer, S3Server,
    callbacks::Receiver,
    eventually, media,
    s3::{BUCKET, Hold, SECRET_KEY},
    until_equal,
};
use onceover_types::StageState;
use onceover_wire::{ReuseMode, StageView};
use redis::AsyncCommands;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

const AUDIO: &str = "ffmpeg.extract_audio";
const FILES: &str = "test.files";

/// Writes three files, one of them in a folder, and names them in every way that outputs do.
const NODE: &str = r#"
[[nodes]]
name = "test.files"
queue = "gpu"
timeout_seconds = 60
runner = { command = ["python3", "-S", "-c", '''
import json, os, sys
request = json.load(sys.stdin)
i, out = request["input"], request["output_dir"]
os.makedirs(out + "/frames")
for name in ["a b.wav", "c.srt", "frames/1.jpg", "frames/2.jpg"]:
    open(out + "/" + name, "w").write(name * i.get("times", 1))
print(json.dumps({"type": "output", "output": {
    "audio_path": out + "/a b.wav", "all_audio_files": [out + "/a b.wav"], "keyframe_dir": out + "/frames",
    "subtitle_files": {"basic": out + "/c.srt"}, "count": 2, "empty": []}}))
'''] }
"#;

fn builder(s3: &S3Server, more: &str) -> DaemonBuilder {
    let mut builder = Daemon::builder().config(&format!("{}{more}\n{NODE}", s3.config()));
    for (name, value) in s3.keys() {
        builder = builder.env(name, value);
    }
    builder
}

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).expect("an output")
}

/// Waits until the stage's files are at the store.
async fn uploaded(daemon: &Daemon, task: &str, node: &str) -> Value {
    eventually(&format!("the files of {node} of {task} at the store"), || async {
        let output = output(&daemon.stage(task, node).await?);
        let said = output.as_object()?.keys().any(|field| field.contains("_minio_url"));
        said.then_some(output)
    })
    .await
}

fn run_of(stage: &StageView) -> String {
    stage.run_id.as_ref().expect("a run").to_string()
}

#[tokio::test]
async fn d49_files_go_up_once_the_result_says_where_and_a_delete_removes_them() {
    let s3 = S3Server::start().await;
    let daemon = builder(&s3, "").start().await;
    let stage = daemon.done("t1", FILES, json!({})).await;
    let before = daemon
        .client
        .task(&onceover_tests::daemon::task_id("t1"))
        .await
        .unwrap();
    let output = uploaded(&daemon, "t1", FILES).await;
    let folder = format!("t1/runs/{}", run_of(&stage));
    let keys = [
        format!("{folder}/a b.wav"),
        format!("{folder}/c.srt"),
        format!("{folder}/frames/frames_compressed.zip"),
    ];
    assert_eq!(s3.objects(""), keys);
    assert_eq!(s3.object(&keys[0]).unwrap(), b"a b.wav");
    let url = |key: &str| format!("{}/{BUCKET}/{key}", s3.url());
    let audio = url(&format!("{folder}/a%20b.wav"));
    assert_eq!(output["audio_path_minio_url"], audio);
    assert_eq!(output["all_audio_files_minio_urls"], json!([audio]));
    assert_eq!(output["keyframe_dir_minio_url"], url(&keys[2]));
    assert_eq!(output["subtitle_files_minio_urls"], json!({"basic": url(&keys[1])}));
    let info = &output["keyframe_dir_compression_info"];
    assert_eq!(
        (&info["files_count"], &info["original_size"], &info["format"]),
        (&json!(2), &json!(24), &json!("zip"))
    );
    // Nothing the run has written is changed.
    let told: Value =
        serde_json::from_str(before.stages[&onceover_tests::daemon::node_name(FILES)].output.get()).unwrap();
    for (field, value) in told.as_object().unwrap() {
        assert_eq!(output[field], *value, "{field}");
    }
    let archive = daemon.dir().join("frames.zip");
    std::fs::write(&archive, s3.object(&keys[2]).unwrap()).unwrap();
    let listed = Command::new("python3")
        .args(["-m", "zipfile", "-l"])
        .arg(&archive)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("1.jpg") && listed.contains("2.jpg"), "{listed}");

    let view = daemon.get("/v1/tasks/t1").await.json();
    let files = view["minio_files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(
        files[0],
        json!({"name": "a b.wav", "url": audio, "type": "audio/wav", "size": 7})
    );
    // The public JSON says the same, and expires when it would have.
    let projection = daemon.projection("t1", FILES).await;
    assert_eq!(projection["stages"][FILES]["output"], output);
    assert_eq!(projection["minio_files"], view["minio_files"]);
    let mut redis = daemon.redis().await;
    let left: i64 = redis.ttl(format!("t1:node:{FILES}")).await.unwrap();
    assert!((86_000..=86_400).contains(&left), "{left}");
    let events: Vec<(String, Vec<String>)> = redis::cmd("XRANGE")
        .arg("onceover:events")
        .arg("-")
        .arg("+")
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(
        events
            .iter()
            .filter(|(_, fields)| fields[1].contains("\"uploaded\""))
            .count(),
        1
    );

    // A hit says it too, and sends nothing; nor do later stages of the task.
    let hit = daemon.submit("t1", FILES, json!({})).await;
    assert!(hit.reuse_info.reuse_hit);
    assert_eq!(hit.result.unwrap().minio_files.unwrap().len(), 3);
    daemon.done("t1", "test.file", json!({})).await;
    uploaded(&daemon, "t1", "test.file").await;
    assert!(keys.iter().all(|key| s3.made(Some(key)) == 1));
    assert_eq!(s3.made(None), 4);

    daemon.done("t11", "test.file", json!({})).await;
    uploaded(&daemon, "t11", "test.file").await;
    let report = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    let minio = &report["results"][2];
    assert_eq!(
        (&minio["resource"], &minio["status"]),
        (&json!("minio"), &json!("deleted")),
        "{report:#}"
    );
    assert_eq!(
        (&minio["details"]["deleted"], &minio["details"]["total"]),
        (&json!(4), &json!(4))
    );
    assert!(minio["details"]["bytes"].as_u64().unwrap() > 20);
    assert_eq!(s3.objects("t1"), [""; 0]);
    assert_eq!(s3.objects("t11").len(), 1, "another task's objects stay");
    assert!(
        daemon
            .keys()
            .await
            .iter()
            .all(|key| !key.contains(":t1:") && !key.contains("t1|"))
    );
    assert_eq!(daemon.post("/v1/tasks/t1/delete", json!({})).await.status, 404);

    assert!(!daemon.logged().contains(SECRET_KEY), "no key is in the log");
    let stored = daemon.content().await;
    assert!(
        stored
            .iter()
            .all(|(_, dump)| !String::from_utf8_lossy(dump).contains(SECRET_KEY))
    );
}

#[tokio::test]
async fn d49_a_daemon_killed_while_it_uploads_goes_on_where_it_was() {
    let s3 = S3Server::start().await;
    let mut daemon = builder(&s3, "").start().await;
    // The first object is done, the second one never arrives.
    daemon.done("t0", "test.file", json!({})).await;
    uploaded(&daemon, "t0", "test.file").await;
    s3.hold(Hold::After(1));
    let stage = daemon.done("t1", FILES, json!({})).await;
    until_equal("one object more", 2, || async { s3.made(None) }).await;
    daemon.idle().await;
    daemon.kill();
    s3.hold(Hold::Nothing);
    daemon.launch().await;
    uploaded(&daemon, "t1", FILES).await;
    let folder = format!("t1/runs/{}", run_of(&stage));
    for name in ["a b.wav", "c.srt", "frames/frames_compressed.zip"] {
        assert_eq!(s3.made(Some(&format!("{folder}/{name}"))), 1, "{name}");
    }

    // The store has taken it, but the daemon does not live to hear that.
    s3.hold(Hold::Answers(1));
    let stage = daemon.done("t2", FILES, json!({"times": 3})).await;
    until_equal("two objects more", 6, || async { s3.made(None) }).await;
    daemon.kill();
    s3.hold(Hold::Nothing);
    daemon.launch().await;
    let output = uploaded(&daemon, "t2", FILES).await;
    assert_eq!(output["keyframe_dir_compression_info"]["original_size"], 72);
    let folder = format!("t2/runs/{}", run_of(&stage));
    for name in ["a b.wav", "c.srt", "frames/frames_compressed.zip"] {
        assert_eq!(s3.made(Some(&format!("{folder}/{name}"))), 1, "{name}");
    }
    assert_eq!(s3.made(None), 7);
}

#[tokio::test]
async fn a_stage_is_done_while_the_store_is_away_and_its_files_follow_when_it_is_back() {
    let mut s3 = S3Server::start().await;
    s3.stop().await;
    let daemon = builder(&s3, "").start().await;
    daemon.done("t1", FILES, json!({})).await;
    // Its slot is free, and so is a hit.
    daemon.idle().await;
    assert!(daemon.submit("t1", FILES, json!({})).await.reuse_info.reuse_hit);
    eventually("a try", || async {
        daemon.logged().contains("files are not at the store yet").then_some(())
    })
    .await;
    assert!(daemon.get("/v1/tasks/t1").await.json()["minio_files"].is_null());
    s3.resume().await;
    uploaded(&daemon, "t1", FILES).await;
    assert_eq!(s3.objects("t1").len(), 3);
}

#[tokio::test]
async fn what_cannot_be_uploaded_in_time_says_so_and_the_stage_stays_a_success() {
    let mut s3 = S3Server::start().await;
    s3.stop().await;
    let daemon = builder(&s3, "retry_for = '100ms'\n").start().await;
    daemon.done("t1", FILES, json!({})).await;
    let stage = eventually("that it is given up", || async {
        let stage = daemon.stage("t1", FILES).await?;
        stage.output.get().contains("_upload_error").then_some(stage)
    })
    .await;
    assert_eq!(stage.status, StageState::Success);
    let output = output(&stage);
    for field in ["audio_path", "all_audio_files", "keyframe_dir", "subtitle_files"] {
        let why = output[format!("{field}_upload_error")].as_str().unwrap();
        assert!(why.contains(&s3.url()), "{why}");
        assert!(output.get(format!("{field}_minio_url")).is_none());
    }
    assert!(daemon.submit("t1", FILES, json!({})).await.reuse_info.reuse_hit);
    // A delete cannot ask the store, says so, and can be asked again.
    let report = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    assert_eq!(
        (&report["status"], &report["results"][2]["status"]),
        (&json!("partial_failed"), &json!("failed"))
    );
    assert_eq!(report["results"][2]["retriable"], true);
    s3.resume().await;
    s3.put("t1/left", b"x");
    let report = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    assert_eq!(report["results"][2]["status"], "deleted", "{report:#}");
    assert_eq!(s3.objects(""), [""; 0]);
    assert!(daemon.times_reached("upload_time").await > 0);
}

#[tokio::test]
async fn many_at_once_make_the_bucket_they_need() {
    let s3 = S3Server::start().await;
    let buckets = "buckets = ['made-0', 'made-1', 'made-2', 'made-3', 'made-4']";
    let daemons = [builder(&s3, buckets).start().await, builder(&s3, buckets).start().await];
    for round in 0..5 {
        let uploads = (0..16).map(|n| {
            let url = format!(
                "{}/v1/files/upload?bucket=made-{round}&file_path=t1/{n}",
                daemons[n % 2].url()
            );
            let form = Form::new().part("file", Part::bytes(b"x".to_vec()).file_name("x"));
            reqwest::Client::new().post(url).multipart(form).send()
        });
        for answer in futures_util::future::join_all(uploads).await {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        }
    }
}

/// May call this machine.
const CALLS: &str = "[callbacks]\nallow = ['127.0.0.0/8']\n";

async fn call(daemon: &Daemon, receiver: &Receiver, task: &str, reuse: ReuseMode) {
    let url = receiver.url(&format!("/{task}"));
    let answer = daemon.try_submit(task, FILES, json!({}), Some(url), reuse).await;
    answer.expect("the submit is accepted");
}

#[tokio::test]
async fn c1_a_callback_leaves_when_the_files_are_at_the_store_and_has_their_urls() {
    let s3 = S3Server::start().await;
    let receiver = Receiver::start().await;
    let mut daemon = builder(&s3, CALLS).start().await;
    s3.hold(Hold::After(1));
    call(&daemon, &receiver, "t1", ReuseMode::Auto).await;
    let stage = daemon.until("t1", FILES, StageState::Success).await;
    // In the middle of that the daemon is killed.
    until_equal("one object", 1, || async { s3.objects("t1").len() }).await;
    assert_eq!(receiver.received().len(), 0);
    daemon.kill();
    s3.hold(Hold::Nothing);
    daemon.launch().await;
    let told = receiver.wait_for(1).await.remove(0).body;
    let output = uploaded(&daemon, "t1", FILES).await;
    assert_eq!(told["result"]["output"], output);
    assert_eq!(told["result"]["stages"][FILES]["run_id"], run_of(&stage));
    assert_eq!(told["minio_files"].as_array().map(Vec::len), Some(3));
    assert_eq!(told["reuse_info"]["reuse_hit"], false);

    // What was given up says so.
    daemon.stop().await;
    let mut away = S3Server::start().await;
    away.stop().await;
    let daemon = builder(&away, &format!("retry_for = '100ms'\n{CALLS}")).start().await;
    call(&daemon, &receiver, "t2", ReuseMode::Auto).await;
    let told = receiver.wait_for(2).await.remove(1).body;
    assert!(
        told["result"]["output"]["audio_path_upload_error"].is_string(),
        "{told:#}"
    );
}

#[tokio::test]
async fn c3_a_callback_leaves_without_urls_when_its_result_is_replaced_or_the_store_stays_away() {
    let mut s3 = S3Server::start().await;
    s3.stop().await;
    let receiver = Receiver::start().await;
    let daemon = builder(&s3, CALLS).start().await;
    // Each run gets a callback, also one whose result is replaced before its files are uploaded.
    call(&daemon, &receiver, "t1", ReuseMode::Auto).await;
    let first = run_of(&daemon.until("t1", FILES, StageState::Success).await);
    call(&daemon, &receiver, "t1", ReuseMode::Never).await;
    let told = receiver.wait_for(1).await.remove(0);
    assert_eq!(told.body["reuse_info"]["run_id"], first);
    assert_eq!(told.body["status"], "completed");
    let second = eventually("the second result", || async {
        let stage = daemon.stage("t1", FILES).await?;
        (stage.status == StageState::Success && run_of(&stage) != first).then(|| run_of(&stage))
    })
    .await;
    assert_eq!(receiver.received().len(), 1, "the second waits");

    // The store was not there for a minute, as far as its upload knows.
    let mut redis = daemon.redis().await;
    let upload = format!("onceover:upload:t1|{FILES}|{second}|1");
    let since = onceover_types::Timestamp::now().as_millis() - 61_000;
    let () = redis.hset(&upload, "since", since).await.unwrap();
    let told = receiver.wait_for(2).await.remove(1);
    assert_eq!(told.body["reuse_info"]["run_id"], second);
    assert!(told.body["minio_files"].is_null());

    // Once at the store, no callback is sent twice.
    s3.resume().await;
    uploaded(&daemon, "t1", FILES).await;
    call(&daemon, &receiver, "t2", ReuseMode::Auto).await;
    assert_eq!(receiver.wait_for(3).await[2].path, "/t2");
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(redis.exists::<_, i64>("onceover:awaited").await.unwrap(), 0);
}

#[tokio::test]
async fn c3_another_daemon_sends_a_callback_that_waits_for_the_upload_of_a_lost_one() {
    let server = RedisServer::start(&[]).await;
    let mut s3 = S3Server::start().await;
    s3.stop().await;
    let receiver = Receiver::start().await;
    let mut lost = builder(&s3, CALLS).redis(&server.url(0)).start().await;
    call(&lost, &receiver, "t1", ReuseMode::Auto).await;
    lost.until("t1", FILES, StageState::Success).await;
    lost.kill();
    let mut redis = lost.redis().await;
    let waits: Option<f64> = redis.zscore("onceover:awaited", format!("t1|{FILES}")).await.unwrap();
    // Not heard of for ten minutes.
    assert!(waits.is_some());
    let () = redis.zadd("onceover:awaited", format!("t1|{FILES}"), 1).await.unwrap();
    let leases = "[runs]\nlease = '500ms'\nheartbeat = '100ms'\n";
    let other = Daemon::builder()
        .config(&format!("{leases}{CALLS}{NODE}"))
        .redis(&server.url(0));
    let other = other.start().await;
    let told = receiver.wait_for(1).await.remove(0);
    assert_eq!(
        (&told.body["status"], &told.body["minio_files"]),
        (&json!("completed"), &Value::Null)
    );
    // When the first one is back its files are uploaded, and no callback is sent twice.
    s3.resume().await;
    lost.launch().await;
    uploaded(&lost, "t1", FILES).await;
    other.idle().await;
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(redis.exists::<_, i64>("onceover:awaited").await.unwrap(), 0);
}

#[tokio::test]
async fn r7_an_upload_whose_task_is_deleted_or_whose_result_is_replaced_leaves_no_object() {
    let s3 = S3Server::start().await;
    let mut daemon = builder(&s3, "").start().await;
    daemon.done("t0", "test.file", json!({})).await;
    uploaded(&daemon, "t0", "test.file").await;
    // Deleted by a daemon that lives.
    s3.hold(Hold::After(1));
    daemon.done("t1", FILES, json!({})).await;
    until_equal("one object", 1, || async { s3.objects("t1").len() }).await;
    let report = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    // The upload may have undone itself by then.
    let minio = &report["results"][2]["status"];
    assert!(minio == "deleted" || minio == "skipped", "{report:#}");
    s3.hold(Hold::Nothing);
    let of_t1 = async || {
        daemon
            .keys()
            .await
            .into_iter()
            .filter(|key| key.contains("t1"))
            .collect::<Vec<_>>()
    };
    until_equal("keys of the upload", Vec::<String>::new(), of_t1).await;
    assert_eq!(s3.objects("t1"), [""; 0]);

    // Replaced in the middle: the newer result's files are there, the older one's are not.
    s3.hold(Hold::After(1));
    let first = daemon.done("t2", FILES, json!({})).await;
    until_equal("one object", 1, || async { s3.objects("t2").len() }).await;
    let again = daemon
        .try_submit("t2", FILES, json!({"times": 2}), None, ReuseMode::Never)
        .await
        .unwrap();
    let second = again.reuse_info.run_id.unwrap().to_string();
    eventually("the second result", || async {
        let stage = daemon.stage("t2", FILES).await?;
        (stage.status == StageState::Success && run_of(&stage) == second).then_some(())
    })
    .await;
    // Nor does a daemon that is killed then leave anything.
    daemon.kill();
    s3.hold(Hold::Nothing);
    daemon.launch().await;
    uploaded(&daemon, "t2", FILES).await;
    until_equal("objects of the first", 0, || async {
        s3.objects(&format!("t2/runs/{}", run_of(&first))).len()
    })
    .await;
    assert_eq!(s3.objects(&format!("t2/runs/{second}")).len(), 3);
    assert_eq!(s3.objects("t2").len(), 3);
}

#[tokio::test]
async fn d50_inputs_come_from_the_store_by_each_of_its_urls() {
    let s3 = S3Server::start().await;
    let daemon = builder(&s3, "[core]\nauto_upload = false\n[inputs]\nmax_bytes = 10_000_000\n")
        .start()
        .await;
    let clip = daemon.dir().join("clip.mp4");
    media::clip(&clip, 1);
    let key = "films/my clip 100%é.mp4";
    s3.put(key, &std::fs::read(clip).unwrap());
    s3.put("films/large.mp4", &vec![0; 11_000_000]);
    let encoded = "films/my%20clip%20100%25%C3%A9.mp4";
    for (index, url) in [
        format!("s3://{BUCKET}/{key}"),
        format!("minio://{BUCKET}/{key}"),
        format!("{}/{BUCKET}/{encoded}", s3.url()),
        format!("{}/{BUCKET}/{encoded}?X-Amz-Signature=old", s3.url()),
    ]
    .into_iter()
    .enumerate()
    {
        let task = format!("t{index}");
        let stage = daemon.done(&task, AUDIO, json!({"video_path": url})).await;
        assert!(
            output(&stage).get("audio_path_minio_url").is_none(),
            "core.auto_upload is off"
        );
    }
    for (task, url, why) in [
        (
            "missing",
            format!("s3://{BUCKET}/films/none.mp4"),
            "there is no object yivideo/films/none.mp4",
        ),
        ("large", format!("s3://{BUCKET}/films/large.mp4"), "inputs.max_bytes"),
    ] {
        daemon.submit(task, AUDIO, json!({"video_path": url})).await;
        let error = daemon.until_ended(task, AUDIO).await.error.unwrap_or_default();
        assert!(
            error.starts_with("input_data.video_path: cannot download") && error.contains(why),
            "{error}"
        );
    }
    for url in [
        "s3://",
        "s3://yivideo",
        "s3://yivideo/a/../b",
        "minio://B/a",
        // The keys may open it; the configuration does not name it.
        "s3://other/none.mp4",
        &format!("{}/other/none.mp4", s3.url()),
        &format!("{}/{BUCKET}/%2e%2e%2fx", s3.url()),
    ] {
        let answer = daemon
            .post(
                "/v1/tasks",
                json!({"task_name": AUDIO, "input_data": {"video_path": url}}),
            )
            .await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.video_path".to_owned()]),
            "{url}"
        );
    }
    assert_eq!(s3.made(None), 0);

    let plain = Daemon::start().await;
    let body = json!({"task_name": AUDIO, "input_data": {"video_path": format!("s3://{BUCKET}/{key}")}});
    let answer = plain.post("/v1/tasks", body).await;
    assert_eq!(answer.fields(), ["input_data.video_path"]);
    assert!(answer.text.contains("storage.url"), "{}", answer.text);
}

// Two threads: the store answers while the command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_keys_is_refused_and_check_tells_of_one_that_is_away() {
    let mut s3 = S3Server::start().await;
    let daemon = builder(&s3, "").start().await;
    let variables = s3.keys();
    let check = |daemon: &Daemon, keys: bool| {
        let mut command = daemon.command();
        for (name, _) in variables.iter().filter(|_| !keys) {
            command.env_remove(name);
        }
        let output = command.arg("check").output().unwrap();
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        (output.status.success(), text)
    };
    let (good, text) = check(&daemon, true);
    assert!(
        good && text.contains(&format!("storage      {}, bucket {BUCKET}", s3.url())),
        "{text}"
    );
    assert!(!text.contains(SECRET_KEY));
    let (good, text) = check(&daemon, false);
    assert!(!good && text.contains("MINIO_ACCESS_KEY"), "{text}");
    s3.stop().await;
    let (good, text) = check(&daemon, true);
    assert!(
        !good && text.contains("(not available)") && !text.contains(SECRET_KEY),
        "{text}"
    );
}
