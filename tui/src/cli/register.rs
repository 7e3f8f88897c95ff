//! `onceover register`: registers a video with the daemon, as a file on the daemon's machine or as a URL.

use onceover_wire::{VideoRequest, client::Client};

use super::{
    args::RegisterArgs,
    failure::CommandResult,
    out::{print, print_json},
    videos,
};

/// Runs the command.
pub async fn run(client: &Client, args: RegisterArgs) -> CommandResult {
    let is_url = args.source.contains("://");
    // The daemon has another working directory.
    let path = || match std::path::absolute(&args.source) {
        Ok(path) => path.display().to_string(),
        Err(_) => args.source.clone(),
    };
    let request = VideoRequest {
        video_id: args.id,
        path: (!is_url).then(path),
        url: is_url.then(|| args.source.clone()),
        title: args.title,
    };
    let video = client.register_video(&request).await?;
    if args.json {
        print_json(&video)?;
    } else {
        print(&videos::format_table(&[video]))?;
    }
    Ok(true)
}
