//! Replies of language models that are not as asked: each line that is accepted has its own answer, what is missing costs
//! no other line, and what was paid for once is not paid for again.

use std::{fs, process::Command};

use onceover_tests::{
    Daemon,
    chat::{AskedQuestion, ChatReply, ChatServer},
    model::{Misbehaviour as M, ModelServer, translated},
    program,
};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::{Value, json};

const TRANSLATE: &str = "wservice.translate_subtitles";
const CORRECT: &str = "wservice.correct_subtitles";
const OPTIMIZE: &str = "wservice.ai_optimize_text";

/// Lines that nothing could be mistaken for each other of.
const LINES: [&str; 12] = [
    "Good morning to all of you",
    "and welcome to this lecture",
    "about the sequence of numbers",
    "Paris",
    "which nobody had ever seen before",
    "until last year in spring",
    "Yes",
    "there was a man on the road",
    "who carried an old lamp",
    "and he said nothing at all",
    "Thank you for listening",
    "Goodbye everyone",
];

fn config(server: &ChatServer, more: &str) -> String {
    format!(
        "[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{}'\nmodel = 'test-model'\n{more}",
        server.url()
    )
}

async fn daemon(server: &ChatServer, more: &str) -> Daemon {
    Daemon::builder()
        .config(&config(server, more))
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await
}

/// A transcript of these lines, of four seconds each.
fn transcript(daemon: &Daemon, lines: &[&str]) -> String {
    let path = daemon.dir().join("talk.json");
    let segments: Vec<_> = (0..)
        .zip(lines)
        .map(|(at, text)| json!({"start": at * 4, "end": at * 4 + 4, "text": text}))
        .collect();
    fs::write(&path, json!({ "segments": segments }).to_string()).unwrap();
    path.display().to_string()
}

async fn ended(daemon: &Daemon, task: &str, node: &str, input: Value) -> (StageState, Value, String) {
    daemon.submit(task, node, input).await;
    outcome(daemon, task, node).await
}

async fn outcome(daemon: &Daemon, task: &str, node: &str) -> (StageState, Value, String) {
    let stage = daemon.until_ended(task, node).await;
    (
        stage.status,
        serde_json::from_str(stage.output.get()).expect("JSON"),
        stage.error.unwrap_or_default(),
    )
}

fn texts(output: &Value) -> Vec<String> {
    let path = output["translated_segments_file"].as_str().expect("a path");
    let segments: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    segments
        .iter()
        .map(|segment| segment["text"].as_str().unwrap().to_owned())
        .collect()
}

/// Lines that a question asks, by their text.
fn lines_of(question: &AskedQuestion) -> Vec<String> {
    let lines = question.user().lines();
    let lines = lines.filter(|line| line.matches(" | ").count() >= 3 && line.starts_with(|c: char| c.is_ascii_digit()));
    lines
        .map(|line| line.rsplit(" | ").next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn whatever_a_model_does_each_line_has_its_own_translation_or_its_own_text() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "temperature = 0.3").await;
    let file = transcript(&daemon, &LINES);
    let lamp = || LINES[8].to_owned();
    for (n, (misbehaviours, untranslated)) in [
        (vec![], 0),
        (vec![M::Think], 0),
        (vec![M::ThinkUnopened, M::Preamble, M::Fence], 0),
        (vec![M::Plain], 0),
        (vec![M::Plain, M::EchoColumns, M::Fence], 0),
        (vec![M::Keyless], 0),
        (vec![M::Slip(lamp())], 0),
        (vec![M::Slip(lamp()), M::Plain], 0),
        (vec![M::Merge(lamp())], 0),
        (vec![M::Merge(lamp()), M::Plain], 0),
        (vec![M::Merge(lamp()), M::Keyless], 0),
        (vec![M::Missing(3)], 0),
        (vec![M::CutBehind(3)], 0),
        (vec![M::Rambles(lamp())], 1),
        (vec![M::Filtered(lamp())], 1),
        (vec![M::Busy(1, 0)], 0),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{misbehaviours:?}");
        server.serve(ModelServer::new(misbehaviours));
        let input = json!({"segments_file": file, "target_language": "fr"});
        let (state, output, error) = ended(&daemon, &format!("t{n}"), TRANSLATE, input).await;
        assert_eq!((state, error.as_str()), (StageState::Success, ""), "{what}");
        for (at, text) in texts(&output).into_iter().enumerate() {
            let is_stubborn = untranslated > 0 && at == 8;
            let expected = if is_stubborn {
                LINES[at].to_owned()
            } else {
                translated(LINES[at], 42)
            };
            assert_eq!(text, expected, "{what}");
        }
        assert_eq!(output["untranslated_segments"], untranslated, "{what}");
        let warnings = output["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(warnings, untranslated, "{what}");
        if untranslated > 0 {
            let warning = &output["warnings"][0];
            assert_eq!(warning["code"], "lines_untranslated");
            assert_eq!(
                (&warning["retryable"], &warning["numbers"]["lines"]),
                (&json!(true), &json!(1))
            );
            assert!(warning["text"].as_str().unwrap().contains("line 9"), "{warning}");
        }
    }
}

#[tokio::test]
async fn a_model_that_answers_no_line_fails_the_run_and_says_why() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon, &LINES);
    for (n, (misbehaviour, parts)) in [
        (M::ShiftedKeys, ["nothing was translated", "which was not asked"]),
        (M::EchoSource, ["nothing was translated", "came back as it was"]),
        (
            M::ReasoningAlone,
            ["reasoning and no answer", "llm.providers.local.max_tokens"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let before = server.asked().len();
        server.serve(ModelServer::new([misbehaviour]));
        let input = json!({"segments_file": file, "target_language": "fr", "max_retries": 2});
        let (state, output, error) = ended(&daemon, &format!("t{n}"), TRANSLATE, input).await;
        assert_eq!((state, output), (StageState::Failed, json!({})));
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(server.asked().len() - before < 20, "{error}");
    }
}

#[tokio::test]
async fn reasoning_and_fences_are_taken_off_in_all_nodes() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon, &["Hello", "All is well"]);
    let srt = daemon.dir().join("talk.srt");
    fs::write(&srt, "1\n00:00:00,000 --> 00:00:04,000\nteh end\n\n").unwrap();
    server.serve(ModelServer::new([M::Think, M::Fence]));
    let (_, output, error) = ended(&daemon, "t1", OPTIMIZE, json!({"segments_file": file})).await;
    assert_eq!(error, "");
    let text = fs::read_to_string(output["optimized_text_file"].as_str().unwrap()).unwrap();
    assert_eq!(text, "Hello All is well");
    let (_, output, error) = ended(&daemon, "t2", CORRECT, json!({"subtitle_path": srt})).await;
    assert_eq!(error, "");
    let text = fs::read_to_string(output["corrected_subtitle_path"].as_str().unwrap()).unwrap();
    assert_eq!(text, "1\n00:00:00,000 --> 00:00:04,000\nthe end\n\n");
}

#[tokio::test]
async fn a_parameter_that_is_refused_is_asked_another_way_and_that_is_remembered() {
    let server = ChatServer::start().await;
    let more = "temperature = 0.3\nheaders = { X-Title = 'Onceover' }\nbody = { top_p = 0.5 }\n\
                thinking_off = { think = false }";
    let daemon = daemon(&server, more).await;
    let file = transcript(&daemon, &LINES);
    server.serve(ModelServer::new([
        M::RefusesMaxTokens,
        M::RefusesTemperature,
        M::RefusesSchema,
    ]));
    let input = json!({"segments_file": file, "target_language": "fr"});
    let (state, output, error) = ended(&daemon, "t1", TRANSLATE, input.clone()).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    assert_eq!(output["untranslated_segments"], 0);
    let first = &server.asked()[0];
    assert_eq!(first.authorization, "", "no key is sent where none is named");
    assert_eq!(first.headers["x-title"], "Onceover");
    assert_eq!(
        (&first.body["top_p"], &first.body["think"]),
        (&json!(0.5), &json!(false))
    );
    assert_eq!(first.body["response_format"]["type"], "json_schema");

    let before = server.asked().len();
    assert_eq!(before, 4);
    let (state, ..) = ended(&daemon, "t2", TRANSLATE, input.clone()).await;
    assert_eq!((state, server.asked().len()), (StageState::Success, before + 1));
    let last = &server.asked()[before].body;
    assert_eq!(last["max_completion_tokens"], 8192);
    assert_eq!(last["response_format"], json!({"type": "json_object"}));
    assert!(last.get("max_tokens").is_none() && last.get("temperature").is_none());

    server.serve(ModelServer::new([M::RefusesResponseFormat]));
    let (state, ..) = ended(&daemon, "t3", TRANSLATE, input).await;
    assert_eq!(state, StageState::Success);
    assert!(server.asked().last().unwrap().body.get("response_format").is_none());
}

#[tokio::test]
async fn a_run_after_one_that_failed_pays_only_for_what_is_missing() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon, &LINES);
    let good = ChatReply::Model(ModelServer::default().into());
    let input = json!({"segments_file": file, "target_language": "fr", "batch_size": 5, "max_retries": 1});
    server.plan([good.clone(), ChatReply::Status(401, None, "no".into())]);
    server.always(good);
    let (state, _, error) = ended(&daemon, "t1", TRANSLATE, input.clone()).await;
    assert_eq!(state, StageState::Failed);
    assert!(
        error.contains("401") && error.contains("5 accepted answers are kept"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 2);

    let (state, output, _) = ended(&daemon, "t1", TRANSLATE, input.clone()).await;
    assert_eq!((state, &output["questions"]), (StageState::Success, &json!(2)));
    let asked: Vec<String> = server.asked()[2..].iter().flat_map(lines_of).collect();
    assert_eq!(asked, LINES[5..]);
    let expected: Vec<_> = LINES.iter().map(|line| translated(line, 42)).collect();
    assert_eq!(texts(&output), expected);

    // Another language, another prompt or another line is another question.
    let german = json!({"segments_file": file, "target_language": "de", "batch_size": 5});
    daemon
        .try_submit("t1", TRANSLATE, german, None, ReuseMode::Strict)
        .await
        .unwrap();
    let (_, output, _) = outcome(&daemon, "t1", TRANSLATE).await;
    assert_eq!(output["questions"], 3);

    // What an earlier run has left is nothing to one that shall reuse nothing.
    let before = server.asked().len();
    daemon
        .try_submit("t1", TRANSLATE, input, None, ReuseMode::Never)
        .await
        .unwrap();
    let (state, output, _) = outcome(&daemon, "t1", TRANSLATE).await;
    assert_eq!((state, &output["questions"]), (StageState::Success, &json!(3)));
    assert_eq!(server.asked().len() - before, 3);
}

#[tokio::test]
async fn a_model_that_answers_hardly_anything_is_not_asked_for_ever() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let mut lines = vec!["Good morning"];
    lines.extend(vec!["the same line over again"; 99]);
    let file = transcript(&daemon, &lines);
    server.serve(ModelServer::new([M::Filtered("the same line over again".into())]));
    let input = json!({"segments_file": file, "target_language": "fr", "max_retries": 1});
    let (state, output, error) = ended(&daemon, "t1", TRANSLATE, input).await;
    assert_eq!((state, error.as_str()), (StageState::Success, ""));
    assert_eq!(output["untranslated_segments"], 99);
    assert!(server.asked().len() < 70, "{}", server.asked().len());
    assert_eq!(daemon.times_reached("fruitless_questions").await, 1);
}

#[tokio::test]
async fn a_translation_that_stays_too_long_is_asked_for_once_more_and_then_taken_with_a_warning() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = transcript(&daemon, &LINES);
    server.serve(ModelServer::new([M::TooLong(LINES[8].into())]));
    let input = |batch_size: usize| json!({"segments_file": file, "target_language": "fr", "batch_size": batch_size});
    // What an earlier run has left is as long, and costs no question.
    for (batch_size, questions) in [(100, 2), (50, 0)] {
        daemon
            .try_submit("t1", TRANSLATE, input(batch_size), None, ReuseMode::Strict)
            .await
            .unwrap();
        let (state, output, error) = outcome(&daemon, "t1", TRANSLATE).await;
        assert_eq!((state, error.as_str()), (StageState::Success, ""));
        assert_eq!(texts(&output)[8], "x".repeat(43));
        assert_eq!(
            (&output["untranslated_segments"], &output["questions"]),
            (&json!(0), &json!(questions))
        );
        let warning = &output["warnings"][0];
        assert_eq!(
            (&warning["code"], &warning["retryable"]),
            (&json!("lines_too_long"), &json!(false))
        );
        assert_eq!(warning["numbers"], json!({"lines": 1, "first": 9}));
    }
    let asked = server.asked();
    assert_eq!(lines_of(&asked[1]), [LINES[8]]);
    assert!(
        asked[1].user().contains("43 characters instead of at most 42"),
        "{}",
        asked[1].user()
    );
}

#[tokio::test]
async fn a_run_whose_daemon_was_killed_goes_on_with_the_answers_it_had() {
    let server = ChatServer::start().await;
    let mut daemon = daemon(&server, "").await;
    let file = transcript(&daemon, &LINES);
    let good = ChatReply::Model(ModelServer::default().into());
    let input = json!({"segments_file": file, "target_language": "fr", "batch_size": 5});
    // A run that must reuse nothing has the answers of its earlier attempt, too.
    let tasks = [("t1", ReuseMode::Auto), ("t2", ReuseMode::Never)];
    for (hanging, (task, reuse)) in (1..).zip(tasks) {
        server.plan([good.clone(), ChatReply::Hang]);
        let submitted = daemon.try_submit(task, TRANSLATE, input.clone(), None, reuse).await;
        submitted.unwrap();
        server.until_hanging(hanging).await;
    }
    daemon.kill();
    let before = server.asked().len();
    assert_eq!(before, 4);
    server.always(good);
    daemon.launch().await;
    let expected: Vec<_> = LINES.iter().map(|line| translated(line, 42)).collect();
    for (task, _) in tasks {
        let (state, output, error) = outcome(&daemon, task, TRANSLATE).await;
        assert_eq!((state, error.as_str()), (StageState::Success, ""), "{task}");
        assert_eq!(texts(&output), expected, "{task}");
        assert_eq!(output["questions"], 2, "{task}");
    }
    let mut asked: Vec<String> = server.asked()[before..].iter().flat_map(lines_of).collect();
    let mut missing = [&LINES[5..], &LINES[5..]].concat();
    asked.sort_unstable();
    missing.sort_unstable();
    assert_eq!(asked, missing);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_by_each_node() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    server.serve(ModelServer::default());
    let file = daemon.dir().join("broken.srt");
    let srt = "1\n00:00:00,000 --> 00:00:04,000\nteh end\n\n2\n00:00:0x,000 --> 00:00:08,000\nlost\n\n";
    fs::write(&file, srt).unwrap();
    for (node, input) in [
        (TRANSLATE, json!({"segments_file": file, "target_language": "fr"})),
        (CORRECT, json!({"subtitle_path": file})),
        (OPTIMIZE, json!({"segments_file": file})),
    ] {
        let (state, output, error) = ended(&daemon, "t1", node, input).await;
        assert_eq!((state, error.as_str()), (StageState::Success, ""), "{node}");
        let warning = &output["warnings"][0];
        assert_eq!(warning["code"], "records_skipped", "{node}");
        assert!(
            warning["text"].as_str().unwrap().contains("record 2 (line 6)"),
            "{warning}"
        );
    }
}

#[tokio::test]
async fn a_line_shown_too_briefly_is_empty_and_the_result_warns_of_it() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server, "").await;
    let file = daemon.dir().join("brief.json");
    let segments = json!([{"start": 0, "end": 2, "text": "Hello"}, {"start": 2, "end": 2.05, "text": "uh"}]);
    fs::write(&file, segments.to_string()).unwrap();
    server.serve(ModelServer::default());
    let input = json!({"segments_file": file, "target_language": "fr"});
    let (_, output, error) = ended(&daemon, "t1", TRANSLATE, input).await;
    assert_eq!(error, "");
    let warning = &output["warnings"][0];
    assert_eq!(
        (&warning["code"], &warning["retryable"]),
        (&json!("lines_left_out"), &json!(false))
    );
    assert!(warning["text"].as_str().unwrap().contains("line 2 ('uh')"), "{warning}");
}

#[tokio::test]
async fn check_llm_tries_one_request() {
    let server = ChatServer::start().await;
    server.serve(ModelServer::new([M::RefusesMaxTokens, M::Think]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("onceover.toml");
    fs::write(&file, config(&server, "")).unwrap();
    let check = |provider: &'static str, file: std::path::PathBuf| async move {
        let check = move || {
            let mut command = Command::new(program("onceoverd"));
            command.arg("check").arg("--llm");
            command.args((!provider.is_empty()).then_some(provider));
            let output = command
                .arg("--config")
                .arg(file)
                .env("NO_PROXY", "127.0.0.1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            (output.status.success(), said)
        };
        tokio::task::spawn_blocking(check).await.unwrap()
    };
    let (ok, said) = check("", file.clone()).await;
    assert!(ok, "{said}");
    for part in [
        "test-model of local",
        "gninrom dooG",
        "max_completion_tokens 8192",
        "json_schema",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(server.asked().len(), 2);
    let (ok, said) = check("nobody", file.clone()).await;
    assert!(!ok && said.contains("there is no provider 'nobody'"), "{said}");
    server.always(ChatReply::Status(401, None, "who are you".into()));
    let (ok, said) = check("local", file).await;
    assert!(!ok && said.contains("401") && said.contains("key_env"), "{said}");
}
