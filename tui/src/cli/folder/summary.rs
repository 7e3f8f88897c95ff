//! Prints the summary of a run over a folder: how many files ended how, what failed and why, and the warnings of
//! results.

use onceover_wire::{Processing, client::Client};
use serde::Serialize;

use super::{
    entry::{EntryEnd, FileOutcome},
    find::FoundFile,
};
use crate::{
    cli::{failure::Failure, out},
    figures,
    view::{text, warned},
};

/// Videos whose warnings are printed; the rest are counted.
const MOST_WARNED: usize = 20;
/// Files that are not videos whose causes are printed; the rest are counted.
const MOST_NO_VIDEOS: usize = 20;

/// One file in the JSON that is printed.
#[derive(Serialize)]
struct FileReport<'a> {
    file: &'a str,
    outcome: FileOutcome,
    video_id: Option<String>,
    task_id: Option<String>,
    error: Option<&'a str>,
    warnings: u64,
    processing: Option<&'a Processing>,
}

/// Prints how each file has ended.
pub async fn print_summary(client: &Client, entries: &[(FoundFile, EntryEnd)], json: bool) -> Result<(), Failure> {
    if json {
        let reports: Vec<_> = entries.iter().map(|(file, ended)| make_report(file, ended)).collect();
        return out::print_json(&reports);
    }
    out::print("")?;
    out::print(&count_outcomes(entries))?;
    for (file, ended) in entries {
        if let (false, Some(why)) = (ended.outcome.is_good(), &ended.why) {
            out::print(&text::harmless(&format!("✖ {}: {why}", file.name)))?;
        }
    }
    print_no_videos(entries)?;
    let warned: Vec<_> = entries.iter().filter(|(_, ended)| ended.warnings() > 0).collect();
    for (file, ended) in warned.iter().take(MOST_WARNED) {
        print_warnings(client, file, ended).await?;
    }
    if warned.len() > MOST_WARNED {
        let more = figures::count_noun(warned.len() - MOST_WARNED, "video");
        out::print(&format!("⚠ {more} more with warnings: onceover tree"))?;
    }
    Ok(())
}

fn make_report<'a>(file: &'a FoundFile, ended: &'a EntryEnd) -> FileReport<'a> {
    FileReport {
        file: &file.name,
        outcome: ended.outcome,
        video_id: ended.video.as_ref().map(|video| video.video_id.to_string()),
        task_id: ended.video.as_ref().map(|video| video.task_id.to_string()),
        error: ended.why.as_deref(),
        warnings: ended.warnings(),
        processing: ended.processing.as_ref(),
    }
}

fn print_no_videos(entries: &[(FoundFile, EntryEnd)]) -> Result<(), Failure> {
    let no_videos = entries
        .iter()
        .filter(|(_, ended)| ended.outcome == FileOutcome::NoVideo);
    let count = no_videos.clone().count();
    for (file, ended) in no_videos.take(MOST_NO_VIDEOS) {
        let why = ended.why.as_deref().unwrap_or_default();
        out::print(&text::harmless(&format!("· {}: {why}", file.name)))?;
    }
    if count > MOST_NO_VIDEOS {
        let more = figures::count_noun(count - MOST_NO_VIDEOS, "file");
        out::print(&format!("· {more} more: --json prints why each is no video"))?;
    }
    Ok(())
}

/// `5 videos: 3 done, 1 reused, 1 failed; 2 with warnings; not registered: 1 damaged; 1 file is no video`.
pub fn count_outcomes(entries: &[(FoundFile, EntryEnd)]) -> String {
    let count = |outcome| entries.iter().filter(|(_, ended)| ended.outcome == outcome).count();
    let counts = |outcomes: &[FileOutcome]| -> (usize, String) {
        let parts: Vec<_> = outcomes
            .iter()
            .map(|outcome| (count(*outcome), outcome.word()))
            .filter(|(count, _)| *count > 0)
            .collect();
        let texts: Vec<_> = parts.iter().map(|(count, word)| format!("{count} {word}")).collect();
        (parts.iter().map(|(count, _)| count).sum(), texts.join(", "))
    };
    let (videos, outcomes) = counts(&FileOutcome::OF_VIDEOS);
    let mut text = figures::count_noun(videos, "video");
    if videos > 0 {
        text += &format!(": {outcomes}");
    }
    let warned = entries.iter().filter(|(_, ended)| ended.warnings() > 0).count();
    if warned > 0 {
        text += &format!("; {warned} with warnings");
    }
    let (not_registered, causes) = counts(&FileOutcome::NOT_REGISTERED);
    if not_registered > 0 {
        text += &format!("; not registered: {causes}");
    }
    match count(FileOutcome::NoVideo) {
        0 => text,
        1 => text + "; 1 file is no video",
        others => format!("{text}; {others} files are no videos"),
    }
}

/// Says what goes on at the daemon after ctrl-C.
pub fn describe_interruption(entries: &[(FoundFile, EntryEnd)]) -> String {
    let count = |outcome| entries.iter().filter(|(_, ended)| ended.outcome == outcome).count();
    let going_on = match count(FileOutcome::Started) {
        0 => "nothing is under way".to_owned(),
        1 => "1 goes on at the daemon (onceover videos)".to_owned(),
        several => format!("{several} go on at the daemon (onceover videos)"),
    };
    let left = match count(FileOutcome::NotStarted) {
        0 => "all were started".to_owned(),
        1 => "1 was not started".to_owned(),
        several => format!("{several} were not started"),
    };
    format!("stopped waiting: {going_on}, {left}; run the same command again to go on")
}

/// Prints the warnings of a video's results.
async fn print_warnings(client: &Client, file: &FoundFile, ended: &EntryEnd) -> Result<(), Failure> {
    let Some(video) = &ended.video else { return Ok(()) };
    out::print(&text::harmless(&format!("⚠ {}  (task {})", file.name, video.task_id)))?;
    let Ok(view) = client.task(&video.task_id).await else {
        return Ok(());
    };
    for (node, stage) in view.stages.iter().filter(|(_, stage)| stage.warnings > 0) {
        for warning in stage.result_warnings() {
            out::print(&text::harmless(&format!(
                "    {node}  {}",
                warned::describe_warning(&warning)
            )))?;
        }
    }
    Ok(())
}
