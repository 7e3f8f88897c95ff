//! Input and output as trees, the palette, the copy menu, and texts for the pager.

use std::sync::Arc;

use onceover_tui::{
    model::{Model, Page, json_tree::JsonTree},
    update::{Call, Effect, PagerText, Refusal, Reply, UiEvent, update},
};
use onceover_types::StageState;
use serde_json::{json, value::RawValue};

use crate::fixture::*;

/// The dashboard with the first stage of `lecture-07` at the cursor, and all that is known of it.
fn on_stage(input: &str, output: &str) -> (Model, Vec<Effect>) {
    let mut model = dashboard((120, 36));
    press(&mut model, "E<home>j");
    let effects = [tick(&mut model, 0.0), tick(&mut model, 0.2)].concat();
    let id = id_of(&effects, |call| matches!(call, Call::Stage { .. }));
    let mut view = task_view("lecture-07", "ffmpeg.extract_audio", StageState::Success);
    for stage in view.stages.values_mut() {
        stage.input_params = RawValue::from_string(input.to_owned()).unwrap();
        stage.output = RawValue::from_string(output.to_owned()).unwrap();
    }
    let reply = Reply::Stage(Ok(Box::new(view)));
    let effects = update(&mut model, UiEvent::Reply { id, reply });
    (model, effects)
}

const OUTPUT: &str = r#"{"audio_path":"/o/소리.wav","segments":[{"text":"one","end":1.5},{"text":"둘","end":2}]}"#;

#[test]
fn a_result_is_a_tree_that_folds_is_searched_and_says_where_the_cursor_is() {
    let (mut model, _) = on_stage("{}", OUTPUT);
    press(&mut model, "<tab><tab><enter>");
    assert_eq!(model.page, Page::Json);
    assert_shows(&model, &["output.audio_path", "▾ \"segments\": [", "\"text\": \"둘\""]);
    press(&mut model, "jz");
    assert_shows(&model, &["output.segments", "▸ \"segments\": [2 items]"]);
    assert_hides(&model, "둘");
    press(&mut model, "/둘<enter>");
    assert_shows(&model, &["output.segments[1].text", "1 have 둘"]);
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Json, "one step back is from the search");
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Tasks);
}

#[test]
fn a_long_text_is_cut_until_it_is_opened() {
    let long = format!("{}THE_END", "word ".repeat(400));
    let (mut model, _) = on_stage("{}", &json!({ "text": long }).to_string());
    press(&mut model, "<tab><tab><enter>");
    assert_hides(&model, "THE_END");
    press(&mut model, "<enter>");
    assert_shows(&model, &["THE_END"]);
}

#[test]
fn a_large_text_is_read_beside_the_loop_and_folds_stay_while_it_is_the_same() {
    let items: Vec<_> = (0..20_000).map(|n| json!({"n": n})).collect();
    let output = json!({ "items": items, "last": true }).to_string();
    let (mut model, effects) = on_stage("{}", &output);
    let (id, json) = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::ParseJson { id, json } => Some((*id, Arc::clone(json))),
            _ => None,
        })
        .expect("it is read beside the loop");
    press(&mut model, "<tab><tab>");
    assert_hides(&model, "20000 items");
    let tree = Box::new(JsonTree::parse(&json));
    update(&mut model, UiEvent::JsonParsed { id, tree });
    assert_shows(&model, &["▸ \"items\": [20000 items]", "\"last\": true"]);
}

#[test]
fn the_palette_does_what_is_chosen_and_goes_to_pages_tasks_and_nodes() {
    let mut model = dashboard((120, 36));
    press(&mut model, ":callb");
    assert_shows(&model, &["Do or go to", "callbacks"]);
    press_answered(&mut model, "<enter>");
    assert_eq!(model.page, Page::Callbacks);
    press(&mut model, "<c-p>podcast<enter>");
    assert_eq!(model.page, Page::Tasks);
    assert_eq!(cursor(&model), "podcast-112");
    press_answered(&mut model, "n<esc>");
    press_answered(&mut model, ":node faster<enter>");
    assert_eq!(model.page, Page::Nodes);
    let at = model.nodes.at_cursor().map(|node| node.name.clone());
    assert_eq!(at, Some(node("faster_whisper.transcribe_audio")));
    press(&mut model, ":zzzz<enter>");
    assert_shows(&model, &["nothing is called that"]);
    press(&mut model, "<esc>");
    assert!(model.dialog.is_none());
}

#[test]
fn the_palette_lists_what_applies_with_its_keys() {
    let mut model = dashboard((120, 36));
    press(&mut model, ":rerun");
    assert_shows(&model, &["rerun", "run again: auto"]);
    press(&mut model, "<c-u>undo");
    assert_hides(&model, "take back the delete");
}

#[test]
fn the_copy_menu_has_ids_paths_json_and_commands_and_never_says_copied() {
    let (mut model, _) = on_stage(r#"{"video_path":"/v/it's.mp4"}"#, OUTPUT);
    press(&mut model, "Y");
    assert_shows(
        &model,
        &["task id", "file of the result", "JSON of the output", "curl: read it"],
    );
    assert_eq!(copied(&press(&mut model, "i")), Some("lecture-07"));
    assert_hides(&model, "copied");
    assert_eq!(copied(&press(&mut model, "Y1")), Some("/o/소리.wav"));
    assert_eq!(copied(&press(&mut model, "Yj")), Some(OUTPUT));
    let curl = "curl -s 'http://127.0.0.1:8788/v1/tasks/lecture-07/status?task_name=ffmpeg.extract_audio'";
    assert_eq!(copied(&press(&mut model, "Yc")), Some(curl));
    let effects = press(&mut model, "Yo");
    let command = copied(&effects).expect("a command");
    assert!(
        command.contains("submit ffmpeg.extract_audio --task lecture-07 --input '{") && command.contains(r"it'\''s"),
        "{command}"
    );
    press(&mut model, "<tab><tab><enter>");
    assert_eq!(
        copied(&press(&mut model, "jYv")),
        Some(r#"[{"text":"one","end":1.5},{"text":"둘","end":2}]"#)
    );
}

#[test]
fn the_pager_gets_the_json_of_the_tab_and_the_whole_log() {
    let (mut model, _) = on_stage("{}", OUTPUT);
    let effects = press(&mut model, "<tab><tab>O");
    let text = effects.into_iter().find_map(|effect| match effect {
        Effect::ShowText(text) => Some(text.into_text()),
        _ => None,
    });
    assert!(text.unwrap().contains("\n      \"text\": \"둘\",\n"));
    let effects = press(&mut model, "LO");
    let id = id_of(&effects, |call| matches!(call, Call::WholeLog { .. }));
    let reply = Reply::WholeLog(Ok("line 1\nline 2\n".into()));
    let effects = update(&mut model, UiEvent::Reply { id, reply });
    let text = PagerText::Plain("line 1\nline 2\n".into());
    assert!(effects.contains(&Effect::ShowText(text)));
    let effects = press(&mut model, "O");
    let id = id_of(&effects, |call| matches!(call, Call::WholeLog { .. }));
    let reply = Reply::WholeLog(Err(Refusal {
        text: "no answer".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["the log could not be read: no answer"]);
    update(
        &mut model,
        UiEvent::Paged(Err("cannot run less: no such program; set $PAGER".into())),
    );
    assert_shows(&model, &["no such program; set $PAGER"]);
}
