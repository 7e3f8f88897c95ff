//! Limits: whatever others can grow has one with a name, a default, a setting, a counter and a refusal that says it.

use std::{collections::BTreeSet, fs, path::Path};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::post,
};
use futures_util::stream;
use onceover_tests::{Daemon, RedisServer, daemon::HttpAnswer, eventually, until_equal};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use redis::AsyncCommands;
use reqwest::multipart::Form;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Settings that bound nothing which others can grow: what there is, where it is, and how it is done.
const NO_LIMITS: &[&str] = &[
    "listen",
    "data",
    "media_roots",
    "environments",
    "profile",
    "node_dirs",
    "defaults.\"<node>\".<parameter>",
    "redis.url",
    "redis.server",
    "runs.lease",
    "runs.heartbeat",
    "runs.grace",
    "runs.drain",
    "reuse.verify",
    "retention.ttl",
    "retention.files",
    "retention.grace",
    "callbacks.allow",
    "callbacks.secrets_file",
    "callbacks.breaker_wait",
    "inputs.allow",
    "pipelines.default",
    "pipelines.dirs",
    "pipelines.retries",
    "pipelines.backoff",
    "storage.url",
    "storage.public_url",
    "storage.bucket",
    "storage.region",
    "storage.buckets",
    "storage.access_key_env",
    "storage.secret_key_env",
    "storage.credentials_file",
    "storage.path_style",
    "storage.allow_http",
    "core.auto_upload",
    "llm.provider",
    "llm.providers.<name>",
    "services.<name>",
    "gpu_lock.redis",
    "gpu_lock.key",
    "gpu_lock.expires_after",
    "access.tokens_file",
    "access.hosts",
    "access.link_lifetime",
    "api.unknown_fields",
    "log.filter",
    "log.format",
    "log.stderr",
];

struct Row {
    name: String,
    setting: Option<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of docs/limits.md, which a test of the daemon holds equal to its table.
fn rows() -> Vec<Row> {
    let text = read("docs/limits.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|line| {
        let cells: Vec<_> = line
            .split(" | ")
            .map(|cell| cell.trim_matches(['`', '|', ' ']))
            .collect();
        let [name, _, setting, _, _] = cells[..] else {
            panic!("{line}");
        };
        Row {
            name: name.to_owned(),
            setting: (setting != "fixed").then(|| setting.to_owned()),
        }
    })
    .collect()
}

/// Every key of docs/configuration.md's table.
fn settings() -> BTreeSet<String> {
    let text = read("docs/configuration.md");
    let table = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches('|').count() >= 6);
    let keys = table.filter_map(|line| line.split('|').nth(3));
    keys.flat_map(|cell| {
        cell.split(',')
            .map(|key| key.trim().trim_matches(['`', '|', ' ']).to_owned())
            .collect::<Vec<_>>()
    })
    .filter(|key| !key.is_empty() && key != "key" && !key.starts_with("--"))
    .collect()
}

#[test]
fn every_setting_of_a_limit_has_a_row() {
    let limits: BTreeSet<_> = rows().into_iter().filter_map(|row| row.setting).collect();
    let settings = settings();
    assert!(settings.len() > 40, "{settings:?}");
    for setting in &settings {
        let is_limit = limits.contains(setting);
        let is_none = NO_LIMITS.contains(&setting.as_str());
        assert!(
            is_limit != is_none,
            "{setting} is a limit with a row of daemon/limits/src/lib.rs, or it bounds nothing"
        );
    }
    for setting in limits {
        assert!(settings.contains(&setting), "{setting} is not in docs/configuration.md");
    }
}

#[tokio::test]
async fn every_limit_has_a_counter() {
    let daemon = Daemon::start().await;
    let metrics = daemon.get("/metrics").await.text;
    for row in rows() {
        let counter = format!("onceover_limit_reached_total{{limit=\"{}\"}}", row.name);
        assert!(metrics.contains(&counter), "{counter}");
    }
}

/// The test that goes one over each limit.
const OVER: &[(&str, &str)] = &[
    ("recorded_files", "a_result_of_many_files_is_compared_by_its_first_ones"),
    ("compared_entries", "r8_a_folder_with_more_than_is_compared_is_unknown"),
    (
        "connections",
        "idle_strangers_give_way_and_a_run_needs_none_of_their_descriptors",
    ),
    (
        "header_time",
        "heads_bodies_and_next_requests_have_their_time_and_streams_have_none",
    ),
    (
        "body_time",
        "heads_bodies_and_next_requests_have_their_time_and_streams_have_none",
    ),
    (
        "idle_time",
        "heads_bodies_and_next_requests_have_their_time_and_streams_have_none",
    ),
    ("callbacks", "c4_more_tries_than_may_be_under_way_wait_for_a_place"),
    (
        "callbacks_of_host",
        "c4_a_receiver_that_hangs_takes_four_places_and_delays_no_other_host",
    ),
    (
        "callback_breaker",
        "c4_a_silent_receiver_is_left_alone_which_uses_no_try_and_is_shown",
    ),
    (
        "folder_depth",
        "one_level_and_one_file_more_than_a_run_may_leave_make_it_fail",
    ),
    (
        "files_of_run",
        "one_level_and_one_file_more_than_a_run_may_leave_make_it_fail",
    ),
    ("document", "a_film_named_as_a_transcript_fails_before_it_is_read"),
    ("picture", "a_picture_that_is_too_large_is_not_read"),
    (
        "machine_resources",
        "a_run_waits_for_descriptors_and_does_not_fail_for_their_lack",
    ),
    ("input", "o4_an_input_that_is_too_large_is_refused_with_the_field"),
    ("task_input", "o4_an_input_that_is_too_large_is_refused_with_the_field"),
    (
        "callbacks_of_run",
        "c3_callbacks_of_one_run_are_limited_and_all_of_them_told_though_the_daemon_is_killed",
    ),
    (
        "foreign_stages",
        "s5_more_stages_of_unknown_nodes_than_a_task_may_have_are_not_shown",
    ),
    (
        "redis_memory",
        "redis_that_is_nearly_full_takes_nothing_new_and_lets_runs_end",
    ),
    ("request_body", "a_request_over_a_limit_is_refused_and_counted"),
    ("batch_items", "a_request_over_a_limit_is_refused_and_counted"),
    ("form_text", "a_request_over_a_limit_is_refused_and_counted"),
    ("warnings", "a_request_over_a_limit_is_refused_and_counted"),
    ("result_warnings", "a_thousand_warnings_are_a_hundred_and_a_number"),
    ("unknown_fields", "a_request_over_a_limit_is_refused_and_counted"),
    ("runs_at_once", "r3_a_stage_in_flight_is_joined_and_not_touched"),
    ("lost_runs", "o2_a_run_that_is_lost_again_and_again_fails_in_the_end"),
    (
        "lost_workers",
        "a_run_whose_workers_are_lost_again_and_again_fails_in_the_end",
    ),
    (
        "message_processes",
        "a_message_that_ends_each_process_which_begins_with_it_fails_its_run",
    ),
    ("worker_message", "what_was_not_sent_is_known_not_to_be_there"),
    ("worker_result", "what_cannot_be_read_is_there_and_no_end"),
    (
        "searched_messages",
        "a_queue_that_is_too_long_to_be_searched_is_an_error_and_not_nowhere",
    ),
    (
        "known_workers",
        "more_workers_than_are_remembered_are_passed_over_and_known_ones_are_not",
    ),
    (
        "stages_on_workers",
        "what_was_sent_is_listed_with_its_worker_for_every_daemon_and_no_more_than_the_limit",
    ),
    ("run_log", "what_a_program_prints_over_a_limit_is_cut_and_counted"),
    ("output_line", "what_a_program_prints_over_a_limit_is_cut_and_counted"),
    (
        "kept_events",
        "s6_a_reader_that_is_too_far_behind_is_told_to_read_again",
    ),
    (
        "runs_per_stage",
        "the_newest_runs_of_a_stage_are_kept_and_the_number_of_the_others",
    ),
    (
        "history_bytes",
        "an_input_that_is_too_large_to_keep_is_left_out_and_said_so",
    ),
    ("needs", "what_a_stage_needs_is_named_once_and_no_more_than_the_limit"),
    (
        "foreign_changes",
        "s5_changed_stages_wait_once_each_in_order_and_no_more_than_the_limit",
    ),
    (
        "kept_callbacks",
        "c4_of_sent_callbacks_the_newest_are_kept_and_of_given_up_ones_all",
    ),
    (
        "callback_tries",
        "c4_of_sent_callbacks_the_newest_are_kept_and_of_given_up_ones_all",
    ),
    (
        "callback_time",
        "c4_a_silent_receiver_is_left_alone_which_uses_no_try_and_is_shown",
    ),
    (
        "input_time",
        "req25_an_input_is_downloaded_only_from_where_it_may_come_and_within_its_limits",
    ),
    (
        "upload_time",
        "what_cannot_be_uploaded_in_time_says_so_and_the_stage_stays_a_success",
    ),
    ("callback_answer", "a_receivers_long_answer_is_not_read_to_its_end"),
    (
        "redirects",
        "req25_an_input_is_downloaded_only_from_where_it_may_come_and_within_its_limits",
    ),
    ("model_answer", "an_answer_of_a_model_that_does_not_end_fails_the_run"),
    (
        "media_clock",
        "sound_days_after_the_picture_does_not_fill_the_disk_with_silence",
    ),
    (
        "manifest_frames",
        "a_manifest_of_more_frames_than_are_read_fails_before_a_model_is_loaded",
    ),
    ("frames", "more_frames_than_are_kept_are_refused"),
    (
        "fruitless_questions",
        "a_model_that_answers_hardly_anything_is_not_asked_for_ever",
    ),
    ("kept_answers", "what_is_kept_is_bounded_and_a_torn_line_is_passed_over"),
    ("archive", "an_archive_that_holds_more_than_it_may_is_refused"),
    ("uploaded_file", "bad_requests_are_named_and_leave_nothing"),
    (
        "cue_file",
        "a_file_is_answered_as_cues_and_one_that_is_none_or_too_large_says_so",
    ),
    (
        "downloaded_input",
        "req25_an_input_is_downloaded_only_from_where_it_may_come_and_within_its_limits",
    ),
    (
        "requests",
        "req27_too_much_at_a_time_is_answered_503_and_probes_and_streams_are_not_counted",
    ),
];

#[test]
fn a_test_goes_one_over_each_limit() {
    let mut sources = String::new();
    for folder in ["tests/it", "daemon", "tui"] {
        add_sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
            &mut sources,
        );
    }
    let names: Vec<_> = rows().into_iter().map(|row| row.name).collect();
    for name in &names {
        let test = OVER.iter().find(|(limit, _)| limit == name);
        let (_, test) = test.unwrap_or_else(|| panic!("no test goes over {name}"));
        let (_, rest) = sources
            .split_once(&format!("fn {test}("))
            .unwrap_or_else(|| panic!("{name}: there is no test {test}"));
        let (text, _) = rest.split_once("::test").unwrap_or((rest, ""));
        assert!(
            text.contains("times_reached"),
            "{test} does not look at the counter of {name}"
        );
    }
    for (limit, _) in OVER {
        assert!(names.iter().any(|name| name == limit), "there is no limit {limit}");
    }
}

fn add_sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_sources(&path, text);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            text.push_str(&fs::read_to_string(path).expect("a source is text"));
        }
    }
}

#[tokio::test]
async fn a_request_over_a_limit_is_refused_and_counted() {
    let daemon = Daemon::start().await;
    let large = json!({"task_name": "test.echo", "input_data": {"value": "x".repeat(9 << 20)}});
    let answer = daemon.post("/v1/tasks", large).await;
    assert_eq!((answer.status, answer.problem()), (413, "too-large".to_owned()));

    let one = json!({"task_name": "test.echo", "input_data": {}});
    let answer = daemon.post("/v1/tasks/batch", json!({"tasks": vec![one; 1001]})).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["tasks".to_owned()]));

    let form = Form::new().text("file_path", "x".repeat(9000)).text("file", "");
    let upload = reqwest::Client::new()
        .post(format!("{}/v1/files/upload", daemon.url()))
        .multipart(form);
    let answer = HttpAnswer::of(upload.send().await.unwrap()).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["file_path".to_owned()]));

    let unknown = |count: usize| {
        let fields = (0..count).map(|number| (format!("f{number}"), json!(1)));
        json!({"task_name": "test.echo", "input_data": {}})
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .chain(fields)
            .collect::<Value>()
    };
    let answer = daemon.post("/v1/tasks", unknown(25)).await;
    let warnings = answer.json()["warnings"].as_array().unwrap().clone();
    assert_eq!(warnings.len(), 21);
    assert!(
        warnings[20]["message"].as_str().unwrap().contains("5 more"),
        "{}",
        warnings[20]
    );
    let strict = reqwest::Client::new()
        .post(format!("{}/v1/tasks", daemon.url()))
        .header("prefer", "handling=strict");
    let answer = HttpAnswer::of(strict.json(&unknown(600)).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.fields().len()), (422, 501));

    for name in ["request_body", "batch_items", "form_text", "warnings", "unknown_fields"] {
        assert_eq!(daemon.times_reached(name).await, 1, "{name}");
    }
}

/// Prints as much as its parameters say, in lines or in one.
const PRINTS: &str = r#"
[[nodes]]
name = "limit.lines"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import json, sys
sys.stdin.read()
for number in range(9 << 10): print('x' * 1024)
print(json.dumps({"type": "output", "output": {"n": 1}}))
"""] }

[[nodes]]
name = "limit.line"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import json, sys
sys.stdin.read()
print(json.dumps({"type": "output", "output": {"n": 'x' * (17 << 20)}}))
"""] }
"#;

#[tokio::test]
async fn what_a_program_prints_over_a_limit_is_cut_and_counted() {
    let daemon = Daemon::builder().nodes(PRINTS).start().await;
    daemon.done("t1", "limit.lines", json!({})).await;
    let log = daemon.get("/v1/tasks/t1/stages/limit.lines/log").await.text;
    assert!(log.len() <= (8 << 20) + 200, "{}", log.len());
    assert!(
        log.lines().next().unwrap().contains("limit.lines under task t1"),
        "its beginning is kept"
    );
    assert!(log.lines().last().unwrap().ends_with("succeeded"), "and its end");
    let gaps: Vec<_> = log
        .lines()
        .filter(|line| line.contains("lines) left out ..."))
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(daemon.times_reached("run_log").await, 1);

    daemon.submit("t2", "limit.line", json!({})).await;
    let stage = daemon.until("t2", "limit.line", StageState::Failed).await;
    assert!(stage.error.is_some());
    assert_eq!(daemon.times_reached("output_line").await, 1);
}

#[tokio::test]
async fn a_receivers_long_answer_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let endless = || async {
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 4096]))
        }))
    };
    let app = Router::new().route("/", post(endless));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.1']")
        .start()
        .await;
    let asked = daemon
        .try_submit("t1", "test.echo", json!({}), Some(url), ReuseMode::Auto)
        .await;
    asked.expect("the submit is accepted");
    daemon.until("t1", "test.echo", StageState::Success).await;
    daemon.delivered().await;
    assert_eq!(daemon.get("/v1/callbacks").await.json()["items"][0]["state"], "sent");
    assert_eq!(daemon.times_reached("callback_answer").await, 1);
}

#[tokio::test]
async fn an_answer_of_a_model_that_does_not_end_fails_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endless = || async {
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20]))
        }))
    };
    let app = Router::new().fallback(endless);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let config =
        format!("[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{url}'\nmodel = 'm'\nkey_env = ''\n");
    let daemon = Daemon::builder()
        .config(&config)
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await;
    let file = daemon.dir().join("in.json");
    fs::write(&file, r#"{"segments":[{"start":0,"end":1,"text":"Hello"}]}"#).unwrap();
    let input = json!({"segments_file": file, "target_language": "de"});
    daemon.submit("t1", "wservice.translate_subtitles", input).await;
    let stage = daemon
        .until("t1", "wservice.translate_subtitles", StageState::Failed)
        .await;
    assert!(stage.error.as_deref().unwrap().contains("more than"), "{stage:?}");
    assert!(daemon.times_reached("model_answer").await > 0);
}

#[tokio::test]
async fn a_picture_that_is_too_large_is_not_read() {
    let daemon = Daemon::start().await;
    let strips = daemon.dir().join("strips");
    fs::create_dir(&strips).unwrap();
    let picture = fs::File::create(strips.join("frame_000001.jpg")).unwrap();
    picture.set_len((64 << 20) + 1).unwrap();
    let node = "paddleocr.create_stitched_images";
    let input = json!({"cropped_images_path": strips, "subtitle_area": [0, 0, 10, 10]});
    daemon.submit("t1", node, input).await;
    let stage = daemon.until("t1", node, StageState::Failed).await;
    let error = stage.error.expect("it says why");
    assert!(
        error.contains("frame_000001.jpg") && error.contains("64 MiB"),
        "{error}"
    );
    assert!(daemon.times_reached("picture").await > 0);
}

/// The program that reads strips, run without the libraries that it has for that.
const READS_STRIPS: &str = r#"
[[nodes]]
name = "limit.strips"
queue = "io"
runner = { command = ["sh", "-c", "PYTHONPATH='@NODES@' exec python3 -SB '@NODES@/paddleocr/perform_ocr.py'"] }
"#;

#[tokio::test]
async fn a_manifest_of_more_frames_than_are_read_fails_before_a_model_is_loaded() {
    let nodes = READS_STRIPS.replace("@NODES@", concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/nodes"));
    let daemon = Daemon::builder().nodes(&nodes).start().await;
    let strip =
        json!({"frame_idx": 1, "height": 2, "y_offset": 0, "x_offset": 0, "first": 1, "last": 8_000_001, "stretch": 1});
    let manifest = daemon.dir().join("manifest.json");
    fs::write(&manifest, json!({"mf_1.jpg": {"sub_images": [strip]}}).to_string()).unwrap();
    let input = json!({"manifest_path": manifest, "multi_frames_path": daemon.dir()});
    daemon.submit("t1", "limit.strips", input).await;
    let stage = daemon.until("t1", "limit.strips", StageState::Failed).await;
    let error = stage.error.expect("it says why");
    assert!(
        error.contains("manifest.json is of 8000001 frames; at most 8000000"),
        "{error}"
    );
    assert_eq!(daemon.times_reached("manifest_frames").await, 1);
}

/// S5: other workers can write as many keys as they like.
#[tokio::test]
async fn s5_more_stages_of_unknown_nodes_than_a_task_may_have_are_not_shown() {
    let server = RedisServer::start(&["--notify-keyspace-events", "E$gx"]).await;
    let daemon = Daemon::builder().redis(&server.url(0)).start().await;
    let mut redis = daemon.redis().await;
    for number in 0..400 {
        let node = format!("other.n{number}");
        let stage = json!({"status": "SUCCESS", "output": {"n": number}, "duration": 1.0});
        let json = json!({"workflow_id": "t1", "stages": {&node: stage}, "updated_at": "2026-01-01T00:00:00"});
        let _: () = redis
            .set_ex(format!("t1:node:{node}"), json.to_string(), 600)
            .await
            .unwrap();
    }
    eventually("more stages than there may be", async || {
        (daemon.times_reached("foreign_stages").await > 0).then_some(())
    })
    .await;
    // As many as the catalog has nodes are never surplus.
    let nodes = daemon.get("/v1/nodes").await.json();
    let catalog = nodes["nodes"].as_array().expect("a list of nodes").len();
    until_equal("what may be there", catalog + 256, async || {
        let view = daemon.get("/v1/tasks/t1").await.json();
        view["stages"].as_object().map_or(0, serde_json::Map::len)
    })
    .await;
}
