//! A recorded session is replayed to the same bytes, and holds nothing secret.

use std::path::Path;

use onceover_catalog::{Gpu, parse_node};
use onceover_tui::{
    images::{CellColours, Images},
    key::{Key, parse_keys},
    model::{Model, access::Access, pointer::Pointer},
    paint::{NoPictures, Painter},
    pointer::{Gesture, PointerEvent},
    record::{Player, ReplayStep, SessionRecorder},
    theme::{Backdrop, ColourLevel, Theme, ThemeChoice, ThemeName},
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, NodeInfo, NodeList, StageSummary};

use crate::fixture::*;

const NODE: &str = "ffmpeg.extract_audio";
const SECRET: &str = "sk-9Quite-Secret";

/// The driver's part in a recorded session, without its terminal.
struct Session {
    model: Model,
    recorder: SessionRecorder,
    painter: Painter,
    frames: Vec<Vec<u8>>,
}

impl Session {
    fn begin(path: &Path, size: (u16, u16)) -> Self {
        Self::begin_with(path, Model::new("http://127.0.0.1:8788", at(0.0), size))
    }

    fn begin_with(path: &Path, model: Model) -> Self {
        let mut recorder = SessionRecorder::create(path).unwrap();
        recorder.begin(&model);
        Self {
            model,
            recorder,
            painter: Painter::new(),
            frames: Vec::new(),
        }
    }

    /// Takes an event in, as the driver does, and draws a frame.
    fn take(&mut self, event: UiEvent) {
        self.recorder.note_event(&self.model, &event);
        let effects = update(&mut self.model, event);
        for effect in effects {
            if let Effect::Call { id, call: Call::Nodes } = effect {
                let reply = Reply::Nodes(Ok(secret_node()));
                self.take(UiEvent::Reply { id, reply });
            }
        }
        if let Some(bytes) = self.painter.paint(&self.model, &NoPictures).unwrap() {
            self.recorder.note_frame(&bytes);
            self.frames.push(bytes);
        }
    }

    fn press(&mut self, keys: &str) {
        for key in parse_keys(keys).unwrap() {
            self.take(UiEvent::Key(key));
        }
    }
}

/// The only node, which needs a key.
fn secret_node() -> NodeList {
    let spec = parse_node(
        r#"
        name = "translate.ask"
        title = "Ask"
        purpose = "Asks a model."
        runner = { python = "translate/ask.py" }
        [[parameters]]
        name = "api_key"
        type = "string"
        meaning = "The key of the provider."
        "#,
    );
    NodeList {
        nodes: vec![NodeInfo::new(&spec.unwrap(), Vec::new(), Gpu::Absent)],
        total_count: 1,
    }
}

fn replay(path: &Path) -> (Vec<Vec<u8>>, usize, String) {
    let mut player = Player::open(path).unwrap();
    let (mut frames, mut different, mut end) = (Vec::new(), 0, String::new());
    while let Some(step) = player.step().unwrap() {
        match step {
            ReplayStep::Frame(frame) => {
                different += usize::from(!frame.is_same);
                frames.push(frame.bytes);
            }
            ReplayStep::End(reason) => end = reason,
            ReplayStep::Time(_) | ReplayStep::Event => {}
        }
    }
    (frames, different, end)
}

#[test]
fn tui19_a_session_replays_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.jsonl");
    let mut session = Session::begin(&path, (80, 24));
    session.take(snapshot(items(), 100));
    for (seq, status) in [(101, StageState::Running), (102, StageState::Success)] {
        let summary = StageSummary {
            revision: seq,
            ..stage(status)
        };
        session.take(change(seq, "podcast-112", NODE, EventKind::Progress, summary));
        session.take(UiEvent::Time(at(seq as f64 - 100.0)));
    }
    session.press("jj<tab>?<esc>/강의<esc>F,.F<c-l>");
    session.painter.forget();
    session.recorder.note_forget();
    session.take(UiEvent::Resize(60, 16));
    session.take(UiEvent::LogChunk {
        id: 1,
        bytes: vec![0xff, b'a'].into(),
    });
    session.take(lost(onceover_tui::model::MissingPart::Redis));
    session.take(UiEvent::Time(at(9.0)));
    let drawn = std::mem::take(&mut session.frames);
    drop(session);
    let (frames, different, end) = replay(&path);
    assert!(drawn.len() > 10);
    assert_eq!((frames, different), (drawn, 0));
    assert_eq!(end, "the dashboard was quit");
}

#[test]
fn tui19_what_is_typed_into_a_secret_field_is_not_in_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.jsonl");
    let mut session = Session::begin(&path, (100, 30));
    session.take(snapshot(items(), 100));
    session.press("s<enter>");
    session.press(SECRET);
    session.take(UiEvent::Paste(SECRET.into()));
    let form = session.model.form.as_ref().unwrap();
    assert_eq!(form.focused().input.value(), SECRET.repeat(2));
    assert_hides(&session.model, SECRET);
    let drawn = std::mem::take(&mut session.frames);
    drop(session);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(SECRET));
    let typed: String = text
        .lines()
        .filter_map(|line| line.strip_prefix(r#"{"event":{"key":""#)?.strip_suffix(r#""}}"#))
        .collect();
    assert!(!typed.contains(SECRET), "{typed}");
    let (frames, different, _) = replay(&path);
    assert_eq!((frames, different), (drawn, 0));
}

#[test]
fn tui19_an_edited_document_is_recorded_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.jsonl");
    let mut session = Session::begin(&path, (100, 30));
    session.take(snapshot(items(), 100));
    session.press("s<enter><c-e>");
    // One that cannot be read goes back to the editor.
    for document in [
        format!("{{\"input_data\": {{\"api_key\": \"{SECRET}\"}}"),
        format!("// \"api_key\": \"{SECRET}\"\n{{\"input_data\": {{\"api_key\": \"{SECRET}\"}}}}"),
    ] {
        let id = session.model.form.as_ref().unwrap().editor.unwrap();
        session.take(UiEvent::Edited {
            id,
            result: Ok(document),
        });
    }
    let form = session.model.form.as_ref().unwrap();
    assert_eq!(form.focused().input.value(), SECRET);
    assert_hides(&session.model, SECRET);
    session.press("<c-s>");
    session.press("<esc><esc>H");
    assert_hides(&session.model, SECRET);
    let drawn = std::mem::take(&mut session.frames);
    drop(session);
    assert!(!std::fs::read_to_string(&path).unwrap().contains(SECRET));
    let (frames, different, _) = replay(&path);
    assert_eq!((frames, different), (drawn, 0));
}

#[test]
fn tui19_what_the_configuration_says_is_part_of_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.jsonl");
    let mut model = Model::new("http://127.0.0.1:8788", at(0.0), (100, 30));
    let choice = ThemeChoice {
        name: ThemeName::Light,
        colours: Vec::new(),
    };
    model.theme = Theme::new(&choice, ColourLevel::Full, Backdrop::Light);
    model.images = Images {
        colours: CellColours::Indexed,
        ..Images::default()
    };
    model.access = Access::ReadFlag;
    model.pointer = Pointer::new(true);
    model.bindings.bind("freeze", vec![Key::char('U')]);
    let mut session = Session::begin_with(&path, model);
    session.take(snapshot(items(), 100));
    session.take(UiEvent::Pointer(PointerEvent {
        gesture: Gesture::Press,
        column: 5,
        row: 5,
    }));
    session.press("Ux?<esc>");
    assert!(session.model.store.is_frozen());
    let drawn = std::mem::take(&mut session.frames);
    drop(session);
    let (frames, different, _) = replay(&path);
    assert_eq!((frames, different), (drawn, 0));
}

#[test]
fn tui19_what_is_no_recording_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.jsonl");
    let refusal = |text: &str| {
        std::fs::write(&path, text).unwrap();
        match Player::open(&path) {
            Err(error) => error.to_string(),
            Ok(mut player) => loop {
                match player.step() {
                    Err(error) => break error.to_string(),
                    Ok(Some(_)) => {}
                    Ok(None) => break String::new(),
                }
            },
        }
    };
    assert!(refusal("").contains("no recording"));
    assert!(refusal("{\"event\":\"reset\"}\n").contains("no recording"));
    drop(Session::begin(&path, (80, 24)));
    let begin = std::fs::read_to_string(&path).unwrap();
    let begin = begin.lines().next().unwrap();
    assert!(refusal(&format!("{begin}\n{{\"event\":\"nope\"}}\n")).contains("line 2"));
}
