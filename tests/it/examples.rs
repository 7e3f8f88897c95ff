//! Every operation of the API's description has examples that a real daemon gave, and they are as described.

use onceover_tests::{
    Daemon,
    reference::examples::{ApiExamples, load, record, store},
};
use serde_json::{Value, json};

/// Operation, name and status of each.
fn places(examples: &ApiExamples) -> Vec<(String, String, u16)> {
    let of_operation = examples.iter().flat_map(|(operation, examples)| {
        let place = move |name: &String, status| (operation.clone(), name.clone(), status);
        examples.iter().map(move |example| place(&example.name, example.status))
    });
    of_operation.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_what_a_daemon_answers() {
    let found = record().await;
    if std::env::var_os("ONCEOVER_REFERENCE").is_some_and(|value| value == "write") {
        store(&found);
        return;
    }
    assert_eq!(
        places(&load()),
        places(&found),
        "the examples are older than the daemon: make reference"
    );
}

/// What of an example is not as the media type's schema says.
fn faults(document: &Value, content: &Value, value: &Value) -> Vec<String> {
    let Some(schema) = content["schema"].as_object() else {
        return Vec::new();
    };
    let mut whole = schema.clone();
    whole.insert("components".into(), document["components"].clone());
    let validator = jsonschema::draft202012::new(&Value::Object(whole)).expect("a schema of the description");
    validator
        .iter_errors(value)
        .map(|error| format!("{error}, at {}", error.instance_path()))
        .collect()
}

/// Fails on an example that is not as described. Returns how many there are.
fn check(document: &Value, place: &str, content: &Value) -> usize {
    let examples = content["examples"].as_object().cloned().unwrap_or_default();
    for (name, example) in &examples {
        let faults = faults(document, content, &example["value"]);
        assert!(
            faults.is_empty(),
            "{place}: {name} is not as described: {faults:?}; make reference"
        );
    }
    examples.len()
}

#[tokio::test]
async fn every_operation_has_examples_and_they_are_as_described() {
    // Of the shipped nodes alone, which the examples speak of.
    let daemon = Daemon::builder().nodes("").start().await;
    let document = daemon.get("/openapi.json").await.json();
    let mut without = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                if check(&document, &place, content) == 0 {
                    without.push(format!("{place}: {kind} request"));
                }
            }
            let (mut successes, mut problems) = (0, 0);
            for (status, response) in operation["responses"].as_object().unwrap() {
                for content in response["content"]
                    .as_object()
                    .into_iter()
                    .flat_map(|content| content.values())
                {
                    let count = check(&document, &format!("{place}: {status}"), content);
                    *(if status.starts_with('2') {
                        &mut successes
                    } else {
                        &mut problems
                    }) += count;
                }
            }
            if successes == 0 || problems == 0 {
                without.push(format!("{place}: {successes} successes, {problems} problems"));
            }
        }
    }
    assert_eq!(
        json!(without),
        json!([]),
        "operations without an example; tests/src/reference/examples.rs"
    );
}
