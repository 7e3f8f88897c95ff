//! What the user sets up: keys, colours, mouse, what is watched, what may be changed, and what is restored.

use std::fmt::Write;

use onceover_tui::{
    actions::{KeyChange, list_offered, remap_keys},
    glyphs::Glyphs,
    model::{
        Model, Page, RowId,
        access::Access,
        detail::Tab,
        return_point::{KeptExpansion, ReturnPoint},
    },
    pointer::{Gesture, PointerEvent},
    theme::{Backdrop, ColourLevel, Theme, ThemeChoice, ThemeName},
    update::{Announcement, Effect, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, StageSummary};
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style},
};

use crate::{fixture::*, screens::on};

const SIZES: [(u16, u16); 6] = [(1, 1), (40, 12), (60, 16), (80, 24), (120, 36), (200, 60)];

fn theme(name: ThemeName, level: ColourLevel) -> Theme {
    let choice = ThemeChoice {
        name,
        colours: Vec::new(),
    };
    Theme::new(&choice, level, Backdrop::Unknown)
}

#[test]
fn tui16_every_page_is_drawn_at_every_size_and_level_of_colours() {
    for page in Page::ALL {
        for size in SIZES {
            let mut model = on(page, size);
            for level in ColourLevel::ALL {
                for name in [ThemeName::Dark, ThemeName::Light, ThemeName::HighContrast] {
                    model.theme = theme(name, level);
                    let buffer = draw(&model);
                    let has_colour = |colour: Option<Color>| colour.is_some_and(|colour| colour != Color::Reset);
                    let is_coloured = |style: Style| has_colour(style.fg) || has_colour(style.bg);
                    let coloured = buffer.content().iter().filter(|cell| is_coloured(cell.style())).count();
                    assert!(
                        level != ColourLevel::Mono || coloured == 0,
                        "{page:?} {size:?} {name:?}: {coloured} cells have colours"
                    );
                }
            }
            for dialog in ["<f1>", "<esc>"] {
                press(&mut model, dialog);
                draw(&model);
            }
        }
    }
}

/// Writes a screen with its styles: the rows, and below them where a row has which style.
fn describe_styles(buffer: &Buffer) -> String {
    let mut text = onceover_tui::view::text::lines_of(buffer).join("\n");
    text.push_str("\n---\n");
    for y in 0..buffer.area.height {
        let mut x = 0;
        while x < buffer.area.width {
            let style = describe_style(buffer[(x, y)].style());
            let start = x;
            while x < buffer.area.width && describe_style(buffer[(x, y)].style()) == style {
                x += 1;
            }
            if !style.is_empty() {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{y}: {start}-{} {style}", x - 1);
            }
        }
    }
    text
}

/// Writes what of a style differs from plain text.
fn describe_style(style: Style) -> String {
    let colour = |colour: Option<Color>, before: &str| match colour {
        None | Some(Color::Reset) => None,
        Some(colour) => Some(format!("{before}{colour}")),
    };
    let mut words: Vec<String> = [colour(style.fg, ""), colour(style.bg, "on ")]
        .into_iter()
        .flatten()
        .collect();
    for (modifier, word) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::REVERSED, "reversed"),
        (Modifier::UNDERLINED, "underlined"),
    ] {
        if style.add_modifier.contains(modifier) {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// What a terminal has of colours and characters, by a name.
const MODES: [(&str, ThemeName, ColourLevel, Glyphs); 5] = [
    ("colour", ThemeName::Auto, ColourLevel::Sixteen, Glyphs::Unicode),
    ("mono", ThemeName::Auto, ColourLevel::Mono, Glyphs::Unicode),
    ("dark", ThemeName::Dark, ColourLevel::Full, Glyphs::Unicode),
    ("light", ThemeName::Light, ColourLevel::Full, Glyphs::Unicode),
    ("ascii", ThemeName::Auto, ColourLevel::Sixteen, Glyphs::Ascii),
];

#[test]
fn tui24_screens_with_their_styles_are_as_recorded() {
    for page in [Page::Callbacks, Page::Nodes, Page::Videos, Page::Log] {
        for (columns, rows) in [(40, 12), (60, 16), (120, 36), (200, 60)] {
            for (mode, name, level, _) in &MODES[..2] {
                let mut model = on(page, (columns, rows));
                tick(&mut model, 0.2);
                model.theme = theme(*name, *level);
                let name = format!("{}_{columns}x{rows}_{mode}", page.name());
                insta::assert_snapshot!(name, describe_styles(&draw(&model)));
            }
        }
    }
}

#[test]
fn tui24_tasks_and_a_stage_are_as_recorded_at_every_size_in_every_mode() {
    for (screen, keys) in [("tasks", ""), ("stage", "jj<enter>")] {
        for (columns, rows) in &SIZES[1..] {
            for (mode, name, level, glyphs) in MODES {
                let mut model = on(Page::Tasks, (*columns, *rows));
                press(&mut model, keys);
                tick(&mut model, 0.2);
                model.theme = theme(name, level);
                model.glyphs = glyphs;
                let name = format!("{screen}_{columns}x{rows}_{mode}");
                insta::assert_snapshot!(name, describe_styles(&draw(&model)));
            }
        }
    }
}

fn point(model: &mut Model, gesture: Gesture, column: u16, row: u16) -> Vec<Effect> {
    let event = PointerEvent { gesture, column, row };
    update(model, UiEvent::Pointer(event))
}

fn click(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    let mut effects = point(model, Gesture::Press, column, row);
    effects.extend(point(model, Gesture::Release, column, row));
    effects
}

/// The dashboard of the fixture, with the mouse.
fn with_mouse(size: (u16, u16)) -> Model {
    let mut model = dashboard(size);
    model.pointer.is_used = true;
    model
}

#[test]
fn tui24_a_click_selects_the_row_under_the_pointer_and_the_second_one_opens_it() {
    for (size, first_row) in [((120, 36), 4), ((60, 16), 1)] {
        let mut model = with_mouse(size);
        for line in 0..4 {
            click(&mut model, 5, first_row + line);
            assert_eq!(model.tree.index, usize::from(line), "{size:?}");
            tick(&mut model, f64::from(line) + 1.0);
        }
        // A task whose stages are hidden shows them.
        press(&mut model, "C<home>");
        click(&mut model, 5, first_row);
        click(&mut model, 5, first_row);
        assert!(model.tree.is_expanded(&task_id("lecture-07")), "{size:?}");
        // Below the last row there is nothing to select.
        let before = model.tree.index;
        click(&mut model, 5, size.1 - 2);
        assert_eq!(model.tree.index, before);
    }
}

#[test]
fn tui24_the_wheel_scrolls_what_is_under_the_pointer() {
    let mut model = with_mouse((120, 36));
    point(&mut model, Gesture::WheelDown, 5, 10);
    assert_eq!(model.tree.index, 3);
    point(&mut model, Gesture::WheelUp, 5, 10);
    assert_eq!(model.tree.index, 0);
    press(&mut model, "jj");
    tick(&mut model, 0.2);
    point(&mut model, Gesture::WheelDown, 100, 10);
    assert_eq!(
        (model.tree.index, model.detail.scroll),
        (2, 3),
        "the detail, and not the tree"
    );
    // In a dialog it is the dialog.
    press(&mut model, "<f1>");
    point(&mut model, Gesture::WheelDown, 5, 10);
    assert_eq!(model.tree.index, 2);
    click(&mut model, 5, 10);
    assert!(model.dialog.is_none(), "a click closes the help");
}

#[test]
fn tui24_the_border_follows_the_pointer_and_tabs_are_clicked() {
    let mut model = with_mouse((120, 36));
    let border = model.panes().detail.x;
    point(&mut model, Gesture::Press, border, 10);
    point(&mut model, Gesture::Drag, 60, 10);
    point(&mut model, Gesture::Release, 60, 10);
    let moved = model.panes().detail.x;
    assert!(moved.abs_diff(60) <= 3, "{border} to {moved}");
    // Without a press on the border a drag moves nothing.
    point(&mut model, Gesture::Press, 5, 10);
    point(&mut model, Gesture::Drag, 90, 10);
    assert_eq!(model.panes().detail.x, moved);

    press(&mut model, "gjj");
    tick(&mut model, 0.2);
    let (column, row) = find_text(&model, "[Overview]");
    click(&mut model, column + 13, row);
    assert_eq!(model.detail.tab, Tab::Input);
}

#[test]
fn tui24_footer_and_buttons_do_what_they_say_and_an_unused_mouse_nothing() {
    let mut model = with_mouse((120, 36));
    let (column, row) = find_text(&model, "d delete");
    click(&mut model, column + 3, row);
    assert_shows(&model, &["Delete 1 task?"]);
    // Beside the buttons nothing happens.
    click(&mut model, 2, 2);
    assert_shows(&model, &["Delete 1 task?"]);
    let (column, row) = find_text(&model, "    Delete ");
    click(&mut model, column + 5, row);
    assert_eq!(model.deletes.len(), 1, "the button asks no more");
    let (column, row) = find_text(&model, "will be deleted");
    click(&mut model, column, row);
    assert!(model.deletes.is_empty(), "a click on the line takes it back");

    model.pointer.is_used = false;
    let before = model.tree.index;
    click(&mut model, 5, 8);
    assert_eq!(model.tree.index, before);
}

#[test]
fn tui24_a_click_chooses_a_way_to_run_again_and_the_second_one_takes_it() {
    let mut model = with_mouse((120, 36));
    press(&mut model, "Gr");
    assert_shows(&model, &["enter runs it"]);
    let (column, row) = find_text(&model, "force");
    click(&mut model, column, row);
    assert_shows(&model, &["enter asks first"]);
    let effects = click(&mut model, column, row);
    assert!(changing(&effects).is_empty());
    assert_shows(&model, &["Force 1 stage to run again?"]);
}

#[test]
fn tui24_m_takes_the_mouse_and_leaves_it() {
    let mut model = dashboard((80, 24));
    assert_eq!(press(&mut model, "m"), [Effect::UseMouse(true)]);
    assert_eq!(press(&mut model, "m"), [Effect::UseMouse(false)]);
    assert_shows(&model, &["mouse off"]);
}

#[test]
fn tui17_keys_of_the_configuration_take_the_place_of_the_usual_ones() {
    let mut model = dashboard((160, 160));
    model.bindings = remap_keys(&[
        KeyChange {
            action: "cancel".to_owned(),
            keys: vec!["d".to_owned()],
        },
        KeyChange {
            action: "delete".to_owned(),
            keys: vec!["x".to_owned(), "f8".to_owned()],
        },
    ])
    .unwrap();
    assert_shows(&model, &["d cancel", "x delete"]);
    press(&mut model, "x");
    assert_shows(&model, &["Delete 1 task?"]);
    press(&mut model, "<esc><f1>");
    assert_shows(&model, &["x f8"]);
}

#[test]
fn tui23_without_the_right_to_change_nothing_that_changes_is_offered() {
    for access in [Access::ReadFlag, Access::ReadToken] {
        for page in Page::ALL.into_iter().filter(|page| !page.is_typed()) {
            let mut model = on(page, (200, 60));
            model.access = access;
            assert!(list_offered(&model).all(|spec| !spec.changes), "{page:?}");
            let effects = press(&mut model, "rxdDs");
            assert!(changing(&effects).is_empty() && model.dialog.is_none(), "{page:?}");
        }
        let mut model = dashboard((120, 36));
        model.access = access;
        press(&mut model, "r");
        assert_shows(&model, &[access.describe_denial().unwrap()]);
    }
}

fn announcements(effects: &[Effect]) -> Vec<Announcement> {
    let announced = effects.iter().filter_map(|effect| match effect {
        Effect::Announce(announcement) => Some(announcement.clone()),
        _ => None,
    });
    announced.collect()
}

const TRANSCRIBE: &str = "faster_whisper.transcribe_audio";

#[test]
fn tui25_the_end_of_a_watched_stage_is_announced_and_that_of_others_is_not() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jjW");
    assert_shows(&model, &["1 row watched", "⚑"]);
    let ended = stage(StageState::Failed);
    let ended = StageSummary {
        error: Some("CUDA out of memory".into()),
        ..ended
    };
    update(
        &mut model,
        change(
            101,
            "podcast-112",
            "ffmpeg.extract_audio",
            EventKind::Failed,
            ended.clone(),
        ),
    );
    assert!(announcements(&tick(&mut model, 1.0)).is_empty());
    update(
        &mut model,
        change(102, "lecture-07", TRANSCRIBE, EventKind::Failed, ended),
    );
    let announced = announcements(&tick(&mut model, 2.0));
    assert_eq!(announced.len(), 1);
    assert_eq!(
        announced[0].body,
        format!("lecture-07 › {TRANSCRIBE} failed: CUDA out of memory")
    );
    assert!(announcements(&tick(&mut model, 9.0)).is_empty(), "once");
    press(&mut model, "W");
    assert_shows(&model, &["not watched any more"]);
}

#[test]
fn tui25_failures_are_announced_where_that_is_configured_and_joined_within_a_second() {
    let mut model = dashboard((120, 36));
    model.watched.failures = true;
    let failed =
        |seq: u64, task: &str, name: &str| change(seq, task, name, EventKind::Failed, stage(StageState::Failed));
    update(&mut model, failed(101, "podcast-112", "ffmpeg.extract_audio"));
    assert_eq!(announcements(&tick(&mut model, 1.0)).len(), 1);
    update(&mut model, failed(102, "lecture-07", TRANSCRIBE));
    update(
        &mut model,
        failed(103, "lecture-07", "wservice.generate_subtitle_files"),
    );
    assert!(announcements(&tick(&mut model, 1.5)).is_empty());
    assert!(model.wake_at().is_some_and(|due| due <= at(2.0)), "it wakes by itself");
    let announced = announcements(&tick(&mut model, 2.0));
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].title, "2 stages ended, 2 failed");
}

#[test]
fn tui25_what_ended_while_the_connection_was_lost_is_announced_after_it() {
    let mut model = dashboard((120, 36));
    press(&mut model, "W");
    let mut later = items();
    for stage in later[0].stages.values_mut() {
        *stage = crate::fixture::stage(StageState::Success);
    }
    later[0].status = onceover_types::TaskStatus::Completed;
    update(&mut model, snapshot(later, 150));
    let announced = announcements(&tick(&mut model, 1.0));
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].title, "lecture-07 done");
}

#[test]
fn tui25_cursor_expansion_and_page_come_back_with_the_first_snapshot() {
    let mut model = Model::new("http://127.0.0.1:8788", at(0.0), (120, 36));
    model.return_to = Some(ReturnPoint {
        page: Page::Videos,
        cursor: Some((task_id("trailer-v2"), Some(node("ffmpeg.extract_audio")))),
        expansion: KeptExpansion {
            mostly_shown: Some(false),
            except: vec![task_id("trailer-v2"), task_id("deleted-since")],
        },
        zoom: false,
    });
    update(&mut model, snapshot(items(), 100));
    assert_eq!(cursor(&model), "trailer-v2 › ffmpeg.extract_audio");
    assert_eq!(model.page, Page::Videos);
    let expanded: Vec<_> = model.tree.expanded.iter().map(ToString::to_string).collect();
    assert_eq!(expanded, ["trailer-v2"]);
    // Later snapshots leave everything where the user has put it.
    press(&mut model, "<esc><home>");
    update(&mut model, snapshot(items(), 120));
    assert_eq!((model.page, cursor(&model).as_str()), (Page::Tasks, "lecture-07"));
}

#[test]
fn tui25_a_row_that_does_not_exist_any_more_is_no_place_to_go_back_to() {
    let mut model = Model::new("http://127.0.0.1:8788", at(0.0), (120, 36));
    model.return_to = Some(ReturnPoint {
        cursor: Some((task_id("deleted-since"), None)),
        zoom: true,
        ..ReturnPoint::default()
    });
    update(&mut model, snapshot(items(), 100));
    assert_eq!(model.tree.cursor, model.tree.rows.first().cloned());
    assert!(!model.zoom && model.tree.rows.iter().any(|row: &RowId| row.node.is_some()));
}

#[test]
fn tui25_a_row_of_a_later_part_is_gone_back_to() {
    use onceover_tui::{model::store::RowsEnd, update::MoreRows};
    let mut model = Model::new("http://127.0.0.1:8788", at(0.0), (120, 36));
    model.return_to = Some(ReturnPoint {
        cursor: Some((task_id("trailer-v2"), None)),
        ..ReturnPoint::default()
    });
    let UiEvent::Snapshot(mut first) = snapshot(items(), 100) else {
        panic!("it is a snapshot");
    };
    let items = std::mem::take(&mut first.items);
    first.end = RowsEnd::More;
    update(&mut model, UiEvent::Snapshot(first));
    let end = RowsEnd::Complete;
    update(&mut model, UiEvent::Rows(Box::new(MoreRows { items, end })));
    assert_eq!(cursor(&model), "trailer-v2");
}
