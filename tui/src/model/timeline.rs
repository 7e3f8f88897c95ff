//! The timeline of a task: which runs of its stages are known, how they lie in time, which of them made it last as long
//! as it did, and which part of time is on the screen.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use onceover_types::{NodeName, StageState, TaskId, Timestamp};
use onceover_wire::{PastRun, StageRuns};

use super::{
    list::List,
    stage::KeptStage,
    store::TaskStore,
    task::{Standing, Task},
};

/// How often the scale is doubled at most, and halved.
const MOST_ZOOM: i8 = 16;
const LEAST_ZOOM: i8 = -10;
/// A run that ended longer than this before the newest ones is not fitted onto the screen.
const APART_MS: i64 = 60_000;
/// Columns of a label of the axis, with what keeps labels apart.
const LABEL_COLUMNS: f64 = 9.0;

/// Steps of the axis, in milliseconds.
const STEPS: [i64; 27] = [
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    604_800_000,
    2_592_000_000,
];

/// What a stage did between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// A run waited for a slot, or for its next attempt.
    Waiting,
    Running,
    /// An attempt whose result other requests took as well.
    Reused,
    /// An attempt that failed, or was lost.
    Failed,
    /// An attempt that was cancelled.
    Cancelled,
}

/// A part of a run, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSegment {
    pub kind: SegmentKind,
    pub from: i64,
    pub to: i64,
    /// Whether it goes on now.
    pub is_open: bool,
}

impl TimeSegment {
    /// Whether its end is not beyond the right edge of a window.
    pub fn ends_in(&self, window: &TimeWindow) -> bool {
        self.to as f64 <= window.from + window.per_cell * f64::from(window.columns) + window.per_cell / 2.0
    }
}

/// A run of a stage, in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSpan {
    pub queued: i64,
    /// When its newest attempt began.
    pub started: Option<i64>,
    /// The present time while it is in flight.
    pub ended: i64,
}

/// The row of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageBar {
    pub node: Arc<NodeName>,
    /// In the order of time.
    pub segments: Vec<TimeSegment>,
    /// The newest run comes last.
    pub runs: Vec<RunSpan>,
    /// The stages that the newest run took from.
    pub needs: Vec<NodeName>,
}

impl StageBar {
    fn newest(&self) -> Option<&RunSpan> {
        self.runs.last()
    }
}

/// An attempt of a run.
#[derive(Debug, Clone, Copy)]
struct AttemptSpan {
    from: i64,
    to: Option<i64>,
    has_failed: bool,
}

/// What of a run its segments are made of.
struct RunParts {
    state: StageState,
    is_reused: bool,
    queued: i64,
    ended: Option<i64>,
    attempts: Vec<AttemptSpan>,
}

impl RunParts {
    /// Reads a run of the history.
    fn from_history(run: &PastRun) -> Self {
        let attempts = run.attempts.iter().map(|attempt| AttemptSpan {
            from: attempt.started_at.as_millis(),
            to: attempt.ended_at.map(Timestamp::as_millis),
            has_failed: attempt.error.is_some(),
        });
        let mut attempts: Vec<_> = attempts.collect();
        if attempts.is_empty() {
            attempts.extend(run.started_at.map(|started| AttemptSpan {
                from: started.as_millis(),
                to: run.ended_at.map(Timestamp::as_millis),
                has_failed: false,
            }));
        }
        Self {
            state: run.status,
            is_reused: false,
            queued: run.created_at.as_millis(),
            ended: run.ended_at.map(Timestamp::as_millis),
            attempts,
        }
    }

    /// Reads the newest run: the summary knows its state, the history its attempts.
    fn from_summary(stage: &KeptStage, known: Option<&PastRun>, is_reused: bool) -> Option<Self> {
        let started = stage.started_at().filter(|_| stage.status != StageState::Pending);
        let queued = stage.queued_at().or(started).or(stage.ended_at())?;
        let mut parts = match known {
            Some(run) => Self::from_history(run),
            None => Self {
                state: stage.status,
                is_reused,
                queued: queued.as_millis(),
                ended: None,
                attempts: Vec::new(),
            },
        };
        let has_begun = |started: &Timestamp| parts.attempts.iter().any(|it| it.from >= started.as_millis());
        if let Some(started) = started.filter(|started| !has_begun(started)) {
            parts.attempts.push(AttemptSpan {
                from: started.as_millis(),
                to: None,
                has_failed: false,
            });
        }
        parts.state = stage.status;
        parts.is_reused = is_reused;
        parts.ended = match stage.status.in_flight() {
            true => None,
            false => stage.ended_at().map(Timestamp::as_millis),
        };
        Some(parts)
    }

    /// Adds the run and its segments to the row of its stage. No segment is outside the run.
    fn add_to(&self, bar: &mut StageBar, now: i64) {
        let in_flight = self.state.in_flight();
        let end = self.ended.unwrap_or(now).max(self.queued);
        let clamp = |time: i64| time.clamp(self.queued, end);
        let mut at = self.queued;
        for (index, attempt) in self.attempts.iter().enumerate() {
            let from = clamp(attempt.from).max(at);
            add_segment(&mut bar.segments, SegmentKind::Waiting, at, from, false);
            let next = self.attempts.get(index + 1);
            let is_last = next.is_none();
            let runs_on = is_last && self.state == StageState::Running;
            let known_end = attempt.to.filter(|_| !runs_on).or(next.map(|next| next.from));
            let waits_again = is_last && self.state == StageState::Pending;
            let to = match known_end {
                Some(to) => clamp(to).max(from),
                // It was lost: when is not known.
                None if waits_again => from,
                None => end.max(from),
            };
            let kind = match self.state {
                _ if !is_last || attempt.has_failed => SegmentKind::Failed,
                StageState::Failed => SegmentKind::Failed,
                StageState::Cancelled => SegmentKind::Cancelled,
                StageState::Success if self.is_reused => SegmentKind::Reused,
                _ => SegmentKind::Running,
            };
            bar.segments.push(TimeSegment {
                kind,
                from,
                to,
                is_open: runs_on,
            });
            at = to;
        }
        if self.state == StageState::Pending || self.attempts.is_empty() {
            add_segment(&mut bar.segments, SegmentKind::Waiting, at, end, in_flight);
        }
        bar.runs.push(RunSpan {
            queued: self.queued,
            started: self.attempts.last().map(|attempt| clamp(attempt.from)),
            ended: end,
        });
    }
}

fn add_segment(segments: &mut Vec<TimeSegment>, kind: SegmentKind, from: i64, to: i64, is_open: bool) {
    if to > from || is_open {
        segments.push(TimeSegment {
            kind,
            from,
            to,
            is_open,
        });
    }
}

/// Makes the rows of a task, in the order of its rows in the tree.
pub fn list_bars(task: &Task, known: &HashMap<Arc<NodeName>, StageRuns>, now: Timestamp) -> Vec<StageBar> {
    let rows = task.rows();
    rows.map(|(node, stage)| make_bar(task, node, stage, known.get(node), now))
        .collect()
}

fn make_bar(
    task: &Task,
    node: &Arc<NodeName>,
    stage: Option<&KeptStage>,
    known: Option<&StageRuns>,
    now: Timestamp,
) -> StageBar {
    let mut bar = StageBar {
        node: node.clone(),
        segments: Vec::new(),
        runs: Vec::new(),
        needs: Vec::new(),
    };
    let runs = known.map_or(&[][..], |known| known.runs.as_slice());
    let run_id = stage.and_then(KeptStage::run_id);
    let is_newest = |run: &&PastRun| run_id.as_ref().is_some_and(|id| id.as_str() == run.run_id);
    let newest = runs.iter().find(is_newest);
    let mut earlier: Vec<_> = runs
        .iter()
        // Of a run that was in flight when it was read nothing more is known.
        .filter(|run| !is_newest(run) && run.ended_at.is_some())
        .collect();
    earlier.sort_by_key(|run| run.created_at);
    for run in earlier {
        RunParts::from_history(run).add_to(&mut bar, now.as_millis());
    }
    let is_reused = task.standing(node) == Some(Standing::Reused)
        || stage.is_some_and(|stage| stage.status == StageState::Success && stage.reuses() > 0);
    if let Some(parts) = stage.and_then(|stage| RunParts::from_summary(stage, newest, is_reused)) {
        parts.add_to(&mut bar, now.as_millis());
    }
    bar.needs = newest.map_or_else(Vec::new, |run| run.needs.clone());
    bar
}

/// Finds what made the task last as long as it did: the stage that ended last, the stage that it waited for, and so on.
/// Returns the indexes of their rows, the first one first.
pub fn find_critical_path(bars: &[StageBar]) -> Vec<usize> {
    let end_of = |index: &usize| bars[*index].newest().map(|run| run.ended);
    let all: HashMap<&str, usize> = bars
        .iter()
        .enumerate()
        .map(|(index, bar)| (bar.node.as_str(), index))
        .collect();
    let begun = (0..bars.len()).filter(|index| bars[*index].newest().is_some_and(|run| run.started.is_some()));
    let mut path = Vec::new();
    let mut on_path = HashSet::new();
    let mut next = begun.max_by_key(end_of);
    while let Some(index) = next.filter(|index| on_path.insert(*index)) {
        path.push(index);
        let started = bars[index].newest().and_then(|run| run.started);
        let needs = bars[index]
            .needs
            .iter()
            .filter_map(|need| all.get(need.as_str()).copied());
        // What ended after the stage had begun was run again since: it was not waited for.
        let waited_for = needs.filter(|need| match (end_of(need), started) {
            (Some(ended), Some(started)) => ended <= started,
            _ => false,
        });
        next = waited_for.max_by_key(end_of);
    }
    path.reverse();
    path
}

/// Returns the time that the newest attempts on a path took together, in milliseconds.
pub fn sum_path(bars: &[StageBar], path: &[usize]) -> i64 {
    let newest = path.iter().filter_map(|index| bars.get(*index)?.newest());
    newest.map(|run| run.ended - run.started.unwrap_or(run.ended)).sum()
}

/// Returns when the newest runs began and ended, with those shortly before; `None` where nothing has run.
pub fn find_span(bars: &[StageBar]) -> Option<(i64, i64)> {
    let newest = || bars.iter().filter_map(StageBar::newest);
    let mut from = newest().map(|run| run.queued).min()?;
    let to = newest().map(|run| run.ended).max()?;
    let mut earlier: Vec<_> = bars.iter().flat_map(|bar| &bar.runs).collect();
    earlier.sort_by_key(|run| std::cmp::Reverse(run.ended));
    for run in earlier {
        if from - run.ended <= APART_MS {
            from = from.min(run.queued);
        }
    }
    Some((from, to))
}

/// The part of time that is on the screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeWindow {
    /// The time at the left edge, in milliseconds since the epoch.
    pub from: f64,
    /// Milliseconds of a column.
    pub per_cell: f64,
    pub columns: u16,
}

impl TimeWindow {
    /// Fits a span into so many columns.
    fn fit((from, to): (i64, i64), columns: u16) -> Self {
        let columns = columns.max(1);
        Self {
            from: from as f64,
            per_cell: ((to - from) as f64 / f64::from(columns)).max(1.0),
            columns,
        }
    }

    /// Returns the columns, from the first to before the last, that a segment covers; `None` if it is not in view.
    pub fn cells(&self, segment: &TimeSegment) -> Option<(u16, u16)> {
        let column = |time: i64| (time as f64 - self.from) / self.per_cell;
        let first = column(segment.from).floor();
        let end = column(segment.to).ceil().max(first + 1.0);
        let columns = f64::from(self.columns);
        // What ends with the window has the last column.
        let first = if first == columns { columns - 1.0 } else { first };
        let (first, end) = (first.max(0.0), end.min(columns));
        (first < end).then_some((first as u16, end as u16))
    }

    /// Lists the labels of the axis: columns and milliseconds since `origin`.
    pub fn list_ticks(&self, origin: i64) -> Vec<(u16, i64)> {
        let wanted = self.per_cell * LABEL_COLUMNS;
        let last = STEPS[STEPS.len() - 1];
        let step = STEPS.into_iter().find(|step| *step as f64 >= wanted);
        // Beyond the table the step grows in whole months.
        let step = step.unwrap_or_else(|| last * (wanted / last as f64).ceil() as i64);
        let start = self.from - origin as f64;
        let first = (start / step as f64).ceil() as i64;
        let ticks = (first..).map(|number| number.saturating_mul(step));
        ticks
            .map(|since| (((since as f64 - start) / self.per_cell).round(), since))
            .take_while(|(column, _)| *column < f64::from(self.columns))
            .map(|(column, since)| (column as u16, since))
            .collect()
    }
}

/// Writes a time of the axis: `0 s`, `1 m 30 s`, `0.25 s`, `-2 h`.
pub fn format_tick(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds % 60, "s")];
    if millis < 60_000 {
        let fraction = format!("{rest:03}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        return format!("{sign}{seconds}{point}{fraction} s");
    }
    let words = parts.iter().filter(|(figure, _)| *figure > 0).take(2);
    let words: Vec<_> = words.map(|(figure, unit)| format!("{figure} {unit}")).collect();
    format!("{sign}{}", words.join(" "))
}

/// What the page knows.
#[derive(Debug, Default)]
pub struct TimelinePage {
    /// The task that is shown; `None` before the page is opened.
    pub task: Option<Arc<TaskId>>,
    /// The rows, with the cursor.
    pub list: List<Arc<NodeName>>,
    pub runs: HashMap<Arc<NodeName>, StageRuns>,
    /// Stages whose runs are to be read.
    pub waiting: BTreeSet<Arc<NodeName>>,
    /// Runs that are being read, by request.
    pub requests: HashMap<u64, Arc<NodeName>>,
    /// Why runs cannot be read.
    pub failed: Option<String>,
    /// How often the scale was doubled; below 0: halved.
    pub zoom: i8,
    /// The time in the middle; `None`: everything is fitted onto the screen.
    pub centre: Option<i64>,
}

impl TimelinePage {
    /// Makes the page of a task.
    pub fn open(task: &Task) -> Self {
        let mut list = List::default();
        list.set(task.rows().map(|(node, _)| node.clone()).collect());
        Self {
            task: Some(task.id.clone()),
            list,
            waiting: task.stages.keys().cloned().collect(),
            ..Self::default()
        }
    }

    /// Takes over which rows the task has, and keeps the cursor on a screen of so many.
    pub fn settle(&mut self, store: &TaskStore, rows: usize) {
        let Some(task) = self.task.as_ref().and_then(|task| store.get(task)) else {
            return;
        };
        let is_same = task.rows().map(|(node, _)| node).eq(self.list.keys());
        if !is_same {
            self.list.set(task.rows().map(|(node, _)| node.clone()).collect());
        }
        self.list.scroll(rows);
    }

    /// Returns the part of time to show of a span.
    pub fn choose_window(&self, span: (i64, i64), columns: u16) -> TimeWindow {
        let fit = TimeWindow::fit(span, columns);
        if self.zoom == 0 && self.centre.is_none() {
            return fit;
        }
        let per_cell = (fit.per_cell / 2_f64.powi(i32::from(self.zoom))).max(0.01);
        let middle = self.centre.unwrap_or(i64::midpoint(span.0, span.1));
        TimeWindow {
            from: middle as f64 - per_cell * f64::from(columns) / 2.0,
            per_cell,
            columns,
        }
    }

    /// Doubles the scale, or halves it.
    pub fn zoom_by(&mut self, steps: i8, span: (i64, i64)) {
        self.centre.get_or_insert(i64::midpoint(span.0, span.1));
        self.zoom = self.zoom.saturating_add(steps).clamp(LEAST_ZOOM, MOST_ZOOM);
    }

    /// Moves the window by a share of its width; no further than what is shown goes.
    pub fn pan(&mut self, share: f64, span: (i64, i64), columns: u16) {
        let window = self.choose_window(span, columns);
        let width = window.per_cell * f64::from(window.columns);
        let middle = window.from + width / 2.0 + width * share;
        let reach = (span.1 - span.0).max(1) * 20;
        self.centre = Some((middle as i64).clamp(span.0 - reach, span.1 + reach));
    }

    /// Fits everything onto the screen.
    pub fn fit(&mut self) {
        self.zoom = 0;
        self.centre = None;
    }
}

#[cfg(test)]
mod tests;
