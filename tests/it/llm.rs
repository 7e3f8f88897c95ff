//! Nodes that ask a language model: what is asked, what is done about each way a provider can fail, and where the key is
//! not to be found.

use std::{
    fs,
    time::{Duration, Instant},
};

use onceover_tests::{
    Daemon,
    chat::{ChatReply, ChatServer},
    eventually,
    model::{ModelServer, translated},
};
use onceover_types::StageState;
use serde_json::{Value, json};

const TRANSLATE: &str = "wservice.translate_subtitles";
const CORRECT: &str = "wservice.correct_subtitles";
const OPTIMIZE: &str = "wservice.ai_optimize_text";
const KEY: &str = "sk-onceover-test-7f3a9b";

async fn daemon(server: &ChatServer, more: &str) -> Daemon {
    Daemon::builder()
        .config(&format!(
            "[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{}'\nmodel = 'test-model'\n\
             key_env = 'TEST_LLM_KEY'\n{more}",
            server.url()
        ))
        .env("TEST_LLM_KEY", KEY)
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await
}

/// The transcript of the worked example: lines of 1 s, 0.05 s and 4 s.
fn transcript(daemon: &Daemon) -> String {
    let path = daemon.dir().join("talk.json");
    let segments = json!({"segments": [
        {"id": 1, "start": 0.0, "end": 1.0, "text": " Hello", "words": [{"word": " Hello", "start": 0, "end": 1}]},
        {"id": 2, "start": 1.0, "end": 1.05, "text": "uh"},
        {"id": 3, "start": 2.0, "end": 6.0, "text": "All is well", "speaker": "SPEAKER_00"},
    ]});
    fs::write(&path, segments.to_string()).unwrap();
    path.display().to_string()
}

fn subtitles(daemon: &Daemon, cues: usize) -> String {
    let path = daemon.dir().join("talk.srt");
    let cue = |n: usize| {
        format!(
            "{n}\n00:{:02}:{:02},000 --> 00:{:02}:{:02},500\nteh quick brown fox {n}\n\n",
            n / 60,
            n % 60,
            n / 60,
            n % 60
        )
    };
    fs::write(&path, (1..=cues).map(cue).collect::<String>()).unwrap();
    path.display().to_string()
}

async fn ended(daemon: &Daemon, task: &str, node: &str, input: Value) -> (StageState, Value, String) {
    daemon.submit(task, node, input).await;
    let stage = daemon.until_ended(task, node).await;
    (
        stage.status,
        serde_json::from_str(stage.output.get()).expect("JSON"),
        stage.error.unwrap_or_default(),
    )
}

fn text(path: &Value) -> String {
    fs::read_to_string(path.as_str().expect("a path")).expect("the file is there")
}

#[tokio::test]
async fn the_worked_example_is_asked_with_budgets_and_its_reply_keeps_the_times() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "temperature = 0.0\nmax_tokens = 500").await;
    server.plan([ChatReply::Text("Bonjour\n\nTout va bien\n".into())]);
    let file = transcript(&daemon);
    let input = json!({"segments_file": file, "target_language": "fr", "max_lines": 2});
    let (state, output, error) = ended(&daemon, "t1", TRANSLATE, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));

    let path = output["translated_segments_file"].as_str().unwrap();
    assert!(path.ends_with("/data/talk_translated_segments.json"), "{path}");
    let translated: Value = serde_json::from_str(&text(&output["translated_segments_file"])).unwrap();
    assert_eq!(
        translated,
        json!([
            {"id": 1, "start": 0.0, "end": 1.0, "text": "Bonjour", "words": []},
            {"id": 2, "start": 1.0, "end": 1.05, "text": ""},
            {"id": 3, "start": 2.0, "end": 6.0, "text": "Tout va bien", "speaker": "SPEAKER_00"},
        ])
    );
    assert_eq!(
        (&output["total_segments"], &output["translated_segments"]),
        (&json!(3), &json!(2))
    );

    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    let question = &asked[0];
    assert_eq!(question.path, "/v1/chat/completions");
    assert_eq!(question.authorization, format!("Bearer {KEY}"));
    assert_eq!(question.body["model"], "test-model");
    assert_eq!(
        (&question.body["temperature"], &question.body["max_tokens"]),
        (&json!(0.0), &json!(500))
    );
    assert!(
        question
            .user()
            .ends_with("1 | 1.00 | 18 | Hello\n2 | 4.00 | 42 | All is well\n"),
        "{}",
        question.user()
    );
    assert!(question.system().contains("budget"), "{}", question.system());
}

#[tokio::test]
async fn a_long_transcript_is_translated_in_batches_with_progress() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    server.serve(ModelServer::default());
    let path = daemon.dir().join("long.json");
    let segments: Vec<_> = (0..25)
        .map(|n| json!({"start": n, "end": n + 1, "text": format!("line {n}")}))
        .collect();
    fs::write(&path, json!(segments).to_string()).unwrap();
    let input = json!({"segments_file": path, "target_language": "ko", "batch_size": 10});
    let (state, output, error) = ended(&daemon, "t1", TRANSLATE, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    let segments: Vec<Value> = serde_json::from_str(&text(&output["translated_segments_file"])).unwrap();
    let texts: Vec<_> = segments
        .iter()
        .map(|segment| segment["text"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<_> = (0..25).map(|n| translated(&format!("line {n}"), 18)).collect();
    assert_eq!(texts, expected);
    assert_eq!((server.asked().len(), &output["questions"]), (3, &json!(3)));
    assert_eq!(output["untranslated_segments"], 0);
    let stage = daemon.stage("t1", TRANSLATE).await.unwrap();
    assert_eq!(stage.progress, Some(100.0));
}

#[tokio::test]
async fn a_busy_provider_is_asked_again_not_before_it_says() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon);
    let busy = |after: Option<&str>| {
        ChatReply::Status(
            429,
            after.map(Into::into),
            r#"{"error":{"message":"slow down"}}"#.into(),
        )
    };
    server.plan([
        busy(Some("1")),
        ChatReply::Status(503, None, "overloaded".into()),
        ChatReply::Raw("<html>".into()),
        ChatReply::Cut,
        ChatReply::Text("Good morning, all.".into()),
    ]);
    let input = json!({"segments_file": file, "max_retries": 5});
    let (state, output, error) = ended(&daemon, "t1", OPTIMIZE, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    assert_eq!(text(&output["optimized_text_file"]), "Good morning, all.");
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    let waited = asked[1].at - asked[0].at;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(asked[0].user(), "Hello uh All is well");

    // What it never gives is reported as it last was.
    server.always(busy(None));
    let input = json!({"segments_file": file, "max_retries": 2});
    let (state, _, error) = ended(&daemon, "busy", OPTIMIZE, input).await;
    assert_eq!(state, StageState::Failed);
    for part in ["2 tries", "429", "slow down"] {
        assert!(error.contains(part), "{part}: {error}");
    }

    // A wait beyond the run's own time limit is not begun.
    let start = Instant::now();
    server.always(busy(Some("86400")));
    let (state, _, error) = ended(&daemon, "late", OPTIMIZE, json!({"segments_file": file})).await;
    assert_eq!(state, StageState::Failed);
    assert!(
        error.contains("1 day") && error.contains("longer than this run"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_asking_again_cannot_mend_fails_at_once_and_says_what_to_do() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon);
    let denied = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}"#);
    for (n, (reply, parts)) in [
        (ChatReply::Status(401, None, denied), vec!["401", "TEST_LLM_KEY", "***"]),
        (
            ChatReply::Status(404, None, "no".into()),
            vec!["404", "llm.providers.local.model"],
        ),
        (
            ChatReply::Status(400, None, r#"{"error":"too many tokens"}"#.into()),
            vec!["400", "too many tokens"],
        ),
        (
            ChatReply::Redirect("http://127.0.0.1:9/elsewhere".into()),
            vec!["307", "127.0.0.1:9", "not followed"],
        ),
        (
            ChatReply::Finished("half a".into(), "length"),
            vec!["llm.providers.local.max_tokens"],
        ),
        (
            ChatReply::Finished(String::new(), "content_filter"),
            vec!["content filter"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let before = server.asked().len();
        server.plan([reply]);
        let (state, _, error) = ended(&daemon, &format!("t{n}"), OPTIMIZE, json!({"segments_file": file})).await;
        assert_eq!(state, StageState::Failed);
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains(KEY), "{error}");
        assert_eq!(server.asked().len() - before, 1, "{error}");
    }
    // An empty text is no result, a transcript without text no question.
    server.always(ChatReply::Text("  \n".into()));
    let (state, _, error) = ended(&daemon, "empty", OPTIMIZE, json!({"segments_file": file})).await;
    assert!(state == StageState::Failed && error.contains("empty"), "{error}");
    let nothing = daemon.dir().join("nothing.json");
    fs::write(&nothing, r#"{"segments":[{"id":1,"text":"  "}]}"#).unwrap();
    let before = server.asked().len();
    let (state, _, error) = ended(&daemon, "nothing", OPTIMIZE, json!({"segments_file": nothing})).await;
    assert!(state == StageState::Failed && error.contains("no segment"), "{error}");
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn a_question_that_hangs_ends_with_its_timeout_and_with_a_cancel_within_a_second() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "timeout = '20s'").await;
    let file = transcript(&daemon);
    server.always(ChatReply::Hang);
    let start = Instant::now();
    let input = json!({"segments_file": file, "timeout": 1, "max_retries": 2});
    let (state, _, error) = ended(&daemon, "slow", OPTIMIZE, input).await;
    assert_eq!(state, StageState::Failed);
    assert!(
        error.contains("no answer within 1 second") && error.contains("2 tries"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    server.until_hanging(0).await;

    daemon.submit("gone", OPTIMIZE, json!({"segments_file": file})).await;
    server.until_hanging(1).await;
    let start = Instant::now();
    let task = onceover_tests::daemon::task_id("gone");
    daemon.client.cancel(&task).await.expect("it is cancelled");
    server.until_hanging(0).await;
    daemon.idle().await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(
        daemon.stage("gone", OPTIMIZE).await.unwrap().status,
        StageState::Cancelled
    );
}

#[tokio::test]
async fn d37_the_key_and_the_texts_are_in_no_log_no_record_and_no_process() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon);
    server.plan([
        ChatReply::Status(500, None, format!("your key {KEY} broke us")),
        ChatReply::Text("A very private reply".into()),
    ]);
    let override_text = "A very private instruction";
    let input = json!({"segments_file": file, "system_prompt_override": override_text});
    let (state, _, error) = ended(&daemon, "t1", OPTIMIZE, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    assert_eq!(server.asked()[0].system(), override_text);
    // A program under way, so that there is a child to look at.
    daemon
        .submit("t2", "test.wait", json!({"until": "go", "trace": "w"}))
        .await;
    daemon.until("t2", "test.wait", StageState::Running).await;
    eventually("the program", || async { (daemon.traces("w") == 1).then_some(()) }).await;

    for (key, dump) in daemon.content().await {
        let found = |text: &str| dump.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!found(KEY) && !found("private reply"), "{key}");
    }
    let mut files = vec![daemon.data.clone()];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            continue;
        }
        let Ok(bytes) = fs::read(&path) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY), "{}", path.display());
        if path.extension().is_some_and(|suffix| suffix == "log") {
            seen += 1;
            assert!(
                !text.contains("private reply") && !text.contains("All is well"),
                "{}",
                path.display()
            );
        }
    }
    assert!(seen >= 3, "the daemon's log and two runs' logs");
    daemon_and_children_do_not_have_it(&daemon);
    daemon.release("go");
    daemon.until("t2", "test.wait", StageState::Success).await;
}

/// Not in any command line, and in no environment but the daemon's own.
fn daemon_and_children_do_not_have_it(daemon: &Daemon) {
    let mut children = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let has = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).contains(KEY);
        assert!(!has(read("cmdline")), "process {pid}");
        let parent = String::from_utf8_lossy(&read("stat"))
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        if parent == Some(daemon.pid()) {
            children += 1;
            let name = String::from_utf8_lossy(&read("comm")).into_owned();
            assert!(!has(read("environ")), "{name}");
        }
    }
    assert!(children >= 3, "the reaper, Redis and the program");
}

#[tokio::test]
async fn subtitles_are_corrected_in_batches_and_merged_cues_are_asked_again() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = subtitles(&daemon, 150);
    server.plan([ChatReply::Text("I am sorry.".into()), ChatReply::Text(String::new())]);
    // One cue is merged into the one before it, wherever both are asked.
    server.always(ChatReply::Made(|user| {
        let user = user.replace("teh", "the").replace(",500", ",400");
        match user.split_once(" 70\n\n") {
            Some((before, after)) if !after.is_empty() => {
                let (_, rest) = after.split_once("\n\n").unwrap_or_default();
                format!("{before} 70 the quick brown fox 71\n\n{rest}")
            }
            _ => user,
        }
    }));
    let input = json!({"subtitle_path": file, "max_retries": 2, "subtitle_correction": {"enabled": true}});
    let (state, output, error) = ended(&daemon, "t1", CORRECT, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    let statistics = &output["statistics"];
    assert_eq!(
        (&statistics["original_entries"], &statistics["corrected_entries"]),
        (&json!(150), &json!(150))
    );
    assert_eq!(statistics["batches_kept_as_they_were"], 0);
    assert!(statistics["batches"].as_u64().unwrap() >= 3, "{statistics}");
    let corrected = text(&output["corrected_subtitle_path"]);
    assert!(
        corrected.starts_with("1\n00:00:01,000 --> 00:00:01,500\nthe quick"),
        "{corrected}"
    );
    assert!(corrected.contains("\n00:02:30,000 --> 00:02:30,500\nthe quick brown fox 150\n"));
    assert!(
        output["corrected_subtitle_path"]
            .as_str()
            .unwrap()
            .ends_with("/talk_corrected_by_ai.srt")
    );
    assert_eq!(output["original_subtitle_path"], json!(file));
    for n in 1..=150 {
        let start = format!("\n00:{:02}:{:02},000 -->", n / 60, n % 60);
        let (_, cue) = corrected.split_once(&start).unwrap_or_else(|| panic!("{n}"));
        let (_, cue) = cue.split_once('\n').unwrap();
        assert!(cue.starts_with(&format!("the quick brown fox {n}\n")), "{n}: {cue}");
    }

    server.always(ChatReply::Text("no".into()));
    let (state, _, error) = ended(
        &daemon,
        "none",
        CORRECT,
        json!({"subtitle_path": file, "max_retries": 1}),
    )
    .await;
    assert_eq!(state, StageState::Failed);
    assert!(
        error.contains("nothing was corrected") && error.contains("cue 1 of 150"),
        "{error}"
    );
}

#[tokio::test]
async fn o4_a_wrong_request_names_its_parameter() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon);
    for (node, input, field) in [
        (TRANSLATE, json!({"segments_file": file}), "target_language"),
        (TRANSLATE, json!({"target_language": "fr"}), "segments_file"),
        (
            TRANSLATE,
            json!({"segments_file": file, "target_language": "fr", "cps_limit": "18"}),
            "cps_limit",
        ),
        (
            OPTIMIZE,
            json!({"segments_file": file, "provider": "nobody"}),
            "provider",
        ),
        (
            OPTIMIZE,
            json!({"segments_file": file, "max_retries": 0}),
            "max_retries",
        ),
        (OPTIMIZE, json!({"segments_file": file, "timeout": 0}), "timeout"),
        (
            CORRECT,
            json!({"subtitle_correction": {"enabled": false}}),
            "subtitle_correction.enabled",
        ),
        (
            CORRECT,
            json!({"subtitle_correction": {"provider": "nobody"}}),
            "subtitle_correction.provider",
        ),
        // D32: a prompt is read from below the allowed roots alone.
        (
            OPTIMIZE,
            json!({"segments_file": file, "prompt_file_path": "/etc/passwd"}),
            "prompt_file_path",
        ),
    ] {
        let body = json!({"task_name": node, "task_id": "t1", "input_data": input});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(answer.status, 422, "{field}: {answer:?}");
        assert_eq!(answer.fields(), [format!("input_data.{field}")]);
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn d32_a_prompt_file_is_read_from_below_the_allowed_roots() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let prompt = daemon.dir().join("prompt.md");
    fs::write(&prompt, "Only commas.").unwrap();
    let input = json!({"segments_file": transcript(&daemon), "prompt_file_path": prompt});
    let (state, ..) = ended(&daemon, "t1", OPTIMIZE, input).await;
    assert_eq!(state, StageState::Success);
    assert_eq!(server.asked()[0].system(), "Only commas.");
    // A link that leads out.
    let link = daemon.dir().join("link.md");
    std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    let input = json!({"segments_file": transcript(&daemon), "prompt_file_path": link});
    let body = json!({"task_name": OPTIMIZE, "task_id": "t2", "input_data": input});
    let answer = daemon.post("/v1/tasks", body).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["input_data.prompt_file_path".to_owned()])
    );
    assert!(answer.text.contains("/etc/passwd"), "{answer:?}");
}
