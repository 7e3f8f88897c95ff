//! What the dashboard does: keys, deltas, gaps, disconnects, actions. No terminal, no network, no clock.

use onceover_tui::{
    model::{Link, MissingPart, Source},
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::{FieldError, StageState};
use onceover_wire::{
    DeleteReport, EventKind, ReuseDecision, ReuseExplanation, ReuseInfo, ReuseMode, StageSummary, SubmitRequest,
    Warning, WarningCode,
};

use crate::fixture::*;

const LIVE: &str = "faster_whisper.transcribe_audio";

fn calls(effects: &[Effect]) -> Vec<Call> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call { call, .. } => Some(call.clone()),
            _ => None,
        })
        .collect()
}

fn changing(effects: &[Effect]) -> Vec<Call> {
    calls(effects).into_iter().filter(Call::changes).collect()
}

fn id_of(effects: &[Effect], wanted: impl Fn(&Call) -> bool) -> u64 {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Call { id, call } if wanted(call) => Some(*id),
            _ => None,
        })
        .expect("such a call")
}

#[test]
fn d1_a_delta_moves_stage_task_and_totals() {
    let mut model = dashboard((120, 36));
    let done = StageSummary {
        revision: 2,
        ended_at: Some(at(0.0)),
        ..stage(StageState::Success)
    };
    update(
        &mut model,
        change(
            101,
            "podcast-112",
            "ffmpeg.extract_audio",
            EventKind::Succeeded,
            done.clone(),
        ),
    );
    assert_eq!((model.totals.tasks.pending, model.totals.tasks.completed), (0, 2));
    let hit = StageSummary {
        revision: 3,
        reuse_hits: 1,
        saved_seconds: 30.0,
        ..done
    };
    update(
        &mut model,
        change(102, "podcast-112", "ffmpeg.extract_audio", EventKind::Hit, hit),
    );
    assert_eq!(model.totals.reuse.hits, 7);
    assert_eq!(model.totals.reuse.saved_seconds, 22_350.0);
    update(
        &mut model,
        change(
            103,
            "new",
            "ffmpeg.extract_audio",
            EventKind::Queued,
            stage(StageState::Pending),
        ),
    );
    assert_eq!((model.totals.tasks.pending, model.totals.reuse.misses), (1, 4));
    update(&mut model, deleted(104, "new"));
    assert_eq!(model.totals.tasks.pending, 0);
    assert_eq!(model.store.len(), 5);
}

#[test]
fn s5_another_workers_stage_moves_as_it_says_counts_for_no_reuse_and_can_go() {
    let mut model = dashboard((120, 36));
    let misses = model.totals.reuse.misses;
    let theirs = |status, revision, progress| StageSummary {
        run_id: None,
        runner: Some("foreign".into()),
        revision,
        progress,
        ..stage(status)
    };
    let (task, custom) = ("podcast-112", "myservice.custom");
    let before = model.store.get(&task_id(task)).unwrap().stages.len();
    for (seq, kind, summary) in [
        (101, EventKind::Queued, theirs(StageState::Pending, 1, None)),
        (102, EventKind::Succeeded, theirs(StageState::Success, 2, Some(100.0))),
        (103, EventKind::Started, theirs(StageState::Running, 3, Some(10.0))),
    ] {
        update(&mut model, change(seq, task, custom, kind, summary));
    }
    let shown = model.store.stage(&task_id(task), &node(custom)).unwrap();
    assert_eq!((shown.status, shown.progress), (StageState::Running, Some(10.0)));
    assert_eq!(model.totals.reuse.misses, misses);
    assert_eq!(model.totals.tasks.running, 2);
    let UiEvent::Change(mut removed) = deleted(104, task) else {
        unreachable!()
    };
    removed.kind = EventKind::Removed;
    removed.task_name = Some(node(custom));
    update(&mut model, UiEvent::Change(removed));
    assert_eq!(model.store.get(&task_id(task)).unwrap().stages.len(), before);
    assert_eq!(model.totals.tasks.running, 1);
}

#[test]
fn early_late_and_repeated_events_end_in_the_same_state() {
    let progress = |seq, percent| {
        let stage = StageSummary {
            revision: seq,
            progress: Some(percent),
            ..stage(StageState::Running)
        };
        change(seq, "lecture-07", LIVE, EventKind::Progress, stage)
    };
    let mut model = dashboard((120, 36));
    for seq in [103, 101, 101, 102, 100, 103] {
        update(&mut model, progress(seq, seq as f64 - 30.0));
    }
    assert_eq!(model.store.seq(), Some(103));
    let stage = model.store.stage(&task_id("lecture-07"), &node(LIVE)).unwrap();
    assert_eq!(stage.progress, Some(73.0));
    assert!(tick(&mut model, 5.0).iter().all(|effect| *effect != Effect::Reread));
    assert_eq!(model.store.gaps, 0);
}

#[test]
fn a_gap_that_stays_is_counted_and_read_over_once() {
    let mut model = dashboard((120, 36));
    let running = || StageSummary {
        revision: 9,
        progress: Some(80.0),
        ..stage(StageState::Running)
    };
    update(
        &mut model,
        change(103, "lecture-07", LIVE, EventKind::Progress, running()),
    );
    assert!(
        !tick(&mut model, 0.1).contains(&Effect::Reread),
        "what is missing may be on its way"
    );
    assert!(tick(&mut model, 0.2).contains(&Effect::Reread));
    assert!(!tick(&mut model, 0.5).contains(&Effect::Reread), "asked for once");
    assert_eq!(model.store.gaps, 1);
    // The snapshot knows 102; the held 103 is applied on top.
    update(&mut model, snapshot(items(), 102));
    assert_eq!(model.store.seq(), Some(103));
    let stage = model.store.stage(&task_id("lecture-07"), &node(LIVE)).unwrap();
    assert_eq!(stage.progress, Some(80.0));
    assert_shows(&model, &["1 gap repaired"]);
}

#[test]
fn v3_progress_never_goes_back_within_an_attempt_and_starts_anew_in_the_next() {
    let mut model = dashboard((120, 36));
    let with = |revision, attempt, percent| StageSummary {
        revision,
        attempt,
        progress: Some(percent),
        ..stage(StageState::Running)
    };
    let shown =
        |model: &onceover_tui::model::Model| model.store.stage(&task_id("lecture-07"), &node(LIVE)).unwrap().progress;
    update(
        &mut model,
        change(101, "lecture-07", LIVE, EventKind::Progress, with(2, 2, 40.0)),
    );
    assert_eq!(shown(&model), Some(62.0));
    update(
        &mut model,
        change(102, "lecture-07", LIVE, EventKind::Reaped, with(3, 3, 0.0)),
    );
    assert_eq!(shown(&model), Some(0.0));
}

#[test]
fn d4_a_lost_connection_stops_clocks_refuses_changes_and_heals() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    assert_shows(&model, &["01:30"]);
    tick(&mut model, 5.0);
    assert_shows(&model, &["01:35"]);
    update(&mut model, lost(MissingPart::Daemon));
    tick(&mut model, 17.0);
    assert_shows(
        &model,
        &[
            "✖ no answer from 127.0.0.1:8788 for 12 s",
            "what you see is from 12:06:06",
            "01:35",
        ],
    );
    for key in ["r", "R", "x", "d"] {
        assert!(changing(&press(&mut model, key)).is_empty());
        assert!(model.dialog.is_none());
        assert_shows(&model, &["not while disconnected: connection refused"]);
    }
    update(&mut model, snapshot(items(), 300));
    assert_eq!(model.link, Link::Live);
    assert_shows(&model, &["● live"]);
}

#[test]
fn no_daemon_at_the_start_says_how_to_start_one() {
    let mut model = onceover_tui::model::Model::new("http://127.0.0.1:8788", at(0.0), (80, 24));
    update(&mut model, lost(MissingPart::Daemon));
    assert_shows(
        &model,
        &[
            "No daemon at http://127.0.0.1:8788 yet.",
            "onceoverd",
            "next try in 2 s",
        ],
    );
    update(&mut model, snapshot(items(), 1));
    assert_shows(&model, &["lecture-07"]);
}

#[test]
fn a_wrong_token_is_a_state_that_says_what_to_do() {
    for had_data in [false, true] {
        let mut model = onceover_tui::model::Model::new("http://127.0.0.1:8788", at(0.0), (100, 24));
        if had_data {
            update(&mut model, snapshot(items(), 1));
        }
        update(&mut model, lost(MissingPart::Access));
        assert_shows(&model, &["127.0.0.1:8788 refuses access"]);
        if !had_data {
            assert_shows(&model, &["ONCEOVER_TOKEN", "ONCEOVER_TOKEN_FILE"]);
        }
        update(&mut model, snapshot(items(), 2));
        assert_eq!(model.link, Link::Live);
    }
}

#[test]
fn a_task_that_comes_to_life_shows_its_stages_like_those_of_the_start() {
    let mut model = dashboard((120, 36));
    let event = change(
        101,
        "newcomer",
        "ffmpeg.extract_audio",
        EventKind::Queued,
        stage(StageState::Pending),
    );
    update(&mut model, event);
    let task = onceover_types::TaskId::parse("newcomer").unwrap();
    assert!(model.tree.is_expanded(&task));
}

#[test]
fn a_confirmed_action_waits_for_the_connection_too() {
    let mut model = dashboard((120, 36));
    press(&mut model, "d");
    update(&mut model, lost(MissingPart::Redis));
    press(&mut model, "y");
    assert!(model.deletes.is_empty());
    assert_shows(&model, &["not while Redis is unavailable"]);
}

#[test]
fn d3_delete_asks_can_be_taken_back_and_is_sent_after_five_seconds() {
    let mut model = dashboard((120, 36));
    press(&mut model, "d<enter>");
    assert!(
        model.dialog.is_none() && model.deletes.is_empty(),
        "the default is to leave it"
    );
    press(&mut model, "d<tab><enter>");
    assert_shows(&model, &["1 task will be deleted in 5 s — u undo"]);
    press(&mut model, "u");
    assert!(changing(&tick(&mut model, 6.0)).is_empty());
    press(&mut model, "dy");
    assert!(changing(&tick(&mut model, 10.9)).is_empty());
    let effects = tick(&mut model, 11.0);
    assert_eq!(
        changing(&effects),
        [Call::Delete {
            task: task_id("lecture-07"),
            force: true
        }],
        "it has stages in flight, and the dialog said that they will be ended"
    );
    let report = DeleteReport {
        status: "success".into(),
        results: vec![],
        warnings: None,
        timestamp: at(0.0),
    };
    let id = id_of(&effects, |call| matches!(call, Call::Delete { .. }));
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: Reply::Deleted(Ok(report)),
        },
    );
    assert_shows(&model, &["✔ lecture-07: deleted"]);
}

#[test]
fn a_confirmed_delete_touches_exactly_what_the_dialog_listed() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home> j d");
    // New tasks come in above, the cursor's neighbours go, while the question stands.
    update(
        &mut model,
        change(
            101,
            "newest",
            "ffmpeg.extract_audio",
            EventKind::Queued,
            stage(StageState::Pending),
        ),
    );
    update(&mut model, deleted(102, "podcast-112"));
    press(&mut model, "y");
    let effects = tick(&mut model, 6.0);
    let mut names: Vec<_> = changing(&effects)
        .into_iter()
        .map(|call| match call {
            Call::Delete { task, .. } => task.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    names.sort();
    assert_eq!(names, ["lecture-07", "podcast-112"].map(String::from).to_vec());
}

#[test]
fn more_than_ten_targets_need_their_count_typed() {
    let many = (0..12).map(|i| {
        item(
            &format!("t{i:02}"),
            f64::from(i),
            &[("a.b", stage(StageState::Success))],
        )
    });
    let mut model = dashboard_of(many.collect(), (120, 40));
    press(&mut model, "C*dy");
    assert!(model.dialog.is_some(), "y alone is not enough");
    press(&mut model, "<tab><enter>");
    assert!(model.deletes.is_empty());
    press(&mut model, "11<enter>");
    assert!(model.deletes.is_empty());
    let mut model = dashboard_of(
        (0..12).map(|i| item(&format!("t{i:02}"), f64::from(i), &[])).collect(),
        (120, 40),
    );
    press(&mut model, "*d12<enter>");
    assert_eq!(model.deletes[0].targets.len(), 12);
    assert_eq!(changing(&tick(&mut model, 5.0)).len(), 12);
}

#[test]
fn quitting_with_a_delete_not_sent_yet_takes_two_presses() {
    let mut model = dashboard((120, 36));
    press(&mut model, "dy");
    assert!(!press(&mut model, "q").contains(&Effect::Quit));
    assert!(press(&mut model, "q").contains(&Effect::Quit));
    assert!(press(&mut dashboard((120, 36)), "q").contains(&Effect::Quit));
}

#[test]
fn resubmit_of_a_task_means_its_newest_stage_and_twice_means_once() {
    let mut model = dashboard((120, 36));
    press(&mut model, "<end>");
    press(&mut model, "k");
    let effects = press(&mut model, "rr");
    let wanted = Call::Resubmit {
        task: task_id("old"),
        node: node("ffmpeg.extract_audio"),
        reuse: ReuseMode::Auto,
    };
    assert_eq!(changing(&effects), [wanted]);
    assert_shows(&model, &["… requested"]);
    let id = id_of(&effects, |call| matches!(call, Call::Resubmit { .. }));
    let info = ReuseInfo {
        reuse_hit: false,
        reason: Some("cancelled".into()),
        ..ReuseInfo::default()
    };
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: Reply::Submitted(Ok(Box::new(submitted("old", info)))),
        },
    );
    assert_shows(&model, &["queued: the earlier run was cancelled"]);
    assert_hides(&model, "… requested");
    let effects = press(&mut model, "R");
    assert!(matches!(
        changing(&effects)[..],
        [Call::Resubmit {
            reuse: ReuseMode::Never,
            ..
        }]
    ));
}

#[test]
fn each_answer_to_a_submit_is_told_apart() {
    let cases = [
        (
            ReuseInfo {
                reuse_hit: true,
                source: Some("redis".into()),
                saved_seconds: Some(30.0),
                ..ReuseInfo::default()
            },
            "reused, 30 s saved",
        ),
        (
            ReuseInfo {
                reuse_hit: true,
                state: Some("pending".into()),
                ..ReuseInfo::default()
            },
            "joined the run in flight",
        ),
        (
            ReuseInfo {
                reason: Some("forced".into()),
                ..ReuseInfo::default()
            },
            "queued: a run was forced",
        ),
    ];
    for (info, text) in cases {
        let mut model = dashboard((120, 36));
        let effects = press(&mut model, "jr");
        let id = id_of(&effects, |call| matches!(call, Call::Resubmit { .. }));
        update(
            &mut model,
            UiEvent::Reply {
                id,
                reply: Reply::Submitted(Ok(Box::new(submitted("lecture-07", info)))),
            },
        );
        assert_shows(&model, &[text]);
    }
}

#[test]
fn a_warning_of_the_daemon_is_shown_with_what_became_of_the_action() {
    let warned = |id: &str, fields: &[&str]| {
        let warning = |field: &&str| Warning {
            code: WarningCode::UnknownField,
            field: (*field).to_owned(),
            message: "test.node has no such parameter; did you mean value?".into(),
        };
        let mut response = submitted(id, ReuseInfo::default());
        response.warnings = fields.iter().map(warning).collect();
        Reply::Submitted(Ok(Box::new(response)))
    };
    let mut model = dashboard((160, 36));
    let effects = press(&mut model, "jr");
    let id = id_of(&effects, |call| matches!(call, Call::Resubmit { .. }));
    let reply = warned("lecture-07", &["input_data.vlaue", "input_data.zzz"]);
    update(&mut model, UiEvent::Reply { id, reply });
    let said = "input_data.vlaue: test.node has no such parameter; did you mean value? (and 1 more)";
    assert_shows(&model, &["! ", "queued: it has to run", said]);
    // What happened is said for a while; that something is not right, while the row is looked at.
    tick(&mut model, 60.0);
    assert_hides(&model, "queued: it has to run");
    assert_shows(&model, &["! input_data.vlaue", "warning"]);
    press(&mut model, "r");
    assert_hides(&model, "input_data.vlaue");
}

#[test]
fn bulk_targets_that_were_refused_stay_marked_with_their_error() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home>  ");
    let effects = press(&mut model, "ry");
    assert_eq!(changing(&effects).len(), 2, "more than one asks first");
    let ids: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call {
                id,
                call: Call::Resubmit { task, .. },
            } => Some((*id, task.to_string())),
            _ => None,
        })
        .collect();
    for (id, task) in &ids {
        let reply = if task == "clip_03" {
            Err(Refusal {
                status: Some(503),
                text: "Redis does not answer".into(),
                ..Refusal::default()
            })
        } else {
            Ok(Box::new(submitted(task, ReuseInfo::default())))
        };
        update(
            &mut model,
            UiEvent::Reply {
                id: *id,
                reply: Reply::Submitted(reply),
            },
        );
    }
    assert_shows(&model, &["1 of 2 refused and still marked", "Redis does not answer"]);
    let failed: Vec<_> = model.failures.keys().map(ToString::to_string).collect();
    assert_eq!(failed, ["clip_03 › paddleocr.detect_subtitle_area"]);
}

#[test]
fn cancel_asks_and_only_for_what_is_in_flight() {
    let mut model = dashboard((120, 36));
    press(&mut model, "<end>x");
    assert!(model.dialog.is_none());
    assert_shows(&model, &["nothing to cancel"]);
    press(&mut model, "<home>jj");
    assert_eq!(cursor(&model), format!("lecture-07 › {LIVE}"));
    assert!(changing(&press(&mut model, "x")).is_empty());
    assert_eq!(
        changing(&press(&mut model, "y")),
        [Call::Cancel {
            task: task_id("lecture-07"),
            node: Some(node(LIVE))
        }]
    );
}

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
fn the_cursor_stays_on_its_id_while_rows_come_and_go() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home>jj");
    assert_eq!(cursor(&model), "podcast-112");
    update(
        &mut model,
        change(
            101,
            "newest",
            "ffmpeg.extract_audio",
            EventKind::Queued,
            stage(StageState::Pending),
        ),
    );
    update(&mut model, deleted(102, "lecture-07"));
    tick(&mut model, 0.1);
    assert_eq!(cursor(&model), "podcast-112");
    update(&mut model, deleted(103, "podcast-112"));
    tick(&mut model, 0.2);
    assert_eq!(cursor(&model), "trailer-v2", "the next one takes its place");
}

#[test]
fn filters_hide_rows_and_a_wrong_one_keeps_the_result() {
    let mut model = dashboard((120, 36));
    press(&mut model, "/state:failed");
    assert_eq!(model.tree.shown, 1);
    press(&mut model, " (");
    assert_eq!(model.tree.shown, 1);
    assert_shows(&model, &["column 15"]);
    press(&mut model, "<bs><bs><enter>");
    assert_hides(&model, "podcast-112");
    press(&mut model, "<esc>");
    assert_shows(&model, &["podcast-112"]);
    press(&mut model, "p");
    assert_eq!(model.tree.shown, 2);
    assert_shows(&model, &["pending only", "podcast-112", "lecture-07"]);
    assert_hides(&model, "clip_03");
    press(&mut model, "p");
    assert_eq!(model.tree.shown, 5);
}

#[test]
fn the_task_asked_for_at_the_start_has_the_cursor_and_is_open() {
    let mut model = onceover_tui::model::Model::new("http://h", at(0.0), (120, 36));
    model.wanted = Some(task_id("late"));
    update(&mut model, snapshot(items(), 100));
    update(
        &mut model,
        change(
            101,
            "late",
            "ffmpeg.extract_audio",
            EventKind::Queued,
            stage(StageState::Pending),
        ),
    );
    tick(&mut model, 0.1);
    assert_eq!(cursor(&model), "late");
    assert!(model.tree.is_expanded(&task_id("late")));
}

#[test]
fn nothing_is_drawn_again_while_nothing_changes() {
    let quiet = vec![item("done", 10.0, &[("a.b", stage(StageState::Success))])];
    let mut model = dashboard_of(quiet, (120, 36));
    press(&mut model, "j");
    tick(&mut model, 1.0);
    tick(&mut model, 1.5);
    model.redraw = false;
    assert_eq!(model.wake_at(), None);
    for second in 2..100 {
        tick(&mut model, f64::from(second));
        update(&mut model, UiEvent::System(Box::new(system(100))));
        update(&mut model, UiEvent::Source(Source::Stream));
    }
    assert!(!model.redraw);
    // A running stage on screen asks for one redraw a second, and no more.
    let mut model = dashboard((120, 36));
    press(&mut model, "<end>");
    tick(&mut model, 10.0);
    tick(&mut model, 10.25);
    assert_eq!(model.wake_at(), Some(at(11.0)));
}

#[test]
fn a_printed_frame_changes_nothing() {
    let mut model = dashboard((120, 36));
    model.read_only = true;
    assert!(changing(&press(&mut model, "jrR")).is_empty());
    press(&mut model, "dy");
    assert!(model.deletes.is_empty());
}

#[test]
fn lost_messages_at_the_end_are_noticed_by_the_regular_look() {
    let mut model = dashboard((120, 36));
    assert!(!update(&mut model, UiEvent::System(Box::new(system(105)))).contains(&Effect::Reread));
    assert!(update(&mut model, UiEvent::System(Box::new(system(105)))).contains(&Effect::Reread));
}

#[test]
fn another_database_in_this_ones_place_is_read_anew() {
    let mut model = dashboard((120, 36));
    assert!(update(&mut model, UiEvent::System(Box::new(system(3)))).contains(&Effect::Reread));
    update(&mut model, snapshot(Vec::new(), 3));
    assert_eq!((model.store.seq(), model.store.len()), (Some(3), 0));
}

#[test]
fn a_look_answered_before_the_newest_event_is_no_reason_to_read_again() {
    let mut model = dashboard((120, 36));
    for seq in 101..110 {
        let summary = StageSummary {
            revision: seq,
            ..stage(StageState::Running)
        };
        update(
            &mut model,
            change(seq, "lecture-07", LIVE, EventKind::Progress, summary),
        );
        let effects = update(&mut model, UiEvent::System(Box::new(system(seq - 1))));
        assert!(!effects.contains(&Effect::Reread));
    }
}

#[test]
fn place_in_the_queue_is_asked_for_and_shown() {
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

#[test]
fn d2_a_task_that_begins_shows_its_stage_at_once() {
    let mut model = dashboard((120, 36));
    let waiting = stage(StageState::Pending);
    update(
        &mut model,
        change(101, "new-film", "ffmpeg.extract_audio", EventKind::Queued, waiting),
    );
    tick(&mut model, 0.1);
    assert_shows(&model, &["▾ new-film"]);
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
    // The stage fails: what was said is no longer true.
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
    press(&mut model, "<home>jjjjj");
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

#[test]
fn c4_a_callback_that_waits_for_an_open_breaker_says_so() {
    let mut model = callbacks_page((120, 36), "<home>jjjjc");
    let waiting = &mut model.deliveries.items[0];
    waiting.breaker_open_until = waiting.next_try_at;
    assert_shows(&model, &["breaker: open until "]);
    // The row and its detail both have room for the time.
    let lines = screen(&model);
    let times = lines.iter().filter_map(|line| line.split_once("breaker: open until "));
    let whole = times.filter(|(_, time)| time.chars().take(8).filter(|c| *c == ':').count() == 2);
    assert_eq!(whole.count(), 2, "{}", lines.join("\n"));
}

/// The page of callbacks, opened by these keys, with what the daemon answers.
fn callbacks_page(size: (u16, u16), keys: &str) -> onceover_tui::model::Model {
    let mut model = dashboard(size);
    let effects = press(&mut model, keys);
    answer(&mut model, &effects);
    model
}

#[test]
fn d3_callbacks_of_a_row_are_listed_and_one_is_sent_again_after_a_question() {
    let mut model = callbacks_page((120, 36), "<home>jjjjc");
    assert_shows(
        &model,
        &[
            "Callbacks of clip_03 · 3",
            "✖ given up",
            "◌ retrying",
            "✔ sent",
            "answered 503",
        ],
    );
    assert!(changing(&press(&mut model, "jr")).is_empty(), "it asks first");
    assert_shows(
        &model,
        &[
            "Send 1 callback again?",
            "http://n8n.local/webhook/clip/오래된",
            "clip_03 › paddleocr.detect_subtitle_area: failed (msg_2)",
            "✖ given up after 5 tries",
            "same webhook-id",
            "[ Cancel ]",
        ],
    );
    assert!(
        changing(&press(&mut model, "<enter>")).is_empty(),
        "the default is not to"
    );
    press(&mut model, "r");
    let effects = press(&mut model, "<tab><enter>");
    assert_eq!(changing(&effects), [Call::Redeliver { id: "msg_2".into() }]);
    assert_shows(&model, &["… requested"]);
    assert!(changing(&press(&mut model, "ry")).is_empty(), "twice means once");
    let id = id_of(&effects, |call| matches!(call, Call::Redeliver { .. }));
    let again = deliveries().items.remove(1);
    let reply = Reply::Redelivered(Ok(Box::new(again)));
    let effects = update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["✔ callback to http://n8n.local/webhook/clip"]);
    assert_eq!(
        calls(&effects),
        [Call::Callbacks {
            task: Some(task_id("clip_03"))
        }],
        "read again"
    );
    press(&mut model, "<esc>");
    assert_shows(&model, &["podcast-112"]);
}

#[test]
fn d3_many_callbacks_are_sent_again_and_those_refused_stay_marked() {
    let mut model = callbacks_page((120, 36), "C<home>  c");
    assert_shows(&model, &["Callbacks of 2 rows"]);
    press(&mut model, "*r");
    assert_shows(&model, &["Send 3 callbacks again?", "http://n8n.local/webhook/new"]);
    let effects = press(&mut model, "y");
    let ids: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call {
                id,
                call: Call::Redeliver { id: delivery },
            } => Some((*id, delivery.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(ids.len(), 3);
    for (id, delivery) in ids {
        let reply = Reply::Redelivered(if delivery == "msg_2" {
            Err(Refusal {
                status: Some(404),
                text: "it has expired".into(),
                ..Refusal::default()
            })
        } else {
            Ok(Box::new(deliveries().items.remove(0)))
        });
        update(&mut model, UiEvent::Reply { id, reply });
    }
    assert_shows(
        &model,
        &["redeliver: 1 of 3 refused and still marked; msg_2: it has expired"],
    );
    assert_eq!(model.deliveries.marks.iter().collect::<Vec<_>>(), ["msg_2"]);
}

#[test]
fn the_page_of_callbacks_follows_what_happens() {
    let mut model = callbacks_page((120, 36), "<home>jjjjc");
    let sent = StageSummary {
        revision: 2,
        callback_status: Some(onceover_types::CallbackStatus::Sent),
        ..stage(StageState::Failed)
    };
    let event = |seq, task| {
        change(
            seq,
            task,
            "paddleocr.detect_subtitle_area",
            EventKind::Callback,
            sent.clone(),
        )
    };
    update(&mut model, event(101, "clip_03"));
    let wanted = Call::Callbacks {
        task: Some(task_id("clip_03")),
    };
    assert!(calls(&tick(&mut model, 0.05)).is_empty());
    let effects = tick(&mut model, 0.2);
    assert_eq!(calls(&effects), [wanted]);
    answer(&mut model, &effects);
    update(&mut model, event(102, "other"));
    assert!(calls(&tick(&mut model, 1.0)).is_empty(), "not of a task shown here");
    // One of them is pending: tries that come to nothing have no event.
    assert_eq!(
        calls(&update(&mut model, UiEvent::System(Box::new(system(102))))).len(),
        1
    );
    let effects = press(&mut model, "a");
    assert_eq!(calls(&effects), [Call::Callbacks { task: None }]);
    answer(&mut model, &effects);
    assert_shows(&model, &["Callbacks of all tasks · 4"]);
}

#[test]
fn callbacks_are_not_sent_again_while_disconnected() {
    let mut model = callbacks_page((120, 36), "<home>jjjjc");
    update(&mut model, lost(MissingPart::Daemon));
    press(&mut model, "r");
    assert!(model.dialog.is_none());
    assert_shows(&model, &["not while disconnected"]);
}

/// The form of `ffmpeg.split_audio_segments`, opened on the task at the cursor.
fn form(size: (u16, u16)) -> onceover_tui::model::Model {
    let mut model = dashboard(size);
    press_answered(&mut model, "<home>ssplit<enter>");
    model
}

fn submitted_request(effects: &[Effect]) -> (u64, SubmitRequest) {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Call {
                id,
                call: Call::Submit { request },
            } => Some((*id, (**request).clone())),
            _ => None,
        })
        .expect("a submit")
}

#[test]
fn a_node_is_chosen_by_typing_and_its_form_knows_task_and_sources() {
    let mut model = dashboard((120, 36));
    press_answered(&mut model, "<home>sfaster");
    assert_shows(&model, &["Nodes 1 of 2 · 1 ready", "✖ 1 missing", "음성을 글로"]);
    assert_shows(&model, &["get it    onceoverd nodes install faster_whisper"]);
    press(&mut model, "<c-u>subtitle");
    assert_hides(&model, "faster_whisper.transcribe_audio  ");
    press(&mut model, "<enter>");
    assert_shows(
        &model,
        &[
            "Submit ffmpeg.split_audio_segments · Split audio by subtitle",
            "lecture-07",
            // That stage of the task has succeeded.
            "from ffmpeg.extract_audio › audio_path",
            "16000",
        ],
    );
}

#[test]
fn the_form_sends_what_was_typed_in_the_types_of_the_catalog() {
    let mut model = form((120, 36));
    press(&mut model, "<tab><right><right><tab>44100<tab><space><tab>[1, 2]<tab>s");
    let effects = press(&mut model, "<tab>http://n8n.local/x<tab><enter>");
    let (_, request) = submitted_request(&effects);
    assert_eq!(request.task_name, "ffmpeg.split_audio_segments");
    assert_eq!(request.task_id.as_deref(), Some("lecture-07"));
    assert_eq!(request.reuse, Some(ReuseMode::Strict));
    assert_eq!(request.callback.as_deref(), Some("http://n8n.local/x"));
    assert_eq!(
        serde_json::Value::Object(request.input_data),
        serde_json::json!({
            "output_format": "flac", "sample_rate": 44100, "group_by_speaker": true, "keep": [1, 2]
        })
    );
    assert!(
        changing(&press(&mut model, "<enter><c-s>")).is_empty(),
        "pressed twice it makes one request"
    );
}

#[test]
fn o4_the_daemons_refusals_are_at_their_fields_and_what_was_typed_stays() {
    let mut model = form((120, 36));
    press(&mut model, "<tab><tab>1");
    let effects = press(&mut model, "<c-s>");
    let (id, _) = submitted_request(&effects);
    let error = |field: &str, message: &str| FieldError::new(field, message);
    let refusal = Refusal {
        status: Some(422),
        text: "two fields".into(),
        errors: vec![
            error("input_data.sample_rate", "it must be at least 8000"),
            error("input_data.keep.0", "it must be a number"),
            error("task_name", "it is retired"),
        ],
    };
    let reply = Reply::Submitted(Err(refusal));
    update(&mut model, UiEvent::Reply { id, reply });
    let lines = screen(&model);
    let below = |field: &str| {
        let at = lines.iter().position(|line| line.contains(field)).unwrap();
        lines[at + 1].clone()
    };
    assert!(
        below("sample_rate  ").contains("✖ it must be at least 8000"),
        "{lines:#?}"
    );
    assert!(below("keep  ").contains("✖ it must be a number"), "{lines:#?}");
    assert_shows(&model, &["✖ task_name: it is retired", "refused: see 3 fields"]);
    // The first one that was refused has the focus; typing clears its error.
    press(&mut model, "6000");
    assert_hides(&model, "it must be at least 8000");
    let (_, request) = submitted_request(&press(&mut model, "<c-s>"));
    assert_eq!(request.input_data["sample_rate"], 16000);
}

#[test]
fn what_is_no_json_is_told_at_its_field_without_asking() {
    let mut model = form((120, 36));
    let effects = press(&mut model, "<tab><tab><tab><tab>[1, 2<c-s>");
    assert!(changing(&effects).is_empty());
    assert_shows(&model, &["✖ it is no JSON"]);
}

#[test]
fn an_accepted_submit_shows_its_task_and_a_refused_node_says_what_it_lacks() {
    let mut model = form((120, 36));
    let (id, _) = submitted_request(&press(&mut model, "<c-s>"));
    let refusal = Refusal {
        status: Some(409),
        text: "it lacks ffmpeg: apt-get install ffmpeg".into(),
        ..Refusal::default()
    };
    let reply = Reply::Submitted(Err(refusal));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["✖ it lacks ffmpeg: apt-get install ffmpeg"]);
    let (id, _) = submitted_request(&press(&mut model, "<c-s>"));
    let info = ReuseInfo {
        reason: Some("absent".into()),
        ..ReuseInfo::default()
    };
    let reply = Reply::Submitted(Ok(Box::new(submitted("old", info))));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_eq!(cursor(&model), "old", "its task has the cursor");
    assert_shows(&model, &["queued: there was no earlier result"]);
}

#[test]
fn what_was_typed_into_a_form_is_still_there_after_a_look_elsewhere() {
    let mut model = form((120, 36));
    press(&mut model, "/v/강의.wav<esc>");
    assert_shows(&model, &["Nodes"]);
    press_answered(&mut model, "<enter>");
    assert_shows(&model, &["/v/강의.wav"]);
    // Another node has a form of its own.
    press(&mut model, "<esc><esc><home><down><enter>");
    assert_hides(&model, "/v/강의.wav");
}

#[test]
fn keys_are_text_in_the_form() {
    let mut model = form((120, 36));
    press(&mut model, "qjd? *");
    assert_shows(&model, &["qjd? *"]);
    update(&mut model, UiEvent::Paste("/a\nb".into()));
    assert_shows(&model, &["qjd? */ab"]);
    assert!(press(&mut model, "<c-c>").contains(&Effect::Quit));
}

#[test]
fn nothing_is_submitted_while_disconnected() {
    let mut model = form((120, 36));
    update(&mut model, lost(MissingPart::Daemon));
    assert!(changing(&press(&mut model, "<c-s>")).is_empty());
    assert_shows(&model, &["not while disconnected"]);
}
