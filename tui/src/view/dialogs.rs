//! Dialogs over the screen: the help, which is made from the registry, the menu of ways to run again, and the question
//! before an action.

use onceover_wire::ReuseMode;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    callbacks, copy_menu,
    frame::{centre_area, find_inside, open_box},
    palette, rerun, review, sort,
    text::{put, width, wrap},
    video_dialogs,
};
use crate::{
    actions::{Group, format_keys, list_offered},
    figures,
    model::{
        Model,
        dialog::{Confirm, Dialog, Question, Target},
    },
};

/// Rows for targets, with the line that says how many there are, that make it worth to scroll them alone.
const LEAST_TARGET_ROWS: usize = 3;

/// Draws the dialog. Returns where the terminal's cursor belongs; `None` if it is hidden.
pub fn draw(model: &Model, dialog: &Dialog, buffer: &mut Buffer) -> Option<Position> {
    match dialog {
        Dialog::Help { scroll } => {
            draw_help(model, *scroll, buffer);
            None
        }
        Dialog::Rerun(menu) => {
            rerun::draw(model, menu, buffer);
            None
        }
        Dialog::Sort(menu) => {
            sort::draw(model, menu, buffer);
            None
        }
        Dialog::Copy(menu) => {
            copy_menu::draw(model, menu, buffer);
            None
        }
        Dialog::Palette(commands) => palette::draw(model, commands, buffer),
        Dialog::Review(changes) => {
            review::draw(model, changes, buffer);
            None
        }
        Dialog::Confirm(confirm) => draw_question(model, confirm, buffer),
    }
}

/// A line of the help: keys, what they do or a title, and its style.
type HelpLine = (String, String, Style);

/// Returns the columns of the help's box, and of the keys in it.
fn find_help_columns(screen_columns: u16) -> (u16, u16) {
    let columns = screen_columns.min(92);
    (columns, 18.min(columns.saturating_sub(4) / 3))
}

/// Lists the keys of the page by group, and the legend of the glyphs.
fn list_help_lines(model: &Model, screen_columns: u16) -> Vec<HelpLine> {
    let theme = model.theme;
    let (columns, keys_room) = find_help_columns(screen_columns);
    let room = columns.saturating_sub(4);
    let mut lines: Vec<HelpLine> = Vec::new();
    for group in Group::ALL {
        if list_offered(model).all(|spec| spec.group != group) {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Default::default());
        }
        lines.push((String::new(), group.title().to_owned(), theme.strong()));
        for spec in list_offered(model).filter(|spec| spec.group == group) {
            for (index, line) in wrap(spec.help, room.saturating_sub(keys_room)).into_iter().enumerate() {
                let keys = if index == 0 {
                    format_keys(spec, model.page, &model.bindings)
                } else {
                    String::new()
                };
                lines.push((keys, line, theme.plain()));
            }
        }
    }
    let legend = "● running  ◌ pending  ✔ done  ✖ failed  ⊘ cancelled  … waits for a step  ↷ skipped  ↺ n answered by reuse  #n attempt  ⚑ watched  →✔ callback sent  →◌ to be sent  →✖ given up";
    lines.push(Default::default());
    lines.extend(
        wrap(legend, room)
            .into_iter()
            .map(|line| (String::new(), line, theme.faint())),
    );
    lines
}

/// Counts the lines of the help that can be scrolled to.
pub fn count_hidden_help_lines(model: &Model) -> usize {
    let (columns, rows) = model.size;
    let lines = list_help_lines(model, columns).len();
    lines.saturating_sub(usize::from(rows.saturating_sub(2)))
}

/// Draws the help.
fn draw_help(model: &Model, scroll: usize, buffer: &mut Buffer) {
    let theme = model.theme;
    let (columns, keys_room) = find_help_columns(buffer.area.width);
    let lines = list_help_lines(model, buffer.area.width);
    let rows = (lines.len() as u16 + 2).min(buffer.area.height);
    let title = "Help · ↑ ↓ scroll, any other key closes";
    let inside = open_box(model, buffer, title, columns, rows);
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(inside.height)));
    for (index, (keys, line, style)) in lines.iter().skip(scroll).take(usize::from(inside.height)).enumerate() {
        let y = inside.y + index as u16;
        let indent = if keys.is_empty() && (*style == theme.strong() || *style == theme.faint()) {
            0
        } else {
            keys_room
        };
        put(buffer, inside.x, y, keys_room.saturating_sub(1), keys, theme.key());
        put(
            buffer,
            inside.x + indent,
            y,
            inside.width.saturating_sub(indent),
            line,
            *style,
        );
    }
}

/// A line about a target: its name, the columns that the name takes, and what there is to say of it.
type TargetLine = (String, u16, String);

/// A line of a question, wrapped to the columns of its box.
#[derive(Clone)]
enum BodyLine {
    Target(TargetLine),
    Choice(String),
    Text(String),
    /// What of the question is on the screen.
    Window(String),
}

/// A question, divided for its box: a part that scrolls where it does not fit, and a part that is always seen.
struct QuestionText {
    scrolled: Vec<BodyLine>,
    /// Lines of the scrolled part that are on the screen.
    window: usize,
    fixed: Vec<BodyLine>,
    /// Rows of everything within the frame.
    rows: usize,
}

impl QuestionText {
    /// Divides a question for a screen: the targets alone scroll where enough of them are seen beside the
    /// consequences, else both do.
    fn new(model: &Model, confirm: &Confirm, screen: (u16, u16)) -> Self {
        let room = find_question_columns(screen.0).saturating_sub(4);
        let consequences = list_consequences(model, confirm);
        let consequences = confirm.since.iter().chain(&consequences);
        let consequences = consequences.flat_map(|line| wrap(line, room));
        let consequences: Vec<_> = consequences.map(BodyLine::Text).collect();
        let choice = confirm.choice.as_ref().map(video_dialogs::describe_choice);
        let choice = choice.map_or(Vec::new(), |choice| wrap(&choice, room));
        let choice: Vec<_> = choice.into_iter().map(BodyLine::Choice).collect();
        let targets = list_targets(model, confirm, room).into_iter().map(BodyLine::Target);
        let targets: Vec<_> = targets.collect();
        let gap = || vec![BodyLine::Text(String::new())];
        let inside = usize::from(screen.1.saturating_sub(2));
        // The buttons, and before them the count that is typed.
        let below = 1 + usize::from(confirm.needs_count()) * 2;
        let beside = inside.saturating_sub(below + choice.len() + consequences.len() + 2);
        let keeps_consequences = targets.len() <= beside || beside >= LEAST_TARGET_ROWS;
        let (scrolled, fixed) = if keeps_consequences {
            (targets, [choice, gap(), consequences].concat())
        } else {
            ([targets, gap(), consequences].concat(), choice)
        };
        let below = below + usize::from(keeps_consequences);
        let space = inside.saturating_sub(below + fixed.len());
        let (window, hint) = if scrolled.len() <= space {
            (scrolled.len(), 0)
        } else {
            (space.saturating_sub(1), 1)
        };
        Self {
            rows: window + hint + fixed.len() + below,
            scrolled,
            window,
            fixed,
        }
    }

    /// Counts the lines that are not on the screen.
    fn count_hidden(&self) -> usize {
        self.scrolled.len() - self.window
    }

    /// Says what is on the screen of what scrolls, where that is not everything.
    fn describe_window(&self, confirm: &Confirm, scroll: usize) -> Option<BodyLine> {
        if self.count_hidden() == 0 {
            return None;
        }
        let is_target = |line: &BodyLine| matches!(line, BodyLine::Target(_));
        let one_each = self.scrolled.len() == confirm.targets.len() && self.scrolled.iter().all(is_target);
        let noun = if one_each { "targets" } else { "lines" };
        let keys = if confirm.choice.is_some() {
            "pgdn pgup"
        } else {
            "↓ ↑"
        };
        let (first, last, all) = (scroll + 1, scroll + self.window, self.scrolled.len());
        Some(BodyLine::Window(format!("{noun} {first} to {last} of {all} · {keys}")))
    }
}

/// Returns the columns of a question's box.
fn find_question_columns(screen_columns: u16) -> u16 {
    screen_columns.min(76)
}

/// Counts the lines of a question that can be scrolled to.
pub fn count_hidden_lines(model: &Model, confirm: &Confirm) -> usize {
    QuestionText::new(model, confirm, model.size).count_hidden()
}

/// Draws the question. Returns where the count is typed, if it is asked for.
fn draw_question(model: &Model, confirm: &Confirm, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let columns = find_question_columns(buffer.area.width);
    let text = QuestionText::new(model, confirm, (buffer.area.width, buffer.area.height));
    let rows = text.rows as u16 + 2;
    let inside = open_box(model, buffer, &describe_question(confirm), columns, rows);
    // The buttons must be seen, however small the screen.
    let buttons_y = inside.bottom().saturating_sub(1);
    let scroll = confirm.scroll.min(text.count_hidden());
    let window = text.describe_window(confirm, scroll);
    let shown = text.scrolled.iter().skip(scroll).take(text.window);
    let mut y = inside.y;
    for line in shown.chain(&window).chain(&text.fixed) {
        if y < buttons_y {
            draw_body_line(model, line, inside, y, buffer);
        }
        y += 1;
    }
    let mut cursor = None;
    if confirm.needs_count() {
        y += 1;
        if y < buttons_y {
            let ask = format!("Type {} to go on: {}", confirm.targets.len(), confirm.typed);
            let used = put(buffer, inside.x, y, inside.width, &ask, theme.warn());
            let x = (inside.x + used).min(buffer.area.right() - 1);
            cursor = Some(Position { x, y });
        }
    }
    if buttons_y >= inside.y && inside.height > 0 {
        draw_buttons(model, confirm, inside, buttons_y, buffer);
    }
    cursor
}

/// Draws a line of a question.
fn draw_body_line(model: &Model, line: &BodyLine, inside: Rect, y: u16, buffer: &mut Buffer) {
    let theme = model.theme;
    let (text, style) = match line {
        BodyLine::Target(target) => return draw_target(model, target, inside, y, buffer),
        BodyLine::Choice(text) => (text, theme.key()),
        BodyLine::Text(text) => (text, theme.plain()),
        BodyLine::Window(text) => (text, theme.warn()),
    };
    put(buffer, inside.x, y, inside.width, text, style);
}

/// Draws a line about a target.
fn draw_target(model: &Model, line: &TargetLine, inside: Rect, y: u16, buffer: &mut Buffer) {
    let theme = model.theme;
    let (name, name_room, about) = line;
    let gap = u16::from(!about.is_empty());
    put(buffer, inside.x, y, name_room.saturating_sub(gap), name, theme.strong());
    let x = inside.x + name_room;
    let room = inside.width.saturating_sub(*name_room);
    put(buffer, x, y, room, about, theme.plain());
}

/// A button: its column, its text, and whether it is the one that acts.
struct Button {
    x: u16,
    text: String,
    acts: bool,
}

/// Puts the two buttons into the middle of the last line.
fn place_buttons(confirm: &Confirm, inside: Rect) -> [Button; 2] {
    let button = |text: &str, has_focus: bool| {
        if has_focus {
            format!("[ {text} ]")
        } else {
            format!("  {text}  ")
        }
    };
    let leave = button(confirm.leave(), !confirm.go);
    let verb = button(confirm.verb(), confirm.go);
    let total = width(&leave) + 3 + width(&verb);
    let x = inside.x + inside.width.saturating_sub(total) / 2;
    let next = x + width(&leave).min(inside.width) + 3;
    [
        Button {
            x,
            text: leave,
            acts: false,
        },
        Button {
            x: next,
            text: verb,
            acts: true,
        },
    ]
}

/// Draws the two buttons.
fn draw_buttons(model: &Model, confirm: &Confirm, inside: Rect, y: u16, buffer: &mut Buffer) {
    let theme = model.theme;
    for button in place_buttons(confirm, inside) {
        let has_focus = button.acts == confirm.go;
        let style = if has_focus { theme.cursor() } else { theme.plain() };
        let room = inside.right().saturating_sub(button.x);
        put(buffer, button.x, y, room, &button.text, style);
    }
}

/// Finds the button that is drawn in a cell. Returns whether it is the one that acts.
pub fn find_button(model: &Model, confirm: &Confirm, at: Position) -> Option<bool> {
    let text = QuestionText::new(model, confirm, model.size);
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    let rows = text.rows as u16 + 2;
    let inside = find_inside(centre_area(screen, find_question_columns(screen.width), rows));
    if inside.is_empty() || at.y != inside.bottom() - 1 {
        return None;
    }
    let buttons = place_buttons(confirm, inside);
    let mut found = buttons
        .iter()
        .filter(|button| (button.x..button.x + width(&button.text)).contains(&at.x));
    found.next().map(|button| button.acts)
}

/// Lists what is acted on.
fn list_targets(model: &Model, confirm: &Confirm, room: u16) -> Vec<TargetLine> {
    let names = confirm.targets.iter().map(|target| width(&target.row.to_string()));
    let name_room = (names.max().unwrap_or(0) + 2).min(room / 2);
    let mut lines = Vec::new();
    for target in &confirm.targets {
        match (&target.delivery, &target.video) {
            (None, Some(video)) => {
                lines.push((video.id.to_string(), room, String::new()));
                let about = video_dialogs::describe_target(confirm.question, target);
                let about = about.iter().flat_map(|line| wrap(line, room.saturating_sub(2)));
                lines.extend(about.map(|line| (String::new(), 2, line)));
            }
            (None, None) => {
                lines.push((
                    target.row.to_string(),
                    name_room,
                    describe_loss(confirm.question, target),
                ));
            }
            // The URL is shown whole, however long it is.
            (Some(delivery), _) => {
                lines.extend(
                    wrap(&delivery.url, room)
                        .into_iter()
                        .map(|line| (line, room, String::new())),
                );
                let about = [
                    format!("{}: {} ({})", target.row, delivery.status, delivery.id),
                    callbacks::describe_progress(model, delivery),
                ];
                let about = about.iter().flat_map(|line| wrap(line, room.saturating_sub(2)));
                lines.extend(about.map(|line| (String::new(), 2, line)));
            }
        }
    }
    lines
}

/// Says what is asked.
fn describe_question(confirm: &Confirm) -> String {
    let count = confirm.targets.len();
    match confirm.question {
        Question::Delete => format!("Delete {}?", figures::count_noun(count, "task")),
        Question::Cancel => {
            let runs: usize = confirm
                .targets
                .iter()
                .map(|target| target.pending + target.running)
                .sum();
            match runs {
                0 => format!("Cancel {}?", figures::count_noun(count, "pipeline")),
                runs => format!("Cancel {}?", figures::count_noun(runs, "stage")),
            }
        }
        Question::Resubmit(ReuseMode::Never) => {
            format!("Force {} to run again?", figures::count_noun(count, "stage"))
        }
        Question::Resubmit(_) => format!("Resubmit {}?", figures::count_noun(count, "stage")),
        Question::Redeliver => format!("Send {} again?", figures::count_noun(count, "callback")),
        question => video_dialogs::describe_question(question, count),
    }
}

/// Says what a target loses.
fn describe_loss(question: Question, target: &Target) -> String {
    let flight = match (target.running, target.pending) {
        (0, 0) => String::new(),
        (running, 0) => format!(" · {running} running, will be ended"),
        (0, pending) => format!(" · {pending} pending, will be cancelled"),
        (running, pending) => format!(" · {running} running, {pending} pending, will be ended"),
    };
    match question {
        Question::Resubmit(_) => flight
            .trim_start_matches(" · ")
            .replace(", will be ended", "")
            .replace(", will be cancelled", ""),
        Question::Cancel => flight.trim_start_matches(" · ").to_owned(),
        Question::Delete => format!("{}{flight}", figures::count_noun(target.stages, "stage")),
        _ => String::new(),
    }
}

/// Whether a pipeline is under way in the task of a target.
fn has_pipeline_under_way(model: &Model, confirm: &Confirm) -> bool {
    let mut tasks = confirm
        .targets
        .iter()
        .filter_map(|target| model.store.get(&target.row.task));
    tasks.any(|task| task.under_way().is_some())
}

/// Lists what the action does.
fn list_consequences(model: &Model, confirm: &Confirm) -> Vec<String> {
    match confirm.question {
        Question::Delete => {
            let folder = match (&model.system, confirm.targets.as_slice()) {
                (Some(system), [only]) => format!("{}/{}", system.share.trim_end_matches('/'), only.row.task),
                (Some(system), _) => format!("{}/<task>", system.share.trim_end_matches('/')),
                (None, _) => "the task folder".into(),
            };
            let mut lines = vec![
                format!("Removed for good: the Redis records of every stage, and all files and logs below {folder}."),
                "Inputs outside the task folder stay.".to_owned(),
            ];
            if confirm.targets.iter().any(|target| target.running > 0) {
                lines.push("Running processes are ended first.".into());
            }
            if has_pipeline_under_way(model, confirm) {
                lines.push("A pipeline that is under way ends; the video stays registered.".into());
            }
            lines
        }
        Question::Cancel => {
            let mut lines = vec![
                "The processes are ended and what they wrote so far is not used. Finished stages, and a former result that stands, stay.".into(),
            ];
            if has_pipeline_under_way(model, confirm) {
                lines.push("The pipeline ends with it: steps that have not begun do not begin.".into());
            }
            lines
        }
        Question::Resubmit(ReuseMode::Never) => vec![
            "Each runs again whatever is stored; its former result stands until the new one succeeds.".into(),
        ],
        Question::Resubmit(_) => vec![
            "Each is submitted again with its stored request: a finished result is reused, a run in flight is joined, the rest runs.".into(),
        ],
        Question::Start { .. } | Question::Reprocess | Question::DeleteVideo => {
            video_dialogs::list_consequences(model, confirm)
        }
        Question::Redeliver => vec![
            "The daemon posts the same body with the same webhook-id, its tries counted from the first. A receiver that got it before gets it twice.".into(),
        ],
    }
}
