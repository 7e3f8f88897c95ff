//! Everything the dashboard knows. It is plain data, without IO, clock and terminal: `update` alone changes it, and
//! `view` draws it. How many rows the screen has room for it takes from `layout`.

pub mod access;
pub mod commands;
pub mod compare;
pub mod copy_menu;
pub mod deliveries;
pub mod detail;
pub mod dialog;
pub mod difference;
pub mod drafts;
pub mod estimate;
pub mod events;
pub mod filter;
pub mod form;
#[cfg(test)]
mod fuzz;
pub mod json_tree;
mod link;
pub mod list;
pub mod log;
pub mod log_view;
pub mod nodes;
pub mod observed;
mod outcome;
mod page;
pub mod palette;
pub mod part_failures;
pub mod past;
pub mod pipeline;
pub mod pointer;
pub mod preview;
pub mod reads;
pub mod register;
pub mod return_point;
mod row;
pub mod secrets;
pub mod sort;
pub mod stage;
pub mod store;
pub mod task;
pub mod task_log;
pub mod timeline;
pub mod totals;
pub mod trail;
pub mod tree;
pub mod videos;
mod wake;
pub mod watch;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::{Processing, StageSummary, SystemInfo, Video};

use crate::{
    clipboard::Multiplexer,
    glyphs::Glyphs,
    images::Images,
    key::KeyBindings,
    layout::{self, Panes, Split},
    theme::Theme,
};

use access::Access;
use commands::CommandLog;
use compare::ComparePage;
use deliveries::Deliveries;
use detail::Detail;
use dialog::Dialog;
use drafts::Drafts;
use estimate::{NodeEstimates, RestTime, estimate_rest};
use events::EventLog;
use filter::FilterError;
use form::Form;
pub use link::{Link, MissingPart, Source};
use list::ListCursor;
use log_view::LogView;
use nodes::Nodes;
use observed::Observed;
pub use outcome::{Batch, Note, PendingDelete, Toast, Tone, UnderWay};
pub use page::Page;
use part_failures::PartFailures;
use pipeline::PipelineReads;
use pointer::Pointer;
use preview::Preview;
use reads::ReadBudget;
use register::Register;
use return_point::ReturnPoint;
pub use row::{RowId, Subject};
use stage::KeptStage;
use store::TaskStore;
use task::Task;
use task_log::TaskLog;
use timeline::TimelinePage;
use totals::ShownTotals;
use trail::Trail;
use tree::Tree;
use videos::VideosPage;
use watch::WatchList;
use workers::WorkersPage;

/// How long a text that can be selected stays on the screen.
const SELECTABLE_MS: i64 = 15_000;

/// The filter line while it is being typed.
#[derive(Debug)]
pub struct FilterInput {
    pub input: tui_input::Input,
    /// The filter before, which Esc restores.
    pub before: Option<filter::Filter>,
    pub error: Option<FilterError>,
}

/// The state of the dashboard.
#[derive(Debug)]
pub struct Model {
    pub now: Timestamp,
    /// Columns, rows.
    pub size: (u16, u16),
    pub theme: Theme,
    pub glyphs: Glyphs,
    /// Keys that the configuration file has changed.
    pub bindings: KeyBindings,
    pub pointer: Pointer,
    /// What a copied text has to pass on its way to the terminal.
    pub multiplexer: Multiplexer,
    /// How the terminal shows pictures.
    pub images: Images,
    pub tz: jiff::tz::TimeZone,
    /// Base URL of the daemon.
    pub daemon: String,
    /// Changing actions are refused: a printed frame must not change anything.
    pub read_only: bool,
    /// Whether the user may change anything.
    pub access: Access,
    pub link: Link,
    /// Whether the daemon, to which there is a connection, has given no sign of life for a while.
    pub slow: bool,
    /// When what is shown was last known to be true.
    pub fresh_at: Timestamp,
    pub source: Source,
    pub system: Option<SystemInfo>,
    /// The last event in the state when the daemon was checked last.
    pub checked_seq: u64,
    pub store: TaskStore,
    pub totals: ShownTotals,
    pub part_failures: PartFailures,
    pub tree: Tree,
    pub detail: Detail,
    /// How the log of the stage in the detail is looked at.
    pub log_view: LogView,
    /// The logs of a whole task, while the page of a log shows them.
    pub task_log: Option<TaskLog>,
    pub timeline: TimelinePage,
    pub compare: ComparePage,
    pub estimates: NodeEstimates,
    /// The files of a stage's result, while their page is open.
    pub preview: Preview,
    pub page: Page,
    /// The pages that were open before.
    pub trail: Trail,
    pub deliveries: Deliveries,
    pub nodes: Nodes,
    /// The form that is open.
    pub form: Option<Form>,
    pub drafts: Drafts,
    pub videos: VideosPage,
    /// What was typed, also while another page is open.
    pub register: Option<Register>,
    pub pipelines: PipelineReads,
    /// What the pages of the machine and of the queues show.
    pub observed: Observed,
    pub workers: WorkersPage,
    pub events: EventLog,
    pub commands: CommandLog,
    pub dialog: Option<Dialog>,
    pub filter_input: Option<FilterInput>,
    /// The detail has the whole screen.
    pub zoom: bool,
    /// Where the border between tree and detail is.
    pub split: Split,
    pub under_way: HashMap<Subject, UnderWay>,
    pub batches: BTreeMap<u64, Batch>,
    pub deletes: Vec<PendingDelete>,
    /// Why the last action on it was refused.
    pub failures: HashMap<Subject, String>,
    /// What the daemon warned of when it accepted the last action on it.
    pub warned: HashMap<Subject, String>,
    pub toast: Option<Toast>,
    /// What the user wants to hear of.
    pub watched: WatchList,
    /// The task to open with (`--task`), until it is known.
    pub wanted: Option<TaskId>,
    /// Where the last start ended, until it is restored.
    pub return_to: Option<ReturnPoint>,
    /// Everything is being read again.
    pub reading: bool,
    /// Tasks that are being read, by request.
    pub fetching: BTreeMap<u64, TaskId>,
    /// Reads that changes may cause.
    pub budget: ReadBudget,
    /// Quit was asked for while a delete can still be taken back.
    pub quit_asked: bool,
    pub next_id: u64,
    /// Whether something on screen may have changed since the last frame.
    pub redraw: bool,
}

impl Model {
    pub fn new(daemon: &str, now: Timestamp, size: (u16, u16)) -> Self {
        Self {
            now,
            size,
            theme: Theme::default(),
            glyphs: Glyphs::default(),
            bindings: KeyBindings::default(),
            pointer: Pointer::default(),
            multiplexer: Multiplexer::default(),
            images: Images::default(),
            tz: jiff::tz::TimeZone::UTC,
            daemon: daemon.to_owned(),
            read_only: false,
            access: Access::default(),
            link: Link::Connecting,
            slow: false,
            fresh_at: now,
            source: Source::default(),
            system: None,
            checked_seq: 0,
            store: TaskStore::default(),
            totals: ShownTotals::default(),
            part_failures: PartFailures::default(),
            tree: Tree::default(),
            detail: Detail::default(),
            log_view: LogView::default(),
            task_log: None,
            timeline: TimelinePage::default(),
            compare: ComparePage::default(),
            estimates: NodeEstimates::default(),
            preview: Preview::default(),
            page: Page::default(),
            trail: Trail::default(),
            deliveries: Deliveries::default(),
            nodes: Nodes::default(),
            form: None,
            drafts: Drafts::default(),
            videos: VideosPage::default(),
            register: None,
            pipelines: PipelineReads::default(),
            observed: Observed::default(),
            workers: WorkersPage::default(),
            events: EventLog::default(),
            commands: CommandLog::default(),
            dialog: None,
            filter_input: None,
            zoom: false,
            split: Split::default(),
            under_way: HashMap::new(),
            batches: BTreeMap::new(),
            deletes: Vec::new(),
            failures: HashMap::new(),
            warned: HashMap::new(),
            toast: None,
            watched: WatchList::default(),
            wanted: None,
            return_to: None,
            reading: false,
            fetching: BTreeMap::new(),
            budget: ReadBudget::default(),
            quit_asked: false,
            next_id: 1,
            redraw: true,
        }
    }

    pub fn is_live(&self) -> bool {
        self.link == Link::Live
    }

    /// Returns the time up to which elapsed figures count: it stands still while disconnected, and is the time shown
    /// while the view is frozen.
    pub fn clock(&self) -> Timestamp {
        self.store.shown_at().unwrap_or_else(|| self.present_clock())
    }

    /// Returns the time of the present; it stands still while disconnected.
    pub fn present_clock(&self) -> Timestamp {
        if self.is_live() { self.now } else { self.fresh_at }
    }

    /// Returns the id of the next request.
    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Returns the rows that an action is about: the marked ones, else the cursor's.
    pub fn subjects(&self) -> BTreeSet<RowId> {
        if self.tree.marks.is_empty() {
            self.tree.cursor.iter().cloned().collect()
        } else {
            self.tree.marks.clone()
        }
    }

    /// Returns the stage that a row stands for: itself, or the newest of the task.
    pub fn newest_stage_of(&self, row: &RowId) -> Option<RowId> {
        let task = self.store.get(&row.task)?;
        match &row.node {
            Some(node) => task.stages.contains_key(node).then(|| row.clone()),
            None => task.newest_stage().map(|(node, _)| RowId::stage(&task.id, node)),
        }
    }

    /// Whether the cursor is on a task that has stages and does not show them.
    pub fn has_hidden_stages(&self) -> bool {
        let Some(row) = self.tree.cursor.as_ref().filter(|row| row.node.is_none()) else {
            return false;
        };
        let task = self.store.get(&row.task);
        !self.tree.is_expanded(&row.task) && task.is_some_and(|task| task.rows().next().is_some())
    }

    /// Whether anything waits or runs in the row.
    pub fn in_flight(&self, row: &RowId) -> bool {
        self.store.get(&row.task).is_some_and(|task| match &row.node {
            Some(node) => task.stages.get(node).is_some_and(|stage| stage.status.in_flight()),
            None => task.status.in_flight() || task.under_way().is_some(),
        })
    }

    /// Whether an action on the row, or on a stage of it, has no answer yet.
    pub fn is_requested(&self, row: &RowId) -> bool {
        let of_row = |subject: &Subject| match subject {
            Subject::Row(other) => other == row || row.node.is_none() && other.task == row.task,
            Subject::Delivery(_) => false,
        };
        self.under_way.keys().any(of_row)
    }

    /// Returns why the last action on the row was refused.
    pub fn failure_of(&self, row: &RowId) -> Option<&String> {
        if self.failures.is_empty() {
            return None;
        }
        self.failures.get(&Subject::Row(row.clone()))
    }

    /// Returns what the daemon warned of when it accepted the last action on the row.
    pub fn warning_of(&self, row: &RowId) -> Option<&String> {
        if self.warned.is_empty() {
            return None;
        }
        self.warned.get(&Subject::Row(row.clone()))
    }

    /// Returns how far the video's pipeline is: the newer one of what the list and the store know.
    pub fn processing_of<'a>(&'a self, video: &'a Video) -> Option<&'a Processing> {
        let task = self.store.present(&video.task_id);
        let live = task
            .and_then(|task| task.pipeline.as_ref())
            .map(|pipeline| &pipeline.processing);
        pipeline::choose_later(live, video.processing.as_deref())
    }

    /// Sends a delete after a while, in which it can be undone.
    pub fn delete_later(&mut self, targets: Vec<dialog::Target>, videos: Option<bool>) {
        self.quit_asked = false;
        self.toast = None;
        let due = Timestamp::from_millis(self.now.as_millis() + outcome::UNDO_MS);
        self.deletes.push(PendingDelete { targets, videos, due });
    }

    /// Returns when the pending delete of the video is sent.
    pub fn video_delete_due(&self, video: &Video) -> Option<Timestamp> {
        let mut deletes = self.deletes.iter().filter(|delete| delete.videos.is_some());
        deletes
            .find(|delete| delete.targets.iter().any(|target| *target.row.task == video.task_id))
            .map(|delete| delete.due)
    }

    /// Returns when the pending delete of the task is sent.
    pub fn delete_due(&self, task: &TaskId) -> Option<Timestamp> {
        self.deletes
            .iter()
            .filter(|delete| delete.videos != Some(false))
            .find(|delete| delete.targets.iter().any(|target| *target.row.task == *task))
            .map(|delete| delete.due)
    }

    /// Returns the stage in the detail pane, in full.
    pub fn detail_stage(&self) -> Option<StageSummary> {
        self.detail_kept().map(KeptStage::summary)
    }

    /// Returns the stage in the detail pane as the store keeps it.
    pub fn detail_kept(&self) -> Option<&KeptStage> {
        let (task, node) = self.detail.stage.as_ref()?;
        self.store.kept_stage(task, node)
    }

    /// Returns the list of the page that is open, where the page has one with a cursor.
    pub fn page_list_mut(&mut self) -> Option<&mut dyn ListCursor> {
        match self.page {
            Page::Callbacks => Some(&mut self.deliveries.list),
            Page::Nodes => Some(&mut self.nodes.list),
            Page::Videos => Some(&mut self.videos.list),
            Page::Queues => Some(&mut self.observed.rows),
            Page::Workers => Some(&mut self.workers.list),
            Page::Events => Some(&mut self.events.list),
            Page::Commands => Some(&mut self.commands.list),
            Page::Timeline => Some(&mut self.timeline.list),
            Page::Preview => Some(&mut self.preview.list),
            Page::Tasks | Page::Form | Page::Register | Page::Log | Page::Compare | Page::Machine | Page::Json => None,
        }
    }

    /// Shows a sentence in the footer for a while.
    pub fn say(&mut self, tone: Tone, text: impl Into<String>) {
        let stay = match tone {
            Tone::Bad | Tone::Warned => 8_000,
            Tone::Good | Tone::Neutral => 4_000,
        };
        self.toast = Some(Toast {
            text: text.into(),
            tone,
            until: Timestamp::from_millis(self.now.as_millis() + stay),
            selectable: None,
        });
    }

    /// Shows a sentence about a text, and the text itself on separate lines, where the mouse can select it.
    pub fn say_above(&mut self, tone: Tone, text: impl Into<String>, selectable: String) {
        self.say(tone, text);
        if let Some(toast) = &mut self.toast {
            toast.until = Timestamp::from_millis(self.now.as_millis() + SELECTABLE_MS);
            toast.selectable = Some(selectable);
        }
    }

    /// Returns the logs of the whole task, if these are shown.
    pub fn shown_task_log(&self) -> Option<&TaskLog> {
        self.task_log.as_ref().filter(|_| self.page == Page::Log)
    }

    /// Returns the task whose timeline is shown.
    pub fn timeline_task(&self) -> Option<&Task> {
        self.store.get(self.timeline.task.as_ref()?)
    }

    /// Estimates how long the rest of a stage takes; `None` while what is shown may be old.
    pub fn estimate_rest(&self, node: &NodeName, stage: &KeptStage) -> Option<RestTime> {
        let figures = self.estimates.find(node);
        estimate_rest(stage.status, stage.progress(), stage.elapsed(self.clock()), figures).filter(|_| self.is_live())
    }

    /// Returns when the figures of nodes are to be read next.
    pub fn estimates_due_at(&self) -> Option<Timestamp> {
        let runs = self.totals.tasks.running > 0;
        let is_present = self.is_live() && !self.store.is_frozen();
        self.estimates.due_at(self.now, runs).filter(|_| is_present)
    }

    /// Returns the parts of the screen.
    pub fn panes(&self) -> Panes {
        layout::lay_out_split(self.size, self.zoom, self.split)
    }

    /// Returns the rows on screen.
    pub fn visible_rows(&self) -> &[RowId] {
        let height = self.panes().rows();
        let top = self.tree.top.min(self.tree.rows.len());
        let end = (top + height).min(self.tree.rows.len());
        &self.tree.rows[top..end]
    }
}
