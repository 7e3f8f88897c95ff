//! The page with the files of a result: what it draws at every size, with colours and without.

use std::sync::Arc;

use onceover_tui::{
    glyphs::Glyphs,
    images::{CellColours, ImageProtocol, Images},
    model::{
        Model, Page,
        preview::{FileContent, FileKind, PicturePreview, ResultFile, ResultFiles, TextPreview},
    },
    theme::Theme,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
    view::preview::find_picture,
};
use onceover_wire::{CueItem, CueList};
use ratatui::style::Color;

use crate::fixture::*;

fn file(name: &str) -> ResultFile {
    ResultFile {
        name: name.into(),
        kind: FileKind::of_name(name),
        size: 84_200,
        path: format!("/data/share/workflows/lecture-07/runs/r1/{name}"),
        file_path: format!("lecture-07/runs/r1/{name}"),
        content_type: "application/octet-stream".into(),
        download_url: "http://127.0.0.1:8788/v1/files/download/x".into(),
        object_url: None,
    }
}

/// What a file of each kind says; a picture half red and half blue.
fn content(file: &ResultFile, room: (u16, u16)) -> FileContent {
    let cue = |start: f64, gap: Option<f64>| CueItem {
        start,
        end: start + 1.0,
        text: "한국어 자막\n두 번째 줄".into(),
        characters_per_second: Some(22.0),
        gap,
    };
    match file.kind {
        FileKind::Picture => FileContent::Picture(PicturePreview {
            id: 0,
            width: 1_280,
            height: 720,
            format: "jpg".into(),
            room,
            columns: 4,
            pixels: [[[255, 0, 0]; 4], [[0, 0, 255]; 4]].concat(),
        }),
        FileKind::Cues => FileContent::Cues(Arc::new(CueList {
            cues: vec![cue(1.0, None), cue(1.5, Some(-0.5)), cue(9.0, Some(6.5))],
            overlaps: 1,
            too_fast: 3,
            left_out: 0,
            max_characters_per_second: 20.0,
        })),
        FileKind::Text => FileContent::Text(TextPreview {
            lines: vec!["one \u{1b}[31mred".into(), String::new(), "x".repeat(300)],
            read: 300,
            is_cut: true,
        }),
        FileKind::Media | FileKind::Other => FileContent::Unread,
    }
}

/// The page with these files, opened from the tree.
fn page(names: &[&str], size: (u16, u16)) -> Model {
    page_with(names, &[], size)
}

/// The same, with paths of files that are on the machine of a worker.
fn page_with(names: &[&str], on_worker: &[&str], size: (u16, u16)) -> Model {
    let mut model = dashboard(size);
    let effects = press(&mut model, "i");
    assert_eq!(model.page, Page::Preview);
    let id = id_of(&effects, |call| matches!(call, Call::ResultFiles { .. }));
    let result = ResultFiles {
        files: names.iter().map(|name| file(name)).collect(),
        complete: true,
        facts: vec![("duration".into(), "3.1".into())],
        on_worker: on_worker.iter().map(|path| (*path).to_owned()).collect(),
    };
    let reply = Reply::ResultFiles(Ok(Box::new(result)));
    update(&mut model, UiEvent::Reply { id, reply });
    model
}

/// Answers what is asked for once the cursor has rested.
fn rest(model: &mut Model) {
    for seconds in [0.0, 0.2] {
        let now = at(model.now.seconds_since(at(0.0)) + seconds);
        for effect in update(model, UiEvent::Time(now)) {
            if let Effect::Call {
                id,
                call: Call::Preview { file, room },
            } = effect
            {
                let reply = Reply::Preview(Ok(Box::new(content(&file, room))));
                update(model, UiEvent::Reply { id, reply });
            }
        }
    }
}

const ALL: [&str; 5] = ["1.jpg", "2.srt", "3.txt", "4.mp4", "5.bin"];

#[test]
fn every_kind_of_file_is_drawn_at_every_size() {
    for size in [
        (1, 1),
        (2, 3),
        (20, 5),
        (40, 12),
        (60, 16),
        (80, 24),
        (120, 36),
        (300, 100),
    ] {
        let mut model = page(&ALL, size);
        for _ in ALL {
            for keys in ["+", "J", "K", "+"] {
                rest(&mut model);
                press(&mut model, keys);
                draw(&model);
            }
            press(&mut model, "<right>");
        }
    }
}

#[test]
fn a_picture_is_half_blocks_in_the_colours_that_there_are_or_words() {
    let mut model = page(&ALL, (120, 36));
    rest(&mut model);
    let blocks = |model: &Model| {
        let buffer = draw(model);
        let cells = buffer.content().iter().filter(|cell| cell.symbol() == "\u{2580}");
        cells.map(|cell| (cell.fg, cell.bg)).collect::<Vec<_>>()
    };
    assert_eq!(blocks(&model), vec![(Color::Rgb(255, 0, 0), Color::Rgb(0, 0, 255)); 4]);
    model.images.colours = CellColours::Indexed;
    assert_eq!(blocks(&model), vec![(Color::Indexed(196), Color::Indexed(21)); 4]);
    let words = |model: &Model| screen(model).iter().any(|line| line.contains("shows no pictures"));
    assert!(!words(&model));
    model.images.colours = CellColours::Few;
    assert!(blocks(&model).is_empty() && words(&model));
    model.images = Images::default();
    model.theme = Theme::mono();
    assert!(blocks(&model).is_empty() && words(&model));
    model.theme = Theme::default();
    model.glyphs = Glyphs::Ascii;
    assert!(blocks(&model).is_empty());
}

#[test]
fn files_on_the_machine_of_a_worker_are_named_beside_others_and_where_there_are_none() {
    let paths = ["/gpu/a.wav", "/gpu/\u{1b}[31mb.wav"];
    for names in [&["1.jpg"][..], &[]] {
        let lines = screen(&page_with(names, &paths, (120, 36))).join("\n");
        assert!(lines.contains("on the worker's machine: /gpu/a.wav"), "{lines}");
        assert!(!lines.contains('\u{1b}'));
    }
}

#[test]
fn the_driver_gets_an_area_only_where_nothing_is_drawn_over_it() {
    let mut model = page(&ALL, (120, 36));
    rest(&mut model);
    assert_eq!(find_picture(&model), None, "half blocks need no driver");
    model.images.protocol = ImageProtocol::Sixel;
    let (_, area) = find_picture(&model).expect("a picture");
    assert!(area.right() <= 120 && area.bottom() <= 35, "{area:?}");
    press(&mut model, "?");
    assert_eq!(find_picture(&model), None, "the help is over it");
    press(&mut model, "<esc>");
    update(&mut model, UiEvent::Resize(100, 30));
    assert_eq!(find_picture(&model), None, "it was read for another room");
    rest(&mut model);
    assert!(find_picture(&model).is_some());
}

#[test]
fn cues_are_listed_with_their_faults_and_hostile_texts_are_harmless() {
    let mut model = page(&ALL, (120, 36));
    press(&mut model, "j");
    rest(&mut model);
    let lines = screen(&model).join("\n");
    for part in [
        "3 cues · 1 overlap · 3 too fast",
        "0:00:01.500",
        "22 cps",
        "overlaps 0.50 s",
        "두 번째 줄",
    ] {
        assert!(lines.contains(part), "{part}\n{lines}");
    }
    press(&mut model, "j");
    rest(&mut model);
    let lines = screen(&model).join("\n");
    assert!(
        lines.contains("one ␛[31mred") && lines.contains("the first 300 B of 84.2 kB"),
        "{lines}"
    );
    press(&mut model, "j");
    rest(&mut model);
    assert_shows(&model, &["duration  3.1"]);
}

#[test]
fn the_path_of_a_file_is_copied() {
    let mut model = page(&ALL, (120, 36));
    let effects = press(&mut model, "jy");
    assert_eq!(copied(&effects), Some("/data/share/workflows/lecture-07/runs/r1/2.srt"));
}

#[test]
fn a_result_that_cannot_be_read_says_why() {
    let mut model = dashboard((120, 36));
    let effects = press(&mut model, "i");
    for effect in effects {
        if let Effect::Call { id, .. } = effect {
            let refusal = Refusal {
                text: "the store is unreachable".into(),
                ..Refusal::default()
            };
            let reply = Reply::ResultFiles(Err(refusal));
            update(&mut model, UiEvent::Reply { id, reply });
        }
    }
    assert_shows(&model, &["the store is unreachable"]);
}
