//! One file of a run over a folder: where it stands, and how that is said.

use onceover_types::{Problem, ProblemKind, StageState};
use onceover_wire::{Processing, ProcessingStatus, ProcessingStep, StepStatus, Video, VideoStarted};
use serde::Serialize;

use super::{find::FoundFile, is_kind};
use crate::{
    theme::{glyph, word},
    view::{figures, pipeline, warned},
};

/// How a file stands.
#[derive(Debug, Clone)]
pub enum Stand {
    /// Not begun.
    Waiting,
    UnderWay(EntryProgress),
    Ended(EntryEnd),
}

/// A pipeline that is waited for.
#[derive(Debug, Clone)]
pub struct EntryProgress {
    pub video: Video,
    pub started: VideoStarted,
    /// As it was read last.
    pub processing: Option<Processing>,
}

/// How a file ended.
#[derive(Debug, Clone)]
pub struct EntryEnd {
    pub outcome: FileOutcome,
    pub video: Option<Video>,
    pub processing: Option<Processing>,
    /// Why it did not succeed, or is none.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOutcome {
    /// Something of it was run.
    Done,
    /// Every step had a result.
    Reused,
    /// It goes on; its end was not asked for, or is waited for no more.
    Started,
    Failed,
    Cancelled,
    /// It can be read and has no picture.
    NoVideo,
    /// It lies where the daemon reads nothing.
    NotAllowed,
    /// It, or the folder, cannot be opened, here or at the daemon.
    Unreadable,
    /// ffprobe cannot make sense of it.
    Damaged,
    /// ffprobe gave no answer in its time.
    TimedOut,
    NotStarted,
}

impl FileOutcome {
    /// How videos end, as a summary names them.
    pub const OF_VIDEOS: [Self; 6] = [
        Self::Done,
        Self::Reused,
        Self::Started,
        Self::Failed,
        Self::Cancelled,
        Self::NotStarted,
    ];

    /// Why a file is not registered that may be a video.
    pub const NOT_REGISTERED: [Self; 4] = [Self::NotAllowed, Self::Unreadable, Self::Damaged, Self::TimedOut];

    /// How a file ends that the daemon refuses.
    pub fn of_refusal(problem: &Problem) -> Self {
        let kinds = [
            (ProblemKind::NotAVideo, Self::NoVideo),
            (ProblemKind::OutsideRoots, Self::NotAllowed),
            (ProblemKind::UnreadableFile, Self::Unreadable),
            (ProblemKind::DamagedMedia, Self::Damaged),
            (ProblemKind::ProbeTimeout, Self::TimedOut),
        ];
        let known = kinds.into_iter().find(|(kind, _)| is_kind(problem, *kind));
        known.map_or(Self::Failed, |(_, outcome)| outcome)
    }

    /// Whether the command did what it was asked for.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::Reused | Self::Started | Self::NoVideo)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Reused => "reused",
            Self::Started => "started",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::NoVideo => "no video",
            Self::NotAllowed => "not allowed",
            Self::Unreadable => "unreadable",
            Self::Damaged => "damaged",
            Self::TimedOut => "timed out",
            Self::NotStarted => "not started",
        }
    }

    fn glyph(self) -> &'static str {
        match self {
            Self::Done => glyph(StageState::Success),
            Self::Reused => "↺",
            Self::Started => glyph(StageState::Running),
            Self::Failed | Self::NotAllowed | Self::Unreadable | Self::Damaged | Self::TimedOut => {
                glyph(StageState::Failed)
            }
            Self::Cancelled => glyph(StageState::Cancelled),
            Self::NoVideo | Self::NotStarted => "·",
        }
    }
}

impl EntryEnd {
    pub fn refused(outcome: FileOutcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            video: None,
            processing: None,
            why: Some(why.into()),
        }
    }

    /// By how its pipeline ended.
    pub fn of(video: Video, processing: Processing) -> Self {
        let ran = |step: &ProcessingStep| step.status == StepStatus::Completed && step.reuse_hit != Some(true);
        let outcome = match processing.status {
            ProcessingStatus::Completed if processing.tasks.iter().any(ran) => FileOutcome::Done,
            ProcessingStatus::Completed => FileOutcome::Reused,
            ProcessingStatus::Cancelled => FileOutcome::Cancelled,
            _ => FileOutcome::Failed,
        };
        Self {
            outcome,
            video: Some(video),
            why: processing.error.clone(),
            processing: Some(processing),
        }
    }

    pub fn warnings(&self) -> u64 {
        self.processing.as_ref().map_or(0, Processing::warnings)
    }

    /// `✔ done      00:12  talks/a.mp4 ⚠2`.
    pub fn line(&self, file: &FoundFile) -> String {
        let took = self.processing.as_ref().and_then(|processing| {
            let (from, to) = processing.started_at.zip(processing.ended_at)?;
            Some(figures::short(to.seconds_since(from)))
        });
        let line = said(
            self.outcome.glyph(),
            self.outcome.word(),
            &took.unwrap_or_default(),
            file,
        );
        let mut line = warned::beside(&line, self.warnings());
        if let Some(why) = &self.why {
            line += &format!("  {}", why.lines().next().unwrap_or_default());
        }
        line
    }
}

impl EntryProgress {
    /// `● running   43 %  talks/a.mp4  transcribe_audio`; without the figure where that alone is no news.
    pub fn line(&self, file: &FoundFile, with_figures: bool) -> String {
        let Some(processing) = &self.processing else {
            return said(glyph(StageState::Pending), word(StageState::Pending), "", file);
        };
        let steps = processing.tasks.iter();
        let running: Vec<_> = steps
            .filter(|step| step.status == StepStatus::Processing)
            .map(|step| step.name.as_str())
            .collect();
        let (state, at) = match running.as_slice() {
            [] => (StageState::Pending, waiting_step(processing)),
            _ => (StageState::Running, running.join(", ")),
        };
        let figure = match with_figures {
            true => format!("{:>3} %", processing.progress),
            false => String::new(),
        };
        let line = said(glyph(state), word(state), &figure, file);
        format!("{}  {at}", warned::beside(&line, processing.warnings()))
    }
}

/// The first step that waits, and for what.
fn waiting_step(processing: &Processing) -> String {
    let waiting = processing.tasks.iter().find(|step| step.status == StepStatus::Pending);
    waiting.map_or_else(String::new, |step| {
        let status = pipeline::step_status(processing, step, processing.updated_at);
        format!("{}: {}", step.name, status.trim_start_matches("… "))
    })
}

fn said(glyph: &str, word: &str, figure: &str, file: &FoundFile) -> String {
    format!("{glyph} {word:<11} {figure:>5}  {}", file.name)
}
