//! The node catalog: which nodes there are, what they take, what they give, and what makes a result worth reusing. All
//! of it is data (`assets/nodes/*.toml` and the configuration file), read by one parser and checked by one validator.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod completion;
mod every;
#[cfg(test)]
mod fuzz;
mod parameter;
pub mod pipeline;
mod profile;
mod queue;
mod runner;
mod schema;
pub mod shipped;
mod unknown;
mod variant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::{
    every::Catalog,
    parameter::{Content, Fallback, ParameterSpec, PathContent, ValueKind, is_empty_value, is_placeholder},
    profile::{Profile, ProfileDefaults, UnknownProfile},
    queue::{DeviceQueues, Gpu, QueueSpec, asks_for_gpu},
    runner::RunnerSpec,
    variant::Variant,
};
use onceover_types::{FieldError, NodeName, read_toml};

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
    /// Resource class whose slots a run uses: cpu, gpu, io, llm, or one of the configuration; or one by its device.
    #[serde(default)]
    pub queue: QueueSpec,
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
    /// What a run needs beside the runner itself.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Variables that the program gets from the daemon's environment where they are set, beside `needs.environment`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    #[serde(default)]
    pub parameters: Vec<ParameterSpec>,
    /// Groups of parameters; of each group at least one must come from the request or an earlier stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Vec<String>>,
    /// How the node runs for requests that give a parameter a certain value; the first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    #[serde(default)]
    pub outputs: Vec<OutputSpec>,
    /// How far this node has been tested, where that is not to the end: `runner tested up to model loading`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<String>,
    /// A request and what a run of it gives, for the reference and the API's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

/// What must be on the machine for a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Programs on the PATH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Variables of the daemon's environment, keys of services for example. Only the node's program gets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
    /// Models, by the parameters that name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelNeed>,
    /// Keys of services that only some requests need; to be declared in `environment` of the node, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyNeed>,
    /// The parameter that asks for a GPU when its value begins with `cuda` or `gpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

impl Needs {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A model that must be on the machine: the value of a parameter is a folder, a file, or a name whose copy is in the
/// cache of Hugging Face or ModelScope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelNeed {
    /// The parameter; without a value nothing is needed.
    pub parameter: String,
    #[serde(default)]
    pub hub: Hub,
    /// What stands before the value in the model's name: `Qwen/Qwen3-ASR-` before `0.6B`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Needed only while this boolean parameter is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Not needed while this boolean parameter is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<String>,
}

/// A variable of the daemon's environment that is needed while a boolean parameter is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyNeed {
    pub variable: String,
    pub when: String,
}

/// Which cache has a model that is given by name and not as a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hub {
    /// The Hugging Face cache (`HF_HOME`); names without a slash are not judged.
    #[default]
    HuggingFace,
    /// The ModelScope cache (`MODELSCOPE_CACHE`); names without a slash are not judged.
    ModelScope,
    /// None: the value must be a path that exists.
    Path,
}

/// A request and what a run of it gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub output: Map<String, Value>,
}

fn default_timeout() -> u64 {
    1800
}

/// How a stored result is treated when the request does not say (R8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// What the file or list holds, for parameters that take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<Content>,
    #[serde(default)]
    pub meaning: String,
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

    /// Checks a request's `input_data`: required parameters that no earlier stage could give, types, allowed values,
    /// ranges. `null` counts as left out. Of names that are no parameter's see [`NodeSpec::unknown_inputs`].
    pub fn check_input(&self, input: &Map<String, Value>) -> Vec<FieldError> {
        self.check(input, InputState::Submitted)
    }

    /// Checks an input that is complete: what is missing now, no earlier stage has given.
    pub fn check_completed(&self, input: &Map<String, Value>) -> Vec<FieldError> {
        self.check(input, InputState::Completed)
    }

    fn check(&self, input: &Map<String, Value>, state: InputState) -> Vec<FieldError> {
        let may_come = |parameter: &ParameterSpec| state == InputState::Submitted && !parameter.fallbacks.is_empty();
        let mut errors = Vec::new();
        for parameter in &self.parameters {
            match parameter.given(input) {
                // The placeholder is resolved, and its value checked, when the run starts.
                Some((_, value)) if state == InputState::Submitted && is_placeholder(value) => {}
                Some((name, value)) => errors.extend(
                    parameter
                        .refusal(value)
                        .map(|message| FieldError::new(format!("input_data.{name}"), message)),
                ),
                None if parameter.required && parameter.default.is_none() && !may_come(parameter) => {
                    errors.push(FieldError::new(
                        format!("input_data.{}", parameter.name),
                        format!("{} needs it: {}{}", self.name, parameter.meaning, sources(&[parameter])),
                    ));
                }
                None => {}
            }
        }
        for group in &self.one_of {
            let parameters: Vec<_> = group.iter().filter_map(|name| self.parameter(name)).collect();
            let comes = |parameter: &&ParameterSpec| {
                parameter.given(input).is_some() || parameter.default.is_some() || may_come(parameter)
            };
            if parameters.iter().any(comes) {
                continue;
            }
            let sources = sources(&parameters);
            errors.extend(group.iter().map(|name| {
                FieldError::new(
                    format!("input_data.{name}"),
                    format!("{} needs one of {}{sources}", self.name, group.join(", ")),
                )
            }));
        }
        errors
    }

    /// Returns what a request leaves to earlier stages and cannot do without: groups of parameters of which one is
    /// enough.
    pub fn left_to_stages(&self, input: &Map<String, Value>) -> Vec<Vec<&ParameterSpec>> {
        let required = self.parameters.iter().filter(|parameter| parameter.required);
        let groups = required.map(|parameter| vec![parameter]).chain(
            self.one_of
                .iter()
                .map(|group| group.iter().filter_map(|name| self.parameter(name)).collect()),
        );
        groups
            .filter(|group: &Vec<&ParameterSpec>| {
                let has_value =
                    |parameter: &&ParameterSpec| parameter.default.is_some() || parameter.given(input).is_some();
                !group.iter().any(has_value) && group.iter().any(|parameter| !parameter.fallbacks.is_empty())
            })
            .collect()
    }

    /// Makes the error for a group that [`NodeSpec::left_to_stages`] names and no stage gives.
    pub fn not_left_to_stages(&self, group: &[&ParameterSpec]) -> Vec<FieldError> {
        let names: Vec<_> = group.iter().map(|parameter| parameter.name.as_str()).collect();
        let it = match names.as_slice() {
            [_] => "it".to_owned(),
            _ => format!("one of {}", names.join(", ")),
        };
        let sources = sources(group);
        let error = |name: &&str| {
            FieldError::new(
                format!("input_data.{name}"),
                format!(
                    "{} needs {it}, and no earlier stage of this task provides it{sources}",
                    self.name
                ),
            )
        };
        names.iter().map(error).collect()
    }

    /// Returns what is wrong with the node itself: names of nothing that exists, defaults and examples that its own
    /// checks refuse.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let named = self.one_of.iter().flatten();
        let models = self.needs.models.iter();
        let named = named
            .chain(models.flat_map(|model| [&model.parameter].into_iter().chain(&model.when).chain(&model.unless)));
        let named = named.chain(self.needs.keys.iter().map(|key| &key.when));
        let device = self.queue.by_device().map(|queues| &queues.by);
        for name in named.chain(&self.needs.gpu).chain(device) {
            if self.parameter(name).is_none() {
                faults.push(format!("there is no parameter '{name}'"));
            }
        }
        for key in &self.needs.keys {
            if !self.environment.contains(&key.variable) {
                faults.push(format!("'{}' must stand in environment, too", key.variable));
            }
        }
        let holds = |kind: ValueKind| matches!(kind, ValueKind::Path | ValueKind::Array);
        let takes = self.parameters.iter().filter(|parameter| !parameter.takes.is_empty());
        let gives = self.outputs.iter().filter(|output| output.gives.is_some());
        let kinds = takes.map(|parameter| (&parameter.name, parameter.kind));
        for (name, _) in kinds
            .chain(gives.map(|output| (&output.name, output.kind)))
            .filter(|(_, kind)| !holds(*kind))
        {
            faults.push(format!(
                "'{name}' must be a path or an array to hold what it takes or gives"
            ));
        }
        faults.extend(self.faults_of_variants());
        faults.extend(self.faults_of_defaults());
        if let Some(example) = &self.example {
            let errors = self.check_input(&example.input);
            faults.extend(
                errors
                    .iter()
                    .map(|error| format!("its example: {}: {}", error.field, error.message)),
            );
            for (name, value) in &example.output {
                match self.outputs.iter().find(|output| output.name == *name) {
                    None => faults.push(format!("its example: there is no output '{name}'")),
                    Some(output) if !output.kind.accepts(value) => {
                        faults.push(format!("its example: '{name}' must be {}", output.kind.in_words()));
                    }
                    Some(_) => {}
                }
            }
        }
        faults
    }
}

/// Which values an input that is checked can still get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    /// Values of earlier stages, for parameters that are left out and for placeholders.
    Submitted,
    /// None.
    Completed,
}

/// Returns where values come from that a request leaves out, as the end of a message.
fn sources(parameters: &[&ParameterSpec]) -> String {
    let sources: Vec<_> = parameters
        .iter()
        .flat_map(|parameter| &parameter.fallbacks)
        .map(|fallback| format!("{} (its {})", fallback.node, fallback.field))
        .collect();
    if sources.is_empty() {
        return String::new();
    }
    format!("; give it, or run first: {}", sources.join(", or "))
}

/// Reads one node file.
pub fn parse_node(text: &str) -> Result<NodeSpec, toml::de::Error> {
    read_toml(text)
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
    fn o4_elements_lengths_aliases_and_groups_are_checked_too() {
        let node = parse_node(
            r#"
            name = "demo.node"
            runner = { command = ["true"] }
            one_of = [["inline", "file"]]
            [[parameters]]
            name = "area"
            type = "array"
            items = "integer"
            min = 0
            min_length = 4
            max_length = 4
            aliases = ["box"]
            [[parameters]]
            name = "words"
            type = "array"
            also = ["string"]
            max_length = 3
            [[parameters]]
            name = "inline"
            type = "array"
            [[parameters]]
            name = "file"
            type = "path"
            "#,
        )
        .unwrap();
        let check = |input: Value| -> Vec<String> {
            let errors = node.check_input(input.as_object().unwrap());
            errors.into_iter().map(|error| error.field).collect()
        };
        assert_eq!(check(json!({})), ["input_data.inline", "input_data.file"]);
        assert!(check(json!({"file": "/x", "area": [0, 1, 2, 3], "words": "a"})).is_empty());
        for area in [json!([1, 2, 3]), json!([1, 2, 3, "4"]), json!([1, 2, 3, -4]), json!({})] {
            assert_eq!(check(json!({"file": "/x", "area": area})), ["input_data.area"]);
        }
        assert_eq!(check(json!({"file": "/x", "box": [1]})), ["input_data.box"]);
        assert_eq!(check(json!({"file": "/x", "words": "abcd"})), ["input_data.words"]);
        assert_eq!(check(json!({"file": "/x", "words": 1})), ["input_data.words"]);
    }

    #[test]
    fn what_an_earlier_stage_may_give_is_missed_only_once_the_input_is_complete() {
        let node = parse_node(
            r#"
            name = "demo.node"
            runner = { command = ["true"] }
            one_of = [["inline", "other"]]
            [[parameters]]
            name = "file"
            type = "path"
            required = true
            fallbacks = [{ node = "a.first", field = "file" }]
            [[parameters]]
            name = "inline"
            type = "array"
            [[parameters]]
            name = "other"
            type = "path"
            fallbacks = [{ node = "a.second", field = "file" }]
            "#,
        )
        .unwrap();
        assert!(node.check_input(&Map::new()).is_empty());
        let errors = node.check_completed(&Map::new());
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["input_data.file", "input_data.inline", "input_data.other"]);
        assert!(errors[0].message.contains("a.first") && errors[1].message.contains("a.second"));
    }

    #[test]
    fn a_node_that_contradicts_itself_says_so() {
        let node = parse_node(
            r#"
            name = "demo.node"
            runner = { python = "demo/node.py" }
            one_of = [["count", "gone"]]
            [needs]
            gpu = "device"
            models = [{ parameter = "model_name" }]
            [[parameters]]
            name = "count"
            type = "integer"
            default = "many"
            takes = ["turns"]
            [example]
            input = { count = "1" }
            output = { text = "x" }
            "#,
        )
        .unwrap();
        let faults = node.faults();
        let expected = [
            "'gone'",
            "'model_name'",
            "'device'",
            "'count' must be a path",
            "default of 'count'",
            "input_data.count",
            "output 'text'",
        ];
        for (fault, named) in faults.iter().zip(expected) {
            assert!(fault.contains(named), "{fault}");
        }
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
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
