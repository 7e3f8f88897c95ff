//! The tab about reuse: what the daemon says a submit would do now, and what reuse has done so far.

use onceover_types::StageState;
use onceover_wire::{ReuseDecision, ReuseExplanation, StageSummary};
use ratatui::style::Style;

use super::{
    block::{Block, Lines},
    reasons::{describe_decision, describe_reason},
    warned,
};
use crate::{
    figures,
    model::Model,
    theme::{Theme, glyph, word},
};

/// Lists what the tab shows.
pub fn list_lines(model: &Model, stage: &StageSummary, columns: u16) -> Lines {
    let theme = model.theme;
    let mut block = Block::new(columns);
    match &model.detail.reuse {
        None if !model.is_live() => block.say("not asked before the connection was lost", theme.faint()),
        None => block.say("…", theme.faint()),
        Some(Err(refused)) => block.say(&format!("The daemon does not say: {refused}"), theme.bad()),
        Some(Ok(explanation)) => add_explanation(model, explanation, &mut block),
    }
    block.add_gap();
    block.add_fact(
        "hits",
        &format!("{} answered from the finished stage", stage.reuse_hits),
        theme.plain(),
    );
    block.add_fact(
        "joined",
        &format!("{} waited with the run in flight", stage.joins),
        theme.plain(),
    );
    block.add_fact(
        "saved",
        &format!("{} so far", figures::format_long(stage.saved_seconds)),
        theme.reuse(),
    );
    block.add_gap();
    block.say(&format!("The last run: {}", describe_decision(stage)), theme.plain());
    if stage.forced {
        block.say(
            "It was forced: the former result stands until it succeeds.",
            theme.warn(),
        );
    }
    if let Some(last) = model.detail.text.as_ref().and_then(|text| text.last_attempt.as_ref()) {
        let error = last.error.as_deref().unwrap_or("no error text");
        block.say(
            &format!("The last attempt to replace it ended {}: {error}", word(last.status)),
            theme.bad(),
        );
    }
    block.into_lines()
}

/// Returns the glyph of a decision, and its style.
pub fn sign_decision(theme: Theme, decision: ReuseDecision) -> (&'static str, Style) {
    match decision {
        ReuseDecision::Hit => ("↺", theme.reuse()),
        ReuseDecision::Join => ("…", theme.accent()),
        ReuseDecision::Run => ("●", theme.warn()),
        ReuseDecision::Refuse => ("✖", theme.bad()),
    }
}

/// Adds the decision, and the reasons for it.
fn add_explanation(model: &Model, explanation: &ReuseExplanation, block: &mut Block) {
    let theme = model.theme;
    let clock = |time| figures::format_time(time, model.now, &model.tz);
    let (sign, style) = sign_decision(theme, explanation.decision);
    block.say(&format!("{sign} The same request now {}.", explanation.message), style);
    block.add_fact(
        "reason",
        &format!("{}, mode {}", explanation.reason, explanation.mode.as_str()),
        theme.plain(),
    );
    let source = match (&explanation.run_id, explanation.decision) {
        (Some(run), ReuseDecision::Hit) => Some(("source", format!("run {run}"))),
        (None, ReuseDecision::Hit) => Some(("source", "another system's worker".to_owned())),
        (Some(run), ReuseDecision::Join) => Some(("joins", format!("run {run}"))),
        (Some(run), ReuseDecision::Run) => Some(("last run", run.to_string())),
        _ => None,
    };
    if let Some((label, text)) = source {
        block.add_fact(label, &text, theme.plain());
    }
    if let Some(ended) = explanation.cached_at {
        block.add_fact("made", &clock(ended), theme.plain());
    }
    if let Some(state) = explanation.stage_status.filter(|state| state.in_flight()) {
        let position = explanation.queue_position.map_or(String::new(), |position| {
            format!(", {} in its queue", figures::format_ordinal(position as usize))
        });
        block.add_fact(
            "stage",
            &format!("{} {}{position}", glyph(state), word(state)),
            theme.state(state),
        );
    }
    if let Some(reason) = &explanation.started_because {
        let why = describe_reason(Some(reason)).map_or_else(String::new, |why| format!(": {why}"));
        block.add_fact("started", &format!("{reason}{why}"), theme.plain());
    }
    if let Some(saved) = explanation.saved_seconds {
        block.add_fact(
            "saves",
            &format!("{} of running", figures::format_long(saved)),
            theme.reuse(),
        );
    }
    if explanation.warnings > 0 {
        let text = warned::count_warnings(explanation.warnings, explanation.warnings_retryable);
        block.add_fact("warnings", &text, theme.warn());
    }
    match explanation.input_changed {
        Some(true) => block.add_fact(
            "input",
            "differs: the result came from other parameters, files or earlier results than a request would use now",
            theme.warn(),
        ),
        Some(false) => block.add_fact("input", "the same as the result's", theme.plain()),
        None if explanation.decision == ReuseDecision::Hit => {
            block.add_fact(
                "input",
                "whether it is the same as the result's is not known",
                theme.warn(),
            );
        }
        None => {}
    }
    let counts = if explanation.reuse_fields.is_empty() {
        "any output that is not empty".to_owned()
    } else {
        explanation.reuse_fields.join(", ")
    };
    block.add_fact("counts", &counts, theme.plain());
    if let Some(error) = &explanation.error {
        block.add_fact("error", error, theme.state(StageState::Failed));
    }
}
