//! The form that registers a video: its keys, and the daemon's answer.

use crossterm::event::KeyCode;
use onceover_wire::Video;

use super::{Call, CallAnswer, Effect, keys, line, videos};
use crate::{
    actions::Action,
    key::Key,
    model::{
        Model, Page, Tone,
        register::{Entry, Register},
    },
};

pub fn open(model: &mut Model) {
    model.register.get_or_insert_with(Register::default);
    model.page = Page::Register;
}

/// A key that no action has: text for the field.
pub fn type_into(model: &mut Model, key: Key) {
    let Some(form) = &mut model.register else {
        return;
    };
    let line = form.focused_mut();
    if line.entry != Entry::Send
        && let Some(request) = line::request_of(key)
    {
        let before = line.input.value().to_owned();
        line.input.handle(request);
        if line.input.value() != before {
            line.error = None;
        }
    }
}

pub fn paste(model: &mut Model, text: &str) {
    for c in line::pasted(text) {
        type_into(model, Key::new(KeyCode::Char(c)));
    }
}

pub fn act(model: &mut Model, action: Action, key: Key, effects: &mut Vec<Effect>) {
    let Some(form) = &mut model.register else {
        return;
    };
    match action {
        Action::NextField => form.step(1),
        Action::PreviousField => form.step(-1),
        Action::NextValue | Action::PreviousValue => type_into(model, key),
        Action::Confirm if form.focused().entry != Entry::Send => form.step(1),
        _ => send(model, effects),
    }
}

fn send(model: &mut Model, effects: &mut Vec<Effect>) {
    if let Some(reason) = keys::refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    let id = model.new_id();
    let Some(form) = model.register.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    let Some(request) = form.take_request() else {
        return;
    };
    form.request = Some(id);
    let call = Call::RegisterVideo {
        request: Box::new(request),
    };
    effects.push(Effect::Call { id, call });
}

pub fn answered(model: &mut Model, id: u64, answer: CallAnswer<Box<Video>>, effects: &mut Vec<Effect>) {
    let Some(form) = model.register.as_mut().filter(|form| form.request == Some(id)) else {
        return;
    };
    match answer {
        Ok(video) => {
            model.register = None;
            if model.page == Page::Register {
                model.page = Page::Videos;
            }
            if model.page == Page::Videos {
                model.videos.wanted = Some(video.video_id.clone());
                videos::fetch(model, effects);
            }
            model.say(Tone::Good, format!("{} registered: {}", video.video_id, video.title));
        }
        Err(refusal) => {
            form.refused(&refusal.text, &refusal.errors);
            let text = match refusal.errors.as_slice() {
                [] => format!("the video was refused: {}", refusal.text),
                [only] => format!("the video was refused: {}: {}", only.field, only.message),
                many => format!("the video was refused: see {} fields", many.len()),
            };
            model.say(Tone::Bad, text);
        }
    }
}
