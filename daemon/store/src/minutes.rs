//! What is counted in each minute, by all daemons of this Redis: each adds what it has counted, so that no call of a
//! request pays for it.

use std::{collections::HashMap, time::Duration};

use onceover_types::Timestamp;
use onceover_wire::{HistoryMinute, QueueMinute};

use super::{
    Store, StoreError,
    args::{Json, script_call},
    reply::reply_struct,
};

/// How long the figures of a minute are kept.
const KEPT: Duration = Duration::from_secs(2 * 3600);
/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// What one daemon has counted since it noted its figures last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteCounts {
    /// Runs that ended, those that failed included.
    pub ended: u64,
    pub failed: u64,
    pub hits: u64,
    pub joins: u64,
    pub misses: u64,
    pub saved_ms: u64,
}

script_call! {
    NoteMinuteCall<'a>: NOTE_MINUTE {
        keep: Duration,
        ended: u64,
        failed: u64,
        hits: u64,
        joins: u64,
        misses: u64,
        saved_ms: u64,
        queues: Json<'a, [&'a str]>,
    }
}

script_call! {
    ReadMinutesCall: READ_MINUTES {
        minutes: u32,
    }
}

reply_struct! {
    MinutesReply {
        /// The number of the present minute since 1970.
        present: i64,
        /// The figures of minutes by name, the present one first.
        figures: Vec<HashMap<String, u64>>,
    }
}

impl Store {
    /// Adds figures to the present minute, and notes how these queues are. Writes nothing where there is nothing to add.
    pub async fn note_minute(&self, counts: &MinuteCounts, queues: &[&str]) -> Result<(), StoreError> {
        let call = NoteMinuteCall {
            keep: KEPT,
            ended: counts.ended,
            failed: counts.failed,
            hits: counts.hits,
            joins: counts.joins,
            misses: counts.misses,
            saved_ms: counts.saved_ms,
            queues: Json(queues),
        };
        self.call(call.prepare(self)).await
    }

    /// Reads the figures of so many minutes, oldest first; the last one is the present minute.
    pub async fn minutes(&self, minutes: u32) -> Result<Vec<HistoryMinute>, StoreError> {
        let reply: MinutesReply = self.call(ReadMinutesCall { minutes }.prepare(self)).await?;
        let mut read: Vec<_> = reply
            .figures
            .iter()
            .zip((0..=reply.present).rev())
            .map(|(figures, number)| parse_minute(number, figures))
            .collect();
        read.reverse();
        Ok(read)
    }
}

/// Reads the figures of the minute with this number.
fn parse_minute(number: i64, figures: &HashMap<String, u64>) -> HistoryMinute {
    let mut minute = HistoryMinute::empty(Timestamp::from_millis(number * MINUTE));
    // In the same order whichever order Redis has.
    let mut names: Vec<_> = figures.iter().collect();
    names.sort();
    for (name, figure) in names {
        match (name.as_str(), name.split_once(':')) {
            ("ended", _) => minute.ended = *figure,
            ("failed", _) => minute.failed = *figure,
            ("hits", _) => minute.hits = *figure,
            ("joins", _) => minute.joins = *figure,
            ("misses", _) => minute.misses = *figure,
            ("saved_ms", _) => minute.saved_seconds = *figure as f64 / 1000.0,
            (_, Some(("pending", queue))) => queue_of(&mut minute, queue).pending = *figure,
            (_, Some(("running", queue))) => queue_of(&mut minute, queue).running = *figure,
            (_, Some(("oldest", queue))) => queue_of(&mut minute, queue).oldest_seconds = *figure as f64 / 1000.0,
            // A newer daemon may count more.
            _ => {}
        }
    }
    minute
}

fn queue_of<'a>(minute: &'a mut HistoryMinute, queue: &str) -> &'a mut QueueMinute {
    minute.queues.entry(queue.to_owned()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_minute_are_read_by_name_and_unknown_ones_are_left_out() {
        let figures = HashMap::from(
            [
                ("ended", 4),
                ("failed", 1),
                ("saved_ms", 2_500),
                ("pending:gpu", 3),
                ("oldest:gpu", 1_500),
                ("later:gpu", 9),
            ]
            .map(|(name, figure)| (name.to_owned(), figure)),
        );
        let minute = parse_minute(2, &figures);
        assert_eq!(minute.at, Timestamp::from_millis(120_000));
        assert_eq!((minute.ended, minute.failed, minute.hits), (4, 1, 0));
        assert!((minute.saved_seconds - 2.5).abs() < 1e-9);
        let gpu = minute.queues["gpu"];
        assert_eq!((gpu.pending, gpu.running), (3, 0));
        assert!((gpu.oldest_seconds - 1.5).abs() < 1e-9);
    }
}
