//! The log of the stage in the detail: what of it is read and when, where it is scrolled to, what is searched in it.

use bytes::Bytes;
use crossterm::event::KeyCode;
use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::{LogPage, client::LogQuery};

use super::{
    line,
    messages::{Call, CallAnswer, Effect},
};
use crate::{
    actions::{Action, format_hint},
    key::Key,
    model::{
        Model, Page, Tone,
        detail::Tab,
        log::{LogPlace, LogState, PAGE_LINES},
        log_view::{LogInput, LogMatches, LogQuestion},
    },
    view::log_pane::{LogShape, choose_shown},
};

/// Lines that are read at once on the way to a line that is far above, and of those that a search finds.
const LARGE_PAGE: u64 = 5_000;
/// With so many lines left above the screen, those above them are read.
const NEAR: u64 = 200;
/// Lines that are shown above a line that was found.
const CONTEXT: u64 = 3;
/// Columns of one step sideways.
const SIDEWAYS: u16 = 8;
/// Scrolling by more rows goes to the first or the last one.
const FAR: usize = 1_000_000;

/// Begins to read the log of a stage in this state.
pub fn fetch(model: &mut Model, state: StageState, effects: &mut Vec<Effect>) {
    let Some((task, node)) = stage_of(model) else {
        return;
    };
    match state {
        StageState::Pending => {}
        StageState::Running => {
            let id = model.new_id();
            model.detail.log.clear();
            if model.task_log.is_none() {
                model.log_view.turn_to_another();
            }
            model.detail.log.state = LogState::Following;
            model.detail.log_request = Some(id);
            effects.push(Effect::FollowLog { id, task, node });
        }
        _ => {
            if model.detail.log.is_empty() {
                model.detail.log.state = LogState::Loading;
            }
            effects.push(Effect::StopLog);
            let query = LogQuery {
                lines: PAGE_LINES,
                ..LogQuery::default()
            };
            model.detail.log_request = Some(ask(model, query, effects));
        }
    }
}

fn stage_of(model: &Model) -> Option<(TaskId, NodeName)> {
    let (task, node) = model.detail.stage.as_ref()?;
    Some(((**task).clone(), (**node).clone()))
}

/// Asks for lines of the log. Returns the request.
fn ask(model: &mut Model, query: LogQuery, effects: &mut Vec<Effect>) -> u64 {
    let id = model.new_id();
    if let Some((task, node)) = stage_of(model) {
        let call = Call::Log { task, node, query };
        effects.push(Effect::Call { id, call });
    }
    id
}

/// Asks for what the screen needs of the log and is not there: lines above, and those that a search finds.
pub fn ask_missing(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.task_log.is_some() {
        return;
    }
    if !model.is_live() || model.detail.stage.is_none() || model.detail.log.state != LogState::Ended {
        return;
    }
    ask_above(model, effects);
    for question in [LogQuestion::Search, LogQuestion::Filter] {
        ask_matches(model, question, effects);
    }
}

fn ask_above(model: &mut Model, effects: &mut Vec<Effect>) {
    let is_shown = model.page == Page::Log || model.page == Page::Tasks && model.detail.tab == Tab::Log;
    let busy = model.log_view.above_request.is_some() || model.detail.log_request.is_some();
    let Some(top) = model.log_view.top.filter(|_| is_shown && !busy) else {
        return;
    };
    let first = model.detail.log.first_number();
    if model.log_view.filter.is_some() || top.number >= first.saturating_add(NEAR) {
        return;
    }
    let is_far = top.number.saturating_add(PAGE_LINES) < first;
    let most = if is_far { LARGE_PAGE } else { PAGE_LINES };
    if let Some((from, lines)) = model.detail.log.lines_above(most) {
        let query = LogQuery {
            from: Some(from),
            lines,
            search: None,
        };
        model.log_view.above_request = Some(ask(model, query, effects));
    }
}

fn matches_of(model: &mut Model, question: LogQuestion) -> &mut Option<LogMatches> {
    match question {
        LogQuestion::Search => &mut model.log_view.search,
        LogQuestion::Filter => &mut model.log_view.filter,
    }
}

fn ask_matches(model: &mut Model, question: LogQuestion, effects: &mut Vec<Effect>) {
    let Some(matches) = matches_of(model, question) else {
        return;
    };
    if matches.request.is_some() || matches.is_complete || matches.failed.is_some() {
        return;
    }
    let query = LogQuery {
        from: Some(matches.last_number() + 1),
        lines: LARGE_PAGE,
        search: Some(matches.text.clone()),
    };
    let id = ask(model, query, effects);
    if let Some(matches) = matches_of(model, question) {
        matches.request = Some(id);
    }
}

/// Takes lines of the log that were asked for.
pub fn take_page(model: &mut Model, id: u64, answer: CallAnswer<LogPage>) {
    if model.detail.log_request == Some(id) {
        model.detail.log_request = None;
        take_end_page(model, answer);
    } else if model.log_view.above_request == Some(id) {
        model.log_view.above_request = None;
        match answer {
            Ok(page) => model.detail.log.take_above(page),
            Err(refusal) => {
                model.detail.log.note_unreadable();
                model.say(Tone::Bad, format!("the lines above cannot be read: {}", refusal.text));
            }
        }
    } else {
        for question in [LogQuestion::Search, LogQuestion::Filter] {
            if let Some(matches) = matches_of(model, question).as_mut().filter(|it| it.request == Some(id)) {
                matches.request = None;
                take_matches(matches, answer);
                break;
            }
        }
        if model.log_view.search.is_some() && model.log_view.at_match.is_none() {
            go_to_nearest(model);
        }
    }
}

/// Takes the end of a log that has ended.
fn take_end_page(model: &mut Model, answer: CallAnswer<LogPage>) {
    let log = &mut model.detail.log;
    match answer {
        // It was followed to its end: all of it is here.
        Ok(page) if !log.is_empty() && log.total == page.total => log.state = LogState::Ended,
        Ok(page) => log.take_end(page),
        Err(refusal) => log.state = LogState::Failed(refusal.text),
    }
}

/// Takes lines that have the text.
fn take_matches(matches: &mut LogMatches, answer: CallAnswer<LogPage>) {
    match answer {
        Ok(mut page) => {
            matches.found = page.found.unwrap_or_default();
            // They are not next to each other anyway.
            page.left_out = None;
            let is_last = page.lines.is_empty();
            matches.lines.take_below(page);
            matches.is_complete = is_last || matches.lines.loaded() >= matches.found;
        }
        Err(refusal) => matches.failed = Some(refusal.text),
    }
}

/// Takes the next piece of the log that is followed.
pub fn take_chunk(model: &mut Model, id: u64, bytes: &Bytes) {
    if model.detail.log_request != Some(id) {
        return;
    }
    let ended = model.detail.log.push(bytes);
    if model.task_log.is_some() {
        return;
    }
    for matches in model.log_view.matches_mut() {
        for entry in &ended {
            matches.offer(entry);
        }
    }
    model.redraw = true;
}

/// Takes the end of the log that is followed.
pub fn take_end(model: &mut Model, id: u64, error: Option<String>) {
    if model.detail.log_request == Some(id) {
        model.detail.log_request = None;
        model.detail.log.state = error.map_or(LogState::Ended, LogState::Failed);
        model.redraw = true;
    }
}

/// Scrolls the log by rows.
pub fn scroll(model: &mut Model, by: isize) {
    let is_far = by.unsigned_abs() >= FAR;
    model.log_view.top = match by {
        // The lines above are read until the first one is there.
        ..0 if is_far => Some(LogPlace {
            number: 1,
            piece: 0,
            row: 0,
        }),
        _ if is_far => None,
        _ => LogShape::measure(model).scroll(choose_shown(model), model.log_view.top, by),
    };
}

/// Counts the rows of the log on its page.
pub fn count_rows(model: &Model) -> usize {
    LogShape::measure(model).rows
}

/// Scrolls the log sideways, where its lines are not wrapped.
pub fn scroll_sideways(model: &mut Model, right: bool) {
    if model.log_view.wrap {
        let write = |key: &str| format!(": {key} ends that");
        let hint = format_hint(Action::Wrap, model.page, &model.bindings, write);
        model.say(Tone::Neutral, format!("lines are wrapped{hint}"));
        return;
    }
    let column = model.log_view.column;
    model.log_view.column = match right {
        true => column.saturating_add(SIDEWAYS),
        false => column.saturating_sub(SIDEWAYS),
    };
}

/// Wraps the lines, or shows each in one row.
pub fn toggle_wrap(model: &mut Model) {
    model.log_view.wrap = !model.log_view.wrap;
    model.log_view.column = 0;
}

/// Shows the times of lines in the next way.
pub fn turn_times(model: &mut Model) {
    model.log_view.times = model.log_view.times.next();
    let text = format!("times: {}", model.log_view.times.as_str());
    model.say(Tone::Neutral, text);
}

/// Opens the page of the log.
pub fn open_page(model: &mut Model) {
    if model.tree.cursor.as_ref().is_none_or(|row| row.node.is_none()) {
        model.say(Tone::Neutral, "a log belongs to a stage: go to one first");
        return;
    }
    // The cursor must not go to a task that begins now.
    model.tree.touched = true;
    model.page = Page::Log;
}

/// Opens the page of the log, and the line in which a search is typed.
pub fn open_search(model: &mut Model) {
    open_page(model);
    ask_text(model, LogQuestion::Search);
}

/// Begins to type what is searched, or what the log is filtered by.
pub fn ask_text(model: &mut Model, question: LogQuestion) {
    if model.page != Page::Log {
        return;
    }
    let text = matches_of(model, question).as_ref().map(|matches| matches.text.clone());
    model.log_view.input = Some(LogInput {
        question,
        input: tui_input::Input::new(text.unwrap_or_default()),
    });
}

/// Takes a key while a text is typed.
pub fn type_text(model: &mut Model, key: Key) {
    match key.code {
        KeyCode::Esc => model.log_view.input = None,
        KeyCode::Enter => {
            if let Some(LogInput { question, input }) = model.log_view.input.take() {
                begin(model, question, input.value().trim());
            }
        }
        _ => {
            if let (Some(request), Some(typed)) = (line::find_edit(key), &mut model.log_view.input) {
                typed.input.handle(request);
            }
        }
    }
}

/// Types a pasted text.
pub fn paste(model: &mut Model, text: &str) {
    if let Some(typed) = &mut model.log_view.input {
        for c in line::list_pasted(text) {
            typed.input.handle(tui_input::InputRequest::InsertChar(c));
        }
    }
}

/// Begins a search or a filter; an empty text ends it.
fn begin(model: &mut Model, question: LogQuestion, text: &str) {
    let mut matches = (!text.is_empty()).then(|| LogMatches::new(text.to_owned()));
    if let (Some(matches), Some(log)) = (&mut matches, &model.task_log) {
        // What is not here of the logs of a task is read, and offered as it comes.
        for entry in log.lines.entries() {
            matches.offer(entry);
        }
        matches.is_complete = log.is_whole();
    } else if let Some(matches) = matches.as_mut().filter(|_| model.detail.log.state != LogState::Ended) {
        // A log that is followed is here from its first line on; of another one the daemon has all lines.
        for entry in model.detail.log.entries() {
            matches.offer(entry);
        }
        matches.is_complete = true;
    }
    *matches_of(model, question) = matches;
    match question {
        LogQuestion::Search => {
            model.log_view.at_match = None;
            go_to_nearest(model);
        }
        LogQuestion::Filter => model.log_view.top = None,
    }
}

/// Returns the numbers of the lines that the search has found.
fn list_found(model: &Model) -> Vec<u64> {
    let found = model.log_view.search.iter().flat_map(|search| search.lines.entries());
    let mut numbers: Vec<_> = found.map(|entry| entry.number).collect();
    numbers.dedup();
    numbers
}

/// Goes to the line that was found nearest: the first one from the top of the screen on, at the end the last one.
pub fn go_to_nearest(model: &mut Model) {
    let numbers = list_found(model);
    let from = model.log_view.top.map(|top| top.number);
    let next = numbers.iter().find(|number| from.is_some_and(|from| **number >= from));
    let is_complete = model.log_view.search.as_ref().is_some_and(|search| search.is_complete);
    // While lines are still being found, a later one may be the last.
    let last = numbers.last().filter(|_| is_complete);
    if let Some(number) = next.or(last) {
        show_match(model, *number);
    }
}

/// Goes to the next line that was found, or to the one before; after the last one, to the first.
pub fn go_to_match(model: &mut Model, forward: bool) {
    let numbers = list_found(model);
    let Some(at) = model.log_view.at_match else {
        go_to_nearest(model);
        return;
    };
    let found = match forward {
        true => numbers.iter().find(|number| **number > at).or(numbers.first()),
        false => numbers.iter().rev().find(|number| **number < at).or(numbers.last()),
    };
    if let Some(number) = found {
        show_match(model, *number);
    }
}

/// Shows a line that was found, with some lines above it.
fn show_match(model: &mut Model, number: u64) {
    model.log_view.at_match = Some(number);
    let place = |number| LogPlace {
        number,
        piece: 0,
        row: 0,
    };
    model.log_view.top = Some(match model.shown_task_log() {
        Some(log) => log.place_above(place(number), CONTEXT as usize),
        None => place(number.saturating_sub(CONTEXT).max(1)),
    });
}

/// Takes one step back on the page: from the filter, from the search, from the page.
pub fn go_back(model: &mut Model) {
    let view = &mut model.log_view;
    if view.filter.take().is_some() {
        view.top = None;
    } else if view.search.take().is_some() {
        view.at_match = None;
    } else {
        model.page = Page::Tasks;
    }
}
