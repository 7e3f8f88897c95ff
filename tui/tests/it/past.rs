//! The frozen view: what it shows, what it counts, and that actions look at the present.

use onceover_tui::{
    model::{dialog::Dialog, store::RowsEnd},
    update::{Call, Effect, MoreRows, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary};

use crate::fixture::*;

const NODE: &str = "ffmpeg.extract_audio";

/// The stage of `podcast-112`, which waits at first, as it is after so many changes.
fn later(revision: u64, status: StageState) -> StageSummary {
    StageSummary {
        revision,
        ..stage(status)
    }
}

#[test]
fn tui22_a_frozen_view_stands_still_and_counts_what_comes() {
    let mut model = dashboard((120, 36));
    press(&mut model, "F");
    tick(&mut model, 0.5);
    let rows = screen(&model)[1..].to_vec();
    assert_shows(&model, &["frozen: you see 12:06:01", "+0 since 12:06:01"]);
    update(
        &mut model,
        change(
            101,
            "podcast-112",
            NODE,
            EventKind::Started,
            later(2, StageState::Running),
        ),
    );
    update(
        &mut model,
        change(102, "new", NODE, EventKind::Queued, stage(StageState::Pending)),
    );
    update(&mut model, deleted(103, "old"));
    tick(&mut model, 60.0);
    assert_eq!(screen(&model)[1..], rows);
    assert_shows(&model, &["+3 since 12:06:01"]);
    assert_eq!(model.wake_at(), None, "nothing counts seconds in it");
    press(&mut model, "<esc>");
    assert_shows(&model, &["new", "● live"]);
    assert_hides(&model, "▾ old");
}

#[test]
fn tui22_stepping_shows_the_exact_earlier_trees_with_the_cursor_on_its_row() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jjj");
    tick(&mut model, 0.0);
    let on = cursor(&model);
    let mut screens = Vec::new();
    let events = [
        change(
            101,
            "podcast-112",
            NODE,
            EventKind::Started,
            later(2, StageState::Running),
        ),
        change(102, "newest", NODE, EventKind::Queued, stage(StageState::Pending)),
        change(
            103,
            "podcast-112",
            NODE,
            EventKind::Succeeded,
            later(3, StageState::Success),
        ),
        deleted(104, "old"),
    ];
    for event in events {
        screens.push(screen(&model)[1..].to_vec());
        update(&mut model, event);
        tick(&mut model, 0.0);
    }
    press(&mut model, "F");
    for before in screens.iter().rev() {
        press(&mut model, ",");
        tick(&mut model, 0.0);
        // The footer has other keys.
        let rows = screen(&model)[1..].to_vec();
        assert_eq!(rows[..rows.len() - 1], before[..before.len() - 1]);
        assert_eq!(cursor(&model), on);
    }
    press(&mut model, ",");
    assert_shows(&model, &["no earlier change is kept"]);
    for after in &screens[1..] {
        press(&mut model, ".");
        tick(&mut model, 0.0);
        let rows = screen(&model)[1..].to_vec();
        assert_eq!(rows[..rows.len() - 2], after[..after.len() - 2]);
    }
}

#[test]
fn tui22_an_action_looks_at_the_present_and_its_dialog_says_what_has_changed() {
    let mut model = dashboard((120, 36));
    let row = model
        .tree
        .rows
        .iter()
        .position(|row| row.node.is_none() && row.task.as_str() == "podcast-112");
    model.tree.go(row.unwrap());
    press(&mut model, "F");
    update(
        &mut model,
        change(
            101,
            "podcast-112",
            NODE,
            EventKind::Started,
            later(2, StageState::Running),
        ),
    );
    press(&mut model, "x");
    assert_shows(
        &model,
        &["1 running, will be ended", "podcast-112 is running now, it was pending"],
    );
    assert!(matches!(model.dialog, Some(Dialog::Confirm(_))));
    let effects = press(&mut model, "y");
    assert!(matches!(changing(&effects)[..], [Call::Cancel { .. }]));
    assert_shows(&model, &["frozen: you see 12:06:01"]);
    update(&mut model, deleted(102, "podcast-112"));
    press(&mut model, "x");
    assert!(model.dialog.is_none(), "there is nothing to cancel any more");
}

#[test]
fn tui22_a_frozen_view_stays_while_everything_is_read_again() {
    let mut model = dashboard((120, 36));
    press(&mut model, "F");
    tick(&mut model, 0.0);
    let rows = screen(&model)[1..].to_vec();
    update(&mut model, snapshot(vec![item("other", 1.0, &[])], 200));
    tick(&mut model, 1.0);
    assert_eq!(screen(&model)[1..], rows);
    press(&mut model, "F");
    tick(&mut model, 1.0);
    assert_shows(&model, &["other"]);
    assert_hides(&model, "lecture-07");
}

#[test]
fn tui22_a_frozen_view_stays_while_everything_is_read_in_parts() {
    let mut model = dashboard((120, 36));
    press(&mut model, "F");
    tick(&mut model, 0.0);
    let (rows, lines) = (model.tree.rows.clone(), screen(&model)[1..].to_vec());
    let UiEvent::Snapshot(mut first) = snapshot(items(), 200) else {
        panic!("it is a snapshot");
    };
    let mut items = first.items.split_off(2);
    first.end = RowsEnd::More;
    update(&mut model, UiEvent::Snapshot(first));
    tick(&mut model, 1.0);
    assert_eq!(model.tree.rows, rows);
    // `old` was deleted, and the message of that was lost.
    items.pop();
    let end = RowsEnd::Complete;
    update(&mut model, UiEvent::Rows(Box::new(MoreRows { items, end })));
    tick(&mut model, 1.0);
    assert_eq!(screen(&model)[1..], lines);
    assert_eq!(model.store.len(), 5);
    press(&mut model, "F");
    tick(&mut model, 1.0);
    assert_hides(&model, "▾ old");
    assert_eq!(model.store.len(), 4);
}

#[test]
fn tui22_an_end_is_announced_while_the_view_stands_still() {
    let mut model = dashboard((120, 36));
    press(&mut model, "W");
    press(&mut model, "F");
    let ended = later(9, StageState::Success);
    for (seq, node) in [
        (101, "faster_whisper.transcribe_audio"),
        (102, "wservice.generate_subtitle_files"),
    ] {
        update(
            &mut model,
            change(seq, "lecture-07", node, EventKind::Succeeded, ended.clone()),
        );
    }
    let effects = tick(&mut model, 1.0);
    let announces = |effect: &Effect| matches!(effect, Effect::Announce(notice) if notice.title == "lecture-07 done");
    assert!(effects.iter().any(announces), "{effects:?}");
    assert_shows(&model, &["frozen: you see 12:06:01"]);
}

#[test]
fn tui22_a_lost_connection_is_announced_over_a_frozen_view() {
    let mut model = dashboard((120, 36));
    press(&mut model, "F");
    update(&mut model, lost(onceover_tui::model::MissingPart::Daemon));
    assert_shows(&model, &["no answer from", "frozen at 12:06:01"]);
}
