//! The detail of a stage: what is fetched and when, what the tabs show.

use onceover_tui::update::{Call, Effect, Refusal, Reply, UiEvent, update};
use onceover_types::StageState;
use onceover_wire::{EventKind, ReuseDecision, ReuseExplanation, StageSummary};

use crate::fixture::*;

const LIVE: &str = "faster_whisper.transcribe_audio";

#[test]
fn detail_is_fetched_after_a_rest_and_late_answers_are_dropped() {
    let mut model = dashboard((120, 36));
    press(&mut model, "j");
    assert!(calls(&tick(&mut model, 0.05)).is_empty(), "the cursor may move on");
    let first = tick(&mut model, 0.2);
    let id = id_of(&first, |call| matches!(call, Call::Stage { .. }));
    press(&mut model, "j");
    let second = [tick(&mut model, 0.3), tick(&mut model, 0.5)].concat();
    assert!(second.iter().any(|effect| matches!(effect, Effect::FollowLog { .. })));
    let view = |name| Reply::Stage(Ok(Box::new(task_view("lecture-07", name, StageState::Running))));
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: view("ffmpeg.extract_audio"),
        },
    );
    assert!(model.detail.text.is_none(), "an answer about a row that is left behind");
    let id = id_of(&second, |call| matches!(call, Call::Stage { .. }));
    update(&mut model, UiEvent::Reply { id, reply: view(LIVE) });
    press(&mut model, "<tab>");
    assert_shows(&model, &["\"video_path\": \"/v/강의.mp4\""]);
}

#[test]
fn the_end_of_a_run_fetches_its_detail_again() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    tick(&mut model, 0.0);
    tick(&mut model, 1.0);
    assert!(calls(&tick(&mut model, 2.0)).is_empty());
    let done = StageSummary {
        revision: 2,
        attempt: 2,
        ended_at: Some(at(2.0)),
        ..stage(StageState::Success)
    };
    update(&mut model, change(101, "lecture-07", LIVE, EventKind::Succeeded, done));
    let effects = tick(&mut model, 2.1);
    assert!(calls(&effects).iter().any(|call| matches!(call, Call::Stage { .. })));
    assert!(calls(&effects).iter().any(|call| matches!(call, Call::Log { .. })));
}

#[test]
fn a_stage_that_was_cancelled_says_which_worker_goes_on_with_it_for_as_long_as_one_does() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    let cancelled = StageSummary {
        revision: 2,
        attempt: 2,
        runner: Some("celery".into()),
        message: Some("w1@box goes on".into()),
        ended_at: Some(at(2.0)),
        ..stage(StageState::Cancelled)
    };
    let ended = StageSummary {
        revision: 3,
        message: None,
        ..cancelled.clone()
    };
    update(
        &mut model,
        change(101, "lecture-07", LIVE, EventKind::Progress, cancelled),
    );
    assert_shows(&model, &["w1@box goes on"]);
    update(&mut model, change(102, "lecture-07", LIVE, EventKind::Progress, ended));
    assert!(!screen(&model).join("\n").contains("w1@box"));
}

#[test]
fn the_position_in_the_queue_is_asked_for_and_shown() {
    use onceover_wire::{QueueInfo, QueuedRun, Queues};
    let mut model = dashboard((120, 36));
    press(&mut model, "jjj");
    tick(&mut model, 0.0);
    let effects = tick(&mut model, 0.2);
    let id = id_of(&effects, |call| *call == Call::Queues);
    let run = |task| QueuedRun {
        task_id: task_id(task),
        task_name: node("wservice.generate_subtitle_files"),
    };
    let queue = QueueInfo {
        waiting: None,
        name: "cpu".into(),
        slots: 2,
        running: 2,
        pending: 2,
        next: vec![run("other"), run("lecture-07")],
    };
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: Reply::Queues(Ok(Queues { queues: vec![queue] })),
        },
    );
    assert_shows(&model, &["2nd in cpu; 2 of 2 slots in"]);
}

/// What the daemon says of the stage at the cursor, once the dashboard asked for it.
fn explained(model: &mut onceover_tui::model::Model, effects: &[Effect], explanation: ReuseExplanation) {
    let id = id_of(effects, |call| matches!(call, Call::Reuse { .. }));
    let reply = Reply::Reuse(Ok(Box::new(explanation)));
    update(model, UiEvent::Reply { id, reply });
}

#[test]
fn r8_the_reuse_tab_shows_the_daemons_own_explanation() {
    let mut model = dashboard((120, 36));
    press(&mut model, "j<tab><tab><tab>");
    let effects = [tick(&mut model, 0.0), tick(&mut model, 0.2)].concat();
    let hit = ReuseExplanation {
        input_changed: Some(true),
        cached_at: Some(at(-60.0)),
        saved_seconds: Some(30.0),
        ..explanation(ReuseDecision::Hit, "hit", "would be reused: its output counts")
    };
    explained(&mut model, &effects, hit);
    assert_shows(
        &model,
        &[
            "↺ The same request now would be reused:",
            "its output counts.",
            "reason    hit, mode auto",
            "source    run 0190c0de",
            "made      12:05:01",
            "saves     30 s of running",
            "input     differs",
            "counts    audio_path",
        ],
    );
    assert!(
        calls(&tick(&mut model, 1.0)).is_empty(),
        "asked for once while nothing changes"
    );
    // The stage fails: the explanation is no longer true.
    let failed = StageSummary {
        revision: 2,
        attempt: 2,
        ..stage(StageState::Failed)
    };
    let event = change(101, "lecture-07", "ffmpeg.extract_audio", EventKind::Failed, failed);
    update(&mut model, event);
    let effects = tick(&mut model, 2.0);
    let run = ReuseExplanation {
        error: Some("disk full".into()),
        ..explanation(ReuseDecision::Run, "failed", "would run: the last run failed")
    };
    explained(&mut model, &effects, run);
    assert_shows(&model, &["now would run: the last", "error     disk full"]);
}

#[test]
fn an_explanation_of_a_row_left_behind_is_dropped_and_a_refusal_is_shown() {
    let mut model = dashboard((120, 36));
    press(&mut model, "j<tab><tab><tab>");
    let first = [tick(&mut model, 0.0), tick(&mut model, 0.2)].concat();
    press(&mut model, "j");
    let second = tick(&mut model, 0.3);
    let stale = explanation(ReuseDecision::Run, "absent", "would run: of the other row");
    explained(&mut model, &first, stale);
    assert_hides(&model, "of the other row");
    let id = id_of(&second, |call| matches!(call, Call::Reuse { .. }));
    let reply = Reply::Reuse(Err(Refusal {
        status: Some(404),
        text: "no such node".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["The daemon does not say: no such", "node"]);
}

#[test]
fn d2_runner_queue_attempt_and_callback_are_in_the_detail() {
    let mut model = dashboard((120, 36));
    press(&mut model, "<home>jjjjjjj");
    let effects = [tick(&mut model, 0.0), tick(&mut model, 0.2)].concat();
    assert_shows(
        &model,
        &["attempt 1", "runner    builtin   queue cpu", "callback  ✖ failed", "→✖"],
    );
    let id = id_of(&effects, |call| matches!(call, Call::Callbacks { .. }));
    let reply = Reply::Callbacks(Ok(deliveries()));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(
        &model,
        &[
            "callback  ◌ retrying after 2 tries",
            "to http://n8n.local/webhook/new",
            "3 more: c",
        ],
    );
}
