//! The newest events, as they came: for the page that lists them.

use std::{collections::VecDeque, sync::Arc};

use onceover_types::Timestamp;
use onceover_wire::{Event, EventKind};

use super::{list::List, row::RowId};

/// Events that are kept.
const MOST_EVENTS: usize = 1_000;
/// Characters that are kept of what an event says.
const MOST_CHARS: usize = 200;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenEvent {
    pub seq: u64,
    pub at: Timestamp,
    pub kind: EventKind,
    pub row: RowId,
    /// The error, the progress or the message of the stage.
    pub text: String,
}

impl SeenEvent {
    fn from_event(event: &Event) -> Self {
        let task = Arc::new(event.task_id.clone());
        let row = match &event.task_name {
            Some(node) => RowId::stage(&task, &Arc::new(node.clone())),
            None => RowId::task(&task),
        };
        let stage = event.stage.as_ref();
        let text = stage.and_then(|stage| match (event.kind, &stage.error, &stage.message) {
            (EventKind::Progress, _, message) => {
                let percent = stage.progress.map(|progress| format!("{progress:.0} %"));
                let words = [percent, message.clone()];
                Some(words.into_iter().flatten().collect::<Vec<_>>().join(" "))
            }
            (_, Some(error), _) => Some(error.clone()),
            (_, None, message) => message.clone(),
        });
        Self {
            seq: event.seq,
            at: event.ts,
            kind: event.kind,
            row,
            text: text.map_or(String::new(), |text| text.chars().take(MOST_CHARS).collect()),
        }
    }

    /// Whether all these words, which are in lower case, are in what the event says.
    fn matches(&self, words: &[String]) -> bool {
        if words.is_empty() {
            return true;
        }
        let text = format!("{} {} {}", name_kind(self.kind), self.row, self.text).to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// The newest events, and how they are looked at.
#[derive(Debug, Default)]
pub struct EventLog {
    /// Oldest first.
    events: VecDeque<SeenEvent>,
    /// Events that match the filter, by sequence number, newest first.
    pub list: List<u64>,
    pub filter: String,
    /// The filter while it is typed.
    pub input: Option<tui_input::Input>,
    /// Whether the list is older than the events or the filter.
    has_changed: bool,
    /// How many came in all.
    pub seen: u64,
}

impl EventLog {
    /// Keeps an event. What was kept longest goes.
    pub fn add(&mut self, event: &Event) {
        if self.events.back().is_some_and(|last| last.seq >= event.seq) {
            // Another database has replaced the one that the events before were of.
            self.events.clear();
        }
        if self.events.len() >= MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(SeenEvent::from_event(event));
        self.seen += 1;
        self.has_changed = true;
    }

    /// Shows only the events with all words of a text.
    pub fn set_filter(&mut self, text: &str) {
        text.clone_into(&mut self.filter);
        self.has_changed = true;
    }

    /// Lists the events that match, where they have changed. The cursor stays on its event; from the newest one it goes
    /// on to the next.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.has_changed) {
            return;
        }
        let words: Vec<_> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let matching = self.events.iter().rev().filter(|event| event.matches(&words));
        let is_at_newest = self.list.index() == 0;
        self.list.set(matching.map(|event| event.seq).collect());
        if is_at_newest {
            self.list.go(0);
        }
    }

    pub fn get(&self, seq: u64) -> Option<&SeenEvent> {
        let index = self.events.binary_search_by_key(&seq, |event| event.seq).ok()?;
        self.events.get(index)
    }

    pub fn at_cursor(&self) -> Option<&SeenEvent> {
        self.get(*self.list.cursor()?)
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Returns the word for a kind of event.
pub fn name_kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Queued => "queued",
        EventKind::Started => "started",
        EventKind::Progress => "progress",
        EventKind::Succeeded => "succeeded",
        EventKind::Failed => "failed",
        EventKind::Cancelled => "cancelled",
        EventKind::Reaped => "taken back",
        EventKind::Hit => "reused",
        EventKind::Joined => "joined",
        EventKind::Callback => "callback",
        EventKind::Uploaded => "uploaded",
        EventKind::Removed => "removed",
        EventKind::Deleted => "deleted",
        EventKind::Pipeline => "pipeline",
        EventKind::Video => "video",
        EventKind::Unknown => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, task: &str, kind: EventKind) -> Event {
        Event {
            v: 1,
            seq,
            ts: Timestamp::from_millis(seq as i64),
            task_id: task.parse().unwrap(),
            task_name: None,
            kind,
            stage: None,
            pipeline: None,
        }
    }

    #[test]
    fn the_newest_thousand_are_kept_and_the_cursor_stays_on_its_event() {
        let mut log = EventLog::default();
        for seq in 1..=1_500 {
            log.add(&event(seq, "t1", EventKind::Progress));
        }
        log.settle();
        assert_eq!(
            (log.len(), log.seen, log.list.keys().len()),
            (MOST_EVENTS, 1_500, MOST_EVENTS)
        );
        assert_eq!(log.at_cursor().unwrap().seq, 1_500);
        log.add(&event(1_501, "t1", EventKind::Failed));
        log.settle();
        assert_eq!(log.at_cursor().unwrap().seq, 1_501, "the newest one is followed");
        log.list.go(3);
        let seq = log.at_cursor().unwrap().seq;
        log.add(&event(1_502, "t2", EventKind::Queued));
        log.settle();
        assert_eq!(log.at_cursor().unwrap().seq, seq);
        log.set_filter("T2 queued");
        log.settle();
        assert_eq!(log.list.keys(), [1_502]);
    }
}
