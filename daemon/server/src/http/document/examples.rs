//! Examples of every operation: requests and answers as a daemon gave them (`make reference` records them).

use serde::Deserialize;
use serde_json::{Map, Value, json};

const RECORDED: &str = include_str!("../../../../../assets/api/examples.json");

/// The media type of a body whose type depends on the file.
const ANY_TYPE: &str = "*/*";

#[derive(Deserialize)]
struct ExampleBody {
    media_type: String,
    value: Value,
}

#[derive(Deserialize)]
struct ApiExample {
    name: String,
    summary: String,
    request: Option<ExampleBody>,
    status: u16,
    answer: ExampleBody,
}

/// Puts each example to the request and the response that it is of.
pub fn add(document: &mut Value) {
    let mut recorded: Map<String, Value> = serde_json::from_str(RECORDED).expect("examples are read by a test");
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in paths.flat_map(|(_, item)| item.as_object_mut().into_iter().flatten()) {
        let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
        let examples = recorded.remove(&id).unwrap_or_default();
        let examples: Vec<ApiExample> = serde_json::from_value(examples).unwrap_or_default();
        for example in examples {
            // A refused request is no example of one.
            if let Some(body) = example.request.filter(|_| example.status < 400) {
                put(
                    &mut operation["requestBody"]["content"],
                    &example.name,
                    &example.summary,
                    body,
                );
            }
            if let Some(response) = operation["responses"].get_mut(example.status.to_string()) {
                put(
                    &mut response["content"],
                    &example.name,
                    &example.summary,
                    example.answer,
                );
            }
        }
    }
}

/// `content`: by media type.
fn put(content: &mut Value, name: &str, summary: &str, body: ExampleBody) {
    let Some(content) = content.as_object_mut() else { return };
    let kind = if content.contains_key(&body.media_type) {
        &body.media_type
    } else {
        ANY_TYPE
    };
    if let Some(content) = content.get_mut(kind) {
        content["examples"][name] = json!({"summary": summary, "value": body.value});
    }
}
