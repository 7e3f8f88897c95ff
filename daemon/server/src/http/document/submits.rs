//! The submit request by node: a variant for each, told apart by `task_name`, with the node's own schema of `input_data`.

use onceover_catalog::{Catalog, NodeSpec};
use serde_json::{Map, Value, json};

/// The schema that stands for any submit.
const SUBMIT: &str = "SubmitRequest";

/// Makes the submit request one of as many variants as there are nodes, and adds each node's example.
pub fn describe_by_node(document: &mut Value, catalog: &Catalog) {
    add_examples(document, catalog);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    let Some((schemas, any)) = schemas.and_then(|schemas| {
        let any = schemas.get(SUBMIT)?.clone();
        Some((schemas, any))
    }) else {
        return;
    };
    let (mut variants, mut mapping) = (Vec::new(), Map::new());
    for node in catalog.iter() {
        let (input, submit) = (format!("{}.input", node.name), format!("{}.submit", node.name));
        let reference = format!("#/components/schemas/{submit}");
        variants.push(json!({"$ref": reference}));
        mapping.insert(node.name.to_string(), reference.into());
        schemas.insert(submit, variant(&any, node, &input));
        schemas.insert(input, input_schema(node));
    }
    if variants.is_empty() {
        return;
    }
    let submit = json!({
        "description": any["description"],
        "oneOf": variants,
        "discriminator": {"propertyName": "task_name", "mapping": mapping},
    });
    schemas.insert(SUBMIT.into(), submit);
}

/// A submit of this node: the fields of any, the name fixed and the input as the node takes it.
fn variant(any: &Value, node: &NodeSpec, input: &str) -> Value {
    let mut variant = any.clone();
    variant["description"] = format!("Submit of {}", node.name).into();
    variant["properties"]["task_name"] = json!({"type": "string", "const": node.name});
    variant["properties"]["input_data"] = json!({"$ref": format!("#/components/schemas/{input}")});
    variant
}

/// The schema of the node's input, with defaults in words alone: a generated client would send what it finds in `default`,
/// which would take the place of an earlier stage's output and make the input another one than without.
fn input_schema(node: &NodeSpec) -> Value {
    let mut schema = Value::Object(node.input_schema());
    let properties = schema["properties"].as_object_mut().into_iter().flatten();
    for property in properties.filter_map(|(_, property)| property.as_object_mut()) {
        let Some(default) = property.shift_remove("default") else {
            continue;
        };
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = format!("{meaning} Default: `{default}`.");
        property.insert("description".into(), description.trim_start().into());
    }
    schema
}

/// An example for each node.
fn add_examples(document: &mut Value, catalog: &Catalog) {
    let content = document.pointer_mut("/paths/~1v1~1tasks/post/requestBody/content/application~1json");
    let Some(content) = content else { return };
    let examples = catalog.iter().filter_map(|node| {
        let input = &node.example.as_ref()?.input;
        let request = json!({"task_name": node.name, "task_id": "lecture-07", "input_data": input});
        Some((node.name.to_string(), json!({"summary": node.title, "value": request})))
    });
    content["examples"] = Value::Object(examples.collect());
}
