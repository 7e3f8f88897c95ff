//! Watches tasks and stages: the end of one that is watched is announced, and where it is asked for each failure.

use onceover_types::{StageState, TaskId};
use onceover_wire::EventKind;

use super::{
    messages::{Announcement, Effect},
    past::see_present,
};
use crate::{
    figures,
    model::{
        Model, RowId, Tone,
        store::Applied,
        watch::{EndNotice, MOST_WATCHED},
    },
    theme::word,
};

/// Rows that an announcement names; of more it says how many there are.
const MOST_NAMED: usize = 3;

/// Watches the rows that are chosen, or stops where all of them are watched.
pub fn toggle(model: &mut Model) {
    let rows = model.subjects();
    let count = figures::count_noun(rows.len(), "row");
    if rows.is_empty() {
        return;
    }
    if rows.iter().all(|row| model.watched.has(row)) {
        for row in &rows {
            model.watched.remove(row);
        }
        model.say(Tone::Neutral, format!("{count} not watched any more"));
        return;
    }
    let mut runs = false;
    for row in rows {
        let is_in_flight = see_present(model, |model| model.in_flight(&row));
        runs |= is_in_flight;
        if !model.watched.add(row, is_in_flight) {
            let text = format!("not all are watched: at most {MOST_WATCHED} can be");
            model.say(Tone::Bad, text);
            return;
        }
    }
    let now = if runs { "" } else { "; nothing runs there now" };
    model.say(Tone::Neutral, format!("{count} watched: the end is announced{now}"));
}

/// Announces the ends that a change has brought, if the user wants to hear of them.
pub fn follow(model: &mut Model, applied: &Applied) {
    see_present(model, |model| follow_present(model, applied));
}

fn follow_present(model: &mut Model, applied: &Applied) {
    let change = &applied.change;
    if model.watched.failures
        && change.kind == EventKind::Failed
        && let Some(row) = find_changed_row(model, applied)
    {
        let error = change.stage.as_ref().and_then(|stage| stage.error.clone());
        let state = StageState::Failed;
        model.watched.announce(EndNotice { row, state, error });
    }
    check_rows(model, Some(&change.task_id));
}

/// Announces what has ended while nothing was heard of it.
pub fn check_all(model: &mut Model) {
    see_present(model, |model| check_rows(model, None));
}

fn find_changed_row(model: &Model, applied: &Applied) -> Option<RowId> {
    let task = model.store.get(&applied.change.task_id)?;
    let stage = task.stages.get(applied.change.task_name.as_ref()?)?;
    Some(RowId::stage(&task.id, stage.node()))
}

/// Compares the watched rows, of one task or all, with what they were.
fn check_rows(model: &mut Model, task: Option<&TaskId>) {
    for row in model.watched.list(task) {
        let is_in_flight = model.in_flight(&row);
        if !model.watched.note(&row, is_in_flight) {
            continue;
        }
        match find_end(model, &row) {
            Some((state, error)) => model.watched.announce(EndNotice { row, state, error }),
            None => model.watched.remove(&row),
        }
    }
}

/// Returns how a row has ended; `None` where it does not exist any more.
fn find_end(model: &Model, row: &RowId) -> Option<(StageState, Option<String>)> {
    let task = model.store.get(&row.task)?;
    match &row.node {
        None => Some((task.state(), None)),
        Some(node) => task
            .stages
            .get(node)
            .map(|stage| (stage.status, stage.error().map(str::to_owned))),
    }
}

/// Sends what is to be announced now: one announcement, however much has ended.
pub fn send_due(model: &mut Model, effects: &mut Vec<Effect>) {
    let notices = model.watched.take_due(model.now);
    if !notices.is_empty() {
        effects.push(Effect::Announce(describe(&notices)));
    }
}

/// Says what has ended: one in full, several together.
fn describe(notices: &[EndNotice]) -> Announcement {
    if let [notice] = notices {
        let why = notice
            .error
            .as_ref()
            .map_or(String::new(), |error| format!(": {error}"));
        return Announcement {
            title: format!("{} {}", notice.row, word(notice.state)),
            body: format!("{} {}{why}", notice.row, word(notice.state)),
        };
    }
    let tasks = notices.iter().filter(|notice| notice.row.node.is_none()).count();
    let stages = notices.len() - tasks;
    let counts: Vec<_> = [(tasks, "task"), (stages, "stage")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| figures::count_noun(count, noun))
        .collect();
    let failed = notices
        .iter()
        .filter(|notice| notice.state == StageState::Failed)
        .count();
    let failed = if failed > 0 {
        format!(", {failed} failed")
    } else {
        String::new()
    };
    let named = notices.iter().take(MOST_NAMED);
    let named: Vec<_> = named
        .map(|notice| format!("{} {}", notice.row, word(notice.state)))
        .collect();
    let more = if notices.len() > MOST_NAMED { ", …" } else { "" };
    Announcement {
        title: format!("{} ended{failed}", counts.join(" and ")),
        body: format!("{}{more}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn notice(task: &str, state: StageState) -> EndNotice {
        EndNotice {
            row: RowId::task(&Arc::new(TaskId::parse(task).unwrap())),
            state,
            error: None,
        }
    }

    #[test]
    fn tui25_several_ends_are_one_announcement() {
        let one = describe(&[notice("film", StageState::Success)]);
        assert_eq!(one.title, "film done");
        let many = ["a", "b", "c", "d"].map(|task| notice(task, StageState::Failed));
        let many = describe(&many);
        assert_eq!(many.title, "4 tasks ended, 4 failed");
        assert_eq!(many.body, "a failed, b failed, c failed, …");
    }
}
