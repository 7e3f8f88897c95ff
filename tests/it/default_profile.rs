//! The profile of the configuration: which defaults it chooses, that a changed one is another input, and what is missing
//! for them.

use std::{
    fs,
    process::{Command, Output},
};

use onceover_tests::{
    Daemon,
    daemon::{node_name, task_id},
    program,
};
use onceover_wire::{ReuseDecision, ReuseMode};
use serde_json::{Value, json};

const NODE: &str = "demo.recognise";
/// A node with a small and a large model, whose output is the model that it was given.
const NODES: &str = r#"
[[nodes]]
name = "demo.recognise"
queue = "io"
runner = { command = ["python3", "-S", "-c", '''
import json, sys
print(json.dumps({"type": "output", "output": {"model": json.load(sys.stdin)["input"]["model"]}}))
'''] }
parameters = [{ name = "model", type = "string", default = "large", default_by_profile = { cpu = "small" } }]
"#;

/// Starts the daemon again with this profile.
async fn restart_with(daemon: &mut Daemon, profile: &str) {
    daemon.stop().await;
    let file = daemon.dir().join("onceover.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (_, others) = text.split_once('\n').unwrap();
    fs::write(&file, format!("{profile}\n{others}")).unwrap();
    daemon.launch().await;
}

/// What a submit comes to: of a hit `Ok(input_changed)`, of a miss the reason.
async fn verdict(daemon: &Daemon, input: Value, mode: ReuseMode) -> Result<Option<bool>, String> {
    let answer = daemon.try_submit("t1", NODE, input, None, mode).await;
    let info = answer.expect("the submit is accepted").reuse_info;
    if info.reuse_hit {
        return Ok(info.input_changed.expect("a hit speaks of its input"));
    }
    daemon.idle().await;
    Err(info.reason.expect("a miss has a reason"))
}

async fn model(daemon: &Daemon) -> Value {
    let stage = daemon.stage("t1", NODE).await.unwrap();
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    output["model"].clone()
}

#[tokio::test]
async fn r8_a_changed_profile_is_another_input() {
    use ReuseMode::{Auto, Strict};
    let mut daemon = Daemon::builder().config("# no profile").nodes(NODES).start().await;
    daemon.done("t1", NODE, json!({})).await;
    assert_eq!(model(&daemon).await, "large");
    let stage = daemon.stage("t1", NODE).await.unwrap();
    assert_eq!(stage.input_params.get(), "{}", "a default of the node file is none");
    // Large models are those without a profile: what was made with one of them stays the same input.
    restart_with(&mut daemon, "profile = 'cuda'").await;
    assert_eq!(verdict(&daemon, json!({}), Strict).await, Ok(Some(false)));

    restart_with(&mut daemon, "profile = 'cpu'").await;
    let node = daemon.client.node(&node_name(NODE)).await.unwrap();
    assert_eq!(node.parameters[0].default, Some(json!("small")));
    assert_eq!(verdict(&daemon, json!({}), Auto).await, Ok(Some(true)));
    let explained = daemon
        .client
        .explain(&task_id("t1"), &node_name(NODE), Some(Strict))
        .await
        .unwrap();
    assert_eq!(
        (explained.decision, explained.reason.as_str()),
        (ReuseDecision::Run, "input_changed")
    );
    assert_eq!(
        verdict(&daemon, json!({}), Strict).await,
        Err("input_changed".to_owned())
    );
    assert_eq!(model(&daemon).await, "small");
    let stage = daemon.stage("t1", NODE).await.unwrap();
    assert_eq!(stage.input_params.get(), r#"{"model":"small"}"#);
    // Named or left out, it is the same model.
    assert_eq!(verdict(&daemon, json!({}), Strict).await, Ok(Some(false)));
    assert_eq!(
        verdict(&daemon, json!({"model": "small"}), Strict).await,
        Ok(Some(false))
    );
}

#[tokio::test]
async fn configured_defaults_win_over_those_of_the_profile() {
    let config = format!("profile = 'cpu'\n[defaults.'{NODE}']\nmodel = 'medium'");
    let daemon = Daemon::builder().config(&config).nodes(NODES).start().await;
    daemon.done("t1", NODE, json!({})).await;
    assert_eq!(model(&daemon).await, "medium");
    daemon.done("t2", NODE, json!({"model": "large"})).await;
    let stage = daemon.stage("t2", NODE).await.unwrap();
    assert!(stage.output.get().contains("large"), "{}", stage.output.get());
}

fn onceoverd(words: &[&str]) -> (Output, String) {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(program("onceoverd"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(words)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output, said)
}

#[test]
fn a_profile_that_does_not_exist_is_refused_with_those_that_do() {
    let (output, said) = onceoverd(&["check", "--profile", "gpu"]);
    assert!(!output.status.success(), "{said}");
    for part in ["--profile", "'gpu'", "cpu, cuda"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn check_names_the_profile_and_one_command_for_what_the_subtitles_need() {
    let (_, said) = onceoverd(&["check", "--profile", "cpu"]);
    assert!(said.contains("profile      cpu: small models"), "{said}");
    let line = said
        .lines()
        .find(|line| line.trim_start().starts_with("subtitles needs"));
    let line = line.unwrap_or_else(|| panic!("no line for the pipeline: {said}"));
    for part in [
        "the Python environment of faster_whisper, which is not installed",
        "onceoverd nodes install --pipeline subtitles --models",
        "--profile cpu",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let (_, said) = onceoverd(&["check"]);
    assert!(said.contains("profile      none: large models"), "{said}");
    let (_, said) = onceoverd(&["nodes", "faster_whisper.transcribe_audio", "--profile", "cpu"]);
    assert!(
        said.contains("default \"Systran/faster-whisper-base\""),
        "the small model is shown: {said}"
    );
}
