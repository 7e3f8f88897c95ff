//! Requests that change something in the daemon: why none can be sent now, and one call for each subject of an action.

use super::messages::{Call, Effect};
use crate::{
    actions::{Action, format_hint},
    model::{Batch, Link, MissingPart, Model, Subject, Tone, UnderWay, access::Access},
};

/// Returns why nothing can be changed now; `None` if it can.
pub fn find_refusal(model: &Model) -> Option<String> {
    if model.read_only {
        return Some("not in a printed frame: it changes nothing".into());
    }
    describe_denial(model).or_else(|| find_lost_link(model))
}

/// Says why this user may not change anything, and which key helps; `None` if changes are allowed.
pub fn describe_denial(model: &Model) -> Option<String> {
    let reason = model.access.describe_denial()?;
    let write = |key: &str| format!("; {key} tries again with another one");
    let hint = match model.access {
        Access::ReadToken => format_hint(Action::Reread, model.page, &model.bindings, write),
        _ => String::new(),
    };
    Some(format!("{reason}{hint}"))
}

/// Returns what of the connection is missing.
fn find_lost_link(model: &Model) -> Option<String> {
    match &model.link {
        Link::Live => None,
        Link::Connecting => Some("not yet: still connecting".into()),
        Link::Lost {
            missing: MissingPart::Daemon,
            reason,
            ..
        } => Some(format!("not while disconnected: {reason}")),
        Link::Lost {
            missing: MissingPart::Redis,
            reason,
            ..
        } => Some(format!("not while Redis is unavailable: {reason}")),
        Link::Lost {
            missing: MissingPart::Access,
            reason,
            ..
        } => Some(format!("not without access: {reason}")),
    }
}

/// Says why nothing can be changed now. Returns `false` if it can.
pub fn refuse_change(model: &mut Model) -> bool {
    let Some(reason) = find_refusal(model) else {
        return false;
    };
    model.say(Tone::Bad, reason);
    true
}

/// Says why a page cannot be opened that has nothing to show before the first snapshot. Returns `false` if it can.
pub fn refuse_page(model: &mut Model) -> bool {
    if model.store.seq().is_some() {
        return false;
    }
    let Some(reason) = find_lost_link(model) else {
        return false;
    };
    model.say(Tone::Bad, reason);
    true
}

/// Sends one call for each subject; these show "requested" until the answers are in.
pub fn send_batch(model: &mut Model, verb: &'static str, calls: Vec<(Subject, Call)>, effects: &mut Vec<Effect>) {
    let batch = model.new_id();
    let mut total = 0;
    for (subject, call) in calls {
        if model.under_way.contains_key(&subject) {
            continue;
        }
        let request = model.new_id();
        model.failures.remove(&subject);
        model.warned.remove(&subject);
        model.under_way.insert(subject, UnderWay { request, batch });
        effects.push(Effect::Call { id: request, call });
        total += 1;
    }
    if total > 0 {
        model.batches.insert(
            batch,
            Batch {
                verb,
                total,
                ..Batch::default()
            },
        );
    }
}
