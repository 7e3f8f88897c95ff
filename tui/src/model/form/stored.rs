//! The stored request of a stage, from whose values a form begins: values that nobody changes go back exactly as they
//! were stored.

use onceover_catalog::ParameterSpec;
use serde_json::{Map, Value};

use super::{Field, Form, What, format_value};

/// What the daemon shows instead of a secret value.
const MASKED: &str = "***";

/// The request of the stage that the form was opened on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FormerRequest {
    /// The task has no such stage: an empty field stands for the node's default.
    #[default]
    Absent,
    /// The answer to this call has it.
    Reading(u64),
    /// The fields have begun with its values.
    Taken,
    /// It could not be read, for this reason.
    Unread(String),
}

impl FormerRequest {
    /// Says why the form cannot be sent yet; `None` if it can.
    pub fn why_not_yet(&self) -> Option<String> {
        match self {
            Self::Absent | Self::Taken => None,
            Self::Reading(_) => Some("not yet: the stored request is being read".to_owned()),
            Self::Unread(why) => Some(format!("not yet: the stored request could not be read: {why}")),
        }
    }
}

/// The values of a stored request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredValues {
    pub input: Map<String, Value>,
    /// `None` if there was none, or if it is not known any more.
    pub callback: Option<String>,
}

impl Form {
    /// Lets each field begin with the value of the stored request; what was typed meanwhile stays.
    pub fn start_from(&mut self, values: &StoredValues) {
        self.stored = FormerRequest::Taken;
        self.former = Some(values.clone());
        self.notes.clear();
        let mut hidden = Vec::new();
        for field in &mut self.fields {
            match field.what {
                What::Callback => {
                    let callback = values.callback.clone().map(Value::String);
                    field.start_from(callback.filter(|callback| !has_masked(callback)));
                }
                What::Parameter(index) => {
                    let Some(parameter) = self.node.parameters.get(index) else {
                        continue;
                    };
                    let value = names_of(parameter).find_map(|name| values.input.get(name));
                    if value.is_some_and(has_masked) {
                        hidden.push(parameter.name.clone());
                    }
                    field.start_from(value.filter(|value| !has_masked(value)).cloned());
                }
                What::Task | What::Reuse | What::Send => {}
            }
        }
        if !hidden.is_empty() {
            let text = format!(
                "{}: the daemon does not show the former value, type it again",
                hidden.join(", ")
            );
            self.notes.push(text);
        }
        self.note_unknown(&values.input);
    }
}

impl Field {
    /// Begins with a former value; what was typed stays.
    fn start_from(&mut self, value: Option<Value>) {
        let text = match &value {
            None | Some(Value::Null) => String::new(),
            Some(value) => format_value(value),
        };
        if !self.is_touched() {
            self.input = tui_input::Input::new(text.clone());
        }
        self.start = text;
        self.former = value;
    }
}

/// Lists the names that a request may have for a parameter.
pub(super) fn names_of(parameter: &ParameterSpec) -> impl Iterator<Item = &str> {
    let aliases = parameter.aliases.iter().map(String::as_str);
    std::iter::once(parameter.name.as_str()).chain(aliases)
}

/// Whether the daemon hides a value, or a part of it.
pub(super) fn has_masked(value: &Value) -> bool {
    match value {
        Value::String(text) => text == MASKED,
        Value::Array(items) => items.iter().any(has_masked),
        Value::Object(fields) => fields.values().any(has_masked),
        _ => false,
    }
}
