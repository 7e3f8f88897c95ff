//! Draws a screen of changing cells 30 times a second, with nothing but the drawing library: what `make bench-tui`
//! compares the dashboard's frames with.

use std::{io::stdout, time::Duration};

use crossterm::{
    execute,
    terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
};
use ratatui::{Terminal, backend::CrosstermBackend, layout::Rect, style::Style};

fn main() -> anyhow::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
    for frame in 0_usize.. {
        execute!(stdout(), BeginSynchronizedUpdate)?;
        terminal.draw(|screen| {
            let area = screen.area();
            for y in area.top()..area.bottom() {
                let row = Rect { y, height: 1, ..area };
                let text = format!("seed-{:06}  done  00:02  ", frame + usize::from(y)).repeat(8);
                screen
                    .buffer_mut()
                    .set_stringn(row.x, row.y, text, usize::from(row.width), Style::default());
            }
        })?;
        execute!(stdout(), EndSynchronizedUpdate)?;
        std::thread::sleep(Duration::from_millis(33));
    }
    Ok(())
}
