//! What the daemon's log tells of a run's life: a few lines each, at `info`, all with the run's ids.

use std::time::Duration;

use onceover_wire::WarningCount;

use crate::services::input;
use onceover_run::{Object, Progress};
use onceover_store::{Fence, Outcome, StageRecord};

/// How much of an error is logged; the record and the run's own log have all of it.
const ERROR_LIMIT: usize = 500;

/// How far the log knows a run to be: a line a quarter, however often a program reports.
#[derive(Debug, Default)]
pub struct Quarters(u8);

impl Quarters {
    /// Returns the quarter in percent if the log does not know yet that it was reached. The end has a line anyway.
    fn reached(&mut self, progress: &Progress) -> Option<u8> {
        let quarter = (progress.percent / 25.0).min(3.0) as u8;
        if quarter <= self.0 {
            return None;
        }
        self.0 = quarter;
        Some(quarter * 25)
    }

    /// Logs that a run has reached a quarter, once for each.
    pub fn log(&mut self, fence: &Fence, progress: &Progress) {
        if let Some(percent) = self.reached(progress) {
            tracing::info!(task_id = %fence.task, task_name = %fence.node, run_id = %fence.run, percent, "run progressed");
        }
    }
}

pub fn log_start(fence: &Fence, runner: &str) {
    tracing::info!(
        task_id = %fence.task,
        task_name = %fence.node,
        run_id = %fence.run,
        attempt = fence.attempt,
        queue = fence.queue,
        runner,
        "run started"
    );
}

/// Logs an end that was recorded.
pub fn log_end(fence: &Fence, outcome: &Outcome, took: Duration, record: &StageRecord) {
    let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
    let (task, node, run) = (&fence.task, &fence.node, &fence.run);
    match outcome {
        Outcome::Success { warnings, .. } => {
            let warnings = Some(WarningCount::count(warnings).warnings).filter(|count| *count > 0);
            tracing::info!(task_id = %task, task_name = %node, run_id = %run, seconds, warnings, "run succeeded");
        }
        Outcome::Failed { error, .. } => {
            let error = redacted(error, &secrets_of(record));
            tracing::warn!(task_id = %task, task_name = %node, run_id = %run, seconds, error, "run failed");
        }
    }
}

/// The values of a request that no log shows.
fn secrets_of(record: &StageRecord) -> Vec<String> {
    let input: Option<Object> = serde_json::from_str(record.input()).ok();
    input.map_or_else(Vec::new, |input| input::secrets(&input))
}

/// The beginning of an error without the secrets that a program may have repeated in it.
fn redacted(error: &str, secrets: &[String]) -> String {
    let mut text = error.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    match text.char_indices().nth(ERROR_LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_reports_a_thousand_times_has_three_lines_of_progress() {
        let mut quarters = Quarters::default();
        let lines: Vec<_> = (0..=1000)
            .filter_map(|report| {
                quarters.reached(&Progress {
                    percent: f64::from(report) / 10.0,
                    message: None,
                })
            })
            .collect();
        assert_eq!(lines, [25, 50, 75]);
        // One that leaps has fewer.
        let mut quarters = Quarters::default();
        let mut at = |percent| quarters.reached(&Progress { percent, message: None });
        assert_eq!((at(10.0), at(80.0), at(99.0), at(100.0)), (None, Some(75), None, None));
    }

    #[test]
    fn an_error_in_the_log_has_no_secret_and_an_end() {
        let secrets = ["canary".to_owned(), String::new()];
        assert_eq!(redacted("key canary is wrong", &secrets), "key *** is wrong");
        assert_eq!(redacted(&"é".repeat(2000), &[]).chars().count(), ERROR_LIMIT + 3);
    }
}
