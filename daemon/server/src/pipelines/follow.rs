//! Follows how far a video is: as it is now, and with each change.

use std::{sync::Arc, time::Duration};

use onceover_types::VideoId;
use onceover_wire::{Event, EventKind, Processing};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{VideoError, Videos};
use crate::events::Change;

/// Between two tries to read a video while Redis does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// One reader's look at a video.
pub struct VideoFollower {
    videos: Arc<Videos>,
    video: VideoId,
    /// As it stands in an event of the video's task.
    task: String,
    changes: Receiver<Change>,
    /// Id of what was given out last.
    sent: String,
    /// There may be something new.
    behind: bool,
    stop: CancellationToken,
}

/// What there is to tell of a processing.
enum Progress {
    New(Box<Processing>),
    /// Nothing that was not given out already.
    Known,
    /// There is nothing more to follow.
    Over,
}

impl VideoFollower {
    /// Begins to follow a video, which must be there. Ends when `stop` is cancelled.
    pub async fn begin(videos: Arc<Videos>, video: VideoId, stop: CancellationToken) -> Result<Self, VideoError> {
        // Listen first, then read what is: nothing falls between.
        let changes = videos.bus.changes();
        videos.read_record(&video).await?;
        Ok(Self {
            videos,
            task: format!("\"task_id\":\"{}\"", video.task()),
            video,
            changes,
            sent: String::new(),
            behind: true,
            stop,
        })
    }

    /// Waits until the newest processing is other than before, and returns it with the id of this state. Returns `None` once
    /// there is nothing more to follow.
    pub async fn next_progress(&mut self) -> Option<(String, Processing)> {
        loop {
            if std::mem::take(&mut self.behind) {
                match self.read().await {
                    Progress::New(processing) => return Some((self.sent.clone(), *processing)),
                    Progress::Known => {}
                    Progress::Over => return None,
                }
                continue;
            }
            let heard = tokio::select! {
                () = self.stop.cancelled() => return None,
                heard = self.changes.recv() => heard,
            };
            self.behind = match heard {
                Ok(Change::Event { json, .. }) => self.is_told_by(&json),
                Ok(Change::Reset { .. }) | Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return None,
            };
        }
    }

    fn is_told_by(&self, json: &str) -> bool {
        json.contains(&self.task)
            && serde_json::from_str::<Event>(json)
                .is_ok_and(|event| matches!(event.kind, EventKind::Pipeline | EventKind::Video))
    }

    async fn read(&mut self) -> Progress {
        match self.videos.read_processing(&self.video).await {
            Ok(processing) => {
                let id = format!("{}:{}", processing.run_id, processing.revision);
                if id == self.sent {
                    return Progress::Known;
                }
                self.sent = id;
                Progress::New(Box::new(processing))
            }
            Err(VideoError::NeverProcessed(_)) => Progress::Known,
            Err(VideoError::Unknown(_)) => Progress::Over,
            // Redis does not answer; the client waits with us.
            Err(_) => {
                tokio::select! {
                    () = self.stop.cancelled() => return Progress::Over,
                    () = tokio::time::sleep(RETRY) => self.behind = true,
                }
                Progress::Known
            }
        }
    }
}
