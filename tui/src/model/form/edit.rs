//! A form that runs a stage again with changes: what differs from the former run, what the daemon says of that, and
//! whether what is typed can be what its field is.

use onceover_catalog::is_placeholder;
use onceover_types::Timestamp;
use onceover_wire::{ExplainRequest, ReuseExplanation, ReuseMode};
use serde_json::{Map, Value};
use tui_input::Input;

use super::{Form, What, read_value, stored::names_of};
use crate::model::difference::InputDifference;

/// What a form is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormPurpose {
    /// A stage is submitted, to a task or to a new one.
    #[default]
    Submit,
    /// A stage runs again with changes; what differs is shown before it is sent.
    Edit,
}

/// What the daemon says that the request that is typed would do now.
#[derive(Debug, Clone, Default)]
pub struct FormForecast {
    /// When it is asked, unless something else is chosen before.
    pub ask_at: Option<Timestamp>,
    /// The newest question; answers to others are dropped.
    pub request: Option<u64>,
    /// What was asked about.
    pub asked: Option<ExplainRequest>,
    pub answer: Option<Result<Box<ReuseExplanation>, String>>,
}

impl Form {
    /// Reads the input that is typed; a text that cannot be what its field is counts as the text that it is.
    pub fn read_input(&self) -> Map<String, Value> {
        let mut input = Map::new();
        for field in &self.fields {
            let Some(parameter) = self.parameter(field.what) else {
                continue;
            };
            let text = field.input.value();
            let value = match field.exact_value() {
                Some(exact) => exact.clone(),
                None if text.is_empty() => continue,
                None => read_value(parameter, text).unwrap_or_else(|_| Value::String(text.to_owned())),
            };
            input.insert(parameter.name.clone(), value);
        }
        input
    }

    /// Lists what differs from the former run. Where there was none, everything is new.
    pub fn list_differences(&self) -> Vec<InputDifference> {
        let former = self.former.as_ref().map(|former| self.with_own_names(&former.input));
        InputDifference::list(&former.unwrap_or_default(), &self.read_input())
    }

    /// Returns an input in which each parameter has the name that the node has for it.
    pub(super) fn with_own_names(&self, input: &Map<String, Value>) -> Map<String, Value> {
        let own_name = |name: &String| {
            let mut parameters = self.node.parameters.iter();
            let parameter = parameters.find(|parameter| names_of(parameter).any(|other| other == name.as_str()));
            parameter.map_or_else(|| name.clone(), |parameter| parameter.name.clone())
        };
        input
            .iter()
            .map(|(name, value)| (own_name(name), value.clone()))
            .collect()
    }

    /// Says at the focused field what is wrong with what is typed there, as the catalog has it. The daemon decides:
    /// nothing is refused here.
    pub fn check_focused(&mut self) {
        let field = self.focused();
        let text = field.input.value();
        let error = match self.parameter(field.what) {
            None => None,
            Some(_) if text.is_empty() || field.exact_value().is_some() => None,
            Some(parameter) => match read_value(parameter, text) {
                Err(error) => Some(error),
                Ok(value) if is_placeholder(&value) => None,
                Ok(value) => parameter.refusal(&value),
            },
        };
        self.focused_mut().error = error;
    }

    /// Chooses the reuse mode.
    pub fn set_reuse(&mut self, mode: ReuseMode) {
        if let Some(field) = self.fields.iter_mut().find(|field| field.what == What::Reuse) {
            field.input = Input::new(mode.as_str().to_owned());
            field.error = None;
        }
    }

    /// Returns what the daemon is to be asked about: the input that is typed with the reuse mode that is chosen, unless it
    /// was asked about that already, or a value cannot be what its field is.
    pub fn find_question(&self) -> Option<ExplainRequest> {
        let has_former = self.targets.is_empty() && self.former.is_some();
        let has_error = || self.fields.iter().any(|field| field.error.is_some());
        if self.purpose != FormPurpose::Edit || !has_former || has_error() {
            return None;
        }
        let question = ExplainRequest {
            input_data: self.read_input(),
            reuse: self.reuse_mode(),
        };
        (self.forecast.asked.as_ref() != Some(&question)).then_some(question)
    }
}
