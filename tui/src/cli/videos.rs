//! `onceover videos`: prints the registered videos, a line each.

use onceover_wire::{
    Video,
    client::{Client, ClientError},
};

use super::{
    args::VideosArgs,
    failure::CommandResult,
    out::{print, print_json},
};
use crate::{
    figures,
    view::{pipeline, text},
};

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
            video.probe.duration.map_or("?".into(), figures::format_short),
            processing.map_or("-".into(), |processing| processing.pipeline.clone()),
            video.title.clone(),
        ]
        .map(|text| text::harmless(&text))
    };
    let rows: Vec<_> = videos.iter().map(row).collect();
    let columns = |index: usize| rows.iter().map(|row| text::width(&row[index])).max().unwrap_or(0);
    let columns: Vec<_> = (0..5).map(columns).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&columns).map(|(cell, columns)| {
            let pad = columns.saturating_sub(text::width(cell));
            format!("{cell}{}", " ".repeat(usize::from(pad)))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
