//! `onceover videos`: prints the registered videos, a line each.

use onceover_wire::{
    Video,
    client::{Client, ClientError},
};

use super::{
    args::VideosArgs,
    failure::CommandResult,
    out::{print, print_json},
    table,
};
use crate::{figures, view::pipeline};

/// Runs the command.
pub async fn run(client: &Client, args: VideosArgs) -> CommandResult {
    let videos = read_videos(client).await?;
    match (args.json, videos.as_slice()) {
        (true, videos) => print_json(&videos)?,
        (false, []) => print("no videos")?,
        (false, videos) => print(&format_table(videos))?,
    }
    Ok(true)
}

/// Reads every registered video.
pub(super) async fn read_videos(client: &Client) -> Result<Vec<Video>, ClientError> {
    let mut videos = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.videos(200, cursor.as_deref()).await?;
        videos.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(videos);
        }
    }
}

/// Formats a line for each video: id, state, length, pipeline, title.
pub(super) fn format_table(videos: &[Video]) -> String {
    let row = |video: &Video| {
        let processing = video.processing.as_deref();
        [
            video.video_id.to_string(),
            processing.map_or("· never run".into(), pipeline::describe_status),
            video.probe.duration.map_or("?".into(), figures::format_ticking),
            processing.map_or("-".into(), |processing| processing.pipeline.clone()),
            video.title.clone(),
        ]
    };
    table::format_table(&videos.iter().map(row).collect::<Vec<_>>())
}
