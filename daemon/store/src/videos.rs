//! Videos in Redis: `onceover:video:<id>` holds what was registered and the progress of its pipeline; `onceover:videos` lists
//! them, `onceover:videos:active` those under way. They have no expiry.

use onceover_types::{RunId, TaskId, VideoId};
use onceover_wire::{PipelineChange, Processing, Video};
use redis::AsyncCommands;

use super::{
    Store, StoreError,
    args::script_call,
    reply::{parse_cursor, parse_text, unexpected},
};

script_call! {
    AddVideoCall<'a>: VIDEO_ADD {
        video: &'a VideoId,
        task: &'a TaskId,
        /// What was registered, as JSON.
        facts: String,
    }
}

script_call! {
    ListVideosCall<'a>: VIDEO_LIST {
        limit: u32,
        before_score: Option<i64>,
        before_id: Option<&'a VideoId>,
    }
}

script_call! {
    StartVideoCall<'a>: VIDEO_START {
        video: &'a VideoId,
        task: &'a TaskId,
        run: &'a RunId,
        /// The processing, as JSON.
        processing: String,
        /// What an event says of it, as JSON.
        change: String,
        force: bool,
    }
}

script_call! {
    SaveVideoCall<'a>: VIDEO_SAVE {
        video: &'a VideoId,
        task: &'a TaskId,
        run: &'a RunId,
        /// The revision that was read.
        expect: u64,
        rev: u64,
        /// The processing, as JSON.
        processing: String,
        /// What an event says of it, as JSON.
        change: String,
        ended: bool,
    }
}

script_call! {
    DeleteVideoCall<'a>: VIDEO_DELETE {
        video: &'a VideoId,
        task: &'a TaskId,
    }
}

/// A video with its newest processing, and whether that is under way.
pub struct VideoRecord {
    pub video: Video,
    /// The processing under way.
    pub active: Option<RunId>,
}

/// A page of videos.
pub struct VideoRecords {
    pub items: Vec<Video>,
    pub next: Option<(i64, VideoId)>,
}

/// How a request to start a processing was answered.
pub enum VideoStart {
    Started,
    /// Another is under way.
    Busy(RunId),
    Unknown,
}

/// How a request to delete a video was answered.
pub enum VideoForgotten {
    Forgotten,
    Busy(RunId),
    Unknown,
}

/// A processing under way.
pub struct ActiveVideo {
    pub video: Video,
    pub processing: Processing,
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("JSON can be written")
}

fn read_json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unexpected(format!("{what} is broken: {error}")))
}

fn read_video(facts: &str, processing: Option<&str>) -> Result<Video, StoreError> {
    let mut video: Video = read_json(facts, "a video's record")?;
    if let Some(text) = processing.filter(|text| !text.is_empty()) {
        video.processing = Some(Box::new(read_json(text, "a video's processing")?));
    }
    Ok(video)
}

fn change_json(processing: &Processing, steps_changed: bool) -> String {
    to_json(&PipelineChange {
        video_id: processing.video_id.clone(),
        run_id: processing.run_id.clone(),
        revision: processing.revision,
        status: processing.status,
        progress: processing.progress,
        steps_changed,
    })
}

fn parse_busy(run: Option<&String>) -> Result<RunId, StoreError> {
    let run = run.ok_or_else(|| unexpected("a script did not say which processing is under way"))?;
    parse_text(run)
}

impl Store {
    /// Registers a video. Returns `false` if the id exists.
    pub async fn add_video(&self, video: &Video) -> Result<bool, StoreError> {
        let call = AddVideoCall {
            video: &video.video_id,
            task: &video.task_id,
            facts: to_json(video),
        };
        self.call(call.prepare(self)).await
    }

    /// Reads a video; None where there is none.
    pub async fn video(&self, id: &VideoId) -> Result<Option<VideoRecord>, StoreError> {
        let mut redis = self.redis.clone();
        let fields = ["facts", "processing", "active"];
        let found: (Option<String>, Option<String>, Option<String>) = self
            .limited(redis.hmget(format!("onceover:video:{id}"), &fields))
            .await?;
        let (Some(facts), processing, active) = found else {
            return Ok(None);
        };
        Ok(Some(VideoRecord {
            video: read_video(&facts, processing.as_deref())?,
            active: active.map(|run| parse_text(&run)).transpose()?,
        }))
    }

    /// Reads the processing of a video, while it is under way.
    pub async fn active_video(&self, id: &VideoId) -> Result<Option<ActiveVideo>, StoreError> {
        let Some(record) = self.video(id).await? else {
            return Ok(None);
        };
        let mut video = record.video;
        let processing = video.processing.take();
        Ok(match (record.active, processing) {
            (Some(run), Some(processing)) if processing.run_id == run => Some(ActiveVideo {
                video,
                processing: *processing,
            }),
            _ => None,
        })
    }

    /// Lists the videos with a processing under way.
    pub async fn active_videos(&self) -> Result<Vec<VideoId>, StoreError> {
        let mut redis = self.redis.clone();
        let ids: Vec<String> = self.limited(redis.zrange("onceover:videos:active", 0, -1)).await?;
        Ok(ids.iter().filter_map(|id| VideoId::parse(id).ok()).collect())
    }

    /// Reads one page of videos, newest first, from `after` on.
    pub async fn list_videos(&self, limit: u32, after: Option<&(i64, VideoId)>) -> Result<VideoRecords, StoreError> {
        let call = ListVideosCall {
            limit,
            before_score: after.map(|(score, _)| *score),
            before_id: after.map(|(_, id)| id),
        };
        let reply: Vec<String> = self.call(call.prepare(self)).await?;
        let (cursor, items) = reply
            .split_first()
            .ok_or_else(|| unexpected("the list of videos is empty"))?;
        Ok(VideoRecords {
            items: items
                .chunks_exact(2)
                .filter_map(|pair| {
                    let read = read_video(&pair[0], Some(&pair[1])).or_else(|_| read_video(&pair[0], None));
                    read.inspect_err(|error| tracing::warn!(%error, "a video is damaged"))
                        .ok()
                })
                .collect(),
            next: parse_cursor(cursor)?,
        })
    }

    /// Begins a processing in one step (V1). With `force` one that is under way loses the video.
    pub async fn start_video(&self, processing: &Processing, force: bool) -> Result<VideoStart, StoreError> {
        let call = StartVideoCall {
            video: &processing.video_id,
            task: &processing.task_id,
            run: &processing.run_id,
            processing: to_json(processing),
            change: change_json(processing, true),
            force,
        };
        let reply: Vec<String> = self.call(call.prepare(self)).await?;
        Ok(match reply.first().map(String::as_str) {
            Some("started") => VideoStart::Started,
            Some("busy") => VideoStart::Busy(parse_busy(reply.get(1))?),
            _ => VideoStart::Unknown,
        })
    }

    /// Writes the progress of a processing and counts its revision. Returns `false` if it is no longer the one under way, or
    /// was written by another caller since it was read.
    pub async fn save_video(&self, processing: &mut Processing, steps_changed: bool) -> Result<bool, StoreError> {
        let expect = processing.revision;
        processing.revision += 1;
        let call = SaveVideoCall {
            video: &processing.video_id,
            task: &processing.task_id,
            run: &processing.run_id,
            expect,
            rev: processing.revision,
            processing: to_json(processing),
            change: change_json(processing, steps_changed),
            ended: !processing.status.in_flight(),
        };
        self.call(call.prepare(self)).await
    }

    /// Deletes a video that is not being processed.
    pub async fn forget_video(&self, id: &VideoId) -> Result<VideoForgotten, StoreError> {
        let task = id.task();
        let call = DeleteVideoCall { video: id, task: &task };
        let reply: Vec<String> = self.call(call.prepare(self)).await?;
        Ok(match reply.first().map(String::as_str) {
            Some("deleted") => VideoForgotten::Forgotten,
            Some("busy") => VideoForgotten::Busy(parse_busy(reply.get(1))?),
            _ => VideoForgotten::Unknown,
        })
    }
}
