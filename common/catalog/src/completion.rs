//! Completes the input of a run from the request, earlier stages and defaults.

use indexmap::IndexMap;
use onceover_types::{NodeName, Object};
use serde_json::Value;

use crate::{
    Fallback, NodeSpec, ParameterSpec, is_empty_value,
    pipeline::{Reference, Referent},
};

/// Why an input cannot be completed: a sentence for people that names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompletionError(String);

/// Completes a request's `input_data`: an explicit value that is not null (a text that is entirely
/// `${{ stages.<node>.output.<field> }}` stands for that value), else the first fallback that is not empty,
/// else the default. Parameters that the node does not have pass unchanged.
pub fn resolve_input(
    spec: &NodeSpec,
    input: &Object,
    stages: &IndexMap<NodeName, Object>,
) -> Result<Object, CompletionError> {
    let mut resolved = Object::new();
    for (name, value) in input {
        if !value.is_null() {
            resolved.insert(name.clone(), replace_placeholder(name, value, stages)?);
        }
    }
    for parameter in &spec.parameters {
        let given = parameter.given(&resolved).map(|(_, value)| value.clone());
        for alias in &parameter.aliases {
            resolved.shift_remove(alias);
        }
        let earlier = || {
            parameter
                .fallbacks
                .iter()
                .find_map(|fallback| from_stage(fallback, stages))
        };
        let value = given.or_else(|| earlier().or(parameter.default.as_ref()).cloned());
        if let Some(value) = value {
            resolved.insert(parameter.name.clone(), value);
        }
    }
    // The input is checked again, since values of earlier stages have not been checked yet.
    let errors = spec.check_completed(&resolved);
    if errors.is_empty() {
        return Ok(resolved);
    }
    let errors: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {}", error.field, error.message))
        .collect();
    Err(CompletionError(format!(
        "the input of {} cannot be used: {}",
        spec.name,
        errors.join("; ")
    )))
}

/// Makes the error for a parameter that nothing provides.
pub fn missing(parameter: &ParameterSpec) -> CompletionError {
    let name = &parameter.name;
    let sources: Vec<_> = parameter
        .fallbacks
        .iter()
        .map(|fallback| format!("{} (its {})", fallback.node, fallback.field))
        .collect();
    CompletionError(if sources.is_empty() {
        format!("input_data.{name} is missing: {}", parameter.meaning)
    } else {
        format!(
            "input_data.{name} is missing and no earlier stage of this task provides it; give it, or run first: {}",
            sources.join(", or ")
        )
    })
}

/// Returns the value that a fallback finds; empty values do not count.
pub fn from_stage<'a>(fallback: &Fallback, stages: &'a IndexMap<NodeName, Object>) -> Option<&'a Value> {
    field(stages.get(&fallback.node)?, &fallback.field).filter(|value| !is_empty_value(value))
}

/// Returns the stage that a value refers to, as `${{ stages.<node>.output.<field> }}` does.
pub fn referenced_node(value: &Value) -> Option<NodeName> {
    match Reference::parse_value(value)?.single()? {
        Referent::Output { node, .. } => NodeName::parse(node).ok(),
        Referent::Video(_) | Referent::Unknown(_) => None,
    }
}

fn replace_placeholder(
    name: &str,
    value: &Value,
    stages: &IndexMap<NodeName, Object>,
) -> Result<Value, CompletionError> {
    let Some(reference) = Reference::parse_value(value) else {
        return Ok(value.clone());
    };
    let error = |why: String| {
        let text = value.as_str().unwrap_or_default();
        CompletionError(format!("input_data.{name} is '{text}': {why}"))
    };
    let Some(Referent::Output { node, field: path }) = reference.single() else {
        return Err(error("write it as ${{ stages.<node>.output.<field> }}".into()));
    };
    let Some(output) = stages.get(node) else {
        return Err(error(format!("this task has no successful stage {node}")));
    };
    field(output, path)
        .filter(|value| !value.is_null())
        .cloned()
        .ok_or_else(|| {
            let fields: Vec<_> = output.keys().map(String::as_str).collect();
            error(format!(
                "the output of {node} has no {path}; it has {}",
                fields.join(", ")
            ))
        })
}

/// Finds a field by name, or by a dotted path into nested objects and, by position from 0, arrays.
fn field<'a>(object: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    match object.get(first)? {
        Value::Object(inner) => field(inner, rest),
        Value::Array(items) => items.get(rest.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::parse_node;

    fn object(value: Value) -> Object {
        value.as_object().expect("a JSON object").clone()
    }

    fn stages() -> IndexMap<NodeName, Object> {
        [
            (
                "a.first",
                json!({"file": "", "nested": {"file": "/deep"}, "list": [1, 2]}),
            ),
            ("a.second", json!({"file": "/second", "count": 3})),
        ]
        .into_iter()
        .map(|(node, output)| (NodeName::parse(node).unwrap(), object(output)))
        .collect()
    }

    fn node(parameters: &str) -> NodeSpec {
        parse_node(&format!(
            "name = \"demo.node\"\nrunner = {{ command = [\"true\"] }}\n{parameters}"
        ))
        .unwrap()
    }

    fn resolve(parameters: &str, input: Value) -> Result<Value, String> {
        resolve_input(&node(parameters), &object(input), &stages())
            .map(Value::Object)
            .map_err(|error| error.to_string())
    }

    const FILE: &str = r#"
        [[parameters]]
        name = "file"
        type = "path"
        fallbacks = [{ node = "a.first", field = "file" }, { node = "a.second", field = "file" }]
    "#;

    #[test]
    fn an_explicit_value_wins_then_the_first_fallback_that_is_not_empty() {
        assert_eq!(resolve(FILE, json!({"file": "/x"})), Ok(json!({"file": "/x"})));
        assert_eq!(resolve(FILE, json!({})), Ok(json!({"file": "/second"})));
        assert_eq!(resolve(FILE, json!({"file": null})), Ok(json!({"file": "/second"})));
        assert_eq!(
            resolve(FILE, json!({"other": 1})),
            Ok(json!({"other": 1, "file": "/second"}))
        );
    }

    #[test]
    fn a_fallback_may_name_a_nested_field_or_an_element() {
        let nested = r#"
            [[parameters]]
            name = "file"
            type = "path"
            fallbacks = [{ node = "a.first", field = "nested.file" }]
        "#;
        assert_eq!(resolve(nested, json!({})), Ok(json!({"file": "/deep"})));
        let element = |position: usize| {
            format!(
                "[[parameters]]\nname = 'n'\ntype = 'integer'\n\
                 fallbacks = [{{ node = 'a.first', field = 'list.{position}' }}]"
            )
        };
        assert_eq!(resolve(&element(1), json!({})), Ok(json!({"n": 2})));
        assert_eq!(resolve(&element(2), json!({})), Ok(json!({})));
    }

    #[test]
    fn defaults_come_last_and_a_required_parameter_names_who_could_provide_it() {
        let parameters = r#"
            [[parameters]]
            name = "count"
            type = "integer"
            default = 100
            [[parameters]]
            name = "area"
            type = "array"
            required = true
            fallbacks = [{ node = "a.third", field = "area" }]
        "#;
        let error = resolve(parameters, json!({})).unwrap_err();
        assert!(
            error.contains("input_data.area") && error.contains("a.third"),
            "{error}"
        );
        assert_eq!(
            resolve(parameters, json!({"area": [1]})),
            Ok(json!({"area": [1], "count": 100}))
        );
    }

    #[test]
    fn an_alias_counts_where_the_parameter_itself_is_not_given() {
        let parameters = r#"
            [[parameters]]
            name = "voice"
            type = "path"
            aliases = ["reference_audio", "speaker_audio"]
        "#;
        let of = |input: Value| resolve(parameters, input).unwrap();
        assert_eq!(of(json!({"speaker_audio": "/s"})), json!({"voice": "/s"}));
        assert_eq!(
            of(json!({"speaker_audio": "/s", "reference_audio": "/r"})),
            json!({"voice": "/r"})
        );
        assert_eq!(
            of(json!({"speaker_audio": "${{ stages.a.second.output.file }}", "voice": "/v"})),
            json!({"voice": "/v"})
        );
    }

    #[test]
    fn a_placeholder_stands_for_an_earlier_stages_value() {
        let of = |text: &str| resolve("", json!({"x": text}));
        assert_eq!(of("${{ stages.a.first.output.list }}"), Ok(json!({"x": [1, 2]})));
        assert_eq!(of("${{stages.a.first.output.nested.file}}"), Ok(json!({"x": "/deep"})));
        let part = "see ${{ stages.a.first.output.list }}";
        assert_eq!(of(part), Ok(json!({"x": part})));
        for (bad, named) in [
            ("${{ stages.a.third.output.x }}", "a.third"),
            ("${{ stages.a.second.output.gone }}", "gone"),
            ("${{ a.second.file }}", "stages.<node>.output.<field>"),
            (
                "${{ stages.a.third.output.x || stages.a.second.output.file }}",
                "stages.<node>.output.<field>",
            ),
        ] {
            let error = of(bad).unwrap_err();
            assert!(error.contains("input_data.x") && error.contains(named), "{error}");
        }
    }

    #[test]
    fn values_of_earlier_stages_are_checked_like_the_requests() {
        let error = resolve(FILE, json!({"file": "${{ stages.a.second.output.count }}"})).unwrap_err();
        assert!(error.contains("input_data.file") && error.contains("path"), "{error}");
    }
}
