//! One file of a run over a folder: how far it is, and the line that says so.

use onceover_types::{Problem, ProblemKind, StageState, problem::ProblemType};
use onceover_wire::{Processing, ProcessingStatus, ProcessingStep, StepStatus, Video, VideoStarted};
use serde::Serialize;

use super::find::FoundFile;
use crate::{
    figures,
    theme::{glyph, word},
    view::{pipeline, warned},
};

/// How far a file is.
#[derive(Debug, Clone)]
pub enum Stand {
    /// The file has not begun.
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
    /// Why it did not succeed, or is not a video.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOutcome {
    /// At least one step was run.
    Done,
    /// Every step had a result.
    Reused,
    /// The pipeline goes on; the command does not wait for its end, or no longer does.
    Started,
    Failed,
    Cancelled,
    /// The file can be read and has no picture.
    NoVideo,
    /// The file is outside the daemon's media roots.
    NotAllowed,
    /// The file, or its folder, cannot be opened, here or at the daemon.
    Unreadable,
    /// ffprobe cannot read the file.
    Damaged,
    /// ffprobe gave no answer in time.
    TimedOut,
    NotStarted,
}

impl FileOutcome {
    /// The ends of videos, in the order of a summary.
    pub const OF_VIDEOS: [Self; 6] = [
        Self::Done,
        Self::Reused,
        Self::Started,
        Self::Failed,
        Self::Cancelled,
        Self::NotStarted,
    ];

    /// Why a file that may be a video is not registered.
    pub const NOT_REGISTERED: [Self; 4] = [Self::NotAllowed, Self::Unreadable, Self::Damaged, Self::TimedOut];

    /// Reads from a refusal how the file has ended.
    pub fn from_problem(problem: &Problem) -> Self {
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

    /// Whether the file is what the command should leave.
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

/// Whether a problem is of this kind.
pub fn is_kind(problem: &Problem, kind: ProblemKind) -> bool {
    problem.kind == ProblemType::from(kind)
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

    /// The end of a file whose pipeline has ended.
    pub fn from_processing(video: Video, processing: Processing) -> Self {
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

    /// `✔ done      12 s  talks/a.mp4 ⚠2`.
    pub fn line(&self, file: &FoundFile) -> String {
        let took = self.processing.as_ref().and_then(|processing| {
            let (from, to) = processing.started_at.zip(processing.ended_at)?;
            Some(figures::format_short(to.seconds_since(from)))
        });
        let line = format_line(
            self.outcome.glyph(),
            self.outcome.word(),
            &took.unwrap_or_default(),
            file,
        );
        let mut line = warned::join_mark(&line, self.warnings());
        if let Some(why) = &self.why {
            line += &format!("  {}", why.lines().next().unwrap_or_default());
        }
        line
    }
}

impl EntryProgress {
    /// `● running   43 %  talks/a.mp4  transcribe_audio`; without the figure if a new one alone is not worth a line.
    pub fn line(&self, file: &FoundFile, with_figures: bool) -> String {
        let Some(processing) = &self.processing else {
            return format_line(glyph(StageState::Pending), word(StageState::Pending), "", file);
        };
        let steps = processing.tasks.iter();
        let running: Vec<_> = steps
            .filter(|step| step.status == StepStatus::Processing)
            .map(|step| step.name.as_str())
            .collect();
        let (state, at) = match running.as_slice() {
            [] => (StageState::Pending, describe_waiting_step(processing)),
            _ => (StageState::Running, running.join(", ")),
        };
        let figure = match with_figures {
            true => format!("{:>3} %", processing.progress),
            false => String::new(),
        };
        let line = format_line(glyph(state), word(state), &figure, file);
        format!("{}  {at}", warned::join_mark(&line, processing.warnings()))
    }
}

/// Names the first step that waits, and what it waits for.
fn describe_waiting_step(processing: &Processing) -> String {
    let waiting = processing.tasks.iter().find(|step| step.status == StepStatus::Pending);
    waiting.map_or_else(String::new, |step| {
        let status = pipeline::describe_step(processing, step, processing.updated_at);
        format!("{}: {}", step.name, status.trim_start_matches("… "))
    })
}

fn format_line(glyph: &str, word: &str, figure: &str, file: &FoundFile) -> String {
    format!("{glyph} {word:<11} {figure:>5}  {}", file.name)
}
