//! A session as a file of JSON lines: everything that went into `update`, and a hash of every frame that was drawn.
//! `recorder` writes one while the dashboard runs, `player` plays one through the same `update` and `view`.

mod player;
mod recorder;

use std::collections::BTreeMap;

use onceover_types::{TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    actions::ACTIONS,
    clipboard::Multiplexer,
    glyphs::Glyphs,
    images::Images,
    kept_view::KeptView,
    key::{Key, KeyBindings},
    model::{Model, access::Access, pointer::Pointer},
    theme::Theme,
    update::UiEvent,
};

pub use player::{PlayedFrame, Player, ReplayError, ReplayStep};
pub use recorder::{MOST_BYTES, SessionRecorder};

/// One line of a recording, as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedEntry {
    /// The first line.
    Begin(Box<SessionStart>),
    Event(UiEvent),
    /// The next frame writes every cell.
    Forget,
    /// A frame was drawn: the hash of its bytes.
    Frame(String),
    /// The last line: why the recording ends.
    End(String),
}

/// The same as it is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum WrittenEntry<'a> {
    Begin(&'a SessionStart),
    Event(&'a UiEvent),
    Forget,
    Frame(&'a str),
    End(&'a str),
}

/// The time zone of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RecordedZone {
    Name(String),
    /// A zone without a name, by its seconds from UTC at the beginning.
    Offset(i32),
}

impl RecordedZone {
    fn new(zone: &jiff::tz::TimeZone, now: Timestamp) -> Self {
        match zone.iana_name() {
            Some(name) => Self::Name(name.to_owned()),
            None => {
                let now = jiff::Timestamp::from_millisecond(now.as_millis()).unwrap_or_default();
                Self::Offset(zone.to_offset(now).seconds())
            }
        }
    }

    fn find(&self) -> Result<jiff::tz::TimeZone, jiff::Error> {
        match self {
            Self::Name(name) => jiff::tz::TimeZone::get(name),
            Self::Offset(seconds) => jiff::tz::Offset::from_seconds(*seconds).map(jiff::tz::TimeZone::fixed),
        }
    }
}

/// What a session began with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SessionStart {
    /// The version of the program.
    version: String,
    size: (u16, u16),
    glyphs: Glyphs,
    theme: Theme,
    images: Images,
    multiplexer: Multiplexer,
    zone: RecordedZone,
    daemon: String,
    read_only: bool,
    access: Access,
    uses_mouse: bool,
    watches_failures: bool,
    /// The keys that the configuration has changed, by the action's name.
    keys: BTreeMap<String, Vec<Key>>,
    wanted: Option<TaskId>,
    view: KeptView,
    /// Whether the first snapshot restores where the last start ended.
    restores_view: bool,
    now: Timestamp,
}

impl SessionStart {
    fn of_model(model: &Model) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            size: model.size,
            glyphs: model.glyphs,
            theme: model.theme,
            images: model.images,
            multiplexer: model.multiplexer,
            zone: RecordedZone::new(&model.tz, model.now),
            daemon: model.daemon.clone(),
            read_only: model.read_only,
            access: model.access,
            uses_mouse: model.pointer.is_used,
            watches_failures: model.watched.failures,
            keys: model
                .bindings
                .changed()
                .map(|(action, keys)| (action.to_owned(), keys.to_vec()))
                .collect(),
            wanted: model.wanted.clone(),
            view: KeptView::of_model(model),
            restores_view: model.return_to.is_some(),
            now: model.now,
        }
    }

    fn make_model(&self) -> Result<Model, jiff::Error> {
        let mut model = Model::new(&self.daemon, self.now, self.size);
        model.glyphs = self.glyphs;
        model.theme = self.theme;
        model.images = self.images;
        model.multiplexer = self.multiplexer;
        model.tz = self.zone.find()?;
        model.read_only = self.read_only;
        model.access = self.access;
        model.pointer = Pointer::new(self.uses_mouse);
        model.watched.failures = self.watches_failures;
        model.bindings = self.find_bindings();
        model.wanted = self.wanted.clone();
        self.view.clone().apply(&mut model);
        if !self.restores_view {
            model.return_to = None;
        }
        Ok(model)
    }

    /// Finds the actions whose keys were changed. One that this version does not have is left out.
    fn find_bindings(&self) -> KeyBindings {
        let mut bindings = KeyBindings::default();
        for spec in ACTIONS {
            if let Some(keys) = self.keys.get(spec.name) {
                bindings.bind(spec.name, keys.clone());
            }
        }
        bindings
    }
}

/// Returns the hash of a frame.
fn hash_frame(bytes: &[u8]) -> String {
    let mut hash = blake3::hash(bytes).to_hex().to_string();
    hash.truncate(32);
    hash
}
