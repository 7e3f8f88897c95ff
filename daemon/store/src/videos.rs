//! Videos in Redis: `onceover:video:<id>` holds what was registered and how far its pipeline is; `onceover:videos` lists
//! them, `onceover:videos:active` those under way. They have no expiry.

use onceover_types::{RunId, VideoId};
use onceover_wire::{PipelineChange, Processing, Video};
use redis::AsyncCommands;

use super::{Store, StoreError, record::unexpected, scripts};

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

/// What became of the wish to start.
pub enum VideoStart {
    Started,
    /// Another is under way.
    Busy(RunId),
    Unknown,
}

/// What became of the wish to forget a video.
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

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("JSON can be written")
}

fn read<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| unexpected(format!("{what} is broken: {error}")))
}

fn video(facts: &str, processing: Option<&str>) -> Result<Video, StoreError> {
    let mut video: Video = read(facts, "a video's record")?;
    if let Some(text) = processing.filter(|text| !text.is_empty()) {
        video.processing = Some(Box::new(read(text, "a video's processing")?));
    }
    Ok(video)
}

fn change(processing: &Processing, steps_changed: bool) -> String {
    json(&PipelineChange {
        video_id: processing.video_id.clone(),
        run_id: processing.run_id.clone(),
        revision: processing.revision,
        status: processing.status,
        progress: processing.progress,
        steps_changed,
    })
}

fn busy(run: Option<&String>) -> Result<RunId, StoreError> {
    let run = run.ok_or_else(|| unexpected("a script did not say which processing is under way"))?;
    super::record::parse(run)
}

impl Store {
    /// False: the id is taken.
    pub async fn add_video(&self, video: &Video) -> Result<bool, StoreError> {
        let args = self
            .args()
            .with("video", video.video_id.as_str())
            .with("task", video.task_id.as_str())
            .with("facts", json(video));
        self.run(&scripts::VIDEO_ADD, args).await
    }

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
            video: video(&facts, processing.as_deref())?,
            active: active.map(|run| super::record::parse(&run)).transpose()?,
        }))
    }

    /// The processing of a video, while it is under way.
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

    /// Every video with a processing under way.
    pub async fn active_videos(&self) -> Result<Vec<VideoId>, StoreError> {
        let mut redis = self.redis.clone();
        let ids: Vec<String> = self.limited(redis.zrange("onceover:videos:active", 0, -1)).await?;
        Ok(ids.iter().filter_map(|id| VideoId::parse(id).ok()).collect())
    }

    pub async fn list_videos(&self, limit: u32, after: Option<&(i64, VideoId)>) -> Result<VideoRecords, StoreError> {
        let args = self
            .args()
            .with("limit", limit.to_string())
            .with_some("before_score", after.map(|(score, _)| score.to_string()))
            .with_some("before_id", after.map(|(_, id)| id.as_str()));
        let answer: Vec<String> = self.run(&scripts::VIDEO_LIST, args).await?;
        let (cursor, items) = answer
            .split_first()
            .ok_or_else(|| unexpected("the list of videos is empty"))?;
        Ok(VideoRecords {
            items: items
                .chunks_exact(2)
                .filter_map(|pair| {
                    let read = video(&pair[0], Some(&pair[1])).or_else(|_| video(&pair[0], None));
                    read.inspect_err(|error| tracing::warn!(%error, "a video is damaged"))
                        .ok()
                })
                .collect(),
            next: match cursor.split_once(':') {
                Some((score, id)) => Some((super::record::parse(score)?, super::record::parse(id)?)),
                None => None,
            },
        })
    }

    /// Begins a processing in one step (V1). `force`: one under way loses the video.
    pub async fn start_video(&self, processing: &Processing, force: bool) -> Result<VideoStart, StoreError> {
        let args = self
            .args()
            .with("video", processing.video_id.as_str())
            .with("task", processing.task_id.as_str())
            .with("run", processing.run_id.as_str())
            .with("processing", json(processing))
            .with("change", change(processing, true))
            .with_some("force", force.then_some("1"));
        let answer: Vec<String> = self.run(&scripts::VIDEO_START, args).await?;
        Ok(match answer.first().map(String::as_str) {
            Some("started") => VideoStart::Started,
            Some("busy") => VideoStart::Busy(busy(answer.get(1))?),
            _ => VideoStart::Unknown,
        })
    }

    /// Writes how far a processing is: counts its revision. False: it is no longer the one under way, or somebody else
    /// has written since it was read.
    pub async fn save_video(&self, processing: &mut Processing, steps_changed: bool) -> Result<bool, StoreError> {
        let expect = processing.revision.to_string();
        processing.revision += 1;
        let args = self
            .args()
            .with("video", processing.video_id.as_str())
            .with("task", processing.task_id.as_str())
            .with("run", processing.run_id.as_str())
            .with("expect", expect)
            .with("rev", processing.revision.to_string())
            .with("processing", json(processing))
            .with("change", change(processing, steps_changed))
            .with_some("ended", (!processing.status.in_flight()).then_some("1"));
        self.run(&scripts::VIDEO_SAVE, args).await
    }

    /// Forgets a video that is not being processed.
    pub async fn forget_video(&self, id: &VideoId) -> Result<VideoForgotten, StoreError> {
        let task = id.task();
        let args = self.args().with("video", id.as_str()).with("task", task.as_str());
        let answer: Vec<String> = self.run(&scripts::VIDEO_DELETE, args).await?;
        Ok(match answer.first().map(String::as_str) {
            Some("deleted") => VideoForgotten::Forgotten,
            Some("busy") => VideoForgotten::Busy(busy(answer.get(1))?),
            _ => VideoForgotten::Unknown,
        })
    }
}
