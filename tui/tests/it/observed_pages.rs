//! The pages of queues, of the machine, of events and of commands, the pages in the second line, and the way back.

use indexmap::IndexMap;
use onceover_tui::{
    model::{Model, Page},
    theme::Theme,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::{StageState, Timestamp};
use onceover_wire::{
    CapacityUse, EventKind, GpuLoad, HistoryMinute, MachineLoad, MachineSample, NodeFigures, NodeStatistics,
    ProcessLoad, QueueInfo, QueueMinute, QueuedRun, Queues, SampledStage, SystemHistory,
};
use ratatui::style::Modifier;

use crate::fixture::*;

const GIB: u64 = 1 << 30;

fn sample(seconds: f64, percent: f32) -> MachineSample {
    MachineSample {
        at: at(seconds),
        cpu_percent: percent,
        memory: CapacityUse {
            used_bytes: 3 * GIB,
            total_bytes: 8 * GIB,
        },
        disk: Some(CapacityUse {
            used_bytes: 95 * GIB,
            total_bytes: 100 * GIB,
        }),
        daemon: ProcessLoad {
            cpu_percent: 2.0,
            resident_bytes: 40 << 20,
        },
        gpus: vec![GpuLoad {
            name: "NVIDIA L4".into(),
            use_percent: 71.0,
            memory: CapacityUse {
                used_bytes: 12 * GIB,
                total_bytes: 24 * GIB,
            },
            temperature: Some(64),
        }],
        stages: vec![SampledStage {
            task_id: task_id("lecture-07"),
            task_name: node("faster_whisper.transcribe_audio"),
        }],
        more_stages: 2,
    }
}

fn machine() -> MachineLoad {
    MachineLoad {
        interval_ms: 5_000,
        cpus: 2,
        samples: vec![sample(-10.0, 20.0), sample(-5.0, 60.0), sample(0.0, 97.0)],
    }
}

fn queues() -> Queues {
    let queue = |name: &str, slots, running, tasks: &[(&str, &str)]| QueueInfo {
        name: name.into(),
        slots,
        running,
        pending: tasks.len() as u64,
        next: tasks
            .iter()
            .map(|(task, name)| QueuedRun {
                task_id: task_id(task),
                task_name: node(name),
            })
            .collect(),
        waiting: None,
    };
    Queues {
        queues: vec![
            queue("cpu", 2, 0, &[]),
            queue(
                "gpu",
                1,
                1,
                &[("podcast-112", "faster_whisper.transcribe_audio"), ("far", "a.b")],
            ),
        ],
    }
}

fn history() -> SystemHistory {
    let minute = |number: i64| HistoryMinute {
        ended: 2,
        failed: u64::from(number == 0),
        hits: 3,
        misses: 1,
        saved_seconds: 60.0,
        queues: IndexMap::from([(
            "gpu".to_owned(),
            QueueMinute {
                pending: 2,
                running: 1,
                oldest_seconds: 42.0,
            },
        )]),
        ..HistoryMinute::empty(Timestamp::from_millis(NOW - (60 - number) * 60_000))
    };
    SystemHistory {
        minutes: (0..60).map(minute).collect(),
    }
}

fn statistics() -> NodeStatistics {
    let figures = |failed, p95_ms| NodeFigures {
        runs: 10,
        failed,
        p50_ms: 500,
        p95_ms,
        ..NodeFigures::default()
    };
    NodeStatistics {
        nodes: IndexMap::from([
            (node("ffmpeg.extract_audio"), figures(0, 90_000)),
            (node("paddleocr.detect_subtitle_area"), figures(5, 2_000)),
        ]),
    }
}

/// Answers the reads of these pages.
fn answer_reads(model: &mut Model, effects: &[Effect]) {
    for effect in effects {
        let Effect::Call { id, call } = effect else { continue };
        let reply = match call {
            Call::Machine => Reply::Machine(Ok(machine())),
            Call::Queues => Reply::Queues(Ok(queues())),
            Call::History => Reply::History(Ok(history())),
            Call::Statistics => Reply::Statistics(Ok(statistics())),
            _ => continue,
        };
        update(model, UiEvent::Reply { id: *id, reply });
    }
    answer(model, effects);
}

/// Presses keys, and the daemon answers what these pages read.
fn press_read(model: &mut Model, keys: &str) -> Vec<Effect> {
    let effects = press(model, keys);
    answer_reads(model, &effects);
    effects
}

fn count_reads(effects: &[Effect]) -> usize {
    let is_read = |effect: &&Effect| {
        matches!(
            effect,
            Effect::Call {
                call: Call::Machine | Call::Queues | Call::History | Call::Statistics,
                ..
            }
        )
    };
    effects.iter().filter(is_read).count()
}

#[test]
fn a_page_is_read_every_five_seconds_while_it_is_open_and_not_otherwise() {
    for key in ["M", "Q"] {
        let mut model = dashboard((120, 36));
        assert_eq!(count_reads(&tick(&mut model, 60.0)), 0, "nothing is open");
        assert!(count_reads(&press_read(&mut model, key)) >= 2);
        assert_eq!(count_reads(&tick(&mut model, 64.0)), 0, "too early");
        let effects = tick(&mut model, 65.0);
        assert!(count_reads(&effects) >= 2);
        answer_reads(&mut model, &effects);
        press(&mut model, "<esc>");
        assert_eq!(count_reads(&tick(&mut model, 90.0)), 0, "it is closed");
    }
}

#[test]
fn the_machine_is_shown_with_the_stages_that_ran_at_the_cursors_time() {
    let mut model = dashboard((120, 36));
    press_read(&mut model, "M");
    assert_shows(
        &model,
        &[
            "Machine · 2 processors",
            "cpu",
            "97 % high",
            "38 %  3.2 GB of 8.6 GB",
            "95 % high",
            "gpu 0",
            "71 %  64 C",
            "NVIDIA L4",
            "lecture-07 › faster_whisper.transcribe_audio",
            "+2 more",
            "cpu 0 of 2 · gpu 1 of 1",
        ],
    );
    press(&mut model, "<left>");
    assert_shows(&model, &["60 %", "5 s ago"]);
    // A newer sample does not move the cursor.
    let effects = tick(&mut model, 5.0);
    let id = id_of(&effects, |call| matches!(call, Call::Machine));
    let mut load = machine();
    load.samples.push(sample(5.0, 11.0));
    let reply = Reply::Machine(Ok(load));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["60 %"]);
    press(&mut model, "<right><right><right>");
    assert_shows(&model, &["11 %"]);
}

#[test]
fn queues_say_what_waits_and_why_and_enter_goes_to_the_stage() {
    let mut model = dashboard((120, 36));
    press_read(&mut model, "Q");
    assert_shows(
        &model,
        &[
            "Queues · 2 waiting",
            "0 of 2",
            "1 of 1",
            "1st: the only slot is used",
            "2nd: 1 before it, the only slot is used",
            "120 · 2.0 a minute",
            "1 failed",
            "75 % of 240 reused",
            "2 now · longest wait 42 s",
            "✖ paddleocr.detect_subtitle_area",
        ],
    );
    let lines = screen(&model);
    let row_of = |text: &str| lines.iter().rposition(|line| line.contains(text)).unwrap();
    assert!(
        row_of("✖ paddleocr.detect_subtitle_area") < row_of("ffmpeg.extract_audio"),
        "what fails comes first"
    );
    press(&mut model, "jj<enter>");
    assert_eq!(model.page, Page::Tasks);
    let cursor = model.tree.cursor.clone().unwrap();
    assert_eq!(cursor.task.as_str(), "podcast-112");
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Queues, "and Esc comes back");
}

#[test]
fn a_daemon_without_these_reads_leaves_the_rest_of_the_page() {
    let mut model = dashboard((120, 36));
    let effects = press(&mut model, "Q");
    for effect in &effects {
        let Effect::Call { id, call } = effect else { continue };
        let refusal = Refusal {
            status: Some(404),
            text: "there is nothing here".into(),
            ..Refusal::default()
        };
        let reply = match call {
            Call::Queues => Reply::Queues(Ok(queues())),
            Call::History => Reply::History(Err(refusal)),
            Call::Statistics => Reply::Statistics(Err(refusal)),
            _ => continue,
        };
        update(&mut model, UiEvent::Reply { id: *id, reply });
    }
    assert_shows(&model, &["1 of 1", "there is nothing here"]);
}

#[test]
fn events_are_listed_as_they_come_filtered_by_words_and_lead_to_their_row() {
    let mut model = dashboard((120, 36));
    press(&mut model, "X");
    assert_shows(&model, &["no event has come"]);
    let failed = || {
        let mut stage = stage(StageState::Failed);
        stage.error = Some("no text\u{1b}[31m found".into());
        stage
    };
    update(
        &mut model,
        change(
            101,
            "clip_03",
            "paddleocr.detect_subtitle_area",
            EventKind::Failed,
            failed(),
        ),
    );
    update(
        &mut model,
        change(
            102,
            "trailer-v2",
            "ffmpeg.extract_audio",
            EventKind::Hit,
            stage(StageState::Success),
        ),
    );
    tick(&mut model, 0.1);
    assert_shows(&model, &["Events 2", "✖ failed", "↺ reused", "no text␛[31m found"]);
    press(&mut model, "/FAILED");
    assert_hides(&model, "↺ reused");
    press(&mut model, "<enter>");
    assert_shows(&model, &["Events 1 of 2"]);
    press(&mut model, "<enter>");
    assert_eq!(model.page, Page::Tasks);
    assert_eq!(model.tree.cursor.as_ref().unwrap().task.as_str(), "clip_03");
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Events);
    press(&mut model, "<esc>");
    assert_shows(&model, &["↺ reused"]);
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Tasks, "first the filter goes, then the page");
}

#[test]
fn what_is_done_is_listed_as_the_command_that_does_the_same_and_can_be_copied() {
    let mut model = dashboard((120, 36));
    press(&mut model, "H");
    assert_shows(&model, &["nothing yet"]);
    press(&mut model, "<esc><home>x<tab><enter>");
    press(&mut model, "H");
    assert_shows(&model, &["onceover cancel lecture-07", "curl -X DELETE"]);
    let copied = press(&mut model, "<enter>");
    let is_copied = |text: &str| {
        copied
            .iter()
            .any(|effect| matches!(effect, Effect::Copy(copied) if copied.contains(text)))
    };
    assert!(is_copied("onceover cancel lecture-07"), "{copied:?}");
    let copied = press(&mut model, "y");
    assert!(
        matches!(copied.as_slice(), [Effect::Copy(text)] if text.starts_with("curl -X DELETE")),
        "{copied:?}"
    );
}

#[test]
fn esc_goes_back_the_way_that_the_user_came_from_every_page() {
    // Number keys, in the order of the second line.
    for digits in ["2", "23", "45678", "8765432", "212121", "3131"] {
        let mut model = dashboard((120, 36));
        let mut way = vec![model.page];
        for digit in digits.chars() {
            press_read(&mut model, &digit.to_string());
            way.push(model.page);
        }
        way.pop();
        while let Some(page) = way.pop() {
            press_read(&mut model, "<esc>");
            assert_eq!(model.page, page, "back from {digits}");
        }
        press_read(&mut model, "<esc><esc>");
        assert_eq!(model.page, Page::Tasks);
    }
    // However far one goes, Esc ends in the tree.
    let mut model = dashboard((120, 36));
    press_read(&mut model, &"23456781".repeat(20));
    for _ in 0..40 {
        press_read(&mut model, "<esc>");
    }
    assert_eq!((model.page, model.trail.is_empty()), (Page::Tasks, true));
}

#[test]
fn the_second_line_names_the_pages_and_the_way_to_what_is_open() {
    let mut model = dashboard((120, 36));
    model.theme = Theme::mono();
    press_read(&mut model, "Q");
    let line = &screen(&model)[1];
    assert!(line.contains(" 1 Tasks [2 Queues] 3 Machine "), "{line}");
    let buffer = draw(&model);
    let x = line.chars().position(|c| c == '[').unwrap() as u16;
    assert!(buffer[(x + 1, 1)].style().add_modifier.contains(Modifier::BOLD));
    // Where it is narrow: the way alone.
    let mut model = dashboard((70, 30));
    press(&mut model, "<home>jL");
    let line = &screen(&model)[1];
    assert!(line.contains("lecture-07 › ffmpeg.extract_audio › log"), "{line}");
    // Where it is low: neither.
    let model = dashboard((120, 16));
    assert!(!screen(&model)[1].contains("Queues"));
}

#[test]
fn these_pages_are_drawn_at_any_size_in_mono_and_in_ascii() {
    for key in ["Q", "M", "B", "X", "H"] {
        for (columns, rows) in [
            (1, 1),
            (2, 3),
            (5, 24),
            (12, 5),
            (40, 12),
            (60, 16),
            (80, 24),
            (120, 36),
            (300, 100),
        ] {
            let mut model = dashboard((columns, rows));
            model.theme = Theme::mono();
            model.glyphs = onceover_tui::glyphs::Glyphs::Ascii;
            press_read(&mut model, key);
            update(
                &mut model,
                change(101, "clip_03", "a.b", EventKind::Queued, stage(StageState::Pending)),
            );
            tick(&mut model, 0.1);
            for line in screen(&model) {
                assert!(line.is_ascii(), "{key} at {columns}x{rows}: {line}");
            }
        }
    }
}
