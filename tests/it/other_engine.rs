//! R8: a result of another engine or model than a request asks for is never passed off as what was asked for.

use std::fs;

use onceover_tests::{Daemon, chat::ChatServer, model::ModelServer};
use onceover_wire::{ReuseMode, SubmitResponse, WarningCode};
use serde_json::{Value, json};

const SPEAK: &str = "indextts.generate_speech";
const TRANSLATE: &str = "wservice.translate_subtitles";
const MADE: &str = "made.by";
/// A node that says which engine and model it was asked to take.
const NODES: &str = r#"
[[nodes]]
name = "made.by"
queue = "io"
runner = { command = ["python3", "-S", "-c", '''
import json, sys
asked = json.load(sys.stdin)["input"]
print(json.dumps({"type": "output", "output": {name: asked[name] for name in ("engine", "model_name")}}))
'''] }
needs = { models = [{ parameter = "model_name" }] }
parameters = [
    { name = "engine", type = "string", default = "large" },
    { name = "model_name", type = "string", default = "base" },
]
"#;

async fn ask(daemon: &Daemon, node: &str, input: Value, mode: ReuseMode) -> SubmitResponse {
    let answer = daemon.try_submit("t1", node, input, None, mode).await;
    answer.expect("the submit is accepted")
}

/// The field of the one warning that a hit has, with its message; None without any.
fn warned(hit: &SubmitResponse) -> Option<(&str, &str)> {
    assert!(hit.reuse_info.reuse_hit && hit.result.is_some(), "{hit:?}");
    let [warning] = hit.warnings.as_slice() else {
        assert!(hit.warnings.is_empty(), "{hit:?}");
        return None;
    };
    assert_eq!(warning.code, WarningCode::OtherEngine);
    Some((warning.field.as_str(), warning.message.as_str()))
}

async fn output(daemon: &Daemon, node: &str) -> Value {
    let stage = daemon.stage("t1", node).await.expect("it was submitted");
    serde_json::from_str(stage.output.get()).expect("JSON")
}

#[tokio::test]
async fn r8_a_hit_of_another_engine_or_model_says_so_and_strict_runs() {
    use ReuseMode::{Auto, Strict};
    let daemon = Daemon::builder().nodes(NODES).start().await;
    daemon.done("t1", MADE, json!({})).await;
    for same in [
        json!({}),
        json!({"engine": "large"}),
        json!({"engine": "auto", "model_name": "base"}),
    ] {
        assert_eq!(warned(&ask(&daemon, MADE, same, Auto).await), None);
    }
    for (other, field, made, asked) in [
        (
            json!({"engine": "small"}),
            "input_data.engine",
            "engine 'large'",
            "'small'",
        ),
        (
            json!({"model_name": "tiny"}),
            "input_data.model_name",
            "model 'base'",
            "'tiny'",
        ),
    ] {
        let hit = ask(&daemon, MADE, other, Auto).await;
        assert_eq!(hit.reuse_info.input_changed, Some(Some(true)));
        let (named, message) = warned(&hit).expect("the hit warns");
        assert_eq!(named, field);
        assert!(message.contains(made) && message.contains(asked), "{message}");
    }
    let strict = ask(&daemon, MADE, json!({"engine": "small"}), Strict).await;
    assert_eq!(strict.reuse_info.reason.as_deref(), Some("input_changed"));
    daemon.idle().await;
    assert_eq!(output(&daemon, MADE).await["engine"], "small");
    assert_eq!(
        warned(&ask(&daemon, MADE, json!({"engine": "small"}), Strict).await),
        None
    );
}

#[tokio::test]
async fn r8_speech_of_another_engine_is_no_silent_fallback() {
    let daemon = Daemon::start().await;
    daemon
        .done("t1", SPEAK, json!({"text": "Hello", "engine": "espeak"}))
        .await;
    let piper = json!({"text": "Hello", "engine": "piper"});
    let hit = ask(&daemon, SPEAK, piper.clone(), ReuseMode::Auto).await;
    let (field, message) = warned(&hit).expect("the hit warns");
    assert_eq!(field, "input_data.engine");
    assert!(message.contains("'espeak'") && message.contains("'piper'"), "{message}");
    // A run is needed, and this machine lacks the engine: nothing else is taken in its place.
    let refused = daemon
        .post(
            "/v1/tasks",
            json!({"task_name": SPEAK, "task_id": "t1", "input_data": piper, "reuse": "strict"}),
        )
        .await;
    assert_eq!((refused.status, refused.problem().as_str()), (409, "node-not-ready"));
    assert_eq!(output(&daemon, SPEAK).await["engine"], "espeak");
}

#[tokio::test]
async fn r8_another_language_model_of_the_configuration_is_other_input() {
    let server = ChatServer::start().await;
    server.serve(ModelServer::default());
    let config = format!(
        "[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{}'\nmodel = 'first-model'\n",
        server.url()
    );
    let mut daemon = Daemon::builder()
        .config(&config)
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await;
    let path = daemon.dir().join("talk.json");
    fs::write(&path, r#"[{"start": 0, "end": 3, "text": "All is well"}]"#).unwrap();
    let input = || json!({"segments_file": path, "target_language": "ko"});
    daemon.done("t1", TRANSLATE, input()).await;
    let made = output(&daemon, TRANSLATE).await;
    assert_eq!(
        (&made["engine"], &made["model_name"]),
        (&json!("local"), &json!("first-model"))
    );
    let same = ask(&daemon, TRANSLATE, input(), ReuseMode::Strict).await;
    assert_eq!(warned(&same), None);

    daemon.stop().await;
    let file = daemon.dir().join("onceover.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("first-model", "second-model")).unwrap();
    daemon.launch().await;
    let hit = ask(&daemon, TRANSLATE, input(), ReuseMode::Auto).await;
    assert_eq!(hit.reuse_info.input_changed, Some(Some(true)));
    let (field, message) = warned(&hit).expect("the hit warns");
    assert_eq!(field, "input_data.provider");
    assert!(
        message.contains("'first-model'") && message.contains("'second-model'"),
        "{message}"
    );
    let strict = ask(&daemon, TRANSLATE, input(), ReuseMode::Strict).await;
    assert_eq!(strict.reuse_info.reason.as_deref(), Some("input_changed"));
    daemon.idle().await;
    assert_eq!(output(&daemon, TRANSLATE).await["model_name"], "second-model");
}
