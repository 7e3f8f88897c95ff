//! Two runs side by side: what they took, what they gave, how long they ran, what they wrote into their logs.

use std::sync::Arc;

use indexmap::IndexMap;
use onceover_types::{NodeName, Object, TaskId, Timestamp};
use onceover_wire::{AttemptTimes, LogPage, PastRun};
use serde_json::Value;
use similar::{Algorithm, capture_diff_slices};

use crate::{figures, theme::word};

/// Values of an input or output that are compared; the tabs of the detail have all of them.
const MOST_VALUES: usize = 2_000;
/// Lines at the end of a log that are compared.
pub const LOG_LINES: u64 = 200;

/// How two values differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueChange {
    Same,
    Changed,
    /// Only the left run has it.
    Removed,
    /// Only the right run has it.
    Added,
}

/// A line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareLine {
    /// The title of what follows.
    Title(String),
    Values {
        label: String,
        left: Option<String>,
        right: Option<String>,
    },
}

impl CompareLine {
    fn new(label: impl Into<String>, left: Option<String>, right: Option<String>) -> Self {
        Self::Values {
            label: label.into(),
            left,
            right,
        }
    }

    /// Returns how the values differ; `None` for a title.
    pub fn change(&self) -> Option<ValueChange> {
        let Self::Values { left, right, .. } = self else {
            return None;
        };
        Some(match (left, right) {
            (Some(left), Some(right)) if left != right => ValueChange::Changed,
            (Some(_), None) => ValueChange::Removed,
            (None, Some(_)) => ValueChange::Added,
            _ => ValueChange::Same,
        })
    }
}

/// One of the two runs.
#[derive(Debug)]
pub struct CompareSide {
    pub task: Arc<TaskId>,
    pub node: Arc<NodeName>,
    /// The runs to choose from, the newest first.
    pub runs: Vec<PastRun>,
    /// The chosen one.
    pub index: usize,
    pub request: Option<u64>,
    pub failed: Option<String>,
    /// The end of the log of the stage's newest run, without the times.
    pub log: Vec<String>,
    pub log_request: Option<u64>,
}

impl CompareSide {
    pub fn new(task: &Arc<TaskId>, node: &Arc<NodeName>, index: usize) -> Self {
        Self {
            task: task.clone(),
            node: node.clone(),
            runs: Vec::new(),
            index,
            request: None,
            failed: None,
            log: Vec::new(),
            log_request: None,
        }
    }

    /// Returns the chosen run.
    pub fn run(&self) -> Option<&PastRun> {
        self.runs.get(self.index)
    }

    /// Returns the run before the chosen one, whose request that one was: the same again, or with changes.
    fn former_run(&self) -> Option<&PastRun> {
        self.runs.get(self.index + 1)
    }

    /// Takes the runs to choose from. The chosen one stays, if it is still kept.
    pub fn set_runs(&mut self, runs: Vec<PastRun>) {
        let chosen = self.run().map(|run| run.run_id.as_str());
        let kept = chosen.and_then(|id| runs.iter().position(|run| run.run_id == id));
        self.index = kept.unwrap_or_else(|| self.index.min(runs.len().saturating_sub(1)));
        self.runs = runs;
    }

    /// Takes the end of the log. The times before its lines are never the same: they are left out.
    pub fn set_log(&mut self, page: LogPage) {
        let lines = page.lines.into_iter().map(|line| match line.text.split_once(' ') {
            Some((time, text)) if time.parse::<Timestamp>().is_ok() => text.to_owned(),
            _ => line.text,
        });
        self.log = lines.collect();
    }

    /// Returns the log of the chosen run: the stage keeps that of its newest one.
    fn log_of_run(&self) -> &[String] {
        match self.index {
            0 => &self.log,
            _ => &[],
        }
    }
}

/// The sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SideChoice {
    #[default]
    Left,
    Right,
}

/// What the page knows.
#[derive(Debug, Default)]
pub struct ComparePage {
    /// The earlier run, or the stage that was marked first, and the other one.
    pub sides: Option<[CompareSide; 2]>,
    /// The side whose run the arrows change.
    pub chosen: SideChoice,
    /// Lines that are scrolled from the top.
    pub scroll: usize,
    pub lines: Vec<CompareLine>,
    /// Whether a run has begun or ended since the runs were read.
    pub is_stale: bool,
}

impl ComparePage {
    /// Makes the page of two stages, or of two runs of one.
    pub fn open(left: CompareSide, right: CompareSide) -> Self {
        Self {
            sides: Some([left, right]),
            ..Self::default()
        }
    }

    /// Whether the runs are to be read again, and are not being read.
    pub fn wants_read(&self) -> bool {
        let mut sides = self.sides.iter().flatten();
        self.is_stale && sides.all(|side| side.request.is_none())
    }

    /// Whether both runs are of one stage.
    pub fn has_one_stage(&self) -> bool {
        let sides = self.sides.as_ref();
        sides.is_some_and(|[left, right]| left.task == right.task && left.node == right.node)
    }

    /// Chooses another run of the chosen side: an earlier one, or a later one.
    pub fn choose_run(&mut self, is_earlier: bool) {
        let Some([left, right]) = &mut self.sides else { return };
        let side = match self.chosen {
            SideChoice::Left => left,
            SideChoice::Right => right,
        };
        let last = side.runs.len().saturating_sub(1);
        side.index = match is_earlier {
            true => (side.index + 1).min(last),
            false => side.index.saturating_sub(1),
        };
    }

    /// Chooses the side whose run the arrows change.
    pub fn turn_side(&mut self) {
        self.chosen = match self.chosen {
            SideChoice::Left => SideChoice::Right,
            SideChoice::Right => SideChoice::Left,
        };
    }

    /// Scrolls by lines.
    pub fn scroll_by(&mut self, by: isize) {
        let last = self.lines.len().saturating_sub(1);
        self.scroll = self.scroll.saturating_add_signed(by).min(last);
    }

    /// Compares the chosen runs again.
    pub fn compare(&mut self, format_time: impl Fn(Timestamp) -> String) {
        self.lines = match &self.sides {
            Some([left, right]) => compare_sides(left, right, format_time),
            None => Vec::new(),
        };
        self.scroll = self.scroll.min(self.lines.len().saturating_sub(1));
    }
}

fn compare_sides(
    left: &CompareSide,
    right: &CompareSide,
    format_time: impl Fn(Timestamp) -> String,
) -> Vec<CompareLine> {
    let (Some(before), Some(after)) = (left.run(), right.run()) else {
        return Vec::new();
    };
    let mut lines = compare_facts(before, after, format_time);
    let former = |side: &CompareSide| side.former_run().map(|run| run.run_id.clone());
    let formers = (former(left), former(right));
    if formers.0.is_some() || formers.1.is_some() {
        lines.insert(1, CompareLine::new("rerun of", formers.0, formers.1));
    }
    compare_attempts(&before.attempts, &after.attempts, &mut lines);
    lines.push(CompareLine::Title("Input".into()));
    compare_objects(
        (before.input.as_ref(), before.input_left_out),
        (after.input.as_ref(), after.input_left_out),
        &mut lines,
    );
    lines.push(CompareLine::Title("Output".into()));
    compare_objects(
        (before.output.as_ref(), before.output_left_out),
        (after.output.as_ref(), after.output_left_out),
        &mut lines,
    );
    lines.push(CompareLine::Title(format!("Log, its last {LOG_LINES} lines")));
    let kept = |side: &CompareSide| match side.index {
        0 => None,
        _ => Some("not kept: the stage has the log of its newest run".to_owned()),
    };
    if left.index > 0 || right.index > 0 {
        lines.push(CompareLine::new("", kept(left), kept(right)));
    }
    compare_logs(left.log_of_run(), right.log_of_run(), &mut lines);
    lines
}

fn compare_facts(before: &PastRun, after: &PastRun, format_time: impl Fn(Timestamp) -> String) -> Vec<CompareLine> {
    let took = |run: &PastRun| {
        let (started, ended) = (run.started_at?, run.ended_at?);
        Some(figures::format_long(ended.seconds_since(started)))
    };
    let waited = |run: &PastRun| {
        let begun = run
            .attempts
            .first()
            .map(|attempt| attempt.started_at)
            .or(run.started_at)?;
        Some(figures::format_long(begun.seconds_since(run.created_at)))
    };
    let needs = |run: &PastRun| {
        let needs: Vec<_> = run.needs.iter().map(NodeName::as_str).collect();
        (!needs.is_empty()).then(|| needs.join(", "))
    };
    let line =
        |label: &str, value: &dyn Fn(&PastRun) -> Option<String>| CompareLine::new(label, value(before), value(after));
    let lines = [
        line("run", &|run: &PastRun| Some(run.run_id.clone())),
        line("state", &|run: &PastRun| Some(word(run.status).to_owned())),
        line("queued", &|run: &PastRun| Some(format_time(run.created_at))),
        line("waited", &waited),
        line("took", &took),
        line("needs", &needs),
        line("error", &|run: &PastRun| run.error.clone()),
    ];
    let has_value = |line: &CompareLine| {
        !matches!(
            line,
            CompareLine::Values {
                left: None,
                right: None,
                ..
            }
        )
    };
    lines.into_iter().filter(has_value).collect()
}

fn compare_attempts(before: &[AttemptTimes], after: &[AttemptTimes], lines: &mut Vec<CompareLine>) {
    if before.len().max(after.len()) < 2 {
        return;
    }
    let describe = |attempt: &AttemptTimes| {
        let took = attempt.ended_at.map(|ended| ended.seconds_since(attempt.started_at));
        let took = took.map_or_else(|| "in flight".to_owned(), figures::format_long);
        match &attempt.error {
            Some(error) => format!("{took}: {error}"),
            None => took,
        }
    };
    for index in 0..before.len().max(after.len()) {
        lines.push(CompareLine::new(
            format!("attempt {}", index + 1),
            before.get(index).map(describe),
            after.get(index).map(describe),
        ));
    }
}

/// Compares two objects value by value, each with whether it was left out.
fn compare_objects(left: (Option<&Object>, bool), right: (Option<&Object>, bool), lines: &mut Vec<CompareLine>) {
    if left.1 || right.1 {
        let describe = |is_left_out: bool| is_left_out.then(|| "not kept: too large".to_owned());
        lines.push(CompareLine::new("", describe(left.1), describe(right.1)));
    }
    let mut values: IndexMap<String, [Option<String>; 2]> = IndexMap::new();
    for (side, object) in [left.0, right.0].into_iter().enumerate() {
        for (path, value) in list_values(object) {
            values.entry(path).or_default()[side] = Some(value);
        }
    }
    lines.extend(
        values
            .into_iter()
            .map(|(path, [left, right])| CompareLine::new(path, left, right)),
    );
}

/// Lists the values of an object with their paths: `voices[0].name`.
fn list_values(object: Option<&Object>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let fields = object.into_iter().flat_map(|object| object.iter());
    let mut waiting: Vec<_> = fields.map(|(name, value)| (name.clone(), value)).collect();
    waiting.reverse();
    while let Some((path, value)) = waiting.pop() {
        if found.len() >= MOST_VALUES {
            break;
        }
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let fields = fields.iter().rev();
                waiting.extend(fields.map(|(name, value)| (format!("{path}.{name}"), value)));
            }
            Value::Array(items) if !items.is_empty() => {
                let items = items.iter().enumerate().rev();
                waiting.extend(items.map(|(index, value)| (format!("{path}[{index}]"), value)));
            }
            Value::String(text) => found.push((path, text.clone())),
            other => found.push((path, other.to_string())),
        }
    }
    found
}

/// Puts lines that two logs have in common beside each other.
fn compare_logs(left: &[String], right: &[String], lines: &mut Vec<CompareLine>) {
    for part in capture_diff_slices(Algorithm::Myers, left, right) {
        let (before, after) = (&left[part.old_range()], &right[part.new_range()]);
        for index in 0..before.len().max(after.len()) {
            lines.push(CompareLine::new(
                "",
                before.get(index).cloned(),
                after.get(index).cloned(),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: Value) -> Object {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn values_are_compared_by_their_paths() {
        let left = object(serde_json::json!({"a": {"b": [1, 2]}, "same": "x", "gone": null}));
        let right = object(serde_json::json!({"a": {"b": [1, 3, 4]}, "same": "x"}));
        let mut lines = Vec::new();
        compare_objects((Some(&left), false), (Some(&right), false), &mut lines);
        let found: Vec<_> = lines
            .iter()
            .map(|line| match line {
                CompareLine::Values { label, .. } => (label.as_str(), line.change().unwrap()),
                CompareLine::Title(title) => (title.as_str(), ValueChange::Same),
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a.b[0]", ValueChange::Same),
                ("a.b[1]", ValueChange::Changed),
                ("same", ValueChange::Same),
                ("gone", ValueChange::Removed),
                ("a.b[2]", ValueChange::Added),
            ]
        );
    }

    #[test]
    fn equal_lines_of_logs_stand_beside_each_other() {
        let log = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut lines = Vec::new();
        compare_logs(&log("a b c d"), &log("a x b d"), &mut lines);
        let same = lines.iter().filter(|line| line.change() == Some(ValueChange::Same));
        assert_eq!(same.count(), 3, "{lines:?}");
    }

    #[test]
    fn a_large_value_is_bounded() {
        let many: Vec<_> = (0..10_000).collect();
        let large = object(serde_json::json!({ "many": many }));
        assert_eq!(list_values(Some(&large)).len(), MOST_VALUES);
    }
}
