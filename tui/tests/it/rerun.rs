//! The menu of ways to run again: what it offers, what it says each would do, what it sends.

use onceover_tui::{
    model::Model,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{ReuseDecision, ReuseExplanation, ReuseMode};

use crate::fixture::*;

/// The questions of the menu: by reuse mode, the request and its task.
fn questions(effects: &[Effect]) -> Vec<(u64, String, ReuseMode)> {
    let question = |effect: &Effect| match effect {
        Effect::Call {
            id,
            call:
                Call::Reuse {
                    task,
                    reuse: Some(mode),
                    ..
                },
        } => Some((*id, task.to_string(), *mode)),
        _ => None,
    };
    effects.iter().filter_map(question).collect()
}

fn explain(model: &mut Model, id: u64, explanation: ReuseExplanation) {
    let reply = Reply::Reuse(Ok(Box::new(explanation)));
    update(model, UiEvent::Reply { id, reply });
}

fn resubmits(effects: &[Effect]) -> Vec<(String, ReuseMode)> {
    let resubmit = |call: Call| match call {
        Call::Resubmit { task, reuse, .. } => (task.to_string(), reuse),
        other => panic!("{other:?}"),
    };
    changing(effects).into_iter().map(resubmit).collect()
}

#[test]
fn d3_one_key_shows_what_each_way_would_do_before_one_is_taken() {
    let mut model = dashboard((120, 36));
    let effects = press(&mut model, "jr");
    assert!(changing(&effects).is_empty(), "nothing runs yet");
    assert_shows(
        &model,
        &[
            "Rerun lecture-07 › ffmpeg.extract_audio",
            "▸ a auto",
            "s strict",
            "f forced",
            "enter runs it",
        ],
    );
    for (id, _, mode) in questions(&effects) {
        let (decision, message) = match mode {
            ReuseMode::Auto => (ReuseDecision::Hit, "would be reused: its output counts"),
            ReuseMode::Strict => (ReuseDecision::Run, "would run: the input has changed"),
            ReuseMode::Never => (ReuseDecision::Run, "would run: a run is forced"),
        };
        let answer = ReuseExplanation {
            saved_seconds: Some(30.0),
            ..explanation(decision, "any", message)
        };
        explain(&mut model, id, answer);
    }
    assert_shows(
        &model,
        &[
            "↺ would be reused: its output counts · saves 30 s",
            "● would run: the input has changed",
            "● would run: a run is forced",
        ],
    );
    let effects = press(&mut model, "<down><enter>");
    assert_eq!(resubmits(&effects), [("lecture-07".to_owned(), ReuseMode::Strict)]);
    assert!(model.dialog.is_none());
}

#[test]
fn d3_forced_asks_and_its_default_is_not_to() {
    let mut model = dashboard((120, 36));
    assert!(changing(&press(&mut model, "jrf")).is_empty());
    assert_shows(&model, &["enter asks first"]);
    assert!(changing(&press(&mut model, "<enter><enter>")).is_empty());
    assert!(model.dialog.is_none(), "Enter means Cancel");
    let effects = press(&mut model, "rf<enter>y");
    assert_eq!(resubmits(&effects), [("lecture-07".to_owned(), ReuseMode::Never)]);
    for key in ["R", "t", "T", "w"] {
        press(&mut model, key);
        assert!(model.dialog.is_none(), "{key} starts nothing any more");
    }
}

#[test]
fn d3_the_menu_of_many_counts_what_would_happen_and_lists_them() {
    let mut model = dashboard((120, 36));
    let effects = press(&mut model, "C<home>  r");
    assert_shows(&model, &["Rerun 2 stages", "podcast-112 › ffmpeg.extract_audio"]);
    let of_auto: Vec<_> = questions(&effects)
        .into_iter()
        .filter(|(_, _, mode)| *mode == ReuseMode::Auto)
        .collect();
    assert_eq!(of_auto.len(), 2);
    explain(
        &mut model,
        of_auto[0].0,
        explanation(ReuseDecision::Hit, "hit", "would be reused"),
    );
    let reply = Reply::Reuse(Err(Refusal {
        text: "no such node".into(),
        ..Refusal::default()
    }));
    update(
        &mut model,
        UiEvent::Reply {
            id: of_auto[1].0,
            reply,
        },
    );
    assert_shows(&model, &["1 reused, 1 not known"]);
    // An answer that comes after the menu is closed is about nothing.
    let late = questions(&effects).pop().unwrap();
    press(&mut model, "<esc>");
    explain(
        &mut model,
        late.0,
        explanation(ReuseDecision::Run, "forced", "would run"),
    );
    assert!(model.dialog.is_none() && model.detail.reuse.is_none());
}

#[test]
fn rows_that_have_nothing_to_run_again_are_counted_in_the_menu() {
    let mut model = dashboard_of(
        vec![
            item("bare", 1.0, &[]),
            item("full", 2.0, &[("a.b", stage(StageState::Success))]),
        ],
        (120, 36),
    );
    press(&mut model, "C*r");
    assert_shows(&model, &["Rerun full › a.b", "1 row left out: no stage to run again"]);
    let effects = press(&mut model, "<enter>");
    assert_eq!(resubmits(&effects), [("full".to_owned(), ReuseMode::Auto)]);
    let mut model = dashboard_of(vec![item("bare", 1.0, &[])], (120, 36));
    press(&mut model, "r");
    assert!(model.dialog.is_none());
}

#[test]
fn d3_more_than_ten_stages_are_not_asked_about_one_by_one_and_need_their_count() {
    let many = (0..12).map(|i| {
        item(
            &format!("t{i:02}"),
            f64::from(i),
            &[("a.b", stage(StageState::Success))],
        )
    });
    let mut model = dashboard_of(many.collect(), (120, 40));
    let effects = press(&mut model, "C*r");
    assert!(calls(&effects).is_empty(), "the daemon is not asked 36 times");
    assert_shows(
        &model,
        &["Rerun 12 stages", "a finished result is reused", "1 to 7 of 12"],
    );
    assert!(changing(&press(&mut model, "<enter>")).is_empty());
    assert_shows(&model, &["Resubmit 12 stages?", "Type 12 to go on"]);
    assert_eq!(changing(&press(&mut model, "12<enter>")).len(), 12);
}

#[test]
fn the_menu_fits_every_screen_with_the_way_at_the_cursor() {
    for (columns, rows) in [(30, 8), (40, 12), (60, 16), (80, 24), (200, 60)] {
        let mut model = dashboard((columns, rows));
        press(&mut model, "jr");
        for name in ["auto", "strict", "forced"] {
            let lines = screen(&model);
            let chosen = lines.iter().find(|line| line.contains("│ ▸"));
            let is_named = chosen.is_some_and(|line| line.contains(name));
            assert!(is_named, "{columns}x{rows} {name}:\n{}", lines.join("\n"));
            press(&mut model, "<down>");
        }
    }
}
