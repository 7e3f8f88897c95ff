//! The page of nodes and the submit form.

use onceover_tui::{
    model::MissingPart,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::FieldError;
use onceover_wire::{ReuseInfo, ReuseMode, SubmitRequest};

use crate::fixture::*;

/// The form of `ffmpeg.split_audio_segments`, opened on the task at the cursor.
fn form(size: (u16, u16)) -> onceover_tui::model::Model {
    let mut model = dashboard(size);
    press_answered(&mut model, "<home>ssplit<enter>");
    model
}

fn submitted_request(effects: &[Effect]) -> (u64, SubmitRequest) {
    effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Call {
                id,
                call: Call::Submit { request },
            } => Some((*id, (**request).clone())),
            _ => None,
        })
        .expect("a submit")
}

#[test]
fn a_node_is_chosen_by_typing_and_its_form_knows_task_and_sources() {
    let mut model = dashboard((120, 36));
    press_answered(&mut model, "<home>sfaster");
    assert_shows(&model, &["Nodes 1 of 2 · 1 ready", "✖ 1 missing", "음성을 글로"]);
    assert_shows(&model, &["get it    onceoverd nodes install faster_whisper"]);
    press(&mut model, "<c-u>subtitle");
    assert_hides(&model, "faster_whisper.transcribe_audio  ");
    press(&mut model, "<enter>");
    assert_shows(
        &model,
        &[
            "Submit ffmpeg.split_audio_segments · Split audio by subtitle",
            "lecture-07",
            // That stage of the task has succeeded.
            "from ffmpeg.extract_audio › audio_path",
            "16000",
        ],
    );
}

#[test]
fn the_form_sends_what_was_typed_in_the_types_of_the_catalog() {
    let mut model = form((120, 36));
    press(&mut model, "<tab><right><right><tab>44100<tab><space><tab>[1, 2]<tab>s");
    let effects = press(&mut model, "<tab>http://n8n.local/x<tab><enter>");
    let (_, request) = submitted_request(&effects);
    assert_eq!(request.task_name, "ffmpeg.split_audio_segments");
    assert_eq!(request.task_id.as_deref(), Some("lecture-07"));
    assert_eq!(request.reuse, Some(ReuseMode::Strict));
    assert_eq!(request.callback.as_deref(), Some("http://n8n.local/x"));
    assert_eq!(
        serde_json::Value::Object(request.input_data),
        serde_json::json!({
            "output_format": "flac", "sample_rate": 44100, "group_by_speaker": true, "keep": [1, 2]
        })
    );
    assert!(
        changing(&press(&mut model, "<enter><c-s>")).is_empty(),
        "pressed twice it makes one request"
    );
}

#[test]
fn o4_the_daemons_refusals_are_at_their_fields_and_what_was_typed_stays() {
    let mut model = form((120, 36));
    press(&mut model, "<tab><tab>1");
    let effects = press(&mut model, "<c-s>");
    let (id, _) = submitted_request(&effects);
    let error = |field: &str, message: &str| FieldError::new(field, message);
    let refusal = Refusal {
        status: Some(422),
        text: "two fields".into(),
        errors: vec![
            error("input_data.sample_rate", "it must be at least 8000"),
            error("input_data.keep.0", "it must be a number"),
            error("task_name", "it is retired"),
        ],
    };
    let reply = Reply::Submitted(Err(refusal));
    update(&mut model, UiEvent::Reply { id, reply });
    let lines = screen(&model);
    let below = |field: &str| {
        let at = lines.iter().position(|line| line.contains(field)).unwrap();
        lines[at + 1].clone()
    };
    assert!(
        below("sample_rate  ").contains("✖ it must be at least 8000"),
        "{lines:#?}"
    );
    assert!(below("keep  ").contains("✖ it must be a number"), "{lines:#?}");
    assert_shows(&model, &["✖ task_name: it is retired", "refused: see 3 fields"]);
    // The first one that was refused has the focus; typing clears its error.
    press(&mut model, "6000");
    assert_hides(&model, "it must be at least 8000");
    let (_, request) = submitted_request(&press(&mut model, "<c-s>"));
    assert_eq!(request.input_data["sample_rate"], 16000);
}

#[test]
fn what_is_not_json_is_refused_at_its_field_without_asking() {
    let mut model = form((120, 36));
    let effects = press(&mut model, "<tab><tab><tab><tab>[1, 2<c-s>");
    assert!(changing(&effects).is_empty());
    assert_shows(&model, &["✖ it is not JSON"]);
}

#[test]
fn an_accepted_submit_shows_its_task_and_a_refused_node_says_what_is_missing() {
    let mut model = form((120, 36));
    let (id, _) = submitted_request(&press(&mut model, "<c-s>"));
    let refusal = Refusal {
        status: Some(409),
        text: "it lacks ffmpeg: apt-get install ffmpeg".into(),
        ..Refusal::default()
    };
    let reply = Reply::Submitted(Err(refusal));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["✖ it lacks ffmpeg: apt-get install ffmpeg"]);
    let (id, _) = submitted_request(&press(&mut model, "<c-s>"));
    let info = ReuseInfo {
        reason: Some("absent".into()),
        ..ReuseInfo::default()
    };
    let reply = Reply::Submitted(Ok(Box::new(submitted("old", info))));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_eq!(cursor(&model), "old", "its task has the cursor");
    assert_shows(&model, &["queued: there was no earlier result"]);
}

#[test]
fn what_was_typed_into_a_form_stays_while_another_page_is_open() {
    let mut model = form((120, 36));
    press(&mut model, "/v/강의.wav<esc>");
    assert_shows(&model, &["Nodes"]);
    press_answered(&mut model, "<enter>");
    assert_shows(&model, &["/v/강의.wav"]);
    // Another node has another form.
    press(&mut model, "<esc><esc><home><down><enter>");
    assert_hides(&model, "/v/강의.wav");
}

#[test]
fn keys_are_text_in_the_form() {
    let mut model = form((120, 36));
    press(&mut model, "qjd? *");
    assert_shows(&model, &["qjd? *"]);
    update(&mut model, UiEvent::Paste("/a\nb".into()));
    assert_shows(&model, &["qjd? */ab"]);
    assert!(press(&mut model, "<c-c>").contains(&Effect::Quit));
}

#[test]
fn nothing_is_submitted_while_disconnected() {
    let mut model = form((120, 36));
    update(&mut model, lost(MissingPart::Daemon));
    assert!(changing(&press(&mut model, "<c-s>")).is_empty());
    assert_shows(&model, &["not while disconnected"]);
}
