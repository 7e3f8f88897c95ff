//! Rerun with changes: the form on the stored request, what differs, what is sent; the editor; several stages at once.

use onceover_tui::{
    model::{Model, Page},
    update::{Call, Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{ExplainRequest, ReuseDecision, ReuseExplanation, ReuseMode, SubmitRequest};
use serde_json::{Value, json, value::RawValue};

use crate::fixture::*;

const NODE: &str = "ffmpeg.split_audio_segments";
const STORED: &str = r#"{"audio_path":"/v/강의.wav","output_format":"flac","sample_rate":44100}"#;

/// Two tasks with a stage of one node, and the catalog.
fn two_tasks() -> Model {
    let done = || [(NODE, stage(StageState::Success))];
    let items = vec![item("c4", 10.0, &done()), item("c3", 20.0, &done())];
    let mut model = dashboard_of(items, (120, 36));
    press_answered(&mut model, "n<esc>");
    press(&mut model, "E<home>");
    model
}

/// The questions about stored requests, by task.
fn stored_questions(effects: &[Effect]) -> Vec<(u64, String)> {
    let question = |effect: &Effect| match effect {
        Effect::Call {
            id,
            call: Call::Stage { task },
        } => Some((*id, task.to_string())),
        _ => None,
    };
    effects.iter().filter_map(question).collect()
}

fn answer_stored(model: &mut Model, id: u64, task: &str, input: &str) {
    let mut view = task_view(task, NODE, StageState::Success);
    for stage in view.stages.values_mut() {
        stage.input_params = RawValue::from_string(input.to_owned()).unwrap();
    }
    let reply = Reply::Stage(Ok(Box::new(view)));
    update(model, UiEvent::Reply { id, reply });
}

/// The form on the stage of `c4`, with its stored request.
fn edit_form() -> Model {
    let mut model = two_tasks();
    let effects = press(&mut model, "je");
    for (id, task) in stored_questions(&effects) {
        answer_stored(&mut model, id, &task, STORED);
    }
    model
}

fn submits(effects: &[Effect]) -> Vec<SubmitRequest> {
    let submit = |call: Call| match call {
        Call::Submit { request, .. } => *request,
        other => panic!("{other:?}"),
    };
    changing(effects).into_iter().map(submit).collect()
}

#[test]
fn tui08_a_changed_parameter_is_shown_before_it_is_sent_and_the_rest_is_as_it_was() {
    let mut model = edit_form();
    assert_shows(&model, &["Rerun c4 › ffmpeg.split_audio_segments with changes", "flac"]);
    press(&mut model, "<tab><tab><c-u>8000");
    assert_shows(&model, &["~ sample_rate  44100 -> 8000"]);
    assert!(changing(&press(&mut model, "<c-s>")).is_empty(), "it is reviewed first");
    assert_shows(
        &model,
        &["Rerun c4 › ffmpeg.split_audio_segments with changes?", "reuse  strict"],
    );
    let sent = submits(&press(&mut model, "<enter>"));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].task_id.as_deref(), Some("c4"));
    assert_eq!(sent[0].reuse, Some(ReuseMode::Strict));
    assert_eq!(
        Value::Object(sent[0].input_data.clone()),
        json!({"audio_path": "/v/강의.wav", "output_format": "flac", "sample_rate": 8000})
    );
    assert!(
        changing(&press(&mut model, "<c-s><enter><c-s>")).is_empty(),
        "pressed twice it makes one run"
    );
}

#[test]
fn tui08_what_was_left_out_and_added_is_shown_and_esc_goes_back_to_the_form() {
    let mut model = edit_form();
    press(&mut model, "<c-u><down><down><down><down>[1]<c-s>");
    assert_shows(&model, &["- audio_path", "+ keep  [1]"]);
    press(&mut model, "<esc>");
    assert!(model.dialog.is_none());
    assert_eq!(model.page, Page::Form);
    press(&mut model, "<esc>");
    assert_eq!(model.page, Page::Tasks, "the form was opened from the tree");
}

#[test]
fn tui08_a_value_that_cannot_be_is_refused_at_its_field_while_it_is_typed() {
    let mut model = edit_form();
    press(&mut model, "<tab><tab><c-u>80");
    assert_shows(&model, &["✖ it must be at least 8000"]);
    press(&mut model, "00");
    assert_hides(&model, "it must be at least 8000");
}

/// The question that the form asks about reuse by this time.
fn asked(model: &mut Model, seconds: f64) -> Option<(u64, ExplainRequest)> {
    let effects = tick(model, seconds);
    effects.iter().find_map(|effect| match effect {
        Effect::Call {
            id,
            call: Call::Forecast { request, .. },
        } => Some((*id, request.clone())),
        _ => None,
    })
}

fn answer_question(model: &mut Model, id: u64, answer: Result<ReuseExplanation, Refusal>) {
    let reply = Reply::Reuse(answer.map(Box::new));
    update(model, UiEvent::Reply { id, reply });
}

#[test]
fn tui08_the_form_says_what_the_daemon_would_do_with_what_is_typed_and_asks_once() {
    let mut model = edit_form();
    assert_eq!(asked(&mut model, 1.0), None, "more may be typed yet");
    let (first, request) = asked(&mut model, 1.4).expect("it is asked");
    assert_eq!(
        (request.reuse, &request.input_data["sample_rate"]),
        (None, &json!(44100))
    );
    let hit = || explanation(ReuseDecision::Hit, "hit", "would be reused: its output counts");
    answer_question(&mut model, first, Ok(hit()));
    assert_shows(&model, &["now: ↺ would be reused: its output counts"]);
    assert_eq!(asked(&mut model, 2.0), None, "once");
    // Another input is another question; the answer about the former one is not shown for it.
    press(&mut model, "<tab><tab><c-u>8000");
    assert_shows(&model, &["now: …"]);
    assert_eq!(asked(&mut model, 3.0), None);
    let (second, request) = asked(&mut model, 3.4).expect("it is asked about what is typed");
    assert_eq!(request.input_data["sample_rate"], json!(8000));
    answer_question(&mut model, first, Ok(hit()));
    assert_shows(&model, &["now: …"]);
    let run = explanation(
        ReuseDecision::Run,
        "input_changed",
        "would run: the stored result came from other input",
    );
    answer_question(&mut model, second, Ok(run));
    assert_shows(&model, &["now: ● would run: the input differs"]);
    // Another mode is another question, too.
    press(&mut model, "<c-s>f");
    assert_shows(&model, &["reuse  forced"]);
    assert_eq!(asked(&mut model, 5.0), None);
    let (third, request) = asked(&mut model, 5.4).expect("another mode is asked about");
    assert_eq!(request.reuse, Some(ReuseMode::Never));
    let refusal = Refusal {
        status: Some(422),
        text: "audio_path: there is no such file".into(),
        ..Refusal::default()
    };
    answer_question(&mut model, third, Err(refusal));
    assert_shows(&model, &["now: ✖ would be refused: audio_path: there is no such file"]);
}

#[test]
fn tui08_a_value_that_cannot_be_is_not_asked_about() {
    let mut model = edit_form();
    press(&mut model, "<tab><tab><c-u>80");
    assert_shows(&model, &["✖ it must be at least 8000"]);
    assert_eq!(asked(&mut model, 1.0), None);
    assert_eq!(asked(&mut model, 2.0), None);
    press(&mut model, "00");
    assert_eq!(asked(&mut model, 3.0), None);
    assert!(asked(&mut model, 3.4).is_some());
}

/// The text that was given to the editor, and its effect.
fn edited_text(effects: &[Effect]) -> Option<(u64, String)> {
    effects.iter().find_map(|effect| match effect {
        Effect::EditText { id, text } => Some((*id, text.clone())),
        _ => None,
    })
}

#[test]
fn tui08_the_editor_gets_the_stored_request_and_a_broken_one_comes_back_with_its_line() {
    let mut model = edit_form();
    let (id, text) = edited_text(&press(&mut model, "<c-e>")).expect("the editor opens");
    assert!(
        text.starts_with("// ") && text.contains("\"sample_rate\": 44100"),
        "{text}"
    );
    let broken = text.replace("44100", "44100,,");
    let result = Ok(broken.clone());
    let (id, again) = edited_text(&update(&mut model, UiEvent::Edited { id, result })).expect("it comes back");
    assert!(
        again.starts_with("// not taken over: ") && again.contains("44100,,"),
        "{again}"
    );
    let line = again.lines().position(|line| line.contains("44100,,")).unwrap() + 1;
    assert!(
        again.lines().next().unwrap().contains(&format!("line {line} ")),
        "{again}"
    );
    // It is left as it is: nobody is asked for ever.
    let result = Ok(again);
    assert_eq!(edited_text(&update(&mut model, UiEvent::Edited { id, result })), None);
    assert_shows(&model, &["kept for the next time", "the edited text is not JSON"]);
    let (id, kept) = edited_text(&press(&mut model, "<c-e>")).expect("the editor opens");
    assert!(kept.contains("44100,,"), "{kept}");
    let result = Ok(kept.replace("44100,,", "22050"));
    assert_eq!(edited_text(&update(&mut model, UiEvent::Edited { id, result })), None);
    assert_shows(&model, &["~ sample_rate  44100 -> 22050"]);
    assert_hides(&model, "is not JSON");
}

#[test]
fn tui08_of_many_stages_what_is_typed_alone_changes_and_each_is_listed() {
    let mut model = two_tasks();
    let effects = press(&mut model, "j j e");
    let questions = stored_questions(&effects);
    assert_eq!(questions.len(), 2, "{effects:?}");
    assert_shows(&model, &["Rerun 2 stages of ffmpeg.split_audio_segments with changes"]);
    press(&mut model, "<tab><tab>8000<c-s>");
    assert_shows(&model, &["left out: its stored request is being read"]);
    press(&mut model, "<esc>");
    for (id, task) in questions {
        let input = match task.as_str() {
            "c4" => r#"{"audio_path":"/v/4.wav","sample_rate":44100}"#,
            _ => r#"{"audio_path":"/v/3.wav"}"#,
        };
        answer_stored(&mut model, id, &task, input);
    }
    press(&mut model, "<c-s>");
    assert_shows(
        &model,
        &[
            "Rerun 2 stages with changes?",
            "c3 › ffmpeg.split_audio_segments",
            "+ sample_rate  8000",
            "c4 › ffmpeg.split_audio_segments",
            "~ sample_rate  44100 -> 8000",
        ],
    );
    let sent = submits(&press(&mut model, "<enter>"));
    let sent: Vec<_> = sent
        .into_iter()
        .map(|request| (request.task_id.unwrap_or_default(), Value::Object(request.input_data)))
        .collect();
    assert_eq!(
        sent,
        [
            ("c3".to_owned(), json!({"audio_path": "/v/3.wav", "sample_rate": 8000})),
            ("c4".to_owned(), json!({"audio_path": "/v/4.wav", "sample_rate": 8000})),
        ]
    );
    assert_eq!(model.page, Page::Tasks);
}

#[test]
fn stages_of_several_nodes_do_not_change_together() {
    let mut model = dashboard((120, 36));
    press_answered(&mut model, "n<esc>");
    let effects = press(&mut model, "E<home>j  e");
    assert!(stored_questions(&effects).is_empty());
    assert_shows(&model, &["stages are of several nodes"]);
}
