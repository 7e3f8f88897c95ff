//! A form as a JSON document, for a text editor: what is written into it, and what is read from it.

use onceover_wire::ReuseMode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tui_input::Input;

use super::{Form, What, format_value, stored::names_of};

/// Lines that begin with it are for people.
const COMMENT: &str = "//";

/// The request as the document has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestDocument {
    input_data: Map<String, Value>,
    #[serde(default)]
    callback: Option<String>,
    #[serde(default)]
    reuse: Option<ReuseMode>,
}

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    /// What is wrong, with line and column.
    pub message: String,
}

impl Form {
    /// Writes the document. One that could not be read comes back as it was left, below what is wrong with it.
    pub fn write_document(&self, error: Option<&DocumentError>) -> String {
        let wrong = error.map(|error| format!("{COMMENT} not taken over: {}", error.message));
        if let Some(broken) = &self.broken {
            let mut lines: Vec<&str> = broken.lines().collect();
            // In the place of the first comment, so that the number of the line stays true.
            if lines.first().is_some_and(|first| is_comment(first)) {
                lines.remove(0);
            }
            let head = wrong.as_deref().into_iter();
            return head.chain(lines).map(|line| format!("{line}\n")).collect();
        }
        let mut head: Vec<String> = wrong.into_iter().collect();
        let of = match &self.row.task {
            Some(task) => format!("{task}, {}", self.node.name),
            None => self.node.name.to_string(),
        };
        head.push(format!(
            "{COMMENT} The request of {of}. Lines that begin with {COMMENT} are dropped."
        ));
        head.push(format!(
            "{COMMENT} reuse: null (as the node has it), \"auto\", \"never\" or \"strict\"."
        ));
        let document = RequestDocument {
            input_data: self.read_input(),
            callback: self.find_text(What::Callback),
            reuse: self.reuse_mode(),
        };
        // A map of JSON values can always be written.
        head.push(serde_json::to_string_pretty(&document).unwrap_or_default());
        head.join("\n") + "\n"
    }

    /// Takes over an edited document. One that cannot be read is kept as it is, and changes nothing else.
    pub fn take_document(&mut self, text: &str) -> Result<(), DocumentError> {
        let lines = text.lines().map(|line| if is_comment(line) { "" } else { line });
        let json: Vec<&str> = lines.collect();
        let document: RequestDocument = serde_json::from_str(&json.join("\n")).map_err(|error| {
            self.broken = Some(text.to_owned());
            DocumentError {
                message: error.to_string(),
            }
        })?;
        self.broken = None;
        for field in &mut self.fields {
            let text = match field.what {
                What::Parameter(index) => {
                    let parameter = self.node.parameters.get(index);
                    let value = parameter.and_then(|parameter| {
                        names_of(parameter).find_map(|name| document.input_data.get(name).cloned())
                    });
                    let text = value.as_ref().filter(|value| !value.is_null()).map(format_value);
                    let text = text.unwrap_or_default();
                    // One that the document leaves out is left out, though its text may be the stored one's.
                    if value.is_none() && text == field.start {
                        field.former = None;
                    }
                    field.edited = value.map(|value| (text.clone(), value));
                    text
                }
                What::Callback => document.callback.clone().unwrap_or_default(),
                What::Reuse => document.reuse.map_or("", |mode| mode.as_str()).to_owned(),
                What::Task | What::Send => continue,
            };
            field.input = Input::new(text);
            field.error = None;
        }
        self.note_unknown(&document.input_data);
        Ok(())
    }

    /// Notes what an input has that no parameter of the node is called.
    pub(super) fn note_unknown(&mut self, input: &Map<String, Value>) {
        let unknown = input.keys().filter(|name| {
            let mut parameters = self.node.parameters.iter();
            !parameters.any(|parameter| names_of(parameter).any(|other| other == name.as_str()))
        });
        let unknown: Vec<_> = unknown.map(String::as_str).collect();
        if !unknown.is_empty() {
            let text = format!("left out, as the node has no such parameter: {}", unknown.join(", "));
            self.notes.retain(|note| *note != text);
            self.notes.push(text);
        }
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(COMMENT)
}
