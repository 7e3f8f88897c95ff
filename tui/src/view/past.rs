//! Says in the first line that the view is frozen: which time is shown, and how many changes are not.

use super::text;
use crate::{
    actions::{Action, format_first_key},
    figures,
    model::{Model, Page},
};

/// Columns of the line without which a lost connection is all that it says.
const LEAST_COLUMNS: u16 = 60;

/// Makes the longest line that fits; `None` where the present is shown.
pub fn describe_frozen(model: &Model, columns: u16) -> Option<String> {
    let position = model.store.past_position()?;
    let time = |time| figures::format_time(time, model.now, &model.tz);
    match model.page {
        Page::Tasks => {}
        Page::Timeline => return Some(format!(" ◆ frozen: you see {}", time(position.at))),
        _ => return None,
    }
    let (at, since, arrived) = (time(position.at), time(position.since), position.arrived);
    let [freeze, back, forward] = [Action::Freeze, Action::StepBack, Action::StepForward]
        .map(|action| format_first_key(action, Page::Tasks, &model.bindings));
    let place = match position.back {
        0 => format!("{} kept", figures::count_noun(position.kept, "earlier change")),
        steps => format!("{} back, {} kept", figures::count_noun(steps, "change"), position.kept),
    };
    let whole = format!("◆ frozen: you see {at} · {place} · +{arrived} since {since} · {back} {forward} step");
    let lines = [
        format!(" onceover  {whole} · {freeze} shows the present"),
        format!(" {whole} · {freeze} ends"),
        format!(" ◆ frozen: you see {at} · +{arrived} since {since} · {freeze} ends"),
        format!(" ◆ frozen {at} · +{arrived} since {since}"),
        format!(" ◆ {at} +{arrived}"),
    ];
    let fits = lines.iter().position(|line| text::width(line) <= columns);
    let [.., least] = &lines;
    Some(fits.map_or_else(|| least.clone(), |index| lines[index].clone()))
}

/// Says beside a lost connection which time is shown; empty where the present is, or where there is no room.
pub fn describe_frozen_beside(model: &Model, columns: u16) -> String {
    let position = model.store.past_position().filter(|_| columns >= LEAST_COLUMNS);
    position.map_or(String::new(), |position| {
        let at = figures::format_time(position.at, model.now, &model.tz);
        format!(" · frozen at {at} ")
    })
}
