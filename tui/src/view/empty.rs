//! The screen before the first snapshot: what is being tried, and what to do.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block::{self, Block},
    text::harmless,
};
use crate::{
    actions::{Action, format_hint},
    layout::Panes,
    model::{Link, MissingPart, Model},
};

/// Columns of the text at most.
const MOST_COLUMNS: u16 = 80;

/// Draws the text into the upper third of the screen.
pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let area = Rect {
        y: panes.header.height,
        height: panes.footer.y.saturating_sub(panes.header.height),
        ..panes.header
    };
    let mut block = Block::new(area.width.saturating_sub(4).min(MOST_COLUMNS));
    for (line, style) in list_lines(model) {
        if line.is_empty() {
            block.add_gap();
        } else {
            block.say(&line, style);
        }
    }
    let lines = block.into_lines();
    let top = area.height.saturating_sub(lines.len() as u16) / 3;
    let area = Rect {
        x: area.x + 2.min(area.width),
        y: area.y + top,
        width: area.width.saturating_sub(2),
        height: area.height - top,
    };
    block::draw(&lines, 0, area, buffer);
}

/// Lists what the screen says; an empty line is a gap.
fn list_lines(model: &Model) -> Vec<(String, Style)> {
    let theme = model.theme;
    let (title, reason, advice, next) = match &model.link {
        Link::Lost {
            missing: MissingPart::Daemon,
            ..
        } => (
            format!("No daemon at {} yet.", model.daemon),
            None,
            vec![
                "Start one with:  onceoverd",
                "or name another: onceover --daemon http://HOST:PORT",
            ],
            Some("The dashboard connects to it as soon as it answers.".to_owned()),
        ),
        Link::Lost {
            missing: MissingPart::Access,
            reason,
            ..
        } => (
            format!("The daemon at {} refuses access.", model.daemon),
            Some(reason),
            vec![
                "Put one of its tokens into the file that ONCEOVER_TOKEN_FILE or token_file names,",
                "or start again with ONCEOVER_TOKEN.",
            ],
            Some({
                let hint = format_hint(Action::Reread, model.page, &model.bindings, |key| {
                    format!("; {key} tries at once")
                });
                format!("The file is read again with each try{hint}.")
            }),
        ),
        Link::Lost {
            missing: MissingPart::Redis,
            reason,
            ..
        } => (
            format!("The daemon at {} is up, its Redis is not.", model.daemon),
            Some(reason),
            Vec::new(),
            Some("The tasks are read as soon as it answers again.".to_owned()),
        ),
        _ => return vec![(format!("Connecting to {} …", model.daemon), theme.plain())],
    };
    let gap = || (String::new(), theme.plain());
    let mut lines = vec![(title, theme.strong())];
    lines.extend(reason.map(|reason| (harmless(reason), theme.plain())));
    lines.push(gap());
    if !advice.is_empty() {
        lines.extend(advice.iter().map(|line| ((*line).to_owned(), theme.plain())));
        lines.extend(next.as_ref().map(|_| gap()));
    }
    lines.extend(next.map(|line| (line, theme.faint())));
    lines
}
