//! Lines of several logs as one: their order, pages that come late, bounds.

use std::time::{Duration, Instant};

use onceover_types::TaskStatus;
use onceover_wire::{LogLine, StageSummary, TaskItem};

use super::*;

fn summary(status: &str) -> StageSummary {
    let json = serde_json::json!({
        "status": status, "attempt": 1, "revision": 1, "queue": "cpu", "reuse_hits": 0, "joins": 0,
        "saved_seconds": 0.0, "duration": 0.0,
    });
    serde_json::from_value(json).unwrap()
}

fn task_of(stages: &[(&str, &str)]) -> Task {
    let stages = stages
        .iter()
        .map(|(name, status)| (NodeName::parse(name).unwrap(), summary(status)));
    let now = Timestamp::from_millis(1_000_000);
    Task::from_item(TaskItem {
        task_id: TaskId::parse("film").unwrap(),
        status: TaskStatus::Running,
        created_at: now,
        updated_at: now,
        task_name: None,
        callback_status: None,
        disk_bytes: 0,
        stages: stages.collect(),
        pipeline: None,
        damaged: None,
    })
}

/// Lines that are a second apart.
fn page(numbers: std::ops::RangeInclusive<u64>, total: u64, offset: i64) -> LogPage {
    let line = |number: u64| {
        let time = Timestamp::from_millis(1_000_000 + number as i64 * 1_000 + offset);
        LogLine {
            number,
            text: format!("{time} line {number}"),
        }
    };
    LogPage {
        lines: numbers.map(line).collect(),
        total,
        left_out: None,
        found: None,
    }
}

fn texts(log: &TaskLog) -> Vec<String> {
    let text = |entry: &LogEntry| entry.text.split_once(' ').unwrap().1.to_owned();
    log.lines
        .entries()
        .map(|entry| format!("{}:{}", entry.source, text(entry)))
        .collect()
}

fn log_of(task: &Task) -> TaskLog {
    let mut log = TaskLog::new(task);
    log.follow_stages(task);
    log
}

/// Marks a read as sent.
fn send(log: &mut TaskLog, index: usize, read: LogRead) {
    log.note_request(index, read, index as u64 + 1, Timestamp::from_millis(0));
}

#[test]
fn lines_are_in_the_order_of_their_times_whichever_page_comes_first() {
    let task = task_of(&[("a.one", "SUCCESS"), ("a.two", "FAILED")]);
    let mut log = log_of(&task);
    let reads = log.list_reads(Timestamp::from_millis(0), None, PAGE_LINES);
    assert_eq!(reads, [(0, LogRead::End), (1, LogRead::End)]);
    send(&mut log, 0, LogRead::End);
    log.take_page(0, page(3..=4, 4, 0));
    send(&mut log, 1, LogRead::End);
    log.take_page(1, page(1..=4, 4, 500));
    let reads = log.list_reads(Timestamp::from_millis(0), Some(0), PAGE_LINES);
    let above = LogRead::Lines { from: 1, lines: 2 };
    assert_eq!(reads, [(0, above)]);
    send(&mut log, 0, above);
    log.take_page(0, page(1..=2, 4, 0));
    let expected = (1..=4).flat_map(|number| [format!("0:line {number}"), format!("1:line {number}")]);
    assert_eq!(texts(&log), expected.collect::<Vec<_>>());
    assert!(log.is_whole());
    let numbers: Vec<_> = log.lines.entries().map(|entry| entry.number).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn no_more_logs_are_followed_at_once_than_the_bound_and_the_others_are_read_in_pages() {
    let names: Vec<_> = (0..7).map(|index| format!("a.n{index}")).collect();
    let stages: Vec<_> = names.iter().map(|name| (name.as_str(), "RUNNING")).collect();
    let task = task_of(&stages);
    let mut log = log_of(&task);
    let reads = log.list_reads(Timestamp::from_millis(0), None, PAGE_LINES);
    let followed = reads.iter().filter(|(_, read)| *read == LogRead::Follow).count();
    assert_eq!((reads.len(), followed), (7, MOST_FOLLOWED));
    for (index, read) in reads {
        send(&mut log, index, read);
    }
    log.take_page(6, page(1..=3, 3, 0));
    assert_eq!(log.poll_at(), Some(Timestamp::from_millis(POLL_MS)));
    let reads = log.list_reads(Timestamp::from_millis(POLL_MS), None, PAGE_LINES);
    let news = LogRead::Lines {
        from: 4,
        lines: PAGE_LINES,
    };
    assert_eq!(reads, [(6, news)]);
}

#[test]
fn another_attempt_begins_its_log_again_and_leaves_the_others() {
    let task = task_of(&[("a.one", "SUCCESS"), ("a.two", "FAILED")]);
    let mut log = log_of(&task);
    for index in 0..2 {
        send(&mut log, index, LogRead::End);
        log.take_page(index, page(1..=2, 2, index as i64));
    }
    let mut again = task_of(&[("a.one", "SUCCESS"), ("a.two", "RUNNING")]);
    let mut second = again.stages.get(&NodeName::parse("a.two").unwrap()).unwrap().clone();
    second.attempt = 2;
    again.stages.put(second);
    assert_eq!(log.follow_stages(&again), [1]);
    assert_eq!(texts(&log), ["0:line 1", "0:line 2"]);
    let reads = log.list_reads(Timestamp::from_millis(0), None, PAGE_LINES);
    assert_eq!(reads, [(1, LogRead::Follow)]);
}

#[test]
fn a_million_lines_and_a_line_of_90000_characters_stay_within_bounds() {
    let task = task_of(&[("a.one", "RUNNING"), ("a.two", "RUNNING")]);
    let mut log = log_of(&task);
    for index in 0..2 {
        send(&mut log, index, LogRead::Follow);
    }
    let time = |millis: i64| Timestamp::from_millis(1_000_000 + millis);
    let long = format!("{} {}\n", time(0), "字".repeat(90_000));
    log.take_chunk(0, long.as_bytes());
    let pieces = log.lines.entries().map(|entry| entry.text.clone()).collect::<String>();
    assert!(
        pieces.ends_with('字') && pieces.matches('字').count() == 90_000,
        "no character was cut"
    );
    for block in 0..1_000_i64 {
        for index in 0..2 {
            let lines = (0..500).map(|line| format!("{} block {block} line {line}\n", time(block * 500 + line)));
            log.take_chunk(index, lines.collect::<String>().as_bytes());
        }
    }
    assert!(log.lines.is_full());
    assert_eq!(log.stages[0].total + log.stages[1].total, 1_000_001);
    // Finding a place among them does not go through them.
    let begun = Instant::now();
    for _ in 0..1_000 {
        let place = log.lines.place(log.lines.len() / 2);
        assert!(log.lines.find(log.place_above(place, 3)) < log.lines.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}
