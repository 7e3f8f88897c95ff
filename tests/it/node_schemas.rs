//! One specification of a node for everything: its JSON Schema, the description of the API, and what a shell completes.

use std::process::Command;

use onceover_tests::{Daemon, program};
use serde_json::{Map, Value, json};

/// A schema of the description, usable alone.
fn component(document: &Value, name: &str) -> jsonschema::Validator {
    let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document["components"]});
    jsonschema::draft202012::new(&schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[tokio::test]
async fn every_node_has_a_json_schema_that_its_example_fulfils_and_an_unknown_node_has_none() {
    let daemon = Daemon::start().await;
    let nodes = daemon.client.nodes().await.unwrap().nodes;
    assert!(nodes.len() >= 26);
    for node in &nodes {
        let answer = daemon.get(&format!("/v1/nodes/{}/schema", node.name)).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (200, "application/schema+json"),
            "{}",
            node.name
        );
        let schema = answer.json();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let names: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        let parameters: Vec<_> = node.parameters.iter().map(|parameter| &parameter.name).collect();
        assert_eq!(names, parameters);
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        if let Some(example) = &node.example {
            let faults: Vec<_> = validator
                .iter_errors(&json!(example.input))
                .map(|error| error.to_string())
                .collect();
            assert!(faults.is_empty(), "{}: {faults:?}", node.name);
        }
    }
    let answer = daemon.get("/v1/nodes/ffmpeg.nothing/schema").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "unknown-node"));
    let answer = daemon.get("/v1/nodes/nothing/schema").await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["task_name".to_owned()]));
}

#[tokio::test]
async fn the_described_submit_is_one_of_the_nodes_and_takes_what_the_daemon_takes() {
    let daemon = Daemon::start().await;
    let document = daemon.get("/openapi.json").await.json();
    let submit = &document["components"]["schemas"]["SubmitRequest"];
    let nodes = daemon.client.nodes().await.unwrap().nodes;
    assert_eq!(submit["oneOf"].as_array().unwrap().len(), nodes.len());
    assert_eq!(submit["discriminator"]["propertyName"], "task_name");
    let mapping = submit["discriminator"]["mapping"].as_object().unwrap();
    for node in &nodes {
        let variant = document.pointer(mapping[node.name.as_str()].as_str().unwrap().trim_start_matches('#'));
        let variant = variant.unwrap_or_else(|| panic!("{} leads nowhere", node.name));
        assert_eq!(variant["properties"]["task_name"]["const"], node.name.as_str());
    }
    let validator = component(&document, "SubmitRequest");
    let node = "ffmpeg.extract_keyframes";
    for (request, is_taken) in [
        (
            json!({"task_name": node, "input_data": {"video_path": "/v/a.mp4"}}),
            true,
        ),
        (
            json!({"task_name": node, "input_data": {"video_path": "/v/a.mp4", "stray": 1}, "stray": 1}),
            true,
        ),
        (
            json!({"task_name": node, "task_id": "t1", "reuse": "never", "input_data": {"video_path": "/v/a.mp4"}}),
            true,
        ),
        (json!({"task_name": node, "input_data": {}}), false),
        (json!({"task_name": node, "input_data": {"video_path": 7}}), false),
        (json!({"task_name": "ffmpeg.nothing", "input_data": {}}), false),
        (json!({"task_name": node}), false),
    ] {
        assert_eq!(validator.is_valid(&request), is_taken, "{request}");
        let status = daemon.post("/v1/tasks", request.clone()).await.status;
        // The file need not be there: what is outside of the roots is refused for that alone.
        let is_refused_for_shape = status == 422 && !request["input_data"]["video_path"].is_string();
        assert_eq!(is_refused_for_shape, !is_taken, "{request}: {status}");
    }
}

/// What a shell is offered for the last of these words.
fn completed(daemon: &Daemon, words: &[&str]) -> Map<String, Value> {
    let output = Command::new(program("onceover"))
        .env("COMPLETE", "fish")
        .env("ONCEOVER_DAEMON", daemon.url())
        .args(["--", "onceover"])
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (value, help) = line.split_once('\t').unwrap_or((line, ""));
        (value.to_owned(), json!(help))
    };
    text.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_completes_nodes_and_their_parameters_as_the_daemon_has_them() {
    let daemon = Daemon::start().await;
    let node = "ffmpeg.split_audio_segments";
    let nodes = completed(&daemon, &["submit", "ffmpeg.s"]);
    assert_eq!(nodes.keys().collect::<Vec<_>>(), [node]);
    let names = completed(&daemon, &["submit", node, "--set", "sample"]);
    assert_eq!(names.keys().collect::<Vec<_>>(), ["sample_rate="]);
    assert!(
        names["sample_rate="].as_str().unwrap().starts_with("Samples"),
        "{names:?}"
    );
    let values = completed(
        &daemon,
        &["submit", node, "--set", "sample_rate=16000", "output_format=f"],
    );
    assert_eq!(values.keys().collect::<Vec<_>>(), ["output_format=flac"]);
    // A daemon that does not answer costs nothing but candidates.
    let output = Command::new(program("onceover"))
        .env("COMPLETE", "fish")
        .args(["--", "onceover", "--daemon", "http://127.0.0.1:1", "submit", "ffmpeg."])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

/// Bash itself, with the script the program prints.
#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_a_value_behind_its_equals_sign() {
    let daemon = Daemon::start().await;
    // Bash has split the words at `=` when it asks.
    let script = r#"
        source <("$PROGRAM" completions bash)
        COMP_WORDS=(onceover submit ffmpeg.split_audio_segments --set output_format = fl)
        COMP_CWORD=6 COMP_TYPE=9
        PATH="$(dirname "$PROGRAM"):$PATH" _clap_complete_onceover onceover fl =
        echo "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-c", script])
        .env("PROGRAM", program("onceover"))
        .env("ONCEOVER_DAEMON", daemon.url())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "flac", "{output:?}");
}
