//! All tasks in short, page by page, for a reader that keeps every one of them. These are plain reads in steps of a few
//! hundred commands: Redis serves others between two of them, and no more than a page is held at a time. What changes
//! between two steps has an event, which the reader gets as well: the number of the last event is read first.

use std::{fmt, str::FromStr};

use onceover_types::{CallbackStatus, NodeName, TaskId, TaskStatus, VideoId, ids::InvalidId};
use onceover_wire::{StageRow, StageSummary, TaskRow};
use redis::Pipeline;

use super::{
    Store, StoreError,
    record::{Fields, StageRecord},
    task_snapshot::{NotedStage, ReadReplies},
};

/// Tasks that are read in one step.
const STEP: u32 = 100;
/// Records of stages that are asked for in one step.
const STAGES_PER_STEP: usize = 500;
/// Stages after which a page ends, though it could have more tasks.
const STAGES_PER_PAGE: usize = 10_000;
/// Tasks that are looked at for one page: some may not exist any more.
const MOST_LOOKED_AT: usize = 2_000;

/// The fields that a summary is made of; Lua's `SUMMARY_FIELDS` are the same.
const SUMMARY_FIELDS: [&str; 21] = [
    "state",
    "run",
    "attempt",
    "rev",
    "queue",
    "runner",
    "progress",
    "message",
    "reason",
    "restore",
    "hits",
    "joins",
    "saved_ms",
    "queued",
    "started",
    "ended",
    "duration_ms",
    "error_short",
    "callback_status",
    "res_warnings",
    "res_retryable",
];
/// The fields of a task that its row has.
const TASK_FIELDS: [&str; 4] = ["created", "updated", "status", "callback_status"];

/// The part of all tasks that a page is of, in the order in which they are read. A task that moves between two parts
/// while they are read is in the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowSection {
    Running,
    Pending,
    Failed,
    All,
}

impl RowSection {
    const IN_ORDER: [Self; 4] = [Self::Running, Self::Pending, Self::Failed, Self::All];

    /// Returns the letter that a cursor has for it.
    fn letter(self) -> char {
        match self {
            Self::Running => 'r',
            Self::Pending => 'p',
            Self::Failed => 'f',
            Self::All => 'a',
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Running => "onceover:tasks:status:running",
            Self::Pending => "onceover:tasks:status:pending",
            Self::Failed => "onceover:tasks:status:failed",
            Self::All => "onceover:tasks",
        }
    }

    fn next(self) -> Option<Self> {
        let position = Self::IN_ORDER.iter().position(|section| *section == self)?;
        Self::IN_ORDER.get(position + 1).copied()
    }
}

/// What was read last: the section, and the task in it; none where the section begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMark {
    section: RowSection,
    task: Option<TaskId>,
}

impl RowMark {
    fn begin(section: RowSection) -> Self {
        Self { section, task: None }
    }
}

impl fmt::Display for RowMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.as_ref().map_or("", TaskId::as_str);
        write!(f, "{}{task}", self.section.letter())
    }
}

impl FromStr for RowMark {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut rest = text.chars();
        let letter = rest.next();
        let section = RowSection::IN_ORDER
            .into_iter()
            .find(|section| Some(section.letter()) == letter)
            .ok_or_else(|| InvalidId(format!("'{text}' is no place among the tasks")))?;
        let task = match rest.as_str() {
            "" => None,
            id => Some(TaskId::parse(id)?),
        };
        Ok(Self { section, task })
    }
}

/// A page of all tasks.
pub struct RowsRead {
    pub rows: Vec<TaskRow>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<(i64, RowMark)>,
    pub seq: u64,
}

impl Store {
    /// Reads one page of all tasks, from `after` on: what runs, what waits, what has failed, then everything, the newest
    /// first in each.
    pub async fn read_rows(&self, limit: u32, after: Option<&(i64, RowMark)>) -> Result<RowsRead, StoreError> {
        let seq = self.last_event().await?;
        let first = (i64::MAX, RowMark::begin(RowSection::Running));
        let mut place = after.cloned().unwrap_or(first);
        let mut page = RowsRead {
            rows: Vec::new(),
            next: None,
            seq,
        };
        let (mut looked_at, mut stages) = (0, 0);
        loop {
            let rest = limit.saturating_sub(u32::try_from(page.rows.len()).unwrap_or(u32::MAX));
            if rest == 0 || looked_at >= MOST_LOOKED_AT || stages >= STAGES_PER_PAGE {
                page.next = Some(place);
                return Ok(page);
            }
            let found = self.list_after(&place, rest.min(STEP)).await?;
            match found.last() {
                Some((task, score)) => {
                    let mark = RowMark {
                        section: place.1.section,
                        task: Some(task.clone()),
                    };
                    place = (*score, mark);
                }
                None => match place.1.section.next() {
                    Some(section) => place = (i64::MAX, RowMark::begin(section)),
                    None => return Ok(page),
                },
            }
            looked_at += found.len();
            let rows = self
                .read_step(found.into_iter().map(|(task, _)| task).collect())
                .await?;
            stages += rows.iter().map(|row| row.stages.len()).sum::<usize>();
            page.rows.extend(rows);
        }
    }

    /// Lists the tasks of a section that follow the place, with the times of their creation.
    async fn list_after(&self, place: &(i64, RowMark), most: u32) -> Result<Vec<(TaskId, i64)>, StoreError> {
        let (score, mark) = place;
        let highest = match mark.task {
            Some(_) => score.to_string(),
            None => "+inf".to_owned(),
        };
        let mut offset = 0;
        loop {
            let mut redis = self.redis.clone();
            let mut command = redis::cmd("ZREVRANGEBYSCORE");
            command
                .arg(mark.section.key())
                .arg(&highest)
                .arg("-inf")
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(offset)
                .arg(most);
            let members: Vec<(String, f64)> = self.limited(command.query_async(&mut redis)).await?;
            if members.is_empty() {
                return Ok(Vec::new());
            }
            let found = members
                .iter()
                .filter_map(|(task, score)| parse_member(task, *score, place));
            let found: Vec<_> = found.collect();
            if !found.is_empty() {
                return Ok(found);
            }
            // All of these stand at the time of the last one, before it.
            offset += most;
        }
    }

    /// Reads the rows of tasks; those that do not exist any more, or have no stages, are left out.
    async fn read_step(&self, tasks: Vec<TaskId>) -> Result<Vec<TaskRow>, StoreError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for task in &tasks {
            add_task_commands(&mut pipe, task);
        }
        let mut replies = ReadReplies::from(self.send_plain(pipe).await?);
        let mut heads = Vec::with_capacity(tasks.len());
        for task in tasks {
            heads.extend(RowHead::parse(task, &mut replies)?);
        }
        let wanted = heads
            .iter()
            .flat_map(|head| head.nodes.iter().map(|node| (&head.row.task_id, node)));
        let wanted: Vec<_> = wanted.collect();
        let mut records = Vec::with_capacity(wanted.len());
        for step in wanted.chunks(STAGES_PER_STEP) {
            let mut pipe = redis::pipe();
            for (task, node) in step {
                pipe.cmd("HMGET")
                    .arg(format!("onceover:stage:{task}:{node}"))
                    .arg(&SUMMARY_FIELDS[..]);
            }
            let mut replies = ReadReplies::from(self.send_plain(pipe).await?);
            for _ in step {
                records.push(parse_record(replies.next_readable()?));
            }
        }
        let mut records = records.into_iter();
        let rows = heads.into_iter().map(|head| head.complete(&mut records));
        Ok(rows.filter(|row| !row.stages.is_empty()).collect())
    }
}

/// Reads a member with its score; `None` where it stands at the place or before it. Members of equal score come in
/// descending order of their names.
fn parse_member(task: &str, score: f64, place: &(i64, RowMark)) -> Option<(TaskId, i64)> {
    let score = score as i64;
    let (last_score, mark) = place;
    if let Some(last) = &mark.task
        && score == *last_score
        && task >= last.as_str()
    {
        return None;
    }
    // A name that is none was not written by us, and is removed by `onceoverd check --repair`.
    Some((TaskId::parse(task).ok()?, score))
}

/// Adds the commands that [`RowHead::parse`] reads the replies of.
fn add_task_commands(pipe: &mut Pipeline, task: &TaskId) {
    pipe.cmd("HMGET")
        .arg(format!("onceover:task:{task}"))
        .arg(&TASK_FIELDS[..]);
    pipe.cmd("ZRANGE")
        .arg(format!("onceover:task:{task}:stages"))
        .arg(0)
        .arg(-1);
    pipe.cmd("HGETALL").arg(format!("onceover:foreign:{task}"));
    if let Some(video) = VideoId::of_task(task) {
        pipe.cmd("HGET")
            .arg(format!("onceover:video:{video}"))
            .arg("processing");
    }
}

/// A task whose stages are still to be read.
struct RowHead {
    row: TaskRow,
    nodes: Vec<NodeName>,
    notes: Fields,
}

impl RowHead {
    /// Takes the replies about one task; `None` where it does not exist.
    fn parse(task: TaskId, replies: &mut ReadReplies) -> Result<Option<Self>, StoreError> {
        let fields: Option<Vec<Option<String>>> = replies.next_readable()?;
        let nodes: Vec<String> = replies.next_readable()?.unwrap_or_default();
        let notes: Fields = replies.next_readable()?.unwrap_or_default();
        let processing: Option<String> = match VideoId::of_task(&task) {
            Some(_) => replies.next_readable()?,
            None => None,
        };
        let mut damaged = fields.is_none().then(|| "it is no hash".to_owned());
        let mut fields = fields.unwrap_or_default().into_iter();
        let [created, updated, status, callback]: [Option<String>; TASK_FIELDS.len()] =
            std::array::from_fn(|_| fields.next().flatten());
        if damaged.is_none() && created.is_none() && status.is_none() {
            return Ok(None);
        }
        let mut read_number = |field: &str, text: Option<String>| {
            let number = text.and_then(|text| text.parse::<i64>().ok());
            if number.is_none() {
                damaged.get_or_insert_with(|| field.to_owned());
            }
            number
        };
        let created_ms = read_number("created", created).unwrap_or_default();
        let updated_ms = read_number("updated", updated).unwrap_or(created_ms);
        let status = status.and_then(|text| text.parse::<TaskStatus>().ok());
        if status.is_none() {
            damaged.get_or_insert_with(|| "status".to_owned());
        }
        let callback_status = callback.as_deref().and_then(|text| text.parse::<CallbackStatus>().ok());
        if callback.is_some() && callback_status.is_none() {
            damaged.get_or_insert_with(|| "callback_status".to_owned());
        }
        Ok(Some(Self {
            row: TaskRow {
                task_id: task,
                status: status.unwrap_or(TaskStatus::Failed),
                created_ms,
                updated_ms,
                callback_status,
                stages: Vec::new(),
                pipeline: processing.and_then(|json| serde_json::from_str(&json).ok()),
                damaged,
            },
            nodes: nodes.iter().filter_map(|name| NodeName::parse(name).ok()).collect(),
            notes,
        }))
    }

    /// Adds the stages, in the order of their first requests; each takes one of the records.
    fn complete(self, records: &mut impl Iterator<Item = Option<StageSummary>>) -> TaskRow {
        let Self { mut row, nodes, notes } = self;
        for node in nodes {
            let record = records.next().flatten();
            let note = notes.get(node.as_str()).and_then(NotedStage::parse);
            let shown = match note {
                Some(note) => Some(note.show_over(record)),
                None => record,
            };
            row.stages
                .extend(shown.map(|summary| StageRow::from_summary(node, summary)));
        }
        row
    }
}

/// Reads the summary of a record from its fields in the order of [`SUMMARY_FIELDS`], which are missing where the key
/// cannot be read. Returns `None` if there is no record.
fn parse_record(values: Option<Vec<Option<String>>>) -> Option<StageSummary> {
    let fields = match values {
        None => Fields::damaged("it is no hash"),
        Some(values) => {
            let mut fields = Fields::default();
            for (name, value) in SUMMARY_FIELDS.iter().zip(values) {
                if let Some(value) = value {
                    fields.push(name, value);
                }
            }
            fields
        }
    };
    if fields.is_empty() {
        return None;
    }
    let record = StageRecord::from_fields(fields);
    let mut summary = record.summary();
    // What another worker has finished has no attempts that are known; a run that waits has had none.
    let attempt = record.text("attempt").and_then(|text| text.parse().ok());
    summary.attempt = attempt.unwrap_or(1);
    if let Some(damage) = &summary.damaged {
        summary.error = Some(format!("the record is damaged: {damage}"));
    }
    Some(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        for section in RowSection::IN_ORDER {
            let begin = RowMark::begin(section);
            assert_eq!(begin.to_string().parse::<RowMark>(), Ok(begin.clone()));
            let within = RowMark {
                task: Some(TaskId::parse("lecture-07").unwrap()),
                ..begin
            };
            assert_eq!(within.to_string().parse::<RowMark>(), Ok(within));
        }
        for wrong in ["", "x", "a../b", "zlecture"] {
            assert!(wrong.parse::<RowMark>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn members_before_the_place_are_not_read_again() {
        let mark = RowMark {
            section: RowSection::All,
            task: Some(TaskId::parse("m").unwrap()),
        };
        let place = (5, mark);
        let read = |task: &str, score: f64| parse_member(task, score, &place);
        assert_eq!(read("z", 5.0), None);
        assert_eq!(read("m", 5.0), None);
        assert!(read("a", 5.0).is_some());
        assert!(read("z", 4.0).is_some());
    }

    #[test]
    fn the_fields_of_a_summary_are_those_of_the_scripts() {
        let lua = include_str!("lua/lib/record.lua");
        let (_, rest) = lua.split_once("local SUMMARY_FIELDS = {").unwrap();
        let (list, _) = rest.split_once('}').unwrap();
        let fields: Vec<_> = list.split(',').map(|field| field.trim().trim_matches('\'')).collect();
        assert_eq!(fields, SUMMARY_FIELDS);
    }

    #[test]
    fn the_bytes_that_are_kept_of_a_run_are_those_of_the_scripts() {
        let lua = include_str!("lua/lib/history.lua");
        let kept = format!("local KEPT_VALUES_BYTES = {}\n", crate::MOST_RUN_BYTES);
        assert!(lua.contains(&kept), "{kept}");
    }
}
