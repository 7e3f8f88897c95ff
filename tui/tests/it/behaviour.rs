//! What the dashboard does with events: deltas, gaps, lost connections, the cursor, filters. No terminal, no network, no
//! clock.

use onceover_tui::{
    model::{Link, MissingPart, Source},
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary};

use crate::fixture::*;

const LIVE: &str = "faster_whisper.transcribe_audio";

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
fn v3_progress_never_goes_back_within_an_attempt_and_starts_again_in_the_next() {
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
    for key in ["r", "x", "d"] {
        assert!(changing(&press(&mut model, key)).is_empty());
        assert!(model.dialog.is_none());
        assert_shows(&model, &["not while disconnected: connection refused"]);
    }
    update(&mut model, snapshot(items(), 300));
    assert_eq!(model.link, Link::Live);
    assert_shows(&model, &["● live"]);
}

#[test]
fn d4_the_banner_keeps_the_age_of_the_data_and_the_next_try_down_to_forty_columns() {
    for missing in [MissingPart::Daemon, MissingPart::Redis, MissingPart::Access] {
        for columns in [40, 50, 60, 80, 100, 120, 200] {
            let mut model = dashboard((columns, 16));
            update(&mut model, lost(missing));
            tick(&mut model, 1.0);
            let banner = screen(&model).remove(0);
            let has_age = banner.contains("1 s old") || banner.contains("what you see is from 12:06:01");
            assert!(has_age && banner.contains("1 s"), "{columns}: {banner}");
            assert!(banner.contains("try in 1 s"), "{columns}: {banner}");
            // Over an hour later the figures are longer; the words give way.
            tick(&mut model, 4_321.0);
            update(&mut model, lost(missing));
            let banner = screen(&model).remove(0);
            let has_age = banner.contains("1 h 12 m old") || banner.contains("what you see is from 12:06:01");
            assert!(has_age && banner.contains(" 2 s"), "{columns}: {banner}");
        }
    }
}

#[test]
fn d4_a_daemon_that_is_slow_is_called_so_before_it_counts_as_lost() {
    for columns in [40, 60, 120] {
        let mut model = dashboard((columns, 16));
        model.redraw = false;
        update(&mut model, UiEvent::Slow(true));
        assert!(model.redraw && model.is_live());
        assert_shows(&model, &["● slow"]);
        update(&mut model, UiEvent::Slow(false));
        assert_shows(&model, &["● live"]);
        update(&mut model, UiEvent::Slow(true));
        update(&mut model, lost(MissingPart::Daemon));
        update(&mut model, snapshot(items(), 300));
        assert_shows(&model, &["● live"]);
    }
}

/// The calls that read a page, among effects.
fn page_reads(effects: &[Effect]) -> Vec<Call> {
    let reads = |call: &Call| matches!(call, Call::Nodes | Call::Callbacks { .. } | Call::Videos);
    calls(effects).into_iter().filter(reads).collect()
}

#[test]
fn d4_a_page_opened_while_the_daemon_is_away_is_read_by_itself_when_it_is_back() {
    for (keys, wanted) in [
        ("n", Call::Nodes),
        (
            "c",
            Call::Callbacks {
                task: Some(task_id("lecture-07")),
            },
        ),
        ("v", Call::Videos),
    ] {
        let mut model = dashboard((120, 36));
        update(&mut model, lost(MissingPart::Daemon));
        let effects = press(&mut model, keys);
        // The daemon does not answer.
        for effect in &effects {
            if let Effect::Call { id, call: Call::Nodes } = effect {
                let reply = Reply::Nodes(Err(Refusal {
                    text: "connection refused".into(),
                    ..Refusal::default()
                }));
                update(&mut model, UiEvent::Reply { id: *id, reply });
            }
        }
        let effects = update(&mut model, snapshot(items(), 300));
        assert_eq!(page_reads(&effects), [wanted], "{keys}");
    }
}

#[test]
fn d4_a_page_that_could_not_be_read_is_read_again_though_the_connection_holds() {
    let mut model = dashboard((120, 36));
    let effects = press(&mut model, "n");
    let id = id_of(&effects, |call| *call == Call::Nodes);
    let reply = Reply::Nodes(Err(Refusal {
        status: Some(503),
        text: "Redis does not answer".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["Redis does not answer"]);
    let effects = update(&mut model, UiEvent::System(Box::new(system(100))));
    assert_eq!(page_reads(&effects), [Call::Nodes]);
    let again = update(&mut model, UiEvent::System(Box::new(system(100))));
    assert_eq!(page_reads(&again), [], "one question at a time");
    answer(&mut model, &effects);
    assert_shows(&model, &["faster_whisper.transcribe_audio"]);
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
fn the_cursor_stays_on_its_id_while_rows_come_and_go() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home>j");
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
    assert_eq!(cursor(&model), "clip_03", "the next one takes its place");
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
    assert!(changing(&press(&mut model, "jr<enter>rf<enter>y")).is_empty());
    press(&mut model, "dy");
    assert!(model.deletes.is_empty());
}

#[test]
fn lost_messages_at_the_end_are_noticed_by_the_regular_check() {
    let mut model = dashboard((120, 36));
    assert!(!update(&mut model, UiEvent::System(Box::new(system(105)))).contains(&Effect::Reread));
    assert!(update(&mut model, UiEvent::System(Box::new(system(105)))).contains(&Effect::Reread));
}

#[test]
fn another_database_is_read_from_its_start() {
    let mut model = dashboard((120, 36));
    assert!(update(&mut model, UiEvent::System(Box::new(system(3)))).contains(&Effect::Reread));
    update(&mut model, snapshot(Vec::new(), 3));
    assert_eq!((model.store.seq(), model.store.len()), (Some(3), 0));
}

#[test]
fn a_check_answered_before_the_newest_event_is_no_reason_to_read_again() {
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

#[test]
fn a_task_with_an_earlier_failed_stage_is_counted_as_failed_in_part() {
    let stages = [
        ("a.b", stage(StageState::Failed)),
        (
            "c.d",
            StageSummary {
                ended_at: Some(at(-10.0)),
                ..stage(StageState::Success)
            },
        ),
    ];
    let mut model = dashboard_of(vec![item("film", 100.0, &stages)], (120, 36));
    // One task has failed as a whole: the daemon counts it, and it is not loaded here.
    assert_shows(&model, &["✖ 1 failed, 1 partly"]);
    update(&mut model, UiEvent::Resize(60, 16));
    assert_shows(&model, &["1+1 fail"]);
    update(&mut model, UiEvent::Resize(120, 36));
    let again = StageSummary {
        revision: 2,
        ended_at: Some(at(0.0)),
        ..stage(StageState::Success)
    };
    update(&mut model, change(101, "film", "a.b", EventKind::Succeeded, again));
    model.settle();
    assert_hides(&model, "partly");
    // The last stage decides about the task: that it failed is no part of it.
    let failed = StageSummary {
        revision: 2,
        ended_at: Some(at(1.0)),
        ..stage(StageState::Failed)
    };
    update(&mut model, change(102, "film", "c.d", EventKind::Failed, failed));
    model.settle();
    assert_hides(&model, "partly");
}
