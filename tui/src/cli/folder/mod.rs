//! `onceover run --folder`: registers every video below a folder once and runs them through a pipeline, a few at a
//! time. This machine lists the folder; the daemon reads the files, by the same paths.

mod entry;
mod find;
mod report;
mod summary;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

use onceover_types::{Problem, ProblemKind, TaskId, VideoId};
use onceover_wire::{
    ProcessingStatus, Video, VideoRequest, VideoStarted,
    client::{Client, ClientError},
};

use self::{
    entry::{EntryEnd, EntryProgress, FileOutcome, Stand, is_kind},
    find::{FolderSearch, FoundFile, TooMany, find_videos},
    report::Report,
};
use super::{
    args::RunArgs,
    failure::{CommandResult, Failure},
    follow::{About, follow},
    out, videos,
};

/// The exit code after ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// A file, and how far it is.
#[derive(Debug)]
struct Entry {
    file: FoundFile,
    stand: Stand,
}

/// Runs the command.
pub async fn run(client: &Client, folder: &Path, args: &RunArgs) -> CommandResult {
    let found = list_files(client, folder, args.most).await?;
    let mut batch = Batch::new(client, args, found).await?;
    let changed = RefCell::new(BTreeSet::<TaskId>::new());
    let followed = {
        let batch = &mut batch;
        follow(
            client,
            About::Nothing,
            |event| {
                let has_pipeline = event.pipeline.is_some();
                if has_pipeline {
                    changed.borrow_mut().insert(event.task_id.clone());
                }
                Ok(has_pipeline.then_some(()))
            },
            async || {
                let changed = std::mem::take(&mut *changed.borrow_mut());
                batch.step(&changed).await
            },
        )
    };
    let interrupted = tokio::select! {
        followed = followed => {
            followed?;
            false
        }
        _ = tokio::signal::ctrl_c() => true,
    };
    batch.report.close()?;
    let entries = batch.into_ends();
    summary::print_summary(client, &entries, args.json).await?;
    if interrupted {
        return Err(Failure {
            text: summary::describe_interruption(&entries),
            problem: None,
            code: INTERRUPTED,
        });
    }
    let outcomes: Vec<_> = entries.iter().map(|(_, ended)| ended.outcome).collect();
    let has_video = outcomes.iter().any(|outcome| *outcome != FileOutcome::NoVideo);
    Ok(has_video && outcomes.iter().all(|outcome| outcome.is_good()))
}

/// Lists the folder, without the files that the daemon itself has written there.
async fn list_files(client: &Client, folder: &Path, most: usize) -> Result<FolderSearch, Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot list {}: {error}", folder.display()));
    let folder = std::fs::canonicalize(folder).map_err(cannot)?;
    let system = client.system().await?;
    let share = PathBuf::from(&system.share);
    // `share/workflows`, beside which nothing but the daemon's own files lies.
    let own: Vec<_> = [share.parent().map(Path::to_owned), Some(share)]
        .into_iter()
        .flatten()
        .filter(|own| !folder.starts_with(own))
        .collect();
    let found = find_videos(&folder, &own, most).map_err(cannot)?;
    let found = found.map_err(|TooMany| {
        Failure::new(format!(
            "more than {most} videos are below {}; name a smaller folder, or allow more with --most",
            folder.display()
        ))
    })?;
    if found.files.is_empty() && found.unreadable.is_empty() {
        return Err(Failure::new(format!(
            "no file below {} has a name like a video's",
            folder.display()
        )));
    }
    Ok(found)
}

/// The files that are run, and how far each is.
struct Batch<'a> {
    client: &'a Client,
    args: &'a RunArgs,
    entries: Vec<Entry>,
    /// Lines of what has ended, kept while the daemon cannot be asked.
    unshown: Vec<String>,
    /// Registered videos, by the path of their file.
    known: HashMap<String, Vec<Video>>,
    report: Report,
    has_printed_roots: bool,
}

impl<'a> Batch<'a> {
    async fn new(client: &'a Client, args: &'a RunArgs, found: FolderSearch) -> Result<Self, Failure> {
        let mut known = HashMap::<String, Vec<Video>>::new();
        for video in videos::read_videos(client).await? {
            known.entry(video.path.clone()).or_default().push(video);
        }
        let waiting = found.files.into_iter().map(|file| (file, Stand::Waiting));
        let unreadable = found
            .unreadable
            .into_iter()
            .map(|(file, why)| (file, Stand::Ended(EntryEnd::refused(FileOutcome::Unreadable, why))));
        let entries: Vec<_> = waiting
            .chain(unreadable)
            .map(|(file, stand)| Entry { file, stand })
            .collect();
        let unshown = entries.iter().filter_map(|entry| match &entry.stand {
            Stand::Ended(end) => Some(end.line(&entry.file)),
            Stand::Waiting | Stand::UnderWay(_) => None,
        });
        Ok(Self {
            client,
            args,
            known,
            unshown: unshown.collect(),
            entries,
            report: Report::new(args.json),
            has_printed_roots: false,
        })
    }

    /// Reads what has changed (everything if nothing is named), begins as many files as may run, and shows how far all
    /// are. Returns `Some` when there is nothing left to wait for.
    async fn step(&mut self, changed: &BTreeSet<TaskId>) -> Result<Option<()>, ClientError> {
        loop {
            self.read_pipelines(changed).await?;
            let has_begun = self.begin_files().await?;
            // Where the output cannot be written, there is nowhere to show it.
            let _ = self.show();
            if !has_begun {
                break;
            }
        }
        let is_over = |entry: &Entry| match &entry.stand {
            Stand::Waiting => false,
            Stand::UnderWay(_) => !self.args.wait,
            Stand::Ended(_) => true,
        };
        Ok(self.entries.iter().all(is_over).then_some(()))
    }

    /// Reads the pipelines under way.
    async fn read_pipelines(&mut self, changed: &BTreeSet<TaskId>) -> Result<(), ClientError> {
        for Entry { file, stand } in &mut self.entries {
            let Stand::UnderWay(under_way) = stand else { continue };
            let started = &under_way.started;
            if !changed.is_empty() && under_way.processing.is_some() && !changed.contains(&started.task_id) {
                continue;
            }
            let processing = match self.client.processing(&started.video_id).await {
                Ok(processing) => processing,
                Err(error) if error.status() == Some(404) => {
                    let why = "it was deleted during the wait";
                    let end = EntryEnd::refused(FileOutcome::Cancelled, why);
                    self.unshown.push(end.line(file));
                    *stand = Stand::Ended(end);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_mine = processing.run_id == started.run_id;
            if is_mine && processing.status.in_flight() {
                under_way.processing = Some(processing);
                continue;
            }
            let end = match is_mine {
                true => EntryEnd::from_processing(under_way.video.clone(), processing),
                false => EntryEnd::refused(
                    FileOutcome::Cancelled,
                    "it was started again meanwhile, by another request: this run was ended for it",
                ),
            };
            self.unshown.push(end.line(file));
            *stand = Stand::Ended(end);
        }
        Ok(())
    }

    /// Begins the next files while fewer than `--jobs` are under way. Returns whether it has begun any.
    async fn begin_files(&mut self) -> Result<bool, ClientError> {
        let under_way = |entry: &&Entry| matches!(entry.stand, Stand::UnderWay(_));
        let count = self.entries.iter().filter(under_way).count();
        let room = usize::from(self.args.jobs).saturating_sub(count);
        let waiting = |entry: &(usize, &Entry)| matches!(entry.1.stand, Stand::Waiting);
        let next: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .filter(waiting)
            .map(|(at, _)| at)
            .take(room)
            .collect();
        for at in &next {
            let file = self.entries[*at].file.clone();
            let stand = match self.begin_file(&file).await {
                Ok(under_way) => Stand::UnderWay(under_way),
                Err(Refusal::File(end)) => {
                    self.unshown.push(end.line(&file));
                    Stand::Ended(*end)
                }
                Err(Refusal::Everything(error)) => return Err(error),
            };
            self.entries[*at].stand = stand;
        }
        Ok(!next.is_empty())
    }

    /// Registers the file if needed, and starts its pipeline.
    async fn begin_file(&mut self, file: &FoundFile) -> Result<EntryProgress, Refusal> {
        let video = self.find_or_register(file).await?;
        let (pipeline, force) = (self.args.pipeline.as_deref(), self.args.force);
        let started = match self.client.run_video(&video.video_id, pipeline, force).await {
            Ok(started) => started,
            Err(ClientError::Refused(problem)) if is_kind(&problem, ProblemKind::AlreadyProcessing) => {
                self.join_processing(&video).await?
            }
            Err(error) => {
                return Err(Refusal::from_error(error, |problem| EntryEnd {
                    video: Some(video.clone()),
                    ..EntryEnd::refused(FileOutcome::Failed, describe_problem(problem))
                }));
            }
        };
        Ok(EntryProgress {
            video,
            started,
            processing: None,
        })
    }

    /// Joins the pipeline that is under way already, if it is the one that was asked for.
    async fn join_processing(&self, video: &Video) -> Result<VideoStarted, Refusal> {
        let processing = self.client.processing(&video.video_id).await;
        let processing = processing.map_err(|error| {
            Refusal::from_error(error, |problem| {
                EntryEnd::refused(FileOutcome::Failed, describe_problem(problem))
            })
        })?;
        if self
            .args
            .pipeline
            .as_ref()
            .is_some_and(|asked| *asked != processing.pipeline)
        {
            let why = format!(
                "pipeline {} is under way for it; wait for its end, or end it with --force",
                processing.pipeline
            );
            return Err(Refusal::File(Box::new(EntryEnd::refused(FileOutcome::Failed, why))));
        }
        Ok(VideoStarted {
            message: String::new(),
            video_id: processing.video_id,
            task_id: processing.task_id,
            status: ProcessingStatus::Pending,
            pipeline: processing.pipeline,
            run_id: processing.run_id,
        })
    }

    /// Finds the file's video; registers it if there is none.
    async fn find_or_register(&mut self, file: &FoundFile) -> Result<Video, Refusal> {
        let known = file.path.to_str().and_then(|path| self.known.get(path));
        if let Some(video) = known.and_then(|known| known.iter().find(|video| file.is_video(video))) {
            return Ok(video.clone());
        }
        let id = file.video_id();
        let (Some(path), Some(id)) = (file.path.to_str(), id) else {
            let why = "its name is not UTF-8, so it cannot be sent to the daemon; rename it";
            return Err(Refusal::File(Box::new(EntryEnd::refused(FileOutcome::Failed, why))));
        };
        let request = VideoRequest {
            video_id: Some(id.to_string()),
            path: Some(path.to_owned()),
            ..VideoRequest::default()
        };
        match self.client.register_video(&request).await {
            Ok(video) => Ok(video),
            Err(ClientError::Refused(problem)) if is_kind(&problem, ProblemKind::VideoExists) => {
                self.read_video(&id).await
            }
            Err(error) => {
                let refusal = Refusal::from_error(error, |problem| {
                    EntryEnd::refused(FileOutcome::from_problem(problem), describe_problem(problem))
                });
                if let Refusal::File(end) = &refusal
                    && matches!(end.outcome, FileOutcome::NotAllowed | FileOutcome::Unreadable)
                {
                    self.print_roots().await;
                }
                Err(refusal)
            }
        }
    }

    /// Reads a video that was registered meanwhile.
    async fn read_video(&self, id: &VideoId) -> Result<Video, Refusal> {
        let video = self.client.video(id).await;
        video.map_err(|error| {
            Refusal::from_error(error, |problem| {
                EntryEnd::refused(FileOutcome::Failed, describe_problem(problem))
            })
        })
    }

    /// Prints once which folders the daemon reads files from.
    async fn print_roots(&mut self) {
        if std::mem::replace(&mut self.has_printed_roots, true) {
            return;
        }
        let roots = match self.client.system().await {
            Ok(system) if !system.media_roots.is_empty() => system.media_roots.join(", "),
            _ => "none (onceoverd --media-root DIR)".to_owned(),
        };
        // The line above is rewritten.
        let _ = self.report.close();
        out::print_note(&format!(
            "the daemon at {} reads files on its own machine, by the same paths, below its media roots: {roots}",
            self.client.base()
        ));
    }

    /// Shows what has ended since, and how far the others are.
    fn show(&mut self) -> Result<(), Failure> {
        let with_figures = self.report.has_figures();
        let lines: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| match &entry.stand {
                Stand::UnderWay(under_way) => Some((at, under_way.line(&entry.file, with_figures))),
                _ => None,
            })
            .collect();
        self.report.show(&std::mem::take(&mut self.unshown), &lines)
    }

    /// Ends the wait. Returns how far each file is.
    fn into_ends(self) -> Vec<(FoundFile, EntryEnd)> {
        let ended = |entry: Entry| {
            let ended = match entry.stand {
                Stand::Ended(ended) => ended,
                Stand::Waiting => EntryEnd {
                    why: None,
                    ..EntryEnd::refused(FileOutcome::NotStarted, "")
                },
                Stand::UnderWay(under_way) => EntryEnd {
                    outcome: FileOutcome::Started,
                    video: Some(under_way.video),
                    processing: under_way.processing,
                    why: None,
                },
            };
            (entry.file, ended)
        };
        self.entries.into_iter().map(ended).collect()
    }
}

/// Why a file was not begun.
enum Refusal {
    /// The file itself was refused.
    File(Box<EntryEnd>),
    /// The daemon refuses everything, or cannot be reached.
    Everything(ClientError),
}

impl Refusal {
    /// Tells by the error whether the file was refused, and then ends it.
    fn from_error(error: ClientError, end: impl FnOnce(&Problem) -> EntryEnd) -> Self {
        match error {
            ClientError::Refused(problem) if problem.status != 503 && !matches!(problem.status, 401 | 403) => {
                Self::File(Box::new(end(&problem)))
            }
            other => Self::Everything(other),
        }
    }
}

/// Puts a problem into a sentence.
fn describe_problem(problem: &Problem) -> String {
    let errors: Vec<_> = problem.errors.iter().map(|error| error.message.as_str()).collect();
    if !errors.is_empty() {
        return errors.join("; ");
    }
    let missing: Vec<_> = problem.missing.iter().map(|missing| missing.what.as_str()).collect();
    let detail = problem.detail.as_deref().unwrap_or(&problem.title);
    match missing.as_slice() {
        [] => detail.to_owned(),
        _ => format!("{detail}: {}", missing.join("; ")),
    }
}

#[cfg(test)]
mod tests;
