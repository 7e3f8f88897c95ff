//! The state machine: `update(&mut Model, UiEvent) -> Vec<Effect>`. It does no IO and reads no clock: the time comes in
//! as an event, and everything to be done goes out as data.
//!
//! `keys`, `dialog`, `rerun`, `replies`, `time` and `feed` dispatch events. Pages (`rows`, `callbacks`, `nodes`,
//! `videos`, `register`, `video_actions`) call what pages share (`cursor`, `requests`, `reveal`, `sentences`, `past`,
//! `pipelines`, `stage_log`), and never each other; what a dispatcher has to do after a page they return.

mod callbacks;
mod cursor;
mod detail;
mod dialog;
mod feed;
mod filter_line;
mod keys;
mod line;
mod messages;
mod nodes;
mod past;
mod pipelines;
mod register;
mod replies;
mod requests;
mod rerun;
mod reveal;
mod rows;
mod sentences;
mod stage_log;
mod time;
mod video_actions;
mod videos;

use crate::model::Model;

pub use messages::{Call, CallAnswer, Effect, Refusal, Reply, Snapshot, UiEvent};

/// Takes one event in. Returns what is to be done because of it.
pub fn update(model: &mut Model, event: UiEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        UiEvent::Time(now) => time::advance(model, now, &mut effects),
        UiEvent::Key(key) => {
            model.settle();
            keys::press(model, key, &mut effects);
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
        UiEvent::LogChunk { id, bytes } => stage_log::take_chunk(model, id, &bytes),
        UiEvent::LogEnd { id, error } => stage_log::take_end(model, id, error),
        UiEvent::Say { tone, text } => {
            model.say(tone, text);
            model.redraw = true;
        }
    }
    effects
}
