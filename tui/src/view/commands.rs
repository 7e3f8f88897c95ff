//! Draws the page of commands: what was done in this session, and the whole command at the cursor, to be copied.

use ratatui::buffer::Buffer;

use super::{
    block::{self, Block},
    list_page,
};
use crate::{figures, layout, model::Model};

/// Columns of the time.
const TIME: u16 = 10;

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_commands((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let commands = &model.commands;
    let rest = page.inner(page.list).width.saturating_sub(2 + TIME);
    let count = commands.list.keys().len();
    let title = format!("Commands {count} · what was done in this session");
    let titles = [(TIME, "TIME"), (rest, "COMMAND")];
    let area = list_page::draw_head(&page, &title, &titles, theme, buffer);
    if count == 0 {
        let text = "nothing yet: what you change in the daemon is listed here as the command that does the same";
        list_page::draw_placeholder(text, theme.faint(), area, buffer);
    }
    list_page::draw_rows(
        &commands.list,
        |_| false,
        area,
        theme,
        buffer,
        |id, line, buffer| {
            let Some(done) = commands.get(*id) else { return };
            let time = figures::format_clock(done.at, &model.tz);
            let text = done.command.as_ref().unwrap_or(&done.curl);
            let cells = [
                (TIME, time.as_str(), theme.faint()),
                (rest, text.as_str(), theme.plain()),
            ];
            list_page::draw_cells(&cells, line, buffer);
        },
    );
    let Some(area) = list_page::draw_item_frame(&page, "The same by hand", theme, buffer) else {
        return;
    };
    let Some(done) = commands.at_cursor() else { return };
    let mut block = Block::new(area.width);
    if let Some(command) = &done.command {
        block.add_fact("command", command, theme.strong());
    }
    block.add_fact("curl", &done.curl, theme.plain());
    block.add_fact(
        "token",
        "add -H \"Authorization: Bearer …\" where the daemon wants one",
        theme.faint(),
    );
    block::draw(&block.into_lines(), 0, area, buffer);
}
