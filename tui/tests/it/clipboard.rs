//! What `y` sends to the clipboard of the terminal, and what it says of it.

use onceover_tui::{clipboard::Multiplexer, update::Effect};
use onceover_types::StageState;

use crate::fixture::*;

#[test]
fn t24_a_copied_id_is_shown_where_the_mouse_selects_it_and_never_called_copied() {
    for (multiplexer, said) in [
        (Multiplexer::Absent, "· sent to the terminal (OSC 52)"),
        (Multiplexer::Tmux, "tmux needs: set -g allow-passthrough on"),
        (Multiplexer::Screen, "in pieces through screen"),
    ] {
        let mut model = dashboard((80, 24));
        model.multiplexer = multiplexer;
        assert!(press(&mut model, "y").contains(&Effect::Copy("lecture-07".into())));
        assert_shows(&model, &[said]);
        assert_hides(&model, "copied");
        let lines = screen(&model);
        assert_eq!(lines[22].trim_end(), "lecture-07", "nothing stands beside it");
        tick(&mut model, 20.0);
        assert_ne!(screen(&model)[22].trim_end(), "lecture-07");
    }
}

#[test]
fn t24_a_long_id_is_shown_whole() {
    let long = format!("task-{}", "0123456789".repeat(12));
    let mut model = dashboard_of(vec![item(&long, 1.0, &[("a.b", stage(StageState::Success))])], (60, 16));
    press(&mut model, "y");
    let lines = screen(&model);
    let shown: String = lines[12..15].iter().map(|line| line.trim_end()).collect();
    assert!(shown.ends_with(&long), "{lines:#?}");
}
