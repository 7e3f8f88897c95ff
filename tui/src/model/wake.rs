//! When the model needs the time next, and what is derived after each event.

use std::sync::Arc;

use onceover_types::{StageState, TaskId, Timestamp};

use super::{Link, Model, Page, Subject, task::Task, task_log::TaskLog};
use crate::layout;

impl Model {
    /// Whether a figure on screen counts seconds now.
    fn counts_seconds(&self) -> bool {
        if !self.deletes.is_empty() || matches!(self.link, Link::Lost { .. }) {
            return true;
        }
        let counts = |task: &Task| {
            let running = task.stages.values().any(|stage| stage.status == StageState::Running);
            running || task.retries_at().is_some_and(|at| at > self.now)
        };
        if self.is_live() && self.page == Page::Timeline && !self.store.is_frozen() {
            return self.timeline_task().is_some_and(counts);
        }
        self.is_live()
            && !self.store.is_frozen()
            && self.page == Page::Tasks
            && (self
                .detail_kept()
                .is_some_and(|stage| stage.status == StageState::Running)
                || self
                    .visible_rows()
                    .iter()
                    .any(|row| self.store.get(&row.task).is_some_and(counts)))
    }

    /// Whether a change has shown something that is not being read yet.
    fn has_reads_to_send(&self) -> bool {
        let is_asked = |task: &Arc<TaskId>| self.fetching.values().any(|other| *other == **task);
        let has_tasks = || !self.store.is_loading() && self.store.partial_tasks().any(|task| !is_asked(task));
        let has_runs = match self.page {
            Page::Timeline => !self.timeline.waiting.is_empty(),
            Page::Compare => self.compare.wants_read(),
            _ => false,
        };
        self.is_live() && (has_runs || !self.pipelines.waiting.is_empty() || has_tasks())
    }

    /// Returns when the model needs the time next; `None`: not before something happens.
    pub fn wake_at(&self) -> Option<Timestamp> {
        let second = self
            .counts_seconds()
            .then(|| Timestamp::from_millis((self.now.as_millis().div_euclid(1000) + 1) * 1000));
        let times = [
            second,
            self.toast.as_ref().map(|toast| toast.until),
            self.detail.fetch_at.filter(|_| self.is_live()),
            self.deliveries
                .fetch_at
                .filter(|_| self.is_live() && self.page == Page::Callbacks),
            self.videos
                .fetch_at
                .filter(|_| self.is_live() && self.page == Page::Videos),
            self.observed
                .fetch_at
                .filter(|_| self.is_live() && matches!(self.page, Page::Machine | Page::Queues | Page::Workers)),
            self.form
                .as_ref()
                .and_then(|form| form.forecast.ask_at)
                .filter(|_| self.is_live() && self.page == Page::Form),
            self.preview
                .fetch_at
                .filter(|_| self.is_live() && self.page == Page::Preview),
            self.deletes.iter().map(|delete| delete.due).min(),
            self.store.gap_deadline().filter(|_| !self.reading && self.is_live()),
            self.has_reads_to_send().then(|| self.budget.next_at(self.now)),
            self.estimates_due_at(),
            self.task_log
                .as_ref()
                .filter(|_| self.is_live())
                .and_then(TaskLog::poll_at),
            self.watched.due_at(self.now),
        ];
        times.into_iter().flatten().min()
    }

    /// Derives what depends on the rest: visible rows, cursor, what is known of rows that no longer exist.
    pub fn settle(&mut self) {
        self.part_failures.settle(&self.store);
        let height = self.panes().rows();
        let shown_at = self.store.shown_at().unwrap_or(self.now);
        self.tree.settle(&self.store, shown_at, height);
        // A row that is not there in the past is not gone.
        let is_present = !self.store.is_frozen();
        if is_present && !self.failures.is_empty() {
            let store = &self.store;
            let deliveries = &self.deliveries;
            let videos = &self.videos.items;
            self.failures.retain(|subject, _| match subject {
                Subject::Row(row) => store.contains(row) || videos.iter().any(|video| video.task_id == *row.task),
                Subject::Delivery(id) => deliveries.get(id).is_some(),
            });
        }
        if is_present && !self.warned.is_empty() {
            let store = &self.store;
            let is_known = |subject: &Subject| matches!(subject, Subject::Row(row) if store.contains(row));
            self.warned.retain(|subject, _| is_known(subject));
        }
        self.deliveries.list.scroll(layout::lay_out_callbacks(self.size).rows());
        self.nodes.list.scroll(layout::lay_out_nodes(self.size).rows());
        let preview_page = layout::lay_out_preview(self.size, self.preview.is_whole);
        self.preview.list.scroll(preview_page.rows());
        self.videos.list.scroll(layout::lay_out_videos(self.size).rows());
        if self.page == Page::Timeline {
            let rows = usize::from(layout::lay_out_timeline(self.size).rows.height);
            self.timeline.settle(&self.store, rows);
        }
        self.observed.rows.scroll(layout::lay_out_queues(self.size).rows());
        self.workers.list.scroll(layout::lay_out_workers(self.size).rows());
        if self.page == Page::Events {
            self.events.settle();
            self.events.list.scroll(layout::lay_out_events(self.size).rows());
        }
        self.commands.list.scroll(layout::lay_out_commands(self.size).rows());
    }
}
