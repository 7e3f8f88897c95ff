//! Draws the submit form: a line for each field, refusals below their fields, and the description of the focused field.

use onceover_catalog::ParameterSpec;
use onceover_types::StageState;
use onceover_wire::{ReuseDecision, ReuseMode};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    block::{self, Block, Lines},
    card,
    frame::{draw_frame, inset},
    line,
    reuse::sign_decision,
    text::{put, put_right, width, within, wrap},
};
use crate::{
    actions::{Action, format_first_key},
    figures, layout,
    model::{
        Model, Page,
        difference::InputDifference,
        form::{Field, Form, FormPurpose, FormerRequest, What, format_value},
    },
    theme::Theme,
};

/// Lines above the fields, and lines of a field's description, at most.
const MOST_ABOVE: usize = 6;
const MOST_ABOUT: usize = 8;
/// Lines of a field's error, at most.
const MOST_ERROR_LINES: usize = 3;

/// Draws the page. Returns where the text cursor is.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let form = model.form.as_ref()?;
    let theme = model.theme;
    let panes = layout::lay_out_panes((buffer.area.width, buffer.area.height), true);
    let title = describe_title(form);
    let mut area = panes.detail;
    if panes.is_framed() {
        draw_frame(buffer, area, &title, theme.faint(), theme.strong());
        area = panes.inner(area);
    } else if area.height > 0 {
        put(buffer, area.x, area.y, area.width, &format!(" {title}"), theme.strong());
        area.y += 1;
        area.height -= 1;
    }
    let text = inset(area);
    let mut above = list_above(model, form, text.width);
    // The fields have half of a small page at least.
    above.truncate(MOST_ABOVE.min(usize::from(area.height) / 4));
    block::draw(&above, 0, text, buffer);
    let about = list_description(model, form, text.width);
    let about_rows = about.len().min(MOST_ABOUT).min(usize::from(area.height) / 3) as u16;
    let above_rows = above.len() as u16;
    let errors = form.fields.iter().filter(|field| field.error.is_some()).count() * MOST_ERROR_LINES;
    let wanted = (form.fields.len() + errors) as u16;
    let fields = Rect {
        y: area.y + above_rows,
        height: area.height.saturating_sub(above_rows + about_rows + 1).min(wanted),
        ..area
    };
    let rule_y = fields.bottom();
    if rule_y < area.bottom() {
        let rule = "─".repeat(usize::from(area.width));
        put(buffer, area.x, rule_y, area.width, &rule, theme.faint());
        let position = format!(" {}/{} ", form.focus + 1, form.fields.len());
        let right = area.right().saturating_sub(2);
        put_right(
            buffer,
            right,
            rule_y,
            area.width.saturating_sub(4),
            &position,
            theme.faint(),
        );
        let below = Rect {
            y: rule_y + 1,
            height: area.bottom() - rule_y - 1,
            ..text
        };
        block::draw(&about, 0, below, buffer);
    }
    draw_fields(model, form, fields, buffer)
}

/// Says what the form is for.
fn describe_title(form: &Form) -> String {
    let node = &form.node;
    match (form.purpose, &form.row.task) {
        (FormPurpose::Submit, _) => format!("Submit {} · {}", node.name, node.title),
        (FormPurpose::Edit, Some(task)) => format!("Rerun {task} › {} with changes", node.name),
        (FormPurpose::Edit, None) => {
            let stages = figures::count_noun(form.targets.len(), "stage");
            format!("Rerun {stages} of {} with changes", node.name)
        }
    }
}

/// Says what the daemon would do with the request that is typed. `None` where it was not asked.
pub fn describe_outlook(form: &Form, differences: &[InputDifference], theme: Theme) -> Option<(String, Style)> {
    let forecast = &form.forecast;
    if forecast.request.is_some() || forecast.answer.is_some() && form.find_question().is_some() {
        return Some(("now: …".to_owned(), theme.faint()));
    }
    let explanation = match forecast.answer.as_ref()? {
        Ok(explanation) => explanation,
        Err(why) => return Some((format!("now: ✖ {why}"), theme.bad())),
    };
    let differs = !differences.is_empty();
    let (sign, style) = sign_decision(theme, explanation.decision);
    Some(match (explanation.decision, differs) {
        (ReuseDecision::Run, true) if explanation.reason == "input_changed" => (
            "now: ● would run: the input differs from the stored result's".to_owned(),
            theme.warn(),
        ),
        (ReuseDecision::Hit, true) => {
            let text = "now: ↺ the stored result would be reused, though the input differs: strict or never runs it";
            (text.to_owned(), theme.warn())
        }
        (ReuseDecision::Join, true) => {
            let text = "now: … would join the run in flight, though the input differs: never runs it";
            (text.to_owned(), theme.warn())
        }
        _ => (format!("now: {sign} {}", explanation.message), style),
    })
}

/// Lists what is about the whole request: why it was refused, where its values come from, what is missing for the node
/// or what that is for.
fn list_above(model: &Model, form: &Form, columns: u16) -> Lines {
    let theme = model.theme;
    let mut block = Block::new(columns);
    // A small screen shows the first of these lines.
    if let Some(problem) = &form.problem {
        block.say(&format!("✖ {problem}"), theme.bad());
    }
    if let Some(draft) = model.drafts.find(&form.row) {
        let age = figures::format_ago(model.now.seconds_since(draft.left_at));
        let key = format_first_key(Action::RestoreDraft, Page::Form, &model.bindings);
        block.say(&format!("draft of {age}: {key} restores it"), theme.warn());
    }
    for note in &form.notes {
        block.say(&format!("! {note}"), theme.warn());
    }
    match &form.stored {
        FormerRequest::Absent => {}
        FormerRequest::Reading(_) => block.say("… reading the stored request", theme.warn()),
        FormerRequest::Taken => block.say("with the values of the stored request", theme.faint()),
        FormerRequest::Unread(why) => {
            block.say(&format!("✖ the stored request could not be read: {why}"), theme.bad());
        }
    }
    let differences = form.list_differences();
    if let Some((text, style)) = describe_outlook(form, &differences, theme) {
        block.say(&text, style);
    }
    if form.broken.is_some() {
        let key = format_first_key(Action::EditText, Page::Form, &model.bindings);
        block.say(
            &format!("✖ the edited text is not JSON, and kept: {key} opens it again"),
            theme.bad(),
        );
    }
    add_changes(form, &differences, theme, &mut block);
    if form.node.readiness.ready {
        block.say(&form.node.purpose, theme.faint());
    } else {
        card::add_readiness(&mut block, &form.node, theme);
    }
    block.into_lines()
}

/// Adds what differs from the former run: of one stage what, of several in how many.
fn add_changes(form: &Form, differences: &[InputDifference], theme: Theme, block: &mut Block) {
    if form.purpose != FormPurpose::Edit {
        return;
    }
    if form.targets.is_empty() {
        for difference in differences {
            block.say(&difference.describe(), theme.accent());
        }
        return;
    }
    let read = form
        .targets
        .iter()
        .filter(|target| target.stored == FormerRequest::Taken)
        .count();
    let text = format!(
        "what is typed changes in all {}, the rest stays as each has it; {read} stored requests are read",
        form.targets.len()
    );
    block.say(&text, theme.warn());
}

/// One line of the fields: a field, or the error of the one above.
enum Row<'a> {
    Field(usize, &'a Field),
    Error(String),
}

/// Draws the fields around the focused one. Returns where the text cursor is.
fn draw_fields(model: &Model, form: &Form, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let names = form.fields.iter().map(|field| width(&describe_field(form, field)) + 2);
    let label_room = names.max().unwrap_or(0).min(32).min(area.width / 2);
    let mut rows = Vec::new();
    let mut focus_row = 0;
    for (index, field) in form.fields.iter().enumerate() {
        if index == form.focus {
            focus_row = rows.len();
        }
        rows.push(Row::Field(index, field));
        if let Some(error) = &field.error {
            let lines = wrap(error, area.width.saturating_sub(8));
            rows.extend(lines.into_iter().take(MOST_ERROR_LINES).map(Row::Error));
        }
    }
    let height = usize::from(area.height);
    // The focus and its errors stay in view.
    let errors = rows[focus_row + 1..]
        .iter()
        .take_while(|row| matches!(row, Row::Error(_)))
        .count();
    let last = focus_row + errors.min(height.saturating_sub(1));
    let top = (last + 2)
        .saturating_sub(height)
        .min(rows.len().saturating_sub(height))
        .min(focus_row);
    let mut cursor = None;
    for (line, row) in rows.iter().skip(top).take(height).enumerate() {
        let y = area.y + line as u16;
        match row {
            Row::Error(error) => {
                put(
                    buffer,
                    area.x + 4,
                    y,
                    area.width.saturating_sub(4),
                    &format!("✖ {error}"),
                    theme.bad(),
                );
            }
            Row::Field(index, field) => {
                let line = Rect { y, height: 1, ..area };
                let focused = *index == form.focus;
                cursor = draw_field(model, form, field, focused, label_room, line, buffer).or(cursor);
            }
        }
    }
    cursor
}

/// Draws one field. Returns where the text cursor is, if the field has it.
fn draw_field(
    model: &Model,
    form: &Form,
    field: &Field,
    focused: bool,
    label_room: u16,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let theme = model.theme;
    if focused {
        put(buffer, area.x, area.y, area.width.min(1), "▸", theme.key());
    }
    if field.what == What::Send {
        let text = match (form.request.is_some(), form.purpose, focused) {
            (true, _, _) => "… requested",
            (false, FormPurpose::Submit, true) => "[ Submit ]",
            (false, FormPurpose::Submit, false) => "  Submit  ",
            (false, FormPurpose::Edit, true) => "[ Review ]",
            (false, FormPurpose::Edit, false) => "  Review  ",
        };
        let style = if focused { theme.cursor() } else { theme.strong() };
        put(buffer, area.x + 2, area.y, area.width.saturating_sub(2), text, style);
        return None;
    }
    let style = if focused { theme.strong() } else { theme.plain() };
    put(
        buffer,
        area.x + 2,
        area.y,
        label_room.saturating_sub(1),
        &describe_field(form, field),
        style,
    );
    let x = area.x + 2 + label_room;
    let room = area.right().saturating_sub(x + 1);
    let choices = form.choices(field.what);
    if field.input.value().is_empty() {
        let (text, style) = describe_empty(model, form, field);
        let text = match (focused, choices.is_empty()) {
            (true, false) => format!("‹ {text} ›"),
            _ => text,
        };
        put(buffer, x, area.y, room, &text, style);
        return (focused && choices.is_empty() && room > 0).then_some(Position { x, y: area.y });
    }
    if !choices.is_empty() {
        let text = if focused {
            format!("‹ {} ›", field.input.value())
        } else {
            field.input.value().to_owned()
        };
        let used = put(buffer, x, area.y, room, &text, theme.accent());
        if focused {
            let value = Rect { x, width: used, ..area };
            buffer.set_style(within(buffer, value), theme.strong());
        }
        return None;
    }
    let hidden = form.is_secret(field.what).then(|| hide_text(&field.input));
    let input = hidden.as_ref().unwrap_or(&field.input);
    let drawn = line::draw(input, x, area.y, room, theme.accent(), buffer);
    drawn.cursor.filter(|_| focused)
}

/// Returns as many stars as a line has characters.
fn hide_text(input: &tui_input::Input) -> tui_input::Input {
    let stars = "*".repeat(input.value().chars().count());
    tui_input::Input::new(stars).with_cursor(input.cursor())
}

/// Returns the name of a field, marked if it has to be filled in.
fn describe_field(form: &Form, field: &Field) -> String {
    let required = form.parameter(field.what).is_some_and(|parameter| parameter.required);
    format!("{}{}", form.name(field.what), if required { " *" } else { "" })
}

/// Describes what an empty field stands for.
fn describe_empty(model: &Model, form: &Form, field: &Field) -> (String, Style) {
    let theme = model.theme;
    let faint = |text: String| (text, theme.faint());
    let Some(parameter) = form.parameter(field.what) else {
        return faint(match field.what {
            what if form.is_of_each(what) => "each has its own".into(),
            What::Task => "a new one".into(),
            What::Reuse => format!("as the node has it: {}", form.node.reuse.as_str()),
            _ => "no callback".into(),
        });
    };
    if !form.targets.is_empty() {
        return faint("as each has it".into());
    }
    if let Some(source) = find_source(model, form, parameter) {
        return faint(format!("from {source}"));
    }
    match &parameter.default {
        Some(default) if !format_value(default).is_empty() => faint(format!("{} (default)", format_value(default))),
        _ if !parameter.fallbacks.is_empty() && parameter.required => {
            ("needed: no earlier stage gives it".into(), theme.warn())
        }
        _ if parameter.required => ("needed".into(), theme.warn()),
        _ => faint("left out".into()),
    }
}

/// Finds the earlier stage of the task that would give the parameter; whether its output has the field is not known
/// here.
fn find_source(model: &Model, form: &Form, parameter: &ParameterSpec) -> Option<String> {
    let task = form.fields.first().map(|field| field.input.value().trim())?;
    let task = model.store.get(&onceover_types::TaskId::parse(task).ok()?)?;
    let found = parameter.fallbacks.iter().find(|fallback| {
        task.stages
            .get(&fallback.node)
            .is_some_and(|stage| stage.status == StageState::Success)
    })?;
    Some(format!("{} › {}", found.node, found.field))
}

/// Lists what is known of the focused field.
fn list_description(model: &Model, form: &Form, columns: u16) -> Lines {
    let theme = model.theme;
    let mut block = Block::new(columns);
    let what = form.focused().what;
    let plain = theme.plain();
    if form.stored == FormerRequest::Taken && form.focused().is_touched() && what != What::Task {
        let former = match form.focused().start.as_str() {
            "" => "The stored request left it out.".to_owned(),
            former => format!("The stored request has {former}."),
        };
        block.say(&former, theme.warn());
    }
    match what {
        What::Task => {
            block.say("task  1 to 128 of A-Z a-z 0-9 . _ -", theme.strong());
            block.say(
                "The task this stage belongs to. Left out (ctrl-u empties the field): a new one.",
                plain,
            );
        }
        What::Reuse => {
            block.say("reuse  auto, never or strict", theme.strong());
            let meaning = match form.focused().input.value() {
                text if text == ReuseMode::Never.as_str() => "never: it runs, whatever is stored.",
                text if text == ReuseMode::Strict.as_str() => "strict: only a result of the same input is reused.",
                text if text == ReuseMode::Auto.as_str() => "auto: a finished result is reused, also of other input.",
                _ => "Whether a finished result of this task is reused.",
            };
            block.say(meaning, plain);
        }
        What::Callback => {
            block.say("callback  http or https URL", theme.strong());
            block.say("Gets the result by POST when the run has ended.", plain);
        }
        What::Send => block.say(&line::describe_send(model, Page::Form), plain),
        What::Parameter(_) => {
            if let Some(parameter) = form.parameter(what) {
                block.say(
                    &format!("{}  {}", parameter.name, card::describe_kind(parameter)),
                    theme.strong(),
                );
                for line in card::describe_parameter(parameter) {
                    block.say(&line, plain);
                }
            }
        }
    }
    block.into_lines()
}
