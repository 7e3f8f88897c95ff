//! Parameters of a node: which values they may have, and whether a value is one of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    pipeline::Reference,
    profile::{ProfileDefaults, ReplacedDefault},
};
use onceover_types::NodeName;

/// One parameter of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ParameterSpec {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// Other types a value may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<ValueKind>,
    /// Type of an array's elements; any type if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ValueKind>,
    /// What must be at a path that a request gives.
    #[serde(default, skip_serializing_if = "PathContent::is_default")]
    pub expects: PathContent,
    /// What a file or list that it takes may hold; each output that gives one of these can be its value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Content>,
    /// Whether the request or, where there are fallbacks, an earlier stage must give it.
    #[serde(default)]
    pub required: bool,
    /// Other names under which a request may give it; the first that is given counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Defaults in its place where the configuration names a profile, cpu or cuda.
    #[serde(default, skip_serializing_if = "ProfileDefaults::is_empty")]
    pub default_by_profile: ProfileDefaults,
    /// The default of the node file, where the configuration has another.
    #[serde(skip)]
    pub(super) replaced_default: Option<ReplacedDefault>,
    /// The values allowed; empty: any of the type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Value>,
    /// Smallest number, also of an array's elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number, also of an array's elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Fewest characters of a text, or elements of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// Most characters of a text, or elements of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    #[serde(default)]
    pub meaning: String,
    /// Where the value comes from when the request leaves it out: `<node>.output.<field>` of earlier
    /// successful stages of the same task, the first that has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// What must be at a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathContent {
    /// A file or a folder.
    #[default]
    FileOrFolder,
    File,
    /// Anything or nothing: the node does not open it.
    Anything,
}

impl PathContent {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a file or a list holds, by which outputs and parameters fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Speech as text: segments with start, end and text, and with words where their times are known.
    Transcript,
    /// Text that is shown: cues with start, end and text.
    Subtitles,
    /// Who speaks: segments with start, end and speaker.
    Turns,
    /// Speech as sound: when each cue is spoken, and which file has its sound.
    Clips,
    /// Moving pictures, mostly with sound.
    Video,
    /// Sound alone.
    Sound,
}

/// One output field of an earlier stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    pub node: NodeName,
    /// Name of the field, or a dotted path into nested objects.
    pub field: String,
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// Whether a value has this type.
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String | Self::Path => value.is_string(),
            // To JSON Schema, and to people, 4.0 is an integer.
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    /// Returns the word that node files and JSON have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Path => "path",
        }
    }

    /// Returns the type for people: `a path (a string)`.
    pub fn in_words(self) -> &'static str {
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

/// Whether a value is empty as the rules mean it: null, "", {} or [].
pub fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text stands for a value of an earlier stage, and so cannot be checked at submit.
pub fn is_placeholder(value: &Value) -> bool {
    Reference::parse_value(value).is_some()
}

/// Whether JSON Schema takes the two for the same value: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

impl ParameterSpec {
    /// Whether a request may give it under this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }

    /// Returns the value that an input gives it, and the name under which it does; `null` counts as left out.
    pub fn given<'a>(&'a self, input: &'a Map<String, Value>) -> Option<(&'a str, &'a Value)> {
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .find_map(|name| Some((name.as_str(), input.get(name).filter(|value| !value.is_null())?)))
    }

    /// Returns the value that an input gives it, else its default.
    pub fn value<'a>(&'a self, input: &'a Map<String, Value>) -> Option<&'a Value> {
        self.given(input).map(|(_, value)| value).or(self.default.as_ref())
    }

    /// Returns what is wrong with a value that is not null; `None` if nothing is.
    pub fn refusal(&self, value: &Value) -> Option<String> {
        if !self.kinds().any(|kind| kind.accepts(value)) {
            let kinds: Vec<_> = self.kinds().map(ValueKind::in_words).collect();
            return Some(format!("it must be {}", kinds.join(" or ")));
        }
        if let (Some(items), Value::Array(values)) = (self.items, value)
            && let Some(at) = values.iter().position(|value| !items.accepts(value))
        {
            return Some(format!(
                "each of its elements must be {}; number {} is not",
                items.in_words(),
                at + 1
            ));
        }
        if self.required && is_empty_value(value) {
            return Some("it must not be empty".into());
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| is_same(allowed, value)) {
            let allowed: Vec<_> = self.allowed.iter().map(Value::to_string).collect();
            return Some(format!("it must be one of {}", allowed.join(", ")));
        }
        self.out_of_range(value).or_else(|| self.of_wrong_length(value))
    }

    /// Returns the values that it can have, where these can be listed: what is allowed, or true and false.
    pub fn choices(&self) -> Vec<Value> {
        if self.allowed.is_empty() && self.kind == ValueKind::Boolean && self.also.is_empty() {
            return vec![true.into(), false.into()];
        }
        self.allowed.clone()
    }

    /// Returns every kind of value that it takes.
    pub fn kinds(&self) -> impl Iterator<Item = ValueKind> {
        std::iter::once(self.kind).chain(self.also.iter().copied())
    }

    fn out_of_range(&self, value: &Value) -> Option<String> {
        let (numbers, of) = match value {
            Value::Array(values) => (values.as_slice(), "each of its elements"),
            one => (std::slice::from_ref(one), "it"),
        };
        numbers.iter().filter_map(Value::as_f64).find_map(|number| {
            let too_small = self.min.filter(|min| number < *min);
            let too_large = self.max.filter(|max| number > *max);
            match (too_small, too_large) {
                (Some(min), _) => Some(format!("{of} must be at least {min}")),
                (_, Some(max)) => Some(format!("{of} must be at most {max}")),
                _ => None,
            }
        })
    }

    fn of_wrong_length(&self, value: &Value) -> Option<String> {
        let (length, what) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(values) => (values.len(), "elements"),
            _ => return None,
        };
        match (self.min_length, self.max_length) {
            (Some(min), Some(max)) if min == max && length != min => Some(format!("it must have {min} {what}")),
            (Some(min), _) if length < min => Some(format!("it must have at least {min} {what}")),
            (_, Some(max)) if length > max => Some(format!("it must have at most {max} {what}")),
            _ => None,
        }
    }
}
