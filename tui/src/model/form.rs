//! The submit form: a field for the task, for each parameter of the node, for reuse and callback. It belongs to the row
//! that it was opened from, and begins with the values of that stage's stored request, if there is one. It reads typed
//! texts as JSON, and finds the fields that the daemon's refusals are about.

mod document;
mod edit;
mod many;
mod stored;

use std::sync::Arc;

use onceover_catalog::{ParameterSpec, ValueKind};
use onceover_types::{FieldError, NodeName, TaskId};
use onceover_wire::{NodeInfo, ReuseMode, SubmitRequest};
use serde_json::{Map, Value};
use tui_input::Input;

use super::secrets::is_secret_name;

pub use document::DocumentError;
pub use edit::{FormForecast, FormPurpose};
pub use many::{FormTarget, MOST_TARGETS};
pub use stored::{FormerRequest, StoredValues};

/// What a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Task,
    /// By its index among the node's parameters.
    Parameter(usize),
    Reuse,
    Callback,
    /// The button.
    Send,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub what: What,
    /// Empty: left out.
    pub input: Input,
    /// The text that the field began with.
    pub start: String,
    /// The stored value that this text stands for.
    former: Option<Value>,
    /// The text that an edited document has given it, and the value that this text stands for.
    edited: Option<(String, Value)>,
    pub error: Option<String>,
}

impl Field {
    /// Whether its text is not the one that it began with.
    pub fn is_touched(&self) -> bool {
        self.input.value() != self.start
    }

    /// Returns the value that its text stands for exactly: an edited one, or the stored one that nobody changed.
    fn exact_value(&self) -> Option<&Value> {
        let text = self.input.value();
        let edited = self
            .edited
            .as_ref()
            .filter(|(of, _)| of == text)
            .map(|(_, value)| value);
        edited.or_else(|| self.former.as_ref().filter(|_| text == self.start))
    }
}

/// The row that a form was opened from: its task, and the node that was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormRow {
    /// `None` where no task was at the cursor.
    pub task: Option<TaskId>,
    pub node: NodeName,
}

#[derive(Debug, Clone)]
pub struct Form {
    pub node: Arc<NodeInfo>,
    pub row: FormRow,
    pub purpose: FormPurpose,
    /// A number that no other form has: a request that is sent twice from one form is one request.
    pub number: u64,
    pub stored: FormerRequest,
    /// The values that the fields have begun with.
    pub former: Option<StoredValues>,
    /// The stages that change together; empty: the form is of one row.
    pub targets: Vec<FormTarget>,
    /// What the daemon says of the former request.
    pub forecast: FormForecast,
    /// The text editor that is open, by its effect.
    pub editor: Option<u64>,
    /// The edited text that could not be read.
    pub broken: Option<String>,
    /// What of the stored request is not in the fields.
    pub notes: Vec<String>,
    pub fields: Vec<Field>,
    pub focus: usize,
    /// The submit in flight.
    pub request: Option<u64>,
    /// Why the daemon refused, where it named no field.
    pub problem: Option<String>,
}

impl Form {
    /// A form that is empty but for the task.
    pub fn new(node: Arc<NodeInfo>, task: Option<&TaskId>) -> Self {
        let field = |what| Field {
            what,
            input: Input::default(),
            start: String::new(),
            former: None,
            edited: None,
            error: None,
        };
        let parameters = (0..node.parameters.len()).map(What::Parameter);
        let whats = [What::Task].into_iter().chain(parameters);
        let mut fields: Vec<_> = whats
            .chain([What::Reuse, What::Callback, What::Send])
            .map(field)
            .collect();
        if let Some(task) = task {
            fields[0].input = Input::new(task.to_string());
            fields[0].start = task.to_string();
        }
        // The task is known or new: the focus is on the field after it.
        let focus = usize::from(fields.len() > 1);
        Self {
            row: FormRow {
                task: task.cloned(),
                node: node.name.clone(),
            },
            node,
            purpose: FormPurpose::default(),
            number: 0,
            stored: FormerRequest::default(),
            former: None,
            targets: Vec::new(),
            forecast: FormForecast::default(),
            editor: None,
            broken: None,
            notes: Vec::new(),
            fields,
            focus,
            request: None,
            problem: None,
        }
    }

    /// Whether anything was typed or chosen.
    pub fn is_touched(&self) -> bool {
        self.fields.iter().any(Field::is_touched)
    }

    /// Takes over what was typed into a draft. The node may have other parameters by now.
    pub fn restore(&mut self, draft: &Self) {
        for typed in draft.fields.iter().filter(|field| field.is_touched()) {
            let what = match draft.parameter(typed.what) {
                Some(parameter) => self.find_parameter(&parameter.name),
                None => Some(typed.what),
            };
            if let Some(field) = self.fields.iter_mut().find(|field| Some(field.what) == what) {
                field.input = typed.input.clone();
                field.edited = typed.edited.clone();
                field.error = None;
            }
        }
    }

    pub fn focused(&self) -> &Field {
        &self.fields[self.focus]
    }

    pub fn focused_mut(&mut self) -> &mut Field {
        &mut self.fields[self.focus]
    }

    /// Whether what is typed into a field is not to be seen.
    pub fn is_secret(&self, what: What) -> bool {
        let parameter = self.parameter(what);
        parameter.is_some_and(|parameter| is_secret_name(&parameter.name))
    }

    pub fn parameter(&self, what: What) -> Option<&ParameterSpec> {
        match what {
            What::Parameter(index) => self.node.parameters.get(index),
            _ => None,
        }
    }

    /// Returns the name of a field on the screen.
    pub fn name(&self, what: What) -> &str {
        match what {
            What::Task => "task",
            What::Parameter(_) => self.parameter(what).map_or("", |parameter| parameter.name.as_str()),
            What::Reuse => "reuse",
            What::Callback => "callback",
            What::Send => "Submit",
        }
    }

    /// Lists the values of a field, the first for left out; none where it is free text.
    pub fn choices(&self, what: What) -> Vec<String> {
        let values: Vec<String> = match (what, self.parameter(what)) {
            (What::Reuse, _) => [ReuseMode::Auto, ReuseMode::Never, ReuseMode::Strict]
                .map(|mode| mode.as_str().to_owned())
                .to_vec(),
            (_, Some(parameter)) => parameter.choices().iter().map(format_value).collect(),
            _ => Vec::new(),
        };
        if values.is_empty() {
            return values;
        }
        [String::new()].into_iter().chain(values).collect()
    }

    /// Changes a field with choices to the next one or the one before.
    pub fn cycle(&mut self, by: isize) {
        let choices = self.choices(self.focused().what);
        if choices.is_empty() {
            return;
        }
        let at = choices.iter().position(|choice| choice == self.focused().input.value());
        let next = (at.unwrap_or(0) as isize + by).rem_euclid(choices.len() as isize) as usize;
        self.choose(&choices[next]);
    }

    /// Changes a field with choices to the next that begins with a letter.
    pub fn cycle_to(&mut self, letter: char) {
        let choices = self.choices(self.focused().what);
        let at = choices.iter().position(|choice| choice == self.focused().input.value());
        let after = at.map_or(0, |at| at + 1);
        let wanted = letter.to_lowercase().next();
        let found = (0..choices.len())
            .map(|step| &choices[(after + step) % choices.len()])
            .find(|choice| choice.to_lowercase().chars().next() == wanted && wanted.is_some());
        if let Some(found) = found {
            self.choose(&found.clone());
        }
    }

    fn choose(&mut self, value: &str) {
        let field = self.focused_mut();
        field.input = Input::new(value.to_owned());
        field.error = None;
    }

    /// Moves the focus by so many fields.
    pub fn step(&mut self, by: isize) {
        let last = self.fields.len().saturating_sub(1);
        self.focus = self.focus.saturating_add_signed(by).min(last);
    }

    /// Makes the request that is typed; `None` if a text cannot be what its field is, and the fields then say so.
    pub fn make_request(&mut self) -> Option<SubmitRequest> {
        let mut input_data = Map::new();
        self.problem = None;
        let node = self.node.clone();
        for field in &mut self.fields {
            field.error = None;
            let text = field.input.value();
            let What::Parameter(index) = field.what else {
                continue;
            };
            let Some(parameter) = node.parameters.get(index) else {
                continue;
            };
            if let Some(exact) = field.exact_value() {
                input_data.insert(parameter.name.clone(), exact.clone());
            } else if !text.is_empty() {
                match read_value(parameter, text) {
                    Ok(value) => {
                        input_data.insert(parameter.name.clone(), value);
                    }
                    Err(error) => field.error = Some(error),
                }
            }
        }
        if self.focus_first_error() {
            return None;
        }
        Some(self.make_request_of(input_data))
    }

    /// Makes the request with this input, and with the task, reuse and callback that are typed.
    fn make_request_of(&self, input_data: Map<String, Value>) -> SubmitRequest {
        SubmitRequest {
            task_name: self.node.name.to_string(),
            task_id: self.find_text(What::Task),
            callback: self.find_text(What::Callback),
            input_data,
            reuse: self.reuse_mode(),
        }
    }

    /// Returns what is typed into a field, without blanks around it; `None` if that is nothing.
    fn find_text(&self, what: What) -> Option<String> {
        let field = self.fields.iter().find(|field| field.what == what)?;
        let text = field.input.value().trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns the reuse mode that is chosen; `None`: as the node has it.
    pub fn reuse_mode(&self) -> Option<ReuseMode> {
        let text = self.find_text(What::Reuse)?;
        let modes = [ReuseMode::Auto, ReuseMode::Never, ReuseMode::Strict];
        modes.into_iter().find(|mode| mode.as_str() == text)
    }

    /// Shows the errors of a refusal at their fields, and the rest above them.
    pub fn show_refusal(&mut self, why: &str, errors: &[FieldError]) {
        self.request = None;
        let mut others = Vec::new();
        for error in errors {
            let what = self.find_field(&error.field);
            match self.fields.iter_mut().find(|field| Some(field.what) == what) {
                // A second error of the same field would hide the first.
                Some(field) if field.error.is_none() => field.error = Some(error.message.clone()),
                Some(_) => {}
                None => others.push(format!("{}: {}", error.field, error.message)),
            }
        }
        self.problem = if errors.is_empty() {
            Some(why.to_owned())
        } else {
            (!others.is_empty()).then(|| others.join("; "))
        };
        self.focus_first_error();
    }

    /// Finds the field that a problem document names: `task_id`, `input_data.video_path`, `input_data.video_path.0`.
    fn find_field(&self, path: &str) -> Option<What> {
        match path {
            "task_id" => return Some(What::Task),
            "callback" => return Some(What::Callback),
            "reuse" => return Some(What::Reuse),
            _ => {}
        }
        let name = path.strip_prefix("input_data.")?;
        let outer = name.split(['.', '[']).next().unwrap_or(name);
        self.find_parameter(name).or_else(|| self.find_parameter(outer))
    }

    /// Finds the field of a parameter, by its name or an alias.
    fn find_parameter(&self, name: &str) -> Option<What> {
        let mut parameters = self.node.parameters.iter();
        let is_called =
            |parameter: &ParameterSpec| parameter.name == name || parameter.aliases.iter().any(|alias| alias == name);
        parameters.position(is_called).map(What::Parameter)
    }

    /// Moves the focus to the first field with an error. Returns `false` if there is none.
    fn focus_first_error(&mut self) -> bool {
        match self.fields.iter().position(|field| field.error.is_some()) {
            Some(at) => {
                self.focus = at;
                true
            }
            None => false,
        }
    }
}

/// Writes a value as it is typed: a text without quotes, anything else as JSON.
pub fn format_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads a typed text as the parameter's value. The daemon decides whether it may be that; only a text that is no JSON,
/// where nothing but JSON can be, is refused here.
fn read_value(parameter: &ParameterSpec, text: &str) -> Result<Value, String> {
    if let Some(allowed) = parameter.allowed.iter().find(|value| format_value(value) == text) {
        return Ok(allowed.clone());
    }
    let is_text = |kind| matches!(kind, ValueKind::String | ValueKind::Path);
    let mut kinds = std::iter::once(parameter.kind).chain(parameter.also.iter().copied());
    let read = serde_json::from_str::<Value>(text);
    if let Ok(value) = &read
        && kinds.clone().any(|kind| !is_text(kind) && kind.accepts(value))
    {
        return Ok(value.clone());
    }
    if kinds.clone().any(is_text) {
        return Ok(Value::String(text.to_owned()));
    }
    match read {
        Ok(value) => Ok(value),
        Err(error) if kinds.any(|kind| matches!(kind, ValueKind::Array | ValueKind::Object)) => {
            Err(format!("it is not JSON: {error}"))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use onceover_catalog::parse_node;
    use serde_json::json;

    use super::*;

    fn parameter(toml: &str) -> ParameterSpec {
        let text = format!("name = \"a.b\"\nrunner = {{ command = [\"true\"] }}\n[[parameters]]\nname = \"x\"\n{toml}");
        parse_node(&text).unwrap().parameters.remove(0)
    }

    #[test]
    fn a_typed_text_becomes_the_value_its_parameter_wants() {
        for (toml, text, value) in [
            ("type = \"string\"", "123", json!("123")),
            ("type = \"path\"", "/v/강의 1.mp4", json!("/v/강의 1.mp4")),
            ("type = \"integer\"", "123", json!(123)),
            ("type = \"number\"", "1.5", json!(1.5)),
            ("type = \"boolean\"", "true", json!(true)),
            ("type = \"array\"", "[1, 2]", json!([1, 2])),
            ("type = \"string\"\nalso = [\"integer\"]", "7", json!(7)),
            ("type = \"string\"\nalso = [\"array\"]", "[1", json!("[1")),
            ("type = \"integer\"\nallowed = [1, 2]", "2", json!(2)),
            // Wrong, but the daemon says how.
            ("type = \"integer\"", "many", json!("many")),
            ("type = \"integer\"", "1.5", json!(1.5)),
        ] {
            assert_eq!(read_value(&parameter(toml), text).unwrap(), value, "{toml} {text}");
        }
        assert!(
            read_value(&parameter("type = \"array\""), "[1, 2")
                .unwrap_err()
                .contains("not JSON")
        );
    }
}
