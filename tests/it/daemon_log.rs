//! The daemon's log where there is no terminal, as a service manager starts it: what is on stderr, in which form, what
//! never is, and that its reader cannot stop the daemon.

use std::{
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use onceover_tests::{Daemon, RedisServer, callbacks::Receiver, eventually, program};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const FAIL: &str = "test.fail";
const WAIT: &str = "test.wait";
/// Callbacks to this machine.
const ALLOW: &str = "[callbacks]\nallow = ['127.0.0.1']\nschedule = ['0s', '50ms']\n";

/// The daemon's own log in the data directory.
fn file(daemon: &Daemon) -> String {
    fs::read_to_string(daemon.data.join("logs/onceoverd.log")).expect("the log is there")
}

/// Lines of stderr that have all of these.
fn lines_with(daemon: &Daemon, parts: &[&str]) -> usize {
    let said = daemon.said();
    said.lines()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .count()
}

/// A run that reports progress, ends well and is called back, and one that fails and whose first callback is not taken.
async fn live_two_runs(daemon: &Daemon, receiver: &Receiver) -> [String; 2] {
    let until_on_stderr = async |parts: &[&str]| {
        eventually(&format!("{parts:?} on stderr"), || async {
            (lines_with(daemon, parts) > 0).then_some(())
        })
        .await;
    };
    let submit = async |task: &str, node: &str, input: Value| {
        let url = Some(receiver.url(&format!("/{task}?signature=hush-hush")));
        let answer = daemon.try_submit(task, node, input, url, ReuseMode::Auto).await;
        answer.unwrap().reuse_info.run_id.unwrap().to_string()
    };
    let good = submit("good", WAIT, json!({"until": "go"})).await;
    until_on_stderr(&["run progressed", &good]).await;
    daemon.release("go");
    daemon.until("good", WAIT, StageState::Success).await;
    daemon.delivered().await;
    receiver.answer(&[500]);
    let bad = submit("bad", FAIL, json!({"message": "no such\nfile"})).await;
    daemon.until("bad", FAIL, StageState::Failed).await;
    until_on_stderr(&["callback sent", &bad]).await;
    [good, bad]
}

const LIVES: [&[&str]; 2] = [
    &[
        "run submitted",
        "run started",
        "run progressed",
        "run succeeded",
        "callback sent",
    ],
    &[
        "run submitted",
        "run started",
        "run failed",
        "callback not taken",
        "callback sent",
    ],
];

#[tokio::test]
async fn log_the_life_of_a_run_is_on_stderr_and_in_the_file_without_a_terminal() {
    let receiver = Receiver::start().await;
    let mut daemon = Daemon::builder().config(ALLOW).start().await;
    let runs = live_two_runs(&daemon, &receiver).await;
    daemon.submit("good", WAIT, json!({"until": "go"})).await;
    daemon.get("/v1/tasks/none").await;
    assert!(daemon.stop().await.success());
    let (said, logged) = (daemon.said(), file(&daemon));
    for (name, text) in [("stderr", &said), ("the file", &logged)] {
        for (run, events) in runs.iter().zip(LIVES) {
            let life: Vec<_> = text.lines().filter(|line| line.contains(run)).collect();
            let mut next = life.iter();
            for event in events {
                let line = next.find(|line| line.contains(event));
                assert!(
                    line.is_some(),
                    "no '{event}' of {run} in its order in {name}: {life:#?}"
                );
                let (task, node) = if *run == runs[0] { ("good", WAIT) } else { ("bad", FAIL) };
                let ids = [
                    format!("task_id={task}"),
                    format!("task_name={node}"),
                    format!("run_id={run}"),
                ];
                let line = line.unwrap().replace('"', "");
                assert!(ids.iter().all(|id| line.contains(id)), "{ids:?} in {line}");
            }
        }
        // Requests are for `debug`, and so are hits.
        assert!(
            !text.contains("answered status=") && !text.contains("reused"),
            "{name}: {text}"
        );
        assert!(
            text.contains("onceoverd listens on") && text.contains("stopped"),
            "{name}"
        );
    }
    assert!(!said.contains("hush-hush") && !logged.contains("hush-hush"));
    assert!(
        said.contains("no such\\nfile") || said.contains("no such\n    file"),
        "{said}"
    );
}

#[tokio::test]
async fn log_as_json_each_line_of_stderr_and_of_the_file_is_an_object() {
    let receiver = Receiver::start().await;
    let mut daemon = Daemon::builder()
        .config(ALLOW)
        .config("[log]\nformat = 'json'\n")
        .start()
        .await;
    let runs = live_two_runs(&daemon, &receiver).await;
    assert!(daemon.stop().await.success());
    for text in [daemon.said(), file(&daemon)] {
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        for event in &events {
            for field in ["timestamp", "level", "message"] {
                assert!(event[field].is_string(), "{field} of {event}");
            }
        }
        for (run, words) in runs.iter().zip(LIVES) {
            let life = events.iter().filter(|event| event["run_id"] == **run);
            let mut messages = life.map(|event| {
                let (task, node) = if *run == runs[0] { ("good", WAIT) } else { ("bad", FAIL) };
                assert_eq!((&event["task_id"], &event["task_name"]), (&json!(task), &json!(node)));
                event["message"].as_str().unwrap().to_owned()
            });
            for word in words {
                assert!(
                    messages.any(|message| message.starts_with(word)),
                    "{word} of {run} in its order"
                );
            }
        }
        let failed = events.iter().find(|event| event["message"] == "run failed").unwrap();
        assert_eq!(
            (&failed["level"], &failed["error"]),
            (&json!("WARN"), &json!("no such\nfile"))
        );
        let listens = |event: &Value| event["message"].as_str().unwrap().starts_with("onceoverd listens on");
        assert_eq!(events.iter().filter(|event| listens(event)).count(), 1);
    }
}

/// The daemon with nothing in its environment that configures it.
fn bare() -> Command {
    let mut bare = Command::new(program("onceoverd"));
    bare.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    bare
}

/// What a start that fails says, and its exit code.
fn failed(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[tokio::test]
async fn log_a_failure_to_start_is_one_line_of_json_where_json_is_asked_for() {
    let mut daemon = Daemon::start().await;
    let one_object = |output: &Output, part: &str| {
        let (code, text) = failed(output);
        let event: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((event["level"].as_str(), text.lines().count()), (Some("ERROR"), 1));
        assert!(event["message"].as_str().unwrap().contains(part), "{part} in {event}");
        code
    };
    // Another data directory, the same port.
    let other = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", daemon.port());
    let start = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = bare();
        command.arg("--listen").arg(&listen).arg("--data").arg(other.path());
        let environment = environment.iter().copied();
        command.args(arguments).envs(environment).output().unwrap()
    };
    let last = |output: &Output| {
        let mut lines = output.clone();
        lines.stderr = lines
            .stderr
            .split_inclusive(|byte| *byte == b'\n')
            .next_back()
            .unwrap()
            .to_vec();
        lines
    };
    let in_use = start(&["--log-format", "json"], &[]);
    assert_eq!(one_object(&last(&in_use), "cannot listen on"), Some(1));
    assert_eq!(
        one_object(
            &start(&["--lissten", "x"], &[("ONCEOVER_LOG_FORMAT", "json")]),
            "--lissten"
        ),
        Some(2)
    );
    let wrong = other.path().join("wrong.toml");
    fs::write(&wrong, "lissten = 'x'\n[log]\nformat = 'json'\n").unwrap();
    let wrong = wrong.to_str().unwrap();
    assert_eq!(one_object(&start(&["--config", wrong], &[]), "lissten"), Some(1));
    // The flag goes before the variable, and that before the file; empty is not set.
    let (_, text) = failed(&start(
        &["--config", wrong, "--log-format", "text"],
        &[("ONCEOVER_LOG_FORMAT", "json")],
    ));
    assert!(text.starts_with("onceoverd: "), "{text}");
    let (_, text) = failed(&start(&["--config", wrong], &[("ONCEOVER_LOG_FORMAT", "text")]));
    assert!(text.starts_with("onceoverd: "), "{text}");
    one_object(&start(&["--config", wrong], &[("ONCEOVER_LOG_FORMAT", "")]), "lissten");
    let (code, text) = failed(&start(&["--log-format", "xml"], &[]));
    assert_eq!(code, Some(2));
    assert!(text.contains("--log-format") && text.contains("text, json"), "{text}");
    daemon.stop().await;
}

#[tokio::test]
async fn log_levels_come_from_onceover_log_else_rust_log_else_the_configuration() {
    let quiet = Daemon::builder().config("[log]\nfilter = 'error'\n").start().await;
    quiet.done("t1", ECHO, json!({})).await;
    assert_eq!(
        quiet.said().lines().count(),
        1,
        "only where it listens: {}",
        quiet.said()
    );
    let by_rust_log = Daemon::builder()
        .config("[log]\nfilter = 'error'\n")
        .env("RUST_LOG", "onceover_daemon=debug")
        .env("ONCEOVER_LOG", " ")
        .start()
        .await;
    by_rust_log.done("t1", ECHO, json!({})).await;
    assert!(by_rust_log.said().contains("answered"), "requests are at debug");
    let by_ours = Daemon::builder()
        .env("RUST_LOG", "trace")
        .env("ONCEOVER_LOG", "onceover_daemon=info")
        .start()
        .await;
    by_ours.done("t1", ECHO, json!({})).await;
    let said = by_ours.said();
    assert!(said.contains("run succeeded") && !said.contains("answered"), "{said}");

    let other = tempfile::tempdir().unwrap();
    for (name, value) in [("ONCEOVER_LOG", "onceover=loud"), ("RUST_LOG", "=[")] {
        for check in [false, true] {
            let mut command = bare();
            command
                .args(["--listen", "127.0.0.1:0", "--data"])
                .arg(other.path())
                .env(name, value);
            if check {
                command.arg("check");
            }
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(
                !output.status.success() && text.contains(name) && text.contains(value),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn log_stderr_can_be_turned_off_and_still_has_where_it_listens() {
    let daemon = Daemon::builder().config("[log]\nstderr = 'never'\n").start().await;
    daemon.done("t1", ECHO, json!({})).await;
    eventually("the end of the run in the file", || async {
        file(&daemon).contains("run succeeded").then_some(())
    })
    .await;
    let said = daemon.said();
    assert!(
        said.starts_with("onceoverd listens on") && said.lines().count() == 1,
        "{said}"
    );
}

/// Starts the daemon again, which has been stopped, with a pipe for what it says.
async fn start_with_a_pipe(daemon: &Daemon) -> Child {
    let mut command = daemon.command();
    command
        .env("ONCEOVER_LOG", "onceover_daemon=trace")
        .stderr(Stdio::piped());
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    eventually("a ready daemon", || async {
        let answer = reqwest::get(format!("{}/readyz", daemon.url())).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    child
}

async fn ends_well(mut child: Child) {
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(20), status).await;
    let status = status.expect("the daemon ends").unwrap();
    assert!(status.success(), "{status:?}, signal {:?}", status.signal());
}

#[tokio::test]
async fn log_a_reader_of_stderr_that_left_or_stands_still_holds_up_nothing() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let mut left = start_with_a_pipe(&daemon).await;
    drop(left.stderr.take());
    daemon.done("left", ECHO, json!({})).await;
    ends_well(left).await;

    let mut still = start_with_a_pipe(&daemon).await;
    // Three times what a pipe takes.
    let path = format!("/{}", "x".repeat(2000));
    for _ in 0..100 {
        assert_eq!(daemon.get(&path).await.status, 404);
    }
    daemon.done("still", ECHO, json!({})).await;
    // It is notified of what it has missed.
    let mut stderr = still.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    daemon.done("again", ECHO, json!({})).await;
    ends_well(still).await;
    let text = reading.join().unwrap();
    assert!(text.contains("lines are missing here"), "{} bytes", text.len());
}

const CANARIES: [&str; 9] = [
    "canary-token-0123456789abcdef",
    "canary-redis",
    "canary-query",
    "canary-callback",
    "Y2FuYXJ5LXNlY3JldC0wMTIzNDU2Nzg5YWI=",
    "canary-input",
    "canary-number",
    "canary-llm",
    "canary-userinfo",
];

#[tokio::test]
async fn log_has_no_secret_however_much_is_logged() {
    let [token, redis, query, callback, signing, input, another, llm, userinfo] = CANARIES;
    let receiver = Receiver::start().await;
    let password = format!(">{redis}");
    let user = [
        "--user",
        "ops",
        "on",
        &password,
        "allcommands",
        "allkeys",
        "allchannels",
    ];
    let server = RedisServer::start(&user).await;
    let config = format!("{ALLOW}\n[inputs]\nallow = ['127.0.0.1']\n");
    let mut daemon = Daemon::builder()
        .config(&config)
        .redis(&format!("{}&user=ops&pass={redis}", server.url(0)))
        .token(token)
        .env("ONCEOVER_TOKENS", &format!("admin:{token}"))
        .env("ONCEOVER_CALLBACK_SECRETS", &format!("whsec_{signing}"))
        .env("DEEPSEEK_API_KEY", llm)
        .env("ONCEOVER_LOG", "trace")
        .start()
        .await;
    receiver.answer(&[500]);
    let message = format!("the key {input} is wrong, and so is {another}");
    let secrets = json!({"message": message, "api_key": input, "token": input, "password": input, "secret": another});
    let hook = Some(receiver.url(&format!("/hook?token={callback}")));
    let submit = async |task: &str, node: &str, input: Value, hook: Option<String>| {
        let answer = daemon.try_submit(task, node, input, hook, ReuseMode::Auto).await;
        answer.unwrap_or_else(|error| panic!("{task}: {error}"));
    };
    submit("secrets", FAIL, secrets, hook).await;
    daemon.until("secrets", FAIL, StageState::Failed).await;
    // An input and a callback nobody answers for, where errors name URLs.
    let gone = "http://127.0.0.1:1/video.mp4";
    let video = json!({"video_path": format!("{gone}?X-Amz-Signature={query}")});
    let hook = Some(format!("http://127.0.0.1:1/hook?token={callback}"));
    submit("query", "ffmpeg.extract_audio", video, hook).await;
    daemon.until("query", "ffmpeg.extract_audio", StageState::Failed).await;
    let refused = daemon
        .post(
            "/v1/tasks",
            json!({"task_name": ECHO, "input_data": {}, "callback": format!("http://me:{userinfo}@127.0.0.1:1/")}),
        )
        .await;
    assert!(refused.status < 500, "{refused:?}");
    let asked = daemon.get(&format!("/v1/tasks?signature={query}&token={token}")).await;
    assert!(asked.status < 500, "{asked:?}");
    daemon.delivered().await;
    // What the loss of Redis makes it say.
    drop(server);
    eventually("a lost Redis", || async {
        (daemon.get("/readyz").await.status == 503).then_some(())
    })
    .await;
    daemon
        .post("/v1/tasks", json!({"task_name": ECHO, "input_data": {"token": input}}))
        .await;
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ended().await;
    let (said, logged) = (daemon.said(), file(&daemon));
    assert!(
        said.contains("run failed") && said.contains("***") && said.contains("callback given up"),
        "{said}"
    );
    for canary in CANARIES {
        for (name, text) in [("stderr", &said), ("the file", &logged)] {
            let lines: Vec<_> = text.lines().filter(|line| line.contains(canary)).collect();
            assert!(lines.is_empty(), "{canary} is in {name}: {lines:#?}");
        }
    }
}
