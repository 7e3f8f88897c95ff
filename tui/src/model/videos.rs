//! The page of videos: what is registered, newest first. How far their pipelines are is in the store, where events
//! change it.

use std::collections::BTreeSet;

use onceover_types::{Timestamp, VideoId};
use onceover_wire::Video;

use super::list::List;

/// What the page knows.
#[derive(Debug, Default)]
pub struct VideosPage {
    /// Newest first.
    pub items: Vec<Video>,
    /// Whether there are no others.
    pub complete: bool,
    pub list: List<VideoId>,
    pub marks: BTreeSet<VideoId>,
    /// The one marked last, where a range begins.
    pub mark_anchor: Option<VideoId>,
    /// The newest request for them; answers to others are dropped.
    pub request: Option<u64>,
    /// Whether they were read at least once.
    pub read: bool,
    pub failed: Option<String>,
    /// When to read again.
    pub fetch_at: Option<Timestamp>,
    /// The video that the cursor goes to once it is listed.
    pub wanted: Option<VideoId>,
}

impl VideosPage {
    /// Shows the videos that were read.
    pub fn set_videos(&mut self, items: Vec<Video>, complete: bool) {
        self.list
            .set(items.iter().map(|video| video.video_id.clone()).collect());
        self.items = items;
        self.complete = complete;
        self.read = true;
        self.failed = None;
        let there: BTreeSet<_> = self.list.keys().iter().cloned().collect();
        self.marks.retain(|video| there.contains(video));
        if let Some(wanted) = self.wanted.take() {
            self.list.go_to(&wanted);
        }
    }

    pub fn get(&self, id: &VideoId) -> Option<&Video> {
        self.items.iter().find(|video| video.video_id == *id)
    }

    pub fn at_cursor(&self) -> Option<&Video> {
        self.items.get(self.list.index())
    }

    /// Returns what an action is about: the marked ones, else the cursor's.
    pub fn subjects(&self) -> Vec<&Video> {
        if self.marks.is_empty() {
            return self.at_cursor().into_iter().collect();
        }
        let marked = self.items.iter().filter(|video| self.marks.contains(&video.video_id));
        marked.collect()
    }
}
