//! `onceover register`: a video registered with the daemon, by a file of its machine or a URL.

use onceover_wire::{VideoRequest, client::Client};

use super::{
    Outcome,
    args::RegisterArgs,
    out::{print, print_json},
    videos,
};

pub async fn run(client: &Client, args: RegisterArgs) -> Outcome {
    let is_url = args.source.contains("://");
    // The daemon has a working directory of its own.
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
        print(&videos::table(&[video]))?;
    }
    Ok(true)
}
