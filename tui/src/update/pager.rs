//! Opens the text of the tab in the user's pager: a log whole, as the daemon has it, JSON with a line for each value.

use std::sync::Arc;

use super::messages::{Call, CallAnswer, Effect, PagerText};
use crate::{
    model::{
        Model, Page, Tone,
        detail::{StagePart, Tab},
    },
    view::detail::list_tab_text,
};

/// Opens the text of the tab.
pub fn open(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some((task, node)) = model.detail.stage.clone() else {
        model.say(Tone::Neutral, "a text belongs to a stage: go to one first");
        return;
    };
    if model.page == Page::Log || model.detail.tab == Tab::Log {
        let id = model.new_id();
        model.detail.pager_request = Some(id);
        model.say(Tone::Neutral, "reading the whole log …");
        let (task, node) = ((*task).clone(), (*node).clone());
        effects.push(Effect::Call {
            id,
            call: Call::WholeLog { task, node },
        });
        return;
    }
    let text = match StagePart::of_tab(model.detail.tab) {
        Some(part) => {
            let text = model.detail.text.as_ref();
            text.map(|text| PagerText::Json(Arc::clone(&text.part(part).raw)))
        }
        None => list_tab_text(model).map(PagerText::Plain),
    };
    match text {
        Some(text) => effects.push(Effect::ShowText(text)),
        None => model.say(Tone::Neutral, "not yet: the text is being read"),
    }
}

/// Takes the whole log; one that is not waited for any more is dropped.
pub fn take_log(model: &mut Model, id: u64, answer: CallAnswer<String>, effects: &mut Vec<Effect>) {
    if model.detail.pager_request != Some(id) {
        return;
    }
    model.detail.pager_request = None;
    model.toast = None;
    match answer {
        Ok(text) if text.is_empty() => model.say(Tone::Neutral, "the log is empty"),
        Ok(text) => effects.push(Effect::ShowText(PagerText::Plain(text))),
        Err(refusal) => model.say(Tone::Bad, format!("the log could not be read: {}", refusal.text)),
    }
}
