//! The logs of all stages of a task as one: their order, what is followed, search and filter, bounds, the way back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use onceover_tui::{
    model::{Model, Page},
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary, client::LogQuery};

use crate::fixture::*;

const EXTRACT: &str = "ffmpeg.extract_audio";
const DETECT: &str = "paddleocr.detect_text";

/// The lines of a stage's log; those of the two stages alternate.
fn lines_of(name: &str) -> Vec<String> {
    let offset = if name == EXTRACT { 0 } else { 500 };
    (1..=600)
        .map(|number: i64| {
            let time = onceover_types::Timestamp::from_millis(NOW - 700_000 + number * 1_000 + offset);
            format!(
                "{time} {} {number}",
                if number == 300 { "ERROR: bad frame" } else { "frame" }
            )
        })
        .collect()
}

/// Answers what is asked for of logs, until nothing is.
fn serve(model: &mut Model, mut effects: Vec<Effect>) {
    for pass in 0..50 {
        let asked = std::mem::take(&mut effects);
        for effect in asked {
            if let Effect::Call {
                id,
                call: Call::Log { node, query, .. },
            } = effect
            {
                let reply = Reply::Log(Ok(answer(node.as_str(), &query)));
                effects.extend(update(model, UiEvent::Reply { id, reply }));
            }
        }
        effects.extend(tick(model, 0.2 + f64::from(pass) * 0.01));
        if effects.is_empty() {
            return;
        }
    }
    panic!("it asks for ever: {effects:?}");
}

fn answer(name: &str, query: &LogQuery) -> onceover_wire::LogPage {
    let lines = lines_of(name);
    let total = lines.len() as u64;
    let from = query.from.unwrap_or((total + 1).saturating_sub(query.lines));
    let wanted = lines.iter().skip(from as usize - 1).take(query.lines as usize);
    let texts: Vec<&str> = wanted.map(String::as_str).collect();
    onceover_wire::LogPage {
        total,
        ..log_page(&texts, from)
    }
}

fn dashboard_with(states: [StageState; 2], size: (u16, u16)) -> Model {
    let stages = [(EXTRACT, stage(states[0])), (DETECT, stage(states[1]))];
    dashboard_of(vec![item("film", 1_000.0, &stages)], size)
}

fn open(size: (u16, u16)) -> Model {
    let mut model = dashboard_with([StageState::Success, StageState::Failed], size);
    let effects = press(&mut model, "L");
    assert_eq!(model.page, Page::Log);
    serve(&mut model, effects);
    model
}

/// The rows of the screen that have a line of a log, without their times.
fn rows(model: &Model) -> Vec<String> {
    let lines = screen(model)
        .into_iter()
        .filter(|line| line.contains(" frame ") || line.contains("ERROR"));
    lines
        .map(|line| line[line.find(':').unwrap_or(0)..].to_owned())
        .collect()
}

#[test]
fn tui11_all_stages_of_a_task_are_one_stream_in_the_order_of_time() {
    let model = open((120, 20));
    let lines = rows(&model);
    let last = &lines[lines.len() - 2..];
    assert!(
        last[0].contains("extract_audio") && last[0].contains("frame 600"),
        "{last:?}"
    );
    assert!(
        last[1].contains("detect_text") && last[1].contains("frame 600"),
        "{last:?}"
    );
    assert_shows(
        &model,
        &["Logs of 2 stages", "1000 of 1200 lines", "film › logs of all stages"],
    );
}

#[test]
fn tui11_scrolling_up_reads_the_rest_and_the_first_lines_are_in_order() {
    let mut model = open((120, 20));
    let effects = press(&mut model, "g");
    serve(&mut model, effects);
    let lines = rows(&model);
    assert!(
        lines[0].contains("extract_audio") && lines[0].contains("frame 1"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("detect_text") && lines[1].contains("frame 1"),
        "{lines:?}"
    );
    assert_shows(&model, &["  1200 lines"]);
}

#[test]
fn tui11_a_search_keeps_the_lines_around_and_a_filter_hides_them_in_all_stages() {
    let mut model = open((120, 20));
    let effects = press(&mut model, "/bad frame<enter>");
    serve(&mut model, effects);
    press(&mut model, "n");
    assert_shows(&model, &["of 2", "ERROR: bad frame 300", "frame 299"]);
    let effects = press(&mut model, "<esc>fbad frame<enter>");
    serve(&mut model, effects);
    assert_eq!(rows(&model).len(), 2, "one of each stage");
    press(&mut model, "<esc><esc>");
    assert_eq!(model.page, Page::Tasks);
    assert!(
        tick(&mut model, 2.0).contains(&Effect::StopTaskLog),
        "nothing is followed any more"
    );
    assert!(model.task_log.is_none());
}

#[test]
fn tui11_one_key_turns_from_a_stages_log_to_the_whole_task_and_back() {
    let mut model = dashboard_with([StageState::Success, StageState::Failed], (120, 20));
    press(&mut model, "j");
    let effects = tick(&mut model, 0.2);
    serve(&mut model, effects);
    press(&mut model, "L");
    assert_shows(&model, &["film › ffmpeg.extract_audio › log"]);
    let effects = press(&mut model, "A");
    serve(&mut model, effects);
    assert_shows(&model, &["film › logs of all stages", "detect_text"]);
    press(&mut model, "A");
    assert_shows(&model, &["film › ffmpeg.extract_audio › log"]);
    assert_hides(&model, "detect_text");
}

#[test]
fn tui11_stages_that_run_are_followed_and_a_new_attempt_begins_its_log_again() {
    let mut model = dashboard_with([StageState::Running, StageState::Running], (120, 20));
    let effects = press(&mut model, "L");
    let followed: Vec<u64> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::FollowTaskLog { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(followed.len(), 2);
    for (second, id) in [(2, followed[0]), (1, followed[1])] {
        let text = format!("2026-11-22T12:05:0{second}.000Z frame {second}\n");
        let bytes = Bytes::from(text);
        update(&mut model, UiEvent::LogChunk { id, bytes });
    }
    let lines = rows(&model);
    assert!(
        lines[0].contains("detect_text") && lines[1].contains("extract_audio"),
        "{lines:?}"
    );
    assert_shows(&model, &["following 2"]);
    let again = StageSummary {
        attempt: 2,
        revision: 2,
        ..stage(StageState::Running)
    };
    update(&mut model, change(101, "film", DETECT, EventKind::Started, again));
    tick(&mut model, 1.0);
    assert_eq!(rows(&model).len(), 1);
    update(
        &mut model,
        UiEvent::LogEnd {
            id: followed[0],
            error: None,
        },
    );
    assert_shows(&model, &["following 1"]);
}

#[test]
fn tui11_a_frame_takes_no_longer_with_a_million_lines_and_with_one_of_90000_characters() {
    let mut model = dashboard_with([StageState::Running, StageState::Running], (120, 40));
    let effects = press(&mut model, "L");
    let id = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::FollowTaskLog { id, .. } => Some(*id),
            _ => None,
        })
        .unwrap();
    let time = "2026-11-22T12:05:00.000Z";
    for block in 0..100 {
        let lines: String = (0..10_000)
            .map(|line| format!("{time} block {block} line {line}\n"))
            .collect();
        let bytes = Bytes::from(lines);
        update(&mut model, UiEvent::LogChunk { id, bytes });
    }
    let long = format!("{time} {}\n", "字".repeat(90_000));
    let bytes = Bytes::from(long);
    update(&mut model, UiEvent::LogChunk { id, bytes });
    let begun = Instant::now();
    for key in ["k", "k", "<pgup>", "g", "G", "w", "k"] {
        press(&mut model, key);
        draw(&model);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
