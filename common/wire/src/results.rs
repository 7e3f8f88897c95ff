//! Warnings of results: what makes a result partial or doubtful, as `output.warnings` names it, and in short.
//! docs/results.md explains each code.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

/// The output field that holds the warnings of a result. No node file declares it.
pub const WARNINGS_FIELD: &str = "warnings";

/// The code of the entry that counts those which are not named.
pub const MORE_WARNINGS: &str = "more_warnings";

/// The code of files that are on the machine of a worker and were not looked at. `numbers.files` counts them.
pub const UNVERIFIED: &str = "unverified";

/// One reason to doubt a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResultWarning {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub text: String,
    /// What was measured, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub numbers: Map<String, Value>,
    /// Whether running the stage again could give a better result.
    #[serde(default)]
    pub retryable: bool,
}

impl ResultWarning {
    /// Makes a warning without numbers.
    pub fn new(code: impl AsRef<str>, text: impl Into<String>) -> Self {
        Self {
            code: code.as_ref().to_owned(),
            text: text.into(),
            numbers: Map::new(),
            retryable: false,
        }
    }

    /// Adds a number, or a text that stands for one (a time, a name).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.numbers.insert(name.into(), value.into());
        self
    }

    /// Adds that running the stage again could help. Such a result is not reused in `strict`.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Returns the warnings of an output, as it was stored. An entry that is no warning of ours, because another
    /// system's worker wrote it, becomes one with its text.
    pub fn all_of(output: &RawValue) -> Vec<Self> {
        #[derive(Deserialize)]
        struct Warned {
            #[serde(default)]
            warnings: Value,
        }
        let warned = serde_json::from_str::<Warned>(output.get());
        warned.map_or_else(|_| Vec::new(), |warned| Self::all_in(&warned.warnings))
    }

    /// Returns the warnings of the value of the output's [`WARNINGS_FIELD`].
    pub fn all_in(field: &Value) -> Vec<Self> {
        let items = field.as_array().map_or(&[][..], Vec::as_slice);
        items.iter().map(Self::from_json).collect()
    }

    /// Reads one entry of that field.
    pub fn from_json(value: &Value) -> Self {
        let words = || match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::deserialize(value).unwrap_or_else(|_| Self::new("unnamed", words()))
    }

    /// Returns how many warnings it stands for.
    fn count(&self) -> u64 {
        let more = self.numbers.get("more").filter(|_| self.code == MORE_WARNINGS);
        more.and_then(Value::as_u64).unwrap_or(1)
    }

    /// Returns what was measured, for people: `expected_duration 10, got 4.97`.
    pub fn measured(&self) -> String {
        let number = |(name, value): (&String, &Value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        };
        self.numbers.iter().map(number).collect::<Vec<_>>().join(", ")
    }
}

/// The warnings of a result in short, as lists and events carry them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarningCount {
    pub warnings: u64,
    /// Whether one of them says that running the stage again could give a better result.
    pub retryable: bool,
}

impl WarningCount {
    /// Counts warnings, with those that are not named.
    pub fn count<'a>(warnings: impl IntoIterator<Item = &'a ResultWarning>) -> Self {
        let mut count = Self::default();
        for warning in warnings {
            count.warnings += warning.count();
            count.retryable |= warning.retryable;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all_of(output: &Value) -> Vec<ResultWarning> {
        ResultWarning::all_of(&serde_json::value::to_raw_value(output).unwrap())
    }

    #[test]
    fn warnings_are_counted_with_those_that_are_not_named() {
        let warnings = all_of(&json!({"warnings": [
            {"code": "gap", "text": "a hole", "numbers": {"at": 3.0, "name": "x"}, "retryable": false},
            {"code": "more_warnings", "text": "900 more", "numbers": {"more": 900}, "retryable": true}]}));
        let count = WarningCount::count(&warnings);
        assert_eq!((count.warnings, count.retryable), (901, true));
        assert_eq!(warnings[0].measured(), "at 3.0, name x");
    }

    #[test]
    fn what_another_system_left_there_is_a_warning_in_its_own_words_or_none() {
        let warnings = all_of(&json!({"warnings": ["half of it", {"level": 2}]}));
        assert_eq!(warnings[0].text, "half of it");
        assert_eq!(
            (warnings[1].code.as_str(), warnings[1].text.as_str()),
            ("unnamed", r#"{"level":2}"#)
        );
        for output in [json!({}), json!({"warnings": null}), json!({"warnings": 3}), json!([1])] {
            assert_eq!(
                WarningCount::count(&all_of(&output)),
                WarningCount::default(),
                "{output}"
            );
        }
    }
}
