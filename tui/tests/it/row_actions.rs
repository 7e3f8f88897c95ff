//! Actions on rows: what is asked first, what is sent, what the answers say.

use onceover_tui::update::{Call, Effect, Refusal, Reply, UiEvent, update};
use onceover_types::StageState;
use onceover_wire::{DeleteReport, DeletionStatus, EventKind, ReuseInfo, ReuseMode, Warning, WarningCode};

use crate::fixture::*;

const LIVE: &str = "faster_whisper.transcribe_audio";

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
        "it has stages in flight, and the dialog has announced that they will be ended"
    );
    let report = DeleteReport {
        status: DeletionStatus::Success,
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
    press(&mut model, "C<home>  d");
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
fn d3_a_question_says_how_many_targets_there_are_and_every_one_can_be_seen() {
    let names: Vec<String> = (0..13).map(|i| format!("target-{i:02}")).collect();
    for (columns, rows) in [(80, 16), (60, 16), (40, 12), (120, 36)] {
        let items = names.iter().enumerate();
        let items = items.map(|(index, name)| item(name, index as f64, &[("a.b", stage(StageState::Success))]));
        let mut model = dashboard_of(items.collect(), (columns, rows));
        press(&mut model, "C*d");
        assert_shows(&model, &["Delete 13 tasks?"]);
        let is_whole = |model: &onceover_tui::model::Model| {
            let text = screen(model).join("\n");
            names.iter().all(|name| text.contains(name)) && text.contains("Inputs outside")
        };
        if !is_whole(&model) {
            assert_shows(&model, &[" of ", "↓ ↑"]);
        }
        let mut seen = screen(&model).join("\n");
        for _ in 0..30 {
            press(&mut model, "<down>");
            seen += &screen(&model).join("\n");
            assert_shows(&model, &["[ Cancel ]"]);
        }
        for name in &names {
            assert!(seen.contains(name), "{name} at {columns}x{rows}:\n{seen}");
        }
        assert!(
            seen.contains("Inputs outside"),
            "what goes can be read at {columns}x{rows}"
        );
        // The end is not scrolled past: one key goes back.
        let end = screen(&model);
        press(&mut model, "<up>");
        assert!(is_whole(&model) || screen(&model) != end, "{columns}x{rows}");
    }
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
    let effects = press(&mut model, "r<enter>r");
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
    assert!(changing(&press(&mut model, "rf<enter>")).is_empty(), "forced asks");
    assert_shows(&model, &["Force 1 stage to run again?", "[ Cancel ]"]);
    let effects = press(&mut model, "y");
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
        let effects = press(&mut model, "jr<enter>");
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
    let effects = press(&mut model, "jr<enter>");
    let id = id_of(&effects, |call| matches!(call, Call::Resubmit { .. }));
    let reply = warned("lecture-07", &["input_data.vlaue", "input_data.zzz"]);
    update(&mut model, UiEvent::Reply { id, reply });
    let warning = "input_data.vlaue: test.node has no such parameter; did you mean value? (and 1 more)";
    assert_shows(&model, &["! ", "queued: it has to run", warning]);
    // The outcome is shown for a while, the warning as long as the cursor is on the row.
    tick(&mut model, 60.0);
    assert_hides(&model, "queued: it has to run");
    assert_shows(&model, &["! input_data.vlaue", "warning"]);
    press(&mut model, "r<enter>");
    assert_hides(&model, "input_data.vlaue");
}

#[test]
fn bulk_targets_that_were_refused_stay_marked_with_their_error() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home> j ");
    let effects = press(&mut model, "ry");
    assert_eq!(changing(&effects).len(), 2);
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
