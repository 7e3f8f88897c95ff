//! Fields of a request that nothing reads: a warning in the answer, or a refusal. And the log of such warnings.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use onceover_types::{FieldError, shortened};
use onceover_wire::{MOST_WARNINGS, Warning, WarningCode, Warnings};

use crate::config::UnknownFields;
use onceover_limits::Limit;

/// Unknown fields that a refusal names; one more error says how many there are beside these.
pub(crate) const MOST_REFUSED: usize = 500;

/// Collects fields that nothing reads. Hints are made for the first ones alone, because a request may have any number of
/// such fields.
#[derive(Debug)]
pub struct UnreadFields {
    mode: UnknownFields,
    count: usize,
    errors: Vec<FieldError>,
    warnings: Warnings,
}

impl UnreadFields {
    /// Adds to the warnings that there are already.
    pub fn new(mode: UnknownFields, warnings: Warnings) -> Self {
        Self {
            mode,
            count: 0,
            errors: Vec::new(),
            warnings,
        }
    }

    pub fn add(&mut self, field: &str, message: impl FnOnce() -> String) {
        if self.mode == UnknownFields::Warn {
            self.warnings.add(WarningCode::UnknownField, field, message);
            return;
        }
        self.count += 1;
        if self.count <= MOST_WARNINGS {
            self.errors.push(FieldError::new(shortened(field), message()));
        } else if self.count <= MOST_REFUSED {
            self.errors
                .push(FieldError::new(shortened(field), "there is no such field"));
        }
    }

    /// The errors and the warnings.
    pub fn finish(mut self) -> (Vec<FieldError>, Warnings) {
        if let Some(more) = self.count.checked_sub(MOST_REFUSED).filter(|more| *more > 0) {
            Limit::UnknownFields.reached();
            let message = format!("{more} more fields are not known");
            self.errors.push(FieldError::new("body", message));
        }
        if self.warnings.are_cut() {
            Limit::Warnings.reached();
        }
        (self.errors, self.warnings)
    }
}

/// Answers with warnings that are written to the log within [`WINDOW`]; of the rest the number is.
const MOST_LOGGED: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// Writes warnings of answers to the daemon's log, bounded, because an old client sends the same stray field with every
/// request.
#[derive(Debug, Default)]
pub struct WarningLog(Mutex<Option<Window>>);

#[derive(Debug)]
struct Window {
    began: Instant,
    logged: u32,
    left_out: u64,
}

impl WarningLog {
    /// `task` and `node` are what the request was about, as far as it was about any.
    pub fn write(&self, task: &str, node: &str, warnings: &[Warning]) {
        if warnings.is_empty() {
            return;
        }
        let (may, left_out) = self.count(Instant::now());
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "answers with warnings that were not logged in the last minute"
            );
        }
        if may {
            let named: Vec<_> = warnings
                .iter()
                .map(|warning| format!("{:?}: {}", warning.field, warning.message))
                .collect();
            tracing::warn!(
                task_id = task,
                task_name = node,
                warnings = named.join("; "),
                "a request was taken with warnings"
            );
        }
    }

    /// Whether one more may be written, and how many were not in the window that ended with this one.
    fn count(&self, now: Instant) -> (bool, u64) {
        let mut window = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let ended = window
            .as_ref()
            .is_none_or(|window| now.duration_since(window.began) >= WINDOW);
        let left_out = if ended {
            window.take().map_or(0, |window| window.left_out)
        } else {
            0
        };
        let window = window.get_or_insert(Window {
            began: now,
            logged: 0,
            left_out: 0,
        });
        if window.logged < MOST_LOGGED {
            window.logged += 1;
            (true, left_out)
        } else {
            window.left_out += 1;
            (false, left_out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_every_unknown_field_within_reason() {
        let errors = |count: usize| {
            let mut unread = UnreadFields::new(UnknownFields::Refuse, Warnings::default());
            for n in 0..count {
                unread.add(&format!("f{n}"), || "no".into());
            }
            unread.finish().0
        };
        assert_eq!(errors(100).len(), 100);
        let many = errors(10_000);
        assert_eq!(many.len(), MOST_REFUSED + 1);
        assert!(many[MOST_REFUSED].message.starts_with("9500 more"));
    }

    #[test]
    fn the_log_of_warnings_is_bounded_and_says_what_it_left_out() {
        let log = WarningLog::default();
        let start = Instant::now();
        let written = (0..200).filter(|_| log.count(start).0).count();
        assert_eq!(written, MOST_LOGGED as usize);
        assert_eq!(log.count(start + WINDOW), (true, 140));
        assert_eq!(log.count(start + WINDOW), (true, 0));
    }
}
