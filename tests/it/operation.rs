//! Running the daemon blind: requirements 28 and 30.

use onceover_tests::{Daemon, HttpAnswer, RedisServer, daemon::request, eventually, program};
use onceover_types::StageState;
use onceover_wire::{BatchRequest, ReuseMode};
use redis::AsyncCommands;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

async fn set(redis: &mut impl AsyncCommands, option: &str, value: &str) {
    let answer: redis::RedisResult<()> = redis::cmd("CONFIG")
        .arg("SET")
        .arg(option)
        .arg(value)
        .query_async(redis)
        .await;
    answer.expect("an option of Redis");
}

/// A line of /metrics, as a number.
async fn measured(daemon: &Daemon, series: &str) -> Option<f64> {
    let text = daemon.get("/metrics").await.text;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

#[tokio::test]
async fn req30_readyz_tells_why_it_is_not_ready() {
    let daemon = Daemon::start().await;
    let mut redis = daemon.redis().await;
    let causes = async || {
        let answer = daemon.get("/readyz").await;
        let causes = answer.json()["causes"].as_array().unwrap().clone();
        let causes: Vec<_> = causes.iter().map(|cause| cause.as_str().unwrap().to_owned()).collect();
        assert_eq!(answer.status == 200, causes.is_empty(), "{answer:?}");
        causes.join("; ")
    };
    assert_eq!(causes().await, "");
    set(&mut redis, "maxmemory", "1").await;
    let full = causes().await;
    assert!(full.contains("refuses writes") && full.contains("OOM"), "{full}");
    let answer = daemon
        .post("/v1/tasks", json!({"task_name": ECHO, "input_data": {}}))
        .await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "redis-unavailable"));
    set(&mut redis, "maxmemory", "0").await;
    assert_eq!(causes().await, "");
    let _: () = redis::cmd("REPLICAOF")
        .arg("127.0.0.1")
        .arg("1")
        .query_async(&mut redis)
        .await
        .unwrap();
    let replica = causes().await;
    assert!(
        replica.contains("refuses writes") && replica.contains("read only replica"),
        "{replica}"
    );
    let _: () = redis::cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async(&mut redis)
        .await
        .unwrap();
    let _: () = redis.set("onceover:schema", "999").await.unwrap();
    let layout = causes().await;
    assert!(layout.contains("onceover:schema") && layout.contains("999"), "{layout}");
    let _: () = redis.set("onceover:schema", "1").await.unwrap();
    assert_eq!(causes().await, "");
    let pid = Pid::from_raw(daemon.redis_pid().await).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let away = causes().await;
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert!(away.contains("Redis is not available"), "{away}");
    eventually("ready again", || async { causes().await.is_empty().then_some(()) }).await;
    assert_eq!(daemon.get("/livez").await.status, 200);
}

#[tokio::test]
async fn req30_metrics_count_what_happened() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    daemon.submit("t1", ECHO, json!({})).await;
    daemon.submit("t1", ECHO, json!({})).await;
    daemon.submit("t2", "test.fail", json!({})).await;
    daemon.until_ended("t2", "test.fail").await;
    daemon.submit("t3", WAIT, json!({"until": "go"})).await;
    daemon.until("t3", WAIT, StageState::Running).await;
    daemon.submit("t3", WAIT, json!({"until": "go"})).await;
    daemon.submit("t4", WAIT, json!({"until": "go"})).await;
    daemon.get("/v1/tasks/none").await;
    let answer = daemon.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.content_type.starts_with("application/openmetrics-text"));
    for (series, value) in [
        (
            r#"onceover_submits_total{node="test.echo",outcome="miss",reason="absent"}"#,
            1.0,
        ),
        (
            r#"onceover_submits_total{node="test.echo",outcome="hit",reason=""}"#,
            2.0,
        ),
        (
            r#"onceover_submits_total{node="test.wait",outcome="join",reason=""}"#,
            1.0,
        ),
        (
            r#"onceover_run_duration_seconds_count{node="test.echo",outcome="succeeded"}"#,
            1.0,
        ),
        (
            r#"onceover_run_duration_seconds_count{node="test.fail",outcome="failed"}"#,
            1.0,
        ),
        (r#"onceover_queue_slots{queue="gpu"}"#, 1.0),
        (r#"onceover_queue_running{queue="gpu"}"#, 1.0),
        (r#"onceover_queue_pending{queue="gpu"}"#, 1.0),
        (r#"onceover_tasks{status="running"}"#, 1.0),
        (
            r#"onceover_http_requests_total{route="/v1/tasks/{task_id}",method="GET",status="404"}"#,
            1.0,
        ),
        ("onceover_redis_up", 1.0),
    ] {
        assert_eq!(
            measured(&daemon, series).await,
            Some(value),
            "{series} in\n{}",
            answer.text
        );
    }
    for above_zero in [
        r#"onceover_saved_seconds_total{node="test.echo"}"#,
        "onceover_redis_ping_seconds",
        "onceover_redis_call_duration_seconds_count",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(measured(&daemon, above_zero).await > Some(0.0), "{above_zero}");
    }
    let waited = r#"onceover_queue_oldest_seconds{queue="gpu"}"#;
    let first = measured(&daemon, waited).await.unwrap();
    eventually("a growing age", || async {
        (measured(&daemon, waited).await? > first).then_some(())
    })
    .await;
    // No client adds series: neither unknown nodes nor unknown paths and methods.
    daemon
        .post("/v1/tasks", json!({"task_name": "made.up", "input_data": {}}))
        .await;
    daemon.call("BREW", "/made/up", None).await;
    let text = daemon.get("/metrics").await.text;
    assert!(!text.contains("made") && !text.contains("BREW"), "{text}");
}

/// Commands that Redis ran for one read of /metrics, those of scripts included.
async fn commands_of_a_scrape(daemon: &Daemon) -> u64 {
    let scrape = async |_| assert_eq!(daemon.get("/metrics").await.status, 200);
    daemon.fewest_calls("", scrape).await
}

#[tokio::test]
async fn req30_a_scrape_costs_the_same_however_much_is_stored() {
    let daemon = Daemon::start().await;
    daemon.submit("first", WAIT, json!({"until": "go"})).await;
    daemon.submit("second", WAIT, json!({"until": "go"})).await;
    daemon.until("first", WAIT, StageState::Running).await;
    let few = commands_of_a_scrape(&daemon).await;
    let task = |number| {
        request(
            &format!("t{number}"),
            WAIT,
            json!({"until": "go"}),
            None,
            ReuseMode::Auto,
        )
    };
    let tasks = (0..500).map(task).collect();
    daemon.client.submit_batch(&BatchRequest { tasks }).await.unwrap();
    assert_eq!(
        measured(&daemon, r#"onceover_queue_pending{queue="gpu"}"#).await,
        Some(501.0)
    );
    // Fewer where less of the daemon's own work fell into each scrape this time.
    assert!(commands_of_a_scrape(&daemon).await <= few);
}

#[tokio::test]
async fn req30_requests_have_ids() {
    let daemon = Daemon::start().await;
    let ask = async |id: Option<&str>, path: &str| {
        let mut request = reqwest::Client::new().get(format!("{}{path}", daemon.url()));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        HttpAnswer::of(request.send().await.unwrap()).await
    };
    assert_eq!(
        ask(Some("from-n8n.7"), "/livez").await.header("x-request-id"),
        "from-n8n.7"
    );
    let made = ask(None, "/livez").await.header("x-request-id").to_owned();
    assert!(made.len() >= 32, "{made}");
    assert_ne!(ask(None, "/livez").await.header("x-request-id"), made);
    for bad in ["with blank", "\"quoted\"", &"x".repeat(65), ""] {
        assert_ne!(ask(Some(bad), "/livez").await.header("x-request-id"), bad);
    }
    for path in ["/v1/tasks/none", "/nothing", "/v1/tasks?limit=0"] {
        let problem = ask(Some("my-id"), path).await;
        assert!(problem.status >= 400);
        assert_eq!(problem.json()["instance"], "urn:request:my-id", "{problem:?}");
    }
}

#[tokio::test]
async fn req30_a_batch_may_hold_a_stage_and_what_needs_it() {
    let daemon = Daemon::start().await;
    let (video, words) = (daemon.dir().join("a.mp4"), daemon.dir().join("a.json"));
    std::fs::write(&video, "").unwrap();
    std::fs::write(&words, "").unwrap();
    let chain = |task: String| {
        [
            json!({"task_id": task, "task_name": "ffmpeg.extract_audio", "input_data": {"video_path": video}}),
            json!({"task_id": task, "task_name": "wservice.generate_subtitle_files", "input_data": {"segments_file": words}}),
            json!({"task_id": task, "task_name": "ffmpeg.split_audio_segments", "input_data": {}}),
        ]
    };
    let tasks: Vec<_> = (0..100).flat_map(|n| chain(format!("chain-{n}"))).collect();
    let answer = daemon.post("/v1/tasks/batch", json!({"tasks": tasks})).await.json();
    for (result, task) in answer["results"].as_array().unwrap().iter().zip(&tasks) {
        assert_eq!(result["status"], 200, "{result} for {task}");
        assert_eq!(result["response"]["task_id"], task["task_id"]);
    }
    // Turned round, nothing gives what the first one needs.
    let mut tasks = chain("turned".into());
    tasks.reverse();
    let answer = daemon.post("/v1/tasks/batch", json!({"tasks": tasks})).await.json();
    let statuses: Vec<_> = (0..3)
        .map(|at| answer["results"][at]["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [422, 200, 200]);
}

#[tokio::test]
async fn req30_a_batch_has_a_result_per_item() {
    let daemon = Daemon::start().await;
    daemon.done("done", ECHO, json!({})).await;
    let tasks = json!([
        {"task_name": ECHO, "task_id": "done", "input_data": {}},
        {"task_name": ECHO, "task_id": "b1", "input_data": {}},
        {"task_name": "made.up", "task_id": "b2", "input_data": {}},
        {"task_id": "b3", "input_data": {}},
        17,
        {"task_name": ECHO, "task_id": "b4", "input_data": {}},
        {"task_name": ECHO, "task_id": "../b5", "input_data": {}},
    ]);
    let answer = daemon.post("/v1/tasks/batch", json!({"tasks": tasks})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["results"].as_array().unwrap().clone();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 422, 422, 422, 200, 422]);
    assert_eq!(results[0]["response"]["reuse_info"]["reuse_hit"], true);
    assert_eq!(results[1]["response"]["reuse_info"]["reason"], "absent");
    assert_eq!(results[2]["problem"]["errors"][0]["field"], "task_name");
    assert_eq!(results[6]["problem"]["errors"][0]["field"], "task_id");
    assert!(results[1].get("problem").is_none() && results[2].get("response").is_none());
    daemon.until("b1", ECHO, StageState::Success).await;
    daemon.until("b4", ECHO, StageState::Success).await;
    // A thousand of one stage are one run.
    let same = vec![
        request(
            "same",
            WAIT,
            json!({"until": "go", "trace": "same"}),
            None,
            ReuseMode::Auto
        );
        1000
    ];
    let results = daemon
        .client
        .submit_batch(&BatchRequest { tasks: same })
        .await
        .unwrap()
        .results;
    let started = results
        .iter()
        .filter(|result| !result.response.as_ref().unwrap().reuse_info.reuse_hit);
    assert_eq!((results.len(), started.count()), (1000, 1));
    daemon.release("go");
    daemon.until("same", WAIT, StageState::Success).await;
    assert_eq!(daemon.traces("same"), 1);
    for refused in [
        json!({"tasks": []}),
        json!({"tasks": vec![0; 1001]}),
        json!({}),
        json!({"tasks": 1}),
    ] {
        let answer = daemon.post("/v1/tasks/batch", refused).await;
        assert_eq!((answer.status, answer.fields()), (422, vec!["tasks".to_owned()]));
    }
}

#[tokio::test]
async fn req30_check_tells_about_redis_and_the_address() {
    let server = RedisServer::start(&["--maxmemory-policy", "allkeys-lru", "--maxmemory", "100mb"]).await;
    let daemon = Daemon::start().await;
    let check = |arguments: &[&str]| {
        let output = daemon.command().arg("check").args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (fine, said) = check(&[]);
    assert!(fine && said.contains("where onceoverd runs already"), "{said}");
    let (fine, said) = check(&["--listen", "127.0.0.1:0"]);
    assert!(fine && said.contains("127.0.0.1:0, free"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (fine, said) = check(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(!fine && said.contains("cannot listen on"), "{said}");
    let free = ["--listen", "127.0.0.1:0"];
    let (fine, said) = check(&[&free[..], &["--redis", &server.url(0)]].concat());
    assert!(
        !fine && said.contains("allkeys-lru") && said.contains("no append-only file"),
        "{said}"
    );
    let nowhere = "redis://user:hush@127.0.0.1:1/0";
    let (fine, said) = check(&[&free[..], &["--redis", nowhere]].concat());
    assert!(
        !fine && said.contains("127.0.0.1:1") && said.contains("not available"),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn req30_check_prints_values_as_people_read_them() {
    let data = tempfile::tempdir().unwrap();
    let check = |config: &str| {
        let file = data.path().join("onceover.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = std::process::Command::new(program("onceoverd"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .args(["check", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path());
        let output = command.arg("--config").arg(&file).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = check("");
    for words in [
        "lease        7 seconds, heartbeat 2 seconds; on SIGTERM runs are handed back at once",
        "kept         1 day after",
        "downloads up to 20 GiB and 30 minutes;",
        "log          info (by log.filter), text, to stderr and ",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // No number has a unit of code behind it, nor is it one of bytes.
    let in_code = |word: &str| {
        let unit = word
            .trim_matches([',', ';', ')', '('])
            .trim_start_matches(|digit: char| digit.is_ascii_digit());
        unit.len() < word.len() && ["ns", "ms", "s", "B", "µs"].contains(&unit)
    };
    let odd: Vec<_> = said.split_whitespace().filter(|word| in_code(word)).collect();
    assert!(odd.is_empty() && !said.contains(" bytes"), "{odd:?} in {said}");
    let said = check("[runs]\ndrain = '90s'\n[inputs]\nmax_bytes = 1572864\n");
    assert!(said.contains("runs may go on for 1 minute 30 seconds"), "{said}");
    assert!(said.contains("up to 1.50 MiB"), "{said}");
    let said = check("[runs]\nlease = '1s'\nheartbeat = '800ms'\n");
    assert!(
        said.contains("(800 milliseconds)") && said.contains("(1 second)"),
        "{said}"
    );
}

#[test]
fn req30_commands_bear_a_reader_that_left_and_tell_of_a_full_disk() {
    let data = tempfile::tempdir().unwrap();
    let ended = |command: &str, stdout: std::process::Stdio| {
        let mut program = std::process::Command::new(program("onceoverd"));
        program
            .args([command, "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path());
        let output = program.stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for command in ["check", "nodes"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(ended(command, writer.into()), (Some(0), String::new()), "{command}");
        let full = std::fs::File::create("/dev/full").unwrap();
        let (code, text) = ended(command, full.into());
        assert_eq!(code, Some(1), "{command}: {text}");
        assert!(
            text.starts_with("onceoverd: cannot write to stdout: No space left"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn req28_deleting_reports_each_resource_and_can_be_repeated() {
    let daemon = Daemon::start().await;
    daemon.done("t1", "test.file", json!({})).await;
    daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let refused = daemon.post("/v1/tasks/t1/delete", json!({})).await;
    assert_eq!((refused.status, refused.problem().as_str()), (400, "refused"));
    assert!(refused.text.contains(WAIT), "{refused:?}");
    let report = daemon.post("/v1/tasks/t1/delete", json!({"force": true})).await.json();
    assert_eq!(report["status"], "success");
    let resources: Vec<_> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["resource"].as_str().unwrap(), result["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        resources,
        [
            ("local_directory", "deleted"),
            ("redis", "deleted"),
            ("minio", "skipped")
        ]
    );
    let details = &report["results"][1]["details"];
    assert_eq!(
        (&details["records"], &details["index"]),
        (&json!(2), &json!(true)),
        "{report}"
    );
    assert!(report["results"][0]["details"]["files"].as_u64() > Some(0), "{report}");
    assert!(daemon.children().is_empty(), "its processes have ended");
    let left: Vec<_> = daemon
        .keys()
        .await
        .into_iter()
        .filter(|key| key.contains("t1"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!daemon.data.join("share/workflows/t1").exists());
    // Nothing remains: 404, and no harm.
    assert_eq!(
        daemon.post("/v1/tasks/t1/delete", json!({"force": true})).await.status,
        404
    );
    // What was left of it by a crash is still deleted.
    std::fs::create_dir_all(daemon.data.join("share/workflows/t1/runs")).unwrap();
    let report: Value = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    assert_eq!(report["results"][0]["status"], "deleted");
    assert_eq!(report["results"][1]["status"], "skipped");
}
