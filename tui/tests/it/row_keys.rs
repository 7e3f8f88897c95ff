//! What Enter and Tab do on the rows of the tree, and which tasks come first.

use onceover_tui::{
    model::{detail::Tab, sort::SortColumn},
    update::update,
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary};

use crate::fixture::*;

/// The tasks of the tree, top to bottom.
fn tasks(model: &onceover_tui::model::Model) -> Vec<String> {
    let rows = model.tree.rows.iter().filter(|row| row.node.is_none());
    rows.map(|row| row.task.to_string()).collect()
}

#[test]
fn enter_shows_the_stages_of_a_task_and_then_its_detail() {
    for size in [(120, 36), (60, 16)] {
        let mut model = dashboard(size);
        press(&mut model, "C<home>");
        assert_hides(&model, "├ ffmpeg");
        assert_shows(&model, &["enter open"]);
        press(&mut model, "<enter>");
        assert!(!model.zoom);
        assert_shows(&model, &["▾ lecture-07", "├ ffmpeg"]);
        assert_eq!(cursor(&model), "lecture-07");
        press(&mut model, "<enter>");
        assert!(model.zoom, "its stages are shown already");
        press(&mut model, "<enter>");
        assert!(!model.zoom);
        press(&mut model, "j<enter>");
        assert!(model.zoom, "a stage has its detail alone");
    }
}

#[test]
fn tab_shows_the_next_tab_of_a_stage_and_goes_to_the_stages_of_a_task() {
    for keys in ["<tab>", "]", "<s-tab>", "["] {
        let mut model = dashboard((120, 36));
        press(&mut model, &format!("C<home>{keys}"));
        assert_eq!(cursor(&model), "lecture-07 › ffmpeg.extract_audio", "{keys}");
        assert_eq!(model.detail.tab, Tab::Overview, "nothing turns that is not seen");
        press(&mut model, keys);
        assert_ne!(model.detail.tab, Tab::Overview);
    }
    let mut model = dashboard_of(vec![item("bare", 1.0, &[])], (120, 36));
    press(&mut model, "<tab>");
    assert_shows(&model, &["this task has no stage yet"]);
}

#[test]
fn what_runs_waits_or_has_failed_lately_is_first_in_the_list() {
    use StageState::*;
    let one = |id: &str, age: f64, state| item(id, age, &[("a.b", stage(state))]);
    let items = vec![
        one("new-done", 10.0, Success),
        one("new-failed", 20.0, Failed),
        one("new-waits", 30.0, Pending),
        one("new-cancelled", 40.0, Cancelled),
        one("failed-yesterday", 90_000.0, Failed),
        one("old-waits", 91_000.0, Pending),
        one("old-runs", 92_000.0, Running),
    ];
    let mut model = dashboard_of(items, (120, 36));
    let first = [
        "old-runs",
        "new-waits",
        "old-waits",
        "new-failed",
        "new-done",
        "new-cancelled",
        "failed-yesterday",
    ];
    assert_eq!(tasks(&model), first);
    press(&mut model, "<home>j");
    let before = cursor(&model);
    // What begins to run goes up, what has ended goes down; the cursor stays on its row.
    let running = StageSummary {
        revision: 2,
        ..stage(Running)
    };
    update(&mut model, change(101, "old-waits", "a.b", EventKind::Started, running));
    let done = StageSummary {
        revision: 2,
        ..stage(Success)
    };
    update(&mut model, change(102, "old-runs", "a.b", EventKind::Succeeded, done));
    tick(&mut model, 0.1);
    assert_eq!(tasks(&model)[..3], ["old-waits", "new-waits", "new-failed"]);
    assert_eq!(cursor(&model), before);
    // A failure of an hour ago is not a recent one.
    tick(&mut model, 3_700.0);
    assert_eq!(tasks(&model)[..3], ["old-waits", "new-waits", "new-done"]);
    assert_eq!(cursor(&model), before);
}

#[test]
fn one_key_orders_the_tasks_by_creation_and_back() {
    let mut model = dashboard((120, 36));
    assert_eq!(tasks(&model)[1], "podcast-112");
    press(&mut model, "o");
    assert_eq!(model.tree.sort.column, SortColumn::Created);
    assert_eq!(tasks(&model)[1], "clip_03");
    assert_shows(&model, &["sorted by created: the newest first"]);
    press(&mut model, "o");
    assert_eq!(tasks(&model)[1], "podcast-112");
}

#[test]
fn the_key_for_what_is_active_is_in_the_footer() {
    for columns in [60, 80, 120, 200] {
        let model = dashboard((columns, 24));
        assert!(screen(&model)[23].contains("a active"), "{columns}");
    }
}
