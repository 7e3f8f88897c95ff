//! The node catalog: what nodes there are, what they take, what they give, what makes a result worth
//! reusing. Data (`assets/nodes/*.toml` and the configuration file), read by one parser and checked by
//! one validator.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{FieldError, NodeName};

/// One node, as its TOML file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    pub name: NodeName,
    /// A few words.
    #[serde(default)]
    pub title: String,
    /// One or two sentences.
    #[serde(default)]
    pub purpose: String,
    /// Resource class whose slots a run uses: cpu, gpu, io, llm, or one of the configuration.
    #[serde(default = "default_queue")]
    pub queue: String,
    /// A run that takes longer is ended and FAILED.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
    pub runner: RunnerSpec,
    /// How a request that says nothing about reuse is treated.
    #[serde(default)]
    pub reuse: ReusePolicy,
    /// Output fields that must be present and non-empty for a hit (R2); none: the output object must be non-empty.
    #[serde(default)]
    pub reuse_fields: Vec<String>,
    #[serde(default)]
    pub parameters: Vec<ParameterSpec>,
    #[serde(default)]
    pub outputs: Vec<OutputSpec>,
}

fn default_queue() -> String {
    "cpu".into()
}

fn default_timeout() -> u64 {
    1800
}

/// How a stored result is treated when the request does not say (R8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReusePolicy {
    /// Reused, also for other input; the answer says so.
    #[default]
    Auto,
    /// Reused only for the same input.
    Strict,
    /// Reused for the same input; other input under the same task is refused (409).
    Refuse,
    /// Never reused.
    Off,
}

impl ReusePolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Refuse => "refuse",
            Self::Off => "off",
        }
    }
}

/// What runs the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunnerSpec {
    /// A node written in Rust, inside the daemon: `builtin = "ffmpeg.extract_audio"`.
    Builtin(String),
    /// A program and its arguments that speaks the command protocol: `command = ["python3", "node.py"]`.
    Command(Vec<String>),
}

impl RunnerSpec {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Builtin(_) => "builtin",
            Self::Command(_) => "command",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ValueKind,
    #[serde(default)]
    pub required: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The values allowed; empty: any of the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(default)]
    pub meaning: String,
    /// Where the value comes from when the request leaves it out: `<node>.output.<field>` of earlier
    /// successful stages of the same task, the first that has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// One output field of an earlier stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    pub node: NodeName,
    pub field: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ValueKind,
    #[serde(default)]
    pub meaning: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueKind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    /// A file or folder below an allowed root.
    Path,
}

impl ValueKind {
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String | Self::Path => value.is_string(),
            // 4.0 is an integer to JSON Schema, and to people.
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Array => "an array",
            Self::Object => "an object",
            Self::Path => "a path (a string)",
        }
    }
}

/// Empty as the rules mean it: null, "", {} or [].
pub fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

impl NodeSpec {
    pub fn parameter(&self, name: &str) -> Option<&ParameterSpec> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Whether a result is worth reusing: its reuse fields are present and non-empty (R2).
    pub fn output_is_reusable(&self, output: &Map<String, Value>) -> bool {
        if self.reuse_fields.is_empty() {
            return !output.is_empty();
        }
        self.reuse_fields
            .iter()
            .all(|field| output.get(field).is_some_and(|value| !is_empty_value(value)))
    }

    /// Checks a request's `input_data`: required parameters, types, allowed values, ranges. Parameters
    /// the node does not have are let through, since clients of the older gateway send some. `null`
    /// counts as left out.
    pub fn check_input(&self, input: &Map<String, Value>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for parameter in &self.parameters {
            let field = format!("input_data.{}", parameter.name);
            let Some(value) = input.get(&parameter.name).filter(|value| !value.is_null()) else {
                if parameter.required {
                    errors.push(FieldError::new(
                        field,
                        format!("{} needs it: {}", self.name, parameter.meaning),
                    ));
                }
                continue;
            };
            if !parameter.kind.accepts(value) {
                errors.push(FieldError::new(
                    field,
                    format!("it must be {}", parameter.kind.in_words()),
                ));
                continue;
            }
            if parameter.required && is_empty_value(value) {
                errors.push(FieldError::new(field, "it must not be empty"));
                continue;
            }
            if !parameter.allowed.is_empty() && !parameter.allowed.contains(value) {
                let allowed: Vec<_> = parameter.allowed.iter().map(Value::to_string).collect();
                errors.push(FieldError::new(
                    field,
                    format!("it must be one of {}", allowed.join(", ")),
                ));
                continue;
            }
            if let Some(number) = value.as_f64() {
                if let Some(min) = parameter.min.filter(|min| number < *min) {
                    errors.push(FieldError::new(field, format!("it must be at least {min}")));
                } else if let Some(max) = parameter.max.filter(|max| number > *max) {
                    errors.push(FieldError::new(field, format!("it must be at most {max}")));
                }
            }
        }
        errors
    }
}

/// Every node, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    nodes: IndexMap<NodeName, NodeSpec>,
}

impl Catalog {
    /// Adds a node; one of the same name is replaced, so that the configuration can override what is shipped.
    pub fn insert(&mut self, spec: NodeSpec) {
        self.nodes.insert(spec.name.clone(), spec);
    }

    pub fn get(&self, name: &str) -> Option<&NodeSpec> {
        self.nodes.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.values()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// Reads one node file.
pub fn parse_node(text: &str) -> Result<NodeSpec, toml::de::Error> {
    toml::from_str(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node() -> NodeSpec {
        parse_node(
            r#"
            name = "demo.node"
            reuse_fields = ["out"]
            runner = { command = ["true"] }
            [[parameters]]
            name = "count"
            type = "integer"
            min = 1
            required = true
            [[parameters]]
            name = "format"
            type = "string"
            allowed = ["wav", "flac"]
            "#,
        )
        .unwrap()
    }

    fn fields(input: Value) -> Vec<String> {
        node()
            .check_input(input.as_object().unwrap())
            .into_iter()
            .map(|error| error.field)
            .collect()
    }

    #[test]
    fn o4_a_parameter_error_names_the_parameter() {
        assert_eq!(fields(json!({})), ["input_data.count"]);
        assert_eq!(fields(json!({"count": "3"})), ["input_data.count"]);
        assert_eq!(fields(json!({"count": 1.5})), ["input_data.count"]);
        assert_eq!(fields(json!({"count": 0})), ["input_data.count"]);
        assert_eq!(fields(json!({"count": 1, "format": "ogg"})), ["input_data.format"]);
        assert!(fields(json!({"count": 2.0, "format": null, "other": 1})).is_empty());
    }

    #[test]
    fn r2_reuse_fields_must_be_present_and_non_empty() {
        for (output, reusable) in [
            (json!({"out": "x"}), true),
            (json!({"out": 0}), true),
            (json!({"out": false}), true),
            (json!({"out": ""}), false),
            (json!({"out": null}), false),
            (json!({"out": []}), false),
            (json!({"out": {}}), false),
            (json!({"other": 1}), false),
            (json!({}), false),
        ] {
            assert_eq!(
                node().output_is_reusable(output.as_object().unwrap()),
                reusable,
                "{output}"
            );
        }
    }
}
