//! The page with the files of a stage's result: opens it, reads the file at the cursor once the cursor rests, scrolls
//! what it says.

use onceover_types::Timestamp;

use super::{
    messages::{Call, CallAnswer, Effect, Refusal},
    requests,
};
use crate::{
    layout,
    model::{
        Link, Model, Page, Tone,
        preview::{FileContent, FileKind, LoadedFile, Preview, PreviewAim, ResultFile, ResultFiles},
    },
};

/// The cursor has to rest this long before its file is read.
const REST_MS: i64 = 60;

/// Opens the page with the result of the stage at the cursor, or of the task's newest stage.
pub fn open_page(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_page(model) {
        return;
    }
    let row = model.tree.cursor.clone();
    let stage = row.and_then(|row| model.newest_stage_of(&row));
    let Some((task, node)) = stage.and_then(|row| Some((row.task, row.node?))) else {
        model.say(Tone::Neutral, "there is no stage here whose result could be shown");
        return;
    };
    model.preview = Preview {
        stage: Some((task, node)),
        ..Preview::default()
    };
    model.page = Page::Preview;
    fetch(model, effects);
}

/// Reads which files there are.
pub fn fetch(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some((task, node)) = model.preview.stage.clone() else {
        return;
    };
    if matches!(model.link, Link::Lost { .. }) {
        return;
    }
    let id = model.new_id();
    model.preview.request = Some(id);
    let (task, node) = ((*task).clone(), (*node).clone());
    effects.push(Effect::Call {
        id,
        call: Call::ResultFiles { task, node },
    });
}

/// Takes the files that were read.
pub fn take_files(model: &mut Model, id: u64, answer: CallAnswer<Box<ResultFiles>>) {
    if model.preview.request != Some(id) {
        return;
    }
    model.preview.request = None;
    match answer {
        Ok(result) => model.preview.set_files(*result),
        Err(refusal) => model.preview.failed = Some(refusal.text),
    }
}

/// Whether the last try to read the files has failed.
pub fn has_failed(model: &Model) -> bool {
    model.preview.failed.is_some() && model.preview.request.is_none()
}

/// Keeps the preview on the file at the cursor, and reads it when the cursor has rested.
pub fn aim_preview(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.page != Page::Preview {
        return;
    }
    follow_stage(model, effects);
    let Some(file) = model.preview.at_cursor().cloned() else {
        return;
    };
    aim_at(model, &file);
    let is_due = model.preview.fetch_at.is_some_and(|at| at <= model.now);
    if !is_due || !model.is_live() {
        return;
    }
    model.preview.fetch_at = None;
    let Some(aim) = model.preview.aim.clone() else {
        return;
    };
    let id = model.new_id();
    model.preview.file_request = Some(id);
    let room = aim.room;
    effects.push(Effect::Call {
        id,
        call: Call::Preview { file, room },
    });
}

/// Reads the files again when the stage has ended with another run.
fn follow_stage(model: &mut Model, effects: &mut Vec<Effect>) {
    let stage = model.preview.stage.as_ref();
    let stage = stage.and_then(|(task, node)| model.store.kept_stage(task, node));
    let seen = stage.map(|stage| (stage.status, stage.run_id()));
    if model.preview.seen == seen {
        return;
    }
    let is_first = model.preview.seen.is_none();
    let has_ended = seen.as_ref().is_none_or(|(state, _)| !state.in_flight());
    model.preview.seen = seen;
    if !is_first && has_ended {
        fetch(model, effects);
    }
}

/// Turns the preview to a file, in the room that it has on the screen now.
fn aim_at(model: &mut Model, file: &ResultFile) {
    let room = match file.kind {
        FileKind::Picture => {
            let room = layout::lay_out_preview(model.size, model.preview.is_whole).preview_text();
            (room.width, room.height)
        }
        _ => (0, 0),
    };
    let aim = PreviewAim {
        file_path: file.file_path.clone(),
        room,
    };
    let preview = &mut model.preview;
    let is_outdated = std::mem::take(&mut preview.is_outdated);
    if !is_outdated && preview.aim.as_ref() == Some(&aim) {
        return;
    }
    if preview
        .aim
        .as_ref()
        .is_none_or(|before| before.file_path != aim.file_path)
    {
        preview.scroll = 0;
    }
    preview.aim = Some(aim);
    preview.file_request = None;
    preview.fetch_at = Some(Timestamp::from_millis(model.now.as_millis() + REST_MS));
    model.redraw = true;
}

/// Takes what a file says.
pub fn take_content(model: &mut Model, id: u64, answer: CallAnswer<Box<FileContent>>) {
    let preview = &mut model.preview;
    let Some(aim) = preview.aim.as_ref().filter(|_| preview.file_request == Some(id)) else {
        return;
    };
    let content = match answer {
        Ok(mut content) => {
            if let FileContent::Picture(picture) = &mut *content {
                picture.id = id;
            }
            Ok(*content)
        }
        Err(Refusal { text, .. }) => Err(text),
    };
    preview.shown = Some(LoadedFile {
        file_path: aim.file_path.clone(),
        content,
    });
    preview.file_request = None;
}

/// Counts the rows that a page key moves by: of the list, or of a file that has the whole page.
pub fn count_page_rows(model: &Model) -> usize {
    let page = layout::lay_out_preview(model.size, model.preview.is_whole);
    match model.preview.is_whole {
        true => usize::from(page.preview_text().height),
        false => page.rows(),
    }
}

/// Goes to the file that is so many files further.
pub fn step(model: &mut Model, by: isize) {
    let list = &mut model.preview.list;
    list.go(list.index().saturating_add_signed(by));
}

/// Moves the cursor; where a text has the whole page, scrolls it.
pub fn move_cursor(model: &mut Model, by: isize) {
    let has_text = matches!(model.preview.content(), Some(Ok(content)) if content.count_units() > 0);
    if model.preview.is_whole && has_text {
        scroll(model, by);
    } else {
        step(model, by);
    }
}

/// Scrolls what the file says.
pub fn scroll(model: &mut Model, by: isize) {
    let units = match model.preview.content() {
        Some(Ok(content)) => content.count_units(),
        _ => 0,
    };
    let scroll = model.preview.scroll.saturating_add_signed(by);
    model.preview.scroll = scroll.min(units.saturating_sub(1));
}

/// Gives the file the whole page, or ends that.
pub fn toggle_whole(model: &mut Model) {
    model.preview.is_whole = !model.preview.is_whole && model.preview.at_cursor().is_some();
}

/// Takes one step back: from the whole page to the list, from the page to the tree.
pub fn go_back(model: &mut Model) {
    if model.preview.is_whole {
        model.preview.is_whole = false;
    } else {
        model.page = Page::Tasks;
        // A picture takes memory.
        model.preview = Preview::default();
    }
}

#[cfg(test)]
mod tests {
    use onceover_types::{NodeName, TaskId};

    use super::*;
    use crate::model::preview::{PicturePreview, TextPreview};

    fn file(name: &str) -> ResultFile {
        ResultFile {
            name: name.into(),
            kind: FileKind::of_name(name),
            size: 10,
            path: format!("/s/t1/runs/r1/{name}"),
            file_path: format!("t1/runs/r1/{name}"),
            content_type: String::new(),
            download_url: String::new(),
            object_url: None,
        }
    }

    fn page(names: &[&str]) -> Model {
        let mut model = Model::new("http://127.0.0.1:1", Timestamp::from_millis(0), (120, 36));
        model.link = Link::Live;
        model.page = Page::Preview;
        let node = NodeName::parse("a.b").unwrap();
        model.preview.stage = Some((TaskId::parse("t1").unwrap().into(), node.into()));
        model.preview.set_files(ResultFiles {
            files: names.iter().map(|name| file(name)).collect(),
            complete: true,
            facts: Vec::new(),
            on_worker: Vec::new(),
        });
        model
    }

    /// Lets so many milliseconds pass. Returns the file that is asked for.
    fn wait(model: &mut Model, ms: i64) -> Option<(u64, ResultFile)> {
        model.now = Timestamp::from_millis(model.now.as_millis() + ms);
        let mut effects = Vec::new();
        aim_preview(model, &mut effects);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Call {
                id,
                call: Call::Preview { file, .. },
            } => Some((id, file)),
            _ => None,
        })
    }

    fn picture() -> Box<FileContent> {
        Box::new(FileContent::Picture(PicturePreview {
            id: 0,
            width: 2,
            height: 2,
            format: "png".into(),
            room: (10, 10),
            columns: 2,
            pixels: vec![[1, 2, 3]; 4],
        }))
    }

    #[test]
    fn files_that_the_cursor_passes_are_not_read_and_late_answers_are_dropped() {
        let mut model = page(&["1.png", "2.png", "3.png"]);
        assert!(wait(&mut model, 0).is_none(), "the cursor has not rested");
        step(&mut model, 1);
        assert!(wait(&mut model, 59).is_none());
        let (first, asked) = wait(&mut model, 60).expect("the cursor has rested");
        assert_eq!(asked.name, "2.png");
        assert!(wait(&mut model, 1_000).is_none(), "it is asked for once");
        step(&mut model, 1);
        wait(&mut model, 0);
        take_content(&mut model, first, Ok(picture()));
        assert!(model.preview.shown.is_none(), "it is the answer to an older question");
        let (second, _) = wait(&mut model, 60).unwrap();
        take_content(&mut model, second, Ok(picture()));
        assert_eq!(model.preview.picture().map(|picture| picture.id), Some(second));
    }

    #[test]
    fn files_that_are_read_again_keep_the_place_in_a_text() {
        let mut model = page(&["a.txt"]);
        wait(&mut model, 0);
        assert!(wait(&mut model, 60).is_some());
        model.preview.scroll = 7;
        let result = model.preview.result.clone();
        model.preview.set_files(result);
        wait(&mut model, 0);
        assert!(wait(&mut model, 60).is_some(), "the run may be another one");
        assert_eq!(model.preview.scroll, 7);
    }

    #[test]
    fn a_picture_is_read_again_for_another_room() {
        let mut model = page(&["1.png"]);
        wait(&mut model, 0);
        assert!(wait(&mut model, 60).is_some());
        model.size = (80, 24);
        wait(&mut model, 0);
        assert!(wait(&mut model, 60).is_some());
        toggle_whole(&mut model);
        wait(&mut model, 0);
        assert!(wait(&mut model, 60).is_some());
    }

    #[test]
    fn a_text_scrolls_to_its_last_line_and_a_step_back_leaves_the_whole_page_first() {
        let mut model = page(&["a.txt"]);
        wait(&mut model, 0);
        let (id, _) = wait(&mut model, 60).unwrap();
        let text = TextPreview {
            lines: vec!["line".into(); 30],
            ..TextPreview::default()
        };
        take_content(&mut model, id, Ok(Box::new(FileContent::Text(text))));
        toggle_whole(&mut model);
        move_cursor(&mut model, 1_000);
        assert_eq!(model.preview.scroll, 29);
        go_back(&mut model);
        assert_eq!(model.page, Page::Preview);
        go_back(&mut model);
        assert_eq!(model.page, Page::Tasks);
    }
}
