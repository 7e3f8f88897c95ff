//! The page of nodes and the submit form.

use onceover_tui::{
    model::MissingPart,
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::{FieldError, StageState};
use onceover_wire::{ReuseInfo, ReuseMode, SubmitRequest};
use serde_json::value::RawValue;

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
                call: Call::Submit { request, .. },
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
        lacks_scope: false,
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
fn what_was_typed_into_a_form_is_offered_when_it_is_opened_again_and_not_used_by_itself() {
    let mut model = form((120, 36));
    press(&mut model, "/v/강의.wav<esc>");
    assert_shows(&model, &["Nodes"]);
    tick(&mut model, 125.0);
    press_answered(&mut model, "<enter>");
    assert_hides(&model, "/v/강의.wav");
    assert_shows(
        &model,
        &["draft of 2 min ago: ctrl-r restores it", "ctrl-r restore draft"],
    );
    let effects = press(&mut model, "<c-s>");
    assert!(!submitted_request(&effects).1.input_data.contains_key("audio_path"));
    let mut model = form((120, 36));
    press(&mut model, "/v/강의.wav<esc><enter><c-r>");
    assert_shows(&model, &["/v/강의.wav"]);
    assert_hides(&model, "draft of");
    // Another node has another form.
    press(&mut model, "<esc><esc><home><down><enter>");
    assert_eq!(
        model.form.as_ref().unwrap().node.name,
        node("faster_whisper.transcribe_audio")
    );
    assert_hides(&model, "/v/강의.wav");
    assert_hides(&model, "draft of");
}

/// Two tasks; the first has a stage of the node, as far as its stored request is given.
fn two_tasks() -> onceover_tui::model::Model {
    let done = || [("ffmpeg.split_audio_segments", stage(StageState::Success))];
    dashboard_of(
        vec![
            item("c4", 10.0, &done()),
            item("c3", 20.0, &[("ffmpeg.extract_audio", stage(StageState::Success))]),
        ],
        (120, 36),
    )
}

#[test]
fn a_form_belongs_to_the_row_it_was_opened_from() {
    let mut model = two_tasks();
    press(&mut model, "C<home>j");
    assert_eq!(cursor(&model), "c3");
    // Left untouched, and left with something typed.
    for typed in ["", "/v/of-c3.wav"] {
        press_answered(&mut model, "<end>ssplit<enter>");
        press(&mut model, typed);
        press(&mut model, "<esc><esc><esc>");
        press_answered(&mut model, "<home>s");
        press(&mut model, "split");
        let effects = press(&mut model, "<enter>");
        answer_stored(&mut model, &effects, "{}");
        assert_shows(&model, &["▸ audio_path", "task", "c4"]);
        assert_hides(&model, "/v/of-c3.wav");
        assert_hides(&model, "draft of");
        let (_, request) = submitted_request(&press(&mut model, "<c-s>"));
        assert_eq!(request.task_id.as_deref(), Some("c4"));
        assert!(request.input_data.is_empty(), "{request:?}");
        model = two_tasks();
        press(&mut model, "C");
    }
}

/// The daemon's answer to the question about the stored request of the stage of `c4`.
fn stored_reply(input: &str) -> Reply {
    let mut view = task_view("c4", "ffmpeg.split_audio_segments", StageState::Success);
    for stage in view.stages.values_mut() {
        stage.input_params = RawValue::from_string(input.to_owned()).unwrap();
    }
    Reply::Stage(Ok(Box::new(view)))
}

fn answer_stored(model: &mut onceover_tui::model::Model, effects: &[Effect], input: &str) {
    let id = id_of(
        effects,
        |call| matches!(call, Call::Stage { task } if *task == task_id("c4")),
    );
    let reply = stored_reply(input);
    update(model, UiEvent::Reply { id, reply });
}

/// The form of the stage of `c4`, and what was asked of the daemon for it.
fn form_on_stage() -> (onceover_tui::model::Model, Vec<Effect>) {
    let mut model = two_tasks();
    press_answered(&mut model, "E<home>js");
    let effects = press(&mut model, "<enter>");
    (model, effects)
}

#[test]
fn a_form_opened_on_a_stage_begins_with_its_stored_request() {
    let (mut model, effects) = form_on_stage();
    assert_shows(&model, &["reading the stored request"]);
    // Nothing is sent that would stand for defaults where there are former values.
    assert!(changing(&press(&mut model, "<c-s>")).is_empty());
    assert_shows(&model, &["not yet: the stored request is being read"]);
    press(&mut model, "<tab><tab>8000");
    let input = r#"{"audio_path":"/v/강의.wav","output_format":"flac","sample_rate":44100.0,"keep":[1,2]}"#;
    answer_stored(&mut model, &effects, input);
    assert_shows(
        &model,
        &["with the values of the stored request", "/v/강의.wav", "flac", "[1,2]"],
    );
    assert_shows(&model, &["8000", "The stored request has 44100.0."]);
    let (_, request) = submitted_request(&press(&mut model, "<c-u><c-s>"));
    assert_eq!(
        serde_json::Value::Object(request.input_data),
        serde_json::json!({"audio_path": "/v/강의.wav", "output_format": "flac", "keep": [1, 2]}),
        "what was emptied is left out, the rest is as it was"
    );
}

#[test]
fn values_that_nobody_changed_go_back_as_they_were_stored() {
    let (mut model, effects) = form_on_stage();
    let input = r#"{"audio_path":"7","sample_rate":44100.0,"keep":null,"group_by_speaker":""}"#;
    answer_stored(&mut model, &effects, input);
    let (_, request) = submitted_request(&press(&mut model, "<c-s>"));
    let stored: serde_json::Value = serde_json::from_str(input).unwrap();
    assert_eq!(serde_json::Value::Object(request.input_data), stored);
}

#[test]
fn what_the_daemon_hides_or_the_node_no_longer_has_is_named_in_the_form() {
    let (mut model, effects) = form_on_stage();
    answer_stored(&mut model, &effects, r#"{"audio_path":"***","old_name":1}"#);
    assert_shows(
        &model,
        &[
            "audio_path: the daemon does not show the former value",
            "no such parameter: old_name",
        ],
    );
    assert_hides(&model, "***");
}

#[test]
fn a_stored_request_that_could_not_be_read_is_asked_for_again() {
    let (mut model, effects) = form_on_stage();
    let id = id_of(&effects, |call| matches!(call, Call::Stage { .. }));
    let reply = Reply::Stage(Err(Refusal {
        text: "connection refused".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["the stored request could not be read: connection refused"]);
    assert!(changing(&press(&mut model, "<c-s>")).is_empty());
    update(&mut model, lost(MissingPart::Daemon));
    let items = vec![item(
        "c4",
        10.0,
        &[("ffmpeg.split_audio_segments", stage(StageState::Success))],
    )];
    let effects = update(&mut model, snapshot(items, 300));
    answer_stored(&mut model, &effects, r#"{"audio_path":"/v/a.wav"}"#);
    assert_shows(&model, &["/v/a.wav"]);
}

#[test]
fn the_answer_to_a_form_that_was_left_is_shown_and_a_refused_one_stays_as_a_draft() {
    let mut model = form((120, 36));
    press(&mut model, "/v/a.wav");
    let (id, _) = submitted_request(&press(&mut model, "<c-s>"));
    press(&mut model, "<esc>");
    // Opened again, it is the one that waits: it cannot be sent twice.
    press(&mut model, "<enter>");
    assert_shows(&model, &["… requested"]);
    assert!(changing(&press(&mut model, "<c-s>")).is_empty());
    press(&mut model, "<esc>");
    let reply = Reply::Submitted(Err(Refusal {
        status: Some(409),
        text: "it lacks ffmpeg".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id, reply });
    assert_shows(&model, &["was refused: it lacks ffmpeg; its draft is kept"]);
    press(&mut model, "<enter><c-r>");
    assert_shows(&model, &["/v/a.wav"]);
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
