//! The state machine: `update(&mut Model, UiEvent) -> Vec<Effect>`. It does no IO and reads no clock: the time comes in
//! as an event, and everything to be done goes out as data.
//!
//! `keys`, `mouse`, `dialog`, `rerun`, `edit`, `replies`, `time` and `feed` dispatch events. Pages (`rows`,
//! `callbacks`, `nodes`, `videos`, `register`, `video_actions`, `preview`, `timeline`, `compare`, `queues`, `machine`,
//! `workers`, `events`) call what pages share (`cursor`, `requests`, `reveal`, `sentences`, `past`, `sort`,
//! `pipelines`, `shell`, `stage_log`, `task_log`, `observed`, `watch`), and never each other; what a dispatcher has to
//! do after a page they return. `tabs` goes from one to the other; `commands` keeps what was asked of the daemon.

mod callbacks;
mod commands;
mod compare;
mod copy;
mod cursor;
mod detail;
mod dialog;
mod edit;
mod estimates;
mod events;
mod feed;
mod filter_line;
mod json;
mod keys;
mod line;
mod machine;
mod messages;
mod mouse;
mod nodes;
mod observed;
mod pager;
mod palette;
mod past;
mod pipelines;
mod preview;
mod queues;
mod register;
mod replies;
mod requests;
mod rerun;
mod restore;
mod reveal;
mod rows;
mod sentences;
mod shell;
mod sort;
mod stage_log;
mod tabs;
mod task_log;
mod time;
mod timeline;
mod video_actions;
mod videos;
mod watch;
mod workers;

use crate::model::{Model, Tone};

pub use messages::{Announcement, Call, CallAnswer, Effect, MoreRows, PagerText, Refusal, Reply, Snapshot, UiEvent};

/// Takes one event in. Returns what is to be done because of it.
pub fn update(model: &mut Model, event: UiEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    let before = model.page;
    let is_user = matches!(event, UiEvent::Key(_) | UiEvent::Pointer(_));
    if is_user && model.store.seq().is_some() {
        // The user has gone on: what is read only now does not move the cursor.
        model.return_to = None;
    }
    match event {
        UiEvent::Time(now) => time::advance(model, now, &mut effects),
        UiEvent::Key(key) => {
            model.settle();
            keys::press(model, key, &mut effects);
            model.redraw = true;
        }
        UiEvent::Pointer(event) => {
            model.settle();
            mouse::take_event(model, event, &mut effects);
            model.redraw = true;
        }
        UiEvent::Paste(text) => {
            keys::paste(model, &text);
            model.redraw = true;
        }
        UiEvent::Resize(columns, rows) => {
            model.size = (columns, rows);
            model.redraw = true;
        }
        UiEvent::Change(change) => feed::take_change(model, *change, &mut effects),
        UiEvent::Snapshot(snapshot) => feed::take_snapshot(model, *snapshot, &mut effects),
        UiEvent::Rows(rows) => feed::take_rows(model, *rows, &mut effects),
        UiEvent::System(system) => feed::take_system(model, *system, &mut effects),
        UiEvent::Reset => feed::reread(model, &mut effects),
        UiEvent::Source(source) => {
            model.redraw |= model.source != source;
            model.source = source;
        }
        UiEvent::Slow(slow) => {
            model.redraw |= model.slow != slow;
            model.slow = slow;
        }
        UiEvent::Lost {
            missing,
            reason,
            retry_in_ms,
        } => {
            feed::take_loss(model, missing, reason, retry_in_ms, &mut effects);
        }
        UiEvent::Reply { id, reply } => {
            replies::take_reply(model, id, reply, &mut effects);
            model.redraw = true;
        }
        UiEvent::Edited { id, result } => {
            edit::take_edited(model, id, result, &mut effects);
            model.redraw = true;
        }
        UiEvent::Paged(result) => {
            if let Err(why) = result {
                model.say(Tone::Bad, why);
            }
            model.redraw = true;
        }
        UiEvent::JsonParsed { id, tree } => json::take_parsed(model, id, *tree),
        UiEvent::LogChunk { id, bytes } => {
            if !task_log::take_chunk(model, id, &bytes) {
                stage_log::take_chunk(model, id, &bytes);
            }
        }
        UiEvent::LogEnd { id, error } => {
            if !task_log::take_end(model, id, error.as_ref()) {
                stage_log::take_end(model, id, error);
            }
        }
        UiEvent::Say { tone, text } => {
            model.say(tone, text);
            model.redraw = true;
        }
    }
    if !is_user && model.page != before {
        // The program went there, not the user: there is no way back to what is done or gone.
        model.trail.clear();
    }
    commands::note_actions(model, &effects);
    effects
}
