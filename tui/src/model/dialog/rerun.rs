//! The choice of how something runs again: the ways there are, and what the daemon says each would do.

use std::collections::HashSet;

use onceover_wire::{ReuseExplanation, ReuseMode};

use super::Target;

/// A way to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RerunWay {
    /// Each stage is submitted again with this reuse mode.
    Stages(ReuseMode),
    /// The steps of pipelines run again, and what depends on them.
    Dependents,
    /// The pipeline is started; what is done is reused.
    Start,
    /// What is under way ends, and every step of the pipeline runs again.
    Restart,
}

impl RerunWay {
    /// The ways of a stage, the one that destroys least first.
    pub const OF_STAGES: [Self; 3] = [
        Self::Stages(ReuseMode::Auto),
        Self::Stages(ReuseMode::Strict),
        Self::Stages(ReuseMode::Never),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Stages(ReuseMode::Auto) => "auto",
            Self::Stages(ReuseMode::Strict) => "strict",
            Self::Stages(ReuseMode::Never) => "forced",
            Self::Dependents => "dependents",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }

    /// Returns the letter that chooses it: the first of its name.
    pub fn letter(self) -> Option<char> {
        self.name().chars().next()
    }

    /// Whether it asks before it acts.
    pub fn asks(self) -> bool {
        !matches!(self, Self::Stages(ReuseMode::Auto | ReuseMode::Strict))
    }
}

/// What the daemon says that one reuse mode would do.
#[derive(Debug)]
pub struct Forecast {
    pub mode: ReuseMode,
    requests: HashSet<u64>,
    pub explanations: Vec<Result<Box<ReuseExplanation>, String>>,
}

impl Forecast {
    /// Waits for the answers to these requests.
    pub fn await_answers(mode: ReuseMode, requests: HashSet<u64>) -> Self {
        Self {
            mode,
            requests,
            explanations: Vec::new(),
        }
    }

    /// Whether every answer is in.
    pub fn is_complete(&self) -> bool {
        self.requests.is_empty()
    }
}

/// The menu of ways.
#[derive(Debug, Default)]
pub struct Rerun {
    /// The stages, as they were when the menu was opened.
    pub stages: Vec<Target>,
    /// The videos, with the steps that were chosen.
    pub videos: Vec<Target>,
    /// Rows that were chosen and have nothing to run again.
    pub left_out: usize,
    pub ways: Vec<RerunWay>,
    /// The way at the cursor.
    pub at: usize,
    pub scroll: usize,
    /// Empty where there are too many stages to ask for.
    pub forecasts: Vec<Forecast>,
}

impl Rerun {
    pub fn chosen(&self) -> Option<RerunWay> {
        self.ways.get(self.at).copied()
    }

    /// Returns what the menu is about: stages, or else videos.
    pub fn targets(&self) -> &[Target] {
        if self.stages.is_empty() {
            &self.videos
        } else {
            &self.stages
        }
    }

    /// Chooses the way that is so many ways further, after the last one the first.
    pub fn step(&mut self, by: isize) {
        let count = self.ways.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }

    /// Chooses the way with this letter, if there is one.
    pub fn choose_letter(&mut self, letter: char) {
        if let Some(at) = self.ways.iter().position(|way| way.letter() == Some(letter)) {
            self.at = at;
        }
    }

    pub fn forecast(&self, mode: ReuseMode) -> Option<&Forecast> {
        self.forecasts.iter().find(|forecast| forecast.mode == mode)
    }

    /// Whether the answer to this request is waited for.
    pub fn has_asked(&self, request: u64) -> bool {
        self.forecasts
            .iter()
            .any(|forecast| forecast.requests.contains(&request))
    }

    /// Takes what the daemon says of one stage and mode.
    pub fn take_answer(&mut self, request: u64, answer: Result<Box<ReuseExplanation>, String>) {
        if let Some(forecast) = self
            .forecasts
            .iter_mut()
            .find(|forecast| forecast.requests.contains(&request))
        {
            forecast.requests.remove(&request);
            forecast.explanations.push(answer);
        }
    }
}
