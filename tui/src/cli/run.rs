//! `onceover run`: starts a pipeline of a video, and with `--wait` waits for its end; `folder` does so for a folder.

use onceover_wire::{Processing, ProcessingStatus, VideoStarted, client::Client};

use super::{
    args::RunArgs,
    failure::{CommandResult, Failure},
    folder,
    follow::{About, FollowedSubject, WaitStyle, follow},
    out::{print, print_json},
    tree,
};
use crate::view::text;

/// Runs the command.
pub async fn run(client: &Client, args: RunArgs) -> CommandResult {
    let Some(video) = &args.video else {
        return match &args.folder {
            Some(dir) => folder::run(client, dir, &args).await,
            None => Err(Failure::new("name a video, or a folder with --folder")),
        };
    };
    let started = client.run_video(video, args.pipeline.as_deref(), args.force).await?;
    if !args.json {
        let line = format!("{}  {}  {}", started.task_id, started.pipeline, started.message);
        print(&text::harmless(&line))?;
    }
    if !args.wait {
        if args.json {
            print_json(&started)?;
        }
        return Ok(true);
    }
    let ended = wait_for_end(client, &started).await?;
    if args.json {
        print_json(&ended)?;
    } else {
        let task = tree::read_task(client, &started.task_id).await?;
        print(tree::render(&[task], client.clock().now()).trim_end())?;
    }
    Ok(ended.status == ProcessingStatus::Completed)
}

/// Waits until this processing has ended; a later one that replaces it is a failure.
async fn wait_for_end(client: &Client, started: &VideoStarted) -> Result<Processing, Failure> {
    let subject = FollowedSubject {
        task: &started.task_id,
        node: None,
    };
    let ended = follow(
        client,
        About::One(subject, WaitStyle::Bar),
        |event| {
            let is_mine = event.task_id == started.task_id;
            Ok((is_mine && event.pipeline.is_some()).then_some(()))
        },
        async || {
            let processing = client.processing(&started.video_id).await?;
            let over = !processing.status.in_flight() || processing.run_id > started.run_id;
            Ok(over.then_some(processing))
        },
    )
    .await?;
    if ended.run_id == started.run_id {
        Ok(ended)
    } else {
        Err(Failure::new(format!(
            "{} was started again meanwhile: this run was ended for it",
            started.video_id
        )))
    }
}
