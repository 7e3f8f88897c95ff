//! Two runs side by side: which ones, what differs, on wide and on narrow screens.

use onceover_tui::{
    model::{Model, Page},
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, PastRun, StageRuns};
use serde_json::json;

use crate::fixture::*;

const NODE: &str = "ffmpeg.extract_audio";

fn run(number: usize, seconds: f64, rate: u64) -> PastRun {
    PastRun {
        run_id: format!("0190c0de-0000-7000-8000-00000000000{number}"),
        status: StageState::Success,
        created_at: at(-100.0),
        started_at: Some(at(-90.0)),
        ended_at: Some(at(-90.0 + seconds)),
        attempts: Vec::new(),
        input: json!({"video_path": "/v/강의.mp4", "sample_rate": rate})
            .as_object()
            .cloned(),
        output: json!({"audio_path": format!("/o/run-{number}/a.wav")})
            .as_object()
            .cloned(),
        error: None,
        input_left_out: false,
        output_left_out: false,
        standing: number == 3,
        needs: Vec::new(),
    }
}

/// Answers what is asked for of runs and logs. Returns how many stages were asked for.
fn answer_all(model: &mut Model, effects: Vec<Effect>) -> usize {
    let mut asked = 0;
    for effect in effects {
        let Effect::Call { id, call } = effect else { continue };
        let reply = match call {
            Call::StageRuns { task, node } => {
                asked += 1;
                Reply::StageRuns(Ok(Box::new(StageRuns {
                    task_id: task,
                    task_name: node,
                    runs: vec![run(3, 30.0, 48_000), run(2, 20.0, 16_000), run(1, 10.0, 8_000)],
                    not_kept: 0,
                })))
            }
            Call::Log { .. } => Reply::Log(Ok(log_page(&["2026-11-22T12:05:00.000Z begun"], 1))),
            _ => continue,
        };
        update(model, UiEvent::Reply { id, reply });
    }
    asked
}

fn open(size: (u16, u16)) -> Model {
    let stages = [(NODE, stage(StageState::Success))];
    let mut model = dashboard_of(vec![item("lecture-07", 1.0, &stages)], size);
    let effects = press(&mut model, "j=");
    assert_eq!((model.page, answer_all(&mut model, effects)), (Page::Compare, 1));
    model
}

#[test]
fn the_newest_two_runs_are_compared_and_the_arrows_choose_others() {
    let mut model = open((140, 30));
    assert_shows(
        &model,
        &[
            "run 2 of 3",
            "run 3 of 3",
            "16000",
            "48000",
            "20 s",
            "30 s",
            "rerun of",
            "Input",
            "Output",
        ],
    );
    let lines = screen(&model);
    let row = lines.iter().find(|line| line.contains("sample_rate")).unwrap();
    assert!(row.contains("! sample_rate"), "a difference has a sign: {row}");
    let row = lines.iter().find(|line| line.contains("rerun of")).unwrap();
    let (first, second) = (row.find("000000000001"), row.find("000000000002"));
    assert!(first.is_some() && first < second, "each names the run before it: {row}");
    let row = lines.iter().find(|line| line.contains("video_path")).unwrap();
    assert!(!row.contains("! video_path"), "{row}");
    press(&mut model, "<left>");
    assert_shows(&model, &["run 1 of 3", "8000"]);
    press(&mut model, "<tab><left>");
    assert_shows(&model, &["run 1 of 3", "run 2 of 3", "16000"]);
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Tasks);
}

#[test]
fn a_run_that_begins_is_read_and_the_chosen_ones_stay() {
    let mut model = open((140, 30));
    let summary = onceover_wire::StageSummary {
        revision: 2,
        ..stage(StageState::Running)
    };
    update(&mut model, change(101, "lecture-07", NODE, EventKind::Started, summary));
    let effects = tick(&mut model, 1.0);
    assert_eq!(answer_all(&mut model, effects), 1);
    assert_shows(&model, &["run 2 of 3", "run 3 of 3"]);
    let effects = tick(&mut model, 2.0);
    assert_eq!(answer_all(&mut model, effects), 0, "it is not polled");
}

#[test]
fn on_a_narrow_screen_the_values_stand_below_each_other() {
    let model = open((60, 40));
    let lines = screen(&model);
    let row = lines.iter().position(|line| line.contains("sample_rate")).unwrap();
    assert!(
        lines[row + 1].contains("- 16000") && lines[row + 2].contains("+ 48000"),
        "{lines:#?}"
    );
}

#[test]
fn two_marked_stages_of_one_node_are_compared_and_others_are_not() {
    let stages = [(NODE, stage(StageState::Success)), ("a.b", stage(StageState::Success))];
    let items = vec![item("one", 1.0, &stages), item("two", 2.0, &stages)];
    let mut model = dashboard_of(items, (140, 30));
    press(&mut model, "j<space><space>=");
    assert_eq!(model.page, Page::Tasks, "they are of two nodes");
    let mut model = dashboard_of(vec![item("one", 1.0, &stages), item("two", 2.0, &stages)], (140, 30));
    press(&mut model, "j<space>jj<space>");
    let effects = press(&mut model, "=");
    assert_eq!((model.page, answer_all(&mut model, effects)), (Page::Compare, 2));
    assert_shows(&model, &["one", "two"]);
}

#[test]
fn the_comparison_draws_at_every_size() {
    for size in [(1, 1), (2, 3), (10, 4), (40, 12), (300, 100)] {
        let mut model = open(size);
        for keys in ["", "jjj", "G", "<tab>l"] {
            press(&mut model, keys);
            draw(&model);
        }
    }
}
