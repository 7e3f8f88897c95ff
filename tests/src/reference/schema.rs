//! Holds recorded answers against the API's description.

use serde_json::{Value, json};

use super::Exchange;

/// What of the answer is not as described; empty: nothing.
pub fn faults(openapi: &Value, exchange: &Exchange) -> Vec<String> {
    let method = exchange.call.split(' ').next().unwrap_or_default().to_lowercase();
    let responses = &openapi["paths"][&exchange.route][&method]["responses"];
    let content = &responses[exchange.status.to_string()]["content"];
    let schema = ["application/json", "application/problem+json"]
        .iter()
        .map(|kind| &content[kind]["schema"])
        .find(|schema| !schema.is_null());
    let Some(schema) = schema else {
        return vec![format!(
            "{} {} with status {} is not described",
            method, exchange.route, exchange.status
        )];
    };
    let mut whole =
        json!({"components": openapi["components"], "$schema": "https://json-schema.org/draft/2020-12/schema"});
    match (schema, &mut whole) {
        (Value::Object(fields), Value::Object(whole)) => {
            whole.extend(fields.iter().map(|(name, field)| (name.clone(), field.clone())));
        }
        _ => return vec![format!("the schema of {} is no object", exchange.route)],
    }
    match jsonschema::validator_for(&whole) {
        Ok(validator) => validator
            .iter_errors(&exchange.answer)
            .map(|error| format!("{error}, at {}", error.instance_path()))
            .collect(),
        Err(error) => vec![format!("the schema of {} cannot be used: {error}", exchange.route)],
    }
}
