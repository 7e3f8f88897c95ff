//! Warnings of answers: what is wrong with input that was accepted all the same.

use onceover_types::shortened;
use serde::{Deserialize, Serialize};

/// The kind of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// Nothing reads this field.
    UnknownField,
    /// The field has another name now; its value was taken for that.
    DeprecatedField,
    /// The reused result was made by another engine or model than the request asks for.
    OtherEngine,
    /// There are more warnings than those that are named.
    MoreWarnings,
}

/// One fault of a request that was accepted all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Warning {
    pub code: WarningCode,
    /// Path of the field, `input_data.smaple_rate`; empty for a warning about no single one.
    pub field: String,
    /// What is wrong, and which name was perhaps meant.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Warnings that are named in one answer; one more says how many there are beside these.
pub const MOST_WARNINGS: usize = 20;

/// The warnings of one answer: the first ones and the number of the rest, since a request may have any number of
/// unknown fields.
#[derive(Debug, Clone, Default)]
pub struct Warnings {
    named: Vec<Warning>,
    more: usize,
}

impl Warnings {
    /// Whether some warnings are not named.
    pub fn are_cut(&self) -> bool {
        self.more > 0
    }

    /// Adds a warning; its message is made only if it is named.
    pub fn add(&mut self, code: WarningCode, field: &str, message: impl FnOnce() -> String) {
        if self.named.len() == MOST_WARNINGS {
            self.more += 1;
            return;
        }
        self.named.push(Warning {
            code,
            field: shortened(field),
            message: message(),
        });
    }

    /// Whether there is no warning.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Returns the list as an answer has it.
    pub fn list(&self) -> Vec<Warning> {
        let rest = (self.more > 0).then(|| Warning {
            code: WarningCode::MoreWarnings,
            field: String::new(),
            message: format!("{} more fields are not right", self.more),
        });
        self.named.iter().cloned().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_twenty_warnings_and_counts_the_rest() {
        let list = |count: usize| {
            let mut warnings = Warnings::default();
            for n in 0..count {
                warnings.add(WarningCode::UnknownField, &format!("f{n}"), || {
                    "nothing reads it".into()
                });
            }
            warnings.list()
        };
        assert_eq!(list(20).len(), 20);
        let many = list(5_000);
        assert_eq!((many.len(), many[20].code), (21, WarningCode::MoreWarnings));
        assert!(many[20].message.starts_with("4980 more"), "{}", many[20].message);
    }
}
