//! The timeline of a task: what is read for it and when, where bars begin and end, zoom, the way to a stage; and how long
//! the rest of a run takes.

use onceover_tui::{
    model::{Model, Page},
    theme::Theme,
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{AttemptTimes, EventKind, NodeFigures, NodeStatistics, PastRun, StageRuns, StageSummary};
use ratatui::style::Modifier;

use crate::fixture::*;

const EXTRACT: &str = "ffmpeg.extract_audio";
const SEPARATE: &str = "audio_separator.separate_vocals";
const TRANSCRIBE: &str = "faster_whisper.transcribe_audio";

/// A stage that was queued and started so many seconds ago, and ended.
fn ran(status: StageState, queued: f64, started: f64, ended: f64) -> StageSummary {
    StageSummary {
        queued_at: Some(at(queued)),
        started_at: Some(at(started)),
        ended_at: (!status.in_flight()).then(|| at(ended)),
        duration: ended - started,
        ..stage(status)
    }
}

/// 200 s of a lecture: 20 s, then a run with a lost attempt up to 100 s, then one that goes on.
fn lecture(size: (u16, u16)) -> Model {
    let reused = StageSummary {
        reuse_hits: 2,
        ..ran(StageState::Success, -200.0, -200.0, -180.0)
    };
    let stages = [
        (EXTRACT, reused),
        (SEPARATE, ran(StageState::Success, -180.0, -140.0, -100.0)),
        (TRANSCRIBE, ran(StageState::Running, -100.0, -80.0, 0.0)),
    ];
    dashboard_of(vec![item("lecture-07", 200.0, &stages)], size)
}

fn runs_of(name: &str) -> StageRuns {
    let attempt = |attempt, from: f64, to: Option<f64>, error: Option<&str>| AttemptTimes {
        attempt,
        started_at: at(from),
        ended_at: to.map(at),
        error: error.map(str::to_owned),
    };
    let (queued, attempts, needs) = match name {
        EXTRACT => (-200.0, vec![attempt(1, -200.0, Some(-180.0), None)], vec![]),
        SEPARATE => (
            -180.0,
            vec![
                attempt(1, -180.0, Some(-160.0), Some("its daemon was lost")),
                attempt(2, -140.0, Some(-100.0), None),
            ],
            vec![node(EXTRACT)],
        ),
        _ => (-100.0, vec![attempt(1, -80.0, None, None)], vec![node(SEPARATE)]),
    };
    let started_at = attempts.last().map(|attempt| attempt.started_at);
    let ended_at = attempts.last().and_then(|attempt| attempt.ended_at);
    StageRuns {
        task_id: task_id("lecture-07"),
        task_name: node(name),
        runs: vec![PastRun {
            run_id: stage(StageState::Success).run_id.unwrap().to_string(),
            status: if ended_at.is_some() {
                StageState::Success
            } else {
                StageState::Running
            },
            created_at: at(queued),
            started_at,
            ended_at,
            attempts,
            input: None,
            output: None,
            error: None,
            input_left_out: false,
            output_left_out: false,
            standing: true,
            needs,
        }],
        not_kept: 0,
    }
}

/// Answers what is asked for of runs. Returns the stages that were asked for.
fn answer_runs(model: &mut Model, effects: &[Effect]) -> Vec<String> {
    let mut asked = Vec::new();
    for effect in effects {
        if let Effect::Call {
            id,
            call: Call::StageRuns { node, .. },
        } = effect
        {
            asked.push(node.to_string());
            let reply = Reply::StageRuns(Ok(Box::new(runs_of(node.as_str()))));
            update(model, UiEvent::Reply { id: *id, reply });
        }
    }
    asked
}

fn open(size: (u16, u16)) -> Model {
    let mut model = lecture(size);
    let effects = press(&mut model, "t");
    assert_eq!(
        answer_runs(&mut model, &effects).len(),
        3,
        "each stage's runs are read once"
    );
    model
}

/// The bar of a stage: what the row has after its name.
fn bar(model: &Model, name: &str) -> String {
    let lines = screen(model);
    let line = lines.iter().find(|line| line.contains(&name[..12])).unwrap();
    let cells: Vec<char> = line.chars().collect();
    let room = onceover_tui::layout::lay_out_timeline(model.size);
    cells[usize::from(room.rows.x + room.names)..].iter().collect()
}

/// The columns of the bar that have the glyph: the first one, and the one after the last.
fn columns_of(bar: &str, glyph: char) -> (usize, usize) {
    let found: Vec<_> = bar
        .chars()
        .enumerate()
        .filter(|(_, c)| *c == glyph)
        .map(|(at, _)| at)
        .collect();
    (*found.first().unwrap(), found.last().unwrap() + 1)
}

#[test]
fn tui21_waiting_running_retry_and_reuse_are_where_they_were_to_one_column() {
    let model = open((160, 20));
    let columns = usize::from(onceover_tui::layout::lay_out_timeline(model.size).columns());
    let expect = |name: &str, glyph: char, from: usize, to: usize| {
        let bar = bar(&model, name);
        let (first, end) = columns_of(&bar, glyph);
        let exact = |seconds: usize| seconds * columns / 200;
        assert!(
            first.abs_diff(exact(from)) <= 1,
            "{glyph} of {name} begins at {first}: {bar}"
        );
        assert!(end.abs_diff(exact(to)) <= 1, "{glyph} of {name} ends at {end}: {bar}");
    };
    expect(EXTRACT, '▓', 0, 20);
    expect(SEPARATE, '✖', 39, 40);
    expect(SEPARATE, '░', 40, 60);
    expect(TRANSCRIBE, '░', 100, 120);
    expect(TRANSCRIBE, '▶', 199, 200);
    assert_shows(&model, &["critical path", "░ waiting", "0 s", "2 m"]);
}

#[test]
fn tui21_the_critical_path_is_bold_and_has_an_arrow_without_colours_too() {
    let mut model = open((120, 20));
    model.theme = Theme::mono();
    let lines = screen(&model);
    let buffer = draw(&model);
    for name in [EXTRACT, SEPARATE, TRANSCRIBE] {
        let y = lines.iter().position(|line| line.contains(&name[..12])).unwrap();
        assert!(lines[y].contains('→'), "{}", lines[y]);
        let x = onceover_tui::layout::lay_out_timeline(model.size).rows.x + 4;
        assert!(
            buffer[(x, y as u16)].style().add_modifier.contains(Modifier::BOLD),
            "{name}"
        );
    }
}

#[test]
fn runs_are_read_again_when_a_change_names_a_stage_of_the_task_and_not_for_progress() {
    let mut model = open((120, 20));
    let moved = StageSummary {
        progress: Some(50.0),
        revision: 2,
        ..ran(StageState::Running, -100.0, -80.0, 0.0)
    };
    update(
        &mut model,
        change(101, "lecture-07", TRANSCRIBE, EventKind::Progress, moved),
    );
    let effects = tick(&mut model, 1.0);
    assert!(answer_runs(&mut model, &effects).is_empty());
    let ended = StageSummary {
        revision: 3,
        ..ran(StageState::Success, -100.0, -80.0, 0.0)
    };
    update(
        &mut model,
        change(102, "lecture-07", TRANSCRIBE, EventKind::Succeeded, ended),
    );
    let effects = tick(&mut model, 2.0);
    assert_eq!(answer_runs(&mut model, &effects), [TRANSCRIBE]);
    assert!(!bar(&model, TRANSCRIBE).contains('▶'), "it does not go on");
}

#[test]
fn without_a_history_the_times_of_the_stages_make_the_bars() {
    let mut model = lecture((120, 20));
    for effect in press(&mut model, "t") {
        if let Effect::Call {
            id,
            call: Call::StageRuns { .. },
        } = effect
        {
            let refusal = onceover_tui::update::Refusal {
                status: Some(404),
                ..Default::default()
            };
            let reply = Reply::StageRuns(Err(refusal));
            update(&mut model, UiEvent::Reply { id, reply });
        }
    }
    assert!(bar(&model, SEPARATE).contains("░█"), "{}", bar(&model, SEPARATE));
    assert_hides(&model, "cannot be read");
}

#[test]
fn one_zooms_and_moves_and_goes_to_a_stage_and_back() {
    let mut model = open((120, 20));
    let whole = bar(&model, EXTRACT);
    press(&mut model, "+hhh");
    let zoomed = bar(&model, EXTRACT);
    let (first, end) = columns_of(&zoomed, '▓');
    let (before, after) = columns_of(&whole, '▓');
    assert!(end - first > after - before, "{zoomed}");
    press(&mut model, "0");
    assert_eq!(bar(&model, EXTRACT), whole);
    press(&mut model, "j<enter>");
    assert_eq!((model.page, model.zoom), (Page::Tasks, true));
    assert_eq!(cursor(&model), format!("lecture-07 › {SEPARATE}"));
}

#[test]
fn the_timeline_draws_at_every_size() {
    for (columns, rows) in [(1, 1), (2, 3), (10, 4), (40, 12), (60, 16), (300, 100)] {
        let mut model = open((columns, rows));
        for keys in ["", "+++", "l", "0--", "hhhh"] {
            press(&mut model, keys);
            draw(&model);
        }
    }
}

#[test]
fn a_running_stage_without_progress_says_how_long_its_node_takes() {
    let mut model = lecture((140, 30));
    let effects = {
        let mut fresh = Model::new("http://127.0.0.1:8788", at(0.0), (120, 30));
        update(&mut fresh, snapshot(Vec::new(), 100));
        tick(&mut fresh, 0.0)
    };
    assert!(
        calls(&effects).contains(&Call::Statistics),
        "they are read once at the start"
    );
    let figures = NodeFigures {
        p50_ms: 100_000,
        p95_ms: 120_000,
        ..NodeFigures::default()
    };
    let statistics = NodeStatistics {
        nodes: [(node(TRANSCRIBE), figures)].into_iter().collect(),
    };
    let id = model.estimates.request.unwrap();
    let reply = Reply::Statistics(Ok(statistics));
    update(&mut model, UiEvent::Reply { id, reply });
    press(&mut model, "jjj");
    assert_shows(&model, &["eta 20 s", "~20 s"]);
    tick(&mut model, 60.0);
    assert_shows(&model, &["longer than usual: p95 2 m 0 s"]);
}
