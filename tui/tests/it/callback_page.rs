//! The page of callbacks.

use onceover_tui::{
    model::MissingPart,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary};

use crate::fixture::*;

/// The page of callbacks, opened by these keys, with what the daemon answers.
fn callbacks_page(size: (u16, u16), keys: &str) -> onceover_tui::model::Model {
    let mut model = dashboard(size);
    let effects = press(&mut model, keys);
    answer(&mut model, &effects);
    model
}

#[test]
fn c4_a_callback_that_waits_for_an_open_breaker_says_so() {
    let mut model = callbacks_page((120, 36), "<home>jjjjjjc");
    let waiting = &mut model.deliveries.items[0];
    waiting.breaker_open_until = waiting.next_try_at;
    assert_shows(&model, &["breaker: open until "]);
    // The row and its detail both have room for the time.
    let lines = screen(&model);
    let times = lines.iter().filter_map(|line| line.split_once("breaker: open until "));
    let whole = times.filter(|(_, time)| time.chars().take(8).filter(|c| *c == ':').count() == 2);
    assert_eq!(whole.count(), 2, "{}", lines.join("\n"));
}

#[test]
fn d3_callbacks_of_a_row_are_listed_and_one_is_sent_again_after_a_question() {
    let mut model = callbacks_page((120, 36), "<home>jjjjjjc");
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
    assert_shows(&model, &["✔ the callback to http://n8n.local/webhook/clip"]);
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
    let mut model = callbacks_page((120, 36), "C<home> j c");
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
    let mut model = callbacks_page((120, 36), "<home>jjjjjjc");
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
    let mut model = callbacks_page((120, 36), "<home>jjjjjjc");
    update(&mut model, lost(MissingPart::Daemon));
    press(&mut model, "r");
    assert!(model.dialog.is_none());
    assert_shows(&model, &["not while disconnected"]);
}
