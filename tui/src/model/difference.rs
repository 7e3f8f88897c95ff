//! What differs between two inputs of a node, parameter by parameter.

use serde_json::{Map, Value};

use super::secrets::{hide_value, is_secret_name};

/// Characters of a value that a line about it has at most.
const MOST_CHARS: usize = 80;

/// One parameter that differs.
#[derive(Debug, Clone, PartialEq)]
pub enum InputDifference {
    Added { name: String, value: Value },
    Removed { name: String, value: Value },
    Changed { name: String, from: Value, to: Value },
}

impl InputDifference {
    /// Lists the parameters that differ, in the order of the new input; those that it leaves out come last.
    pub fn list(former: &Map<String, Value>, now: &Map<String, Value>) -> Vec<Self> {
        let mut differences = Vec::new();
        for (name, value) in now {
            match former.get(name) {
                None => differences.push(Self::Added {
                    name: name.clone(),
                    value: value.clone(),
                }),
                Some(from) if from != value => differences.push(Self::Changed {
                    name: name.clone(),
                    from: from.clone(),
                    to: value.clone(),
                }),
                Some(_) => {}
            }
        }
        for (name, value) in former.iter().filter(|(name, _)| !now.contains_key(*name)) {
            differences.push(Self::Removed {
                name: name.clone(),
                value: value.clone(),
            });
        }
        differences
    }

    /// Writes the difference as a line: `~ language  "ja" -> "ko"`. Secrets are not in it.
    pub fn describe(&self) -> String {
        let show = |name: &str, value: &Value| shorten(&hide_value(value, is_secret_name(name)));
        match self {
            Self::Added { name, value } => format!("+ {name}  {}", show(name, value)),
            Self::Removed { name, value } => format!("- {name}  {}", show(name, value)),
            Self::Changed { name, from, to } => format!("~ {name}  {} -> {}", show(name, from), show(name, to)),
        }
    }
}

/// Writes a value as JSON, cut where it is long.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MOST_CHARS) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(former: Value, now: Value) -> Vec<String> {
        let (Value::Object(former), Value::Object(now)) = (former, now) else {
            panic!("inputs are objects");
        };
        InputDifference::list(&former, &now)
            .iter()
            .map(InputDifference::describe)
            .collect()
    }

    #[test]
    fn tui08_what_was_added_changed_and_left_out_has_a_line_each() {
        let former = json!({"language": "ja", "beam": 5, "path": "/v/강의.mp4"});
        let now = json!({"path": "/v/강의.mp4", "language": "ko", "vad": true});
        assert_eq!(
            list(former, now),
            [r#"~ language  "ja" -> "ko""#, "+ vad  true", "- beam  5"]
        );
        assert_eq!(list(json!({"a": 1}), json!({"a": 1})), [""; 0]);
        let secret = list(json!({"api_key": "***"}), json!({"api_key": "sk-1"}));
        assert_eq!(secret, [r#"~ api_key  "***" -> "****""#]);
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let lines = list(json!({}), json!({"text": "자막".repeat(200)}));
        assert!(
            lines[0].ends_with('…') && lines[0].chars().count() < MOST_CHARS + 12,
            "{lines:?}"
        );
    }
}
