//! With what input a node's examples are recorded, and what answers where the node itself cannot.

use std::{collections::BTreeMap, fs, path::Path};

use onceover_catalog::{NodeSpec, OutputSpec, ParameterSpec, RunnerSpec, ValueKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const SCENARIOS: &str = include_str!("../../reference/scenarios.toml");

/// What scenarios call the folder of samples.
const MEDIA: &str = "@media";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    input: Map<String, Value>,
    output: Option<Map<String, Value>>,
}

/// One node's.
pub struct Scenario {
    pub input: Map<String, Value>,
    /// The output a stand-in gives; none: the node runs for real.
    pub stand_in: Option<Map<String, Value>>,
}

impl Scenario {
    /// For a node, with its files in the folder of samples; those that are not there are made, empty.
    pub fn of(spec: &NodeSpec, media: &Path) -> Self {
        let mut all: BTreeMap<String, Given> = toml::from_str(SCENARIOS).expect("tests/reference/scenarios.toml");
        let given = all.remove(spec.name.as_str());
        let mut input = match (&given, &spec.example) {
            (Some(given), _) => given.input.clone(),
            (None, Some(example)) => example.input.clone().into_iter().map(below_media).collect(),
            (None, None) => Map::new(),
        };
        complete(&mut input, spec);
        let runs = matches!(spec.runner, RunnerSpec::Builtin(_));
        let given_output = given.as_ref().and_then(|given| given.output.clone());
        let stand_in = match (runs, &given, given_output) {
            (true, Some(_), None) => None,
            (_, _, output) => Some(documented_output(spec, output)),
        };
        let mut input = Value::Object(input);
        place(&mut input, media);
        let Value::Object(input) = input else {
            unreachable!("it was an object")
        };
        Self { input, stand_in }
    }
}

/// Puts the folder's path in and makes files that are not there.
fn place(value: &mut Value, media: &Path) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(MEDIA) {
                let path = media.join(rest.trim_start_matches('/'));
                if !path.exists() {
                    fs::write(&path, "").expect("a sample is made");
                }
                *text = path.display().to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| place(item, media)),
        Value::Object(fields) => fields.values_mut().for_each(|field| place(field, media)),
        _ => {}
    }
}

/// An example's file, as one of the samples.
fn below_media((name, value): (String, Value)) -> (String, Value) {
    let file = value.as_str().filter(|text| text.starts_with('/'));
    let file = file
        .and_then(|text| text.rsplit('/').next())
        .map(|file| json!(format!("{MEDIA}/{file}")));
    (name, file.unwrap_or(value))
}

/// Adds something of the right type for what a request must give and this one does not.
fn complete(input: &mut Map<String, Value>, spec: &NodeSpec) {
    for parameter in spec.parameters.iter().filter(|parameter| parameter.required) {
        if parameter.given(input).is_none() {
            input.insert(parameter.name.clone(), sketch_parameter(parameter));
        }
    }
    for group in &spec.one_of {
        let parameters = group.iter().filter_map(|name| spec.parameter(name));
        let is_given = parameters.clone().any(|parameter| parameter.given(input).is_some());
        let files_first = parameters.min_by_key(|parameter| parameter.kind != ValueKind::Path);
        if let Some(parameter) = files_first.filter(|_| !is_given) {
            input.insert(parameter.name.clone(), sketch_parameter(parameter));
        }
    }
}

fn sketch_parameter(parameter: &ParameterSpec) -> Value {
    if let Some(first) = parameter.allowed.first() {
        return first.clone();
    }
    match parameter.kind {
        ValueKind::Path => json!(format!("{MEDIA}/{}", parameter.name)),
        ValueKind::Integer | ValueKind::Number => json!(parameter.min.unwrap_or(1.0)),
        kind => sketch(kind, &parameter.name),
    }
}

fn sketch(kind: ValueKind, name: &str) -> Value {
    match kind {
        ValueKind::String => json!(name),
        ValueKind::Integer => json!(1),
        ValueKind::Number => json!(1.5),
        ValueKind::Boolean => json!(true),
        ValueKind::Array => json!([name]),
        ValueKind::Object => json!({ name: 1 }),
        ValueKind::Path => json!(format!("@file:{name}")),
    }
}

/// Every declared output that is always there: the scenario's, else the example's, else something of its type.
fn documented_output(spec: &NodeSpec, given: Option<Map<String, Value>>) -> Map<String, Value> {
    let example = spec.example.as_ref().map(|example| &example.output);
    let value = |declared: &OutputSpec| {
        let given = given.as_ref().and_then(|given| given.get(&declared.name)).cloned();
        given
            .or_else(|| Some(made_anew(example?.get(&declared.name)?, declared.kind)))
            .unwrap_or_else(|| sketch(declared.kind, &declared.name))
    };
    let named = |declared: &OutputSpec| (declared.name.clone(), value(declared));
    let is_always_there = |declared: &&OutputSpec| !declared.meaning.starts_with("Only ");
    spec.outputs.iter().filter(is_always_there).map(named).collect()
}

/// An example's value; a path in it is a file that the stand-in makes.
fn made_anew(value: &Value, kind: ValueKind) -> Value {
    let path = value
        .as_str()
        .filter(|text| kind == ValueKind::Path && text.starts_with('/'));
    match path.and_then(|text| text.rsplit('/').next()) {
        Some(name) => json!(format!("@file:{name}")),
        None => value.clone(),
    }
}
