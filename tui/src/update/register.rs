//! The form that registers a video: takes its keys, and the daemon's answer.

use onceover_wire::Video;

use super::{
    line,
    messages::{Call, CallAnswer, Effect},
    requests,
};
use crate::{
    actions::Action,
    key::Key,
    model::{
        Model, Page, Tone,
        register::{Entry, Register},
    },
};

/// Opens the form, with what was typed before.
pub fn open_page(model: &mut Model) {
    model.register.get_or_insert_with(Register::default);
    model.page = Page::Register;
}

/// Types a key that is bound to no action into the field.
pub fn type_into_form(model: &mut Model, key: Key) {
    let Some(form) = &mut model.register else {
        return;
    };
    let line = form.focused_mut();
    if line.entry != Entry::Send
        && let Some(request) = line::find_edit(key)
    {
        let before = line.input.value().to_owned();
        line.input.handle(request);
        if line.input.value() != before {
            line.error = None;
        }
    }
}

/// Types a pasted text into the field.
pub fn paste(model: &mut Model, text: &str) {
    for c in line::list_pasted(text) {
        type_into_form(model, Key::char(c));
    }
}

/// Carries out an action of the form.
pub fn act_in_form(model: &mut Model, action: Action, key: Key, effects: &mut Vec<Effect>) {
    let Some(form) = &mut model.register else {
        return;
    };
    match action {
        Action::NextField => form.step(1),
        Action::PreviousField => form.step(-1),
        Action::NextValue | Action::PreviousValue => type_into_form(model, key),
        Action::Confirm if form.focused().entry != Entry::Send => form.step(1),
        _ => send(model, effects),
    }
}

fn send(model: &mut Model, effects: &mut Vec<Effect>) {
    if requests::refuse_change(model) {
        return;
    }
    let id = model.new_id();
    let Some(form) = model.register.as_mut().filter(|form| form.request.is_none()) else {
        return;
    };
    let Some(request) = form.make_request() else {
        return;
    };
    form.request = Some(id);
    let call = Call::RegisterVideo {
        request: Box::new(request),
    };
    effects.push(Effect::Call { id, call });
}

/// Takes the daemon's answer to the form. Returns whether the list of videos is shown, which is then behind.
pub fn take_registered(model: &mut Model, id: u64, answer: CallAnswer<Box<Video>>) -> bool {
    let Some(form) = model.register.as_mut().filter(|form| form.request == Some(id)) else {
        return false;
    };
    match answer {
        Ok(video) => {
            model.register = None;
            if model.page == Page::Register {
                model.page = Page::Videos;
            }
            model.say(Tone::Good, format!("{} registered: {}", video.video_id, video.title));
            let is_shown = model.page == Page::Videos;
            if is_shown {
                model.videos.wanted = Some(video.video_id);
            }
            is_shown
        }
        Err(refusal) => {
            form.show_refusal(&refusal.text, &refusal.errors);
            let text = match refusal.errors.as_slice() {
                [] => format!("the video was refused: {}", refusal.text),
                [only] => format!("the video was refused: {}: {}", only.field, only.message),
                many => format!("the video was refused: see {} fields", many.len()),
            };
            model.say(Tone::Bad, text);
            false
        }
    }
}
