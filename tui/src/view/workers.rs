//! Draws the page of workers: Celery queues with the stages that were sent to them, workers, processes that keep their
//! models, and all of what is at the cursor below.

use onceover_wire::{StageOnWorker, WarmProcess, WarmState, WorkerQueue, WorkerSeen, WorkerState};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block::{self, Block, Lines},
    list_page::{self, Cell},
};
use crate::{
    figures, layout,
    model::{Model, workers::WorkerRow},
    theme::Theme,
};

/// What the page says where there is nothing to show.
const NONE: &str = "no service of this daemon is run by Celery workers, and no process keeps a model now; a service with \
                    runner = \"celery\" in its configuration is";

/// Columns of the last text; where there are fewer the names have them, and the text is only below the list.
const LEAST_ABOUT: u16 = 20;

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_workers((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let workers = &model.workers;
    let columns = Columns::for_width(page.inner(page.list).width);
    let titles = columns.cells(["QUEUE OR WORKER", "STATE", "BUSY", "ABOUT"]);
    let area = list_page::draw_head(&page, &describe(model), &titles, theme, buffer);
    if workers.list.keys().is_empty() {
        let (text, style) = match (&workers.report.failed, &workers.report.value) {
            (Some(why), _) => (why.as_str(), theme.bad()),
            (None, Some(_)) => (NONE, theme.faint()),
            (None, None) => ("…", theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    list_page::draw_rows(
        &workers.list,
        |_| false,
        area,
        theme,
        buffer,
        |row, line, buffer| draw_row(model, row, &columns, line, buffer),
    );
    let title = match workers.list.cursor() {
        Some(WorkerRow::Queue { .. }) | None => "Queue",
        Some(WorkerRow::Stage { .. }) => "Stage",
        Some(WorkerRow::Worker { .. }) => "Worker",
        Some(WorkerRow::Process { .. }) => "Process",
    };
    if let Some(area) = list_page::draw_item_frame(&page, title, theme, buffer) {
        block::draw(&list_facts(model, area.width), 0, area, buffer);
    }
}

/// Says how many workers listen, and whether a broker does not answer.
fn describe(model: &Model) -> String {
    let report = &model.workers.report;
    let known = report.value.iter();
    let listening = known
        .clone()
        .flat_map(|report| &report.workers)
        .filter(|worker| worker.state.is_listening())
        .count();
    let mut title = format!("Workers · {listening} listening");
    let down = known
        .flat_map(|report| &report.brokers)
        .filter(|broker| broker.error.is_some())
        .count();
    if down > 0 {
        title += &format!(" · {} without answer", figures::count_noun(down, "broker"));
    }
    if let Some(why) = report.failed.as_ref().filter(|_| report.value.is_some()) {
        title += &format!(" · not up to date: {why}");
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    name: u16,
    state: u16,
    busy: u16,
    about: u16,
}

impl Columns {
    fn for_width(width: u16) -> Self {
        let mut rest = width.saturating_sub(2);
        let name = (rest * 36 / 100).max(12.min(rest));
        rest -= name;
        let mut take = |columns: u16| {
            let taken = if rest >= columns { columns } else { 0 };
            rest -= taken;
            taken
        };
        let (state, busy) = (take(14), take(10));
        let (name, about) = if rest < LEAST_ABOUT {
            (name + rest, 0)
        } else {
            (name, rest)
        };
        Self {
            name,
            state,
            busy,
            about,
        }
    }

    /// The texts with their columns, from left to right.
    fn cells<'a>(&self, texts: [&'a str; 4]) -> [(u16, &'a str); 4] {
        let widths = [self.name, self.state, self.busy, self.about];
        std::array::from_fn(|at| (widths[at], texts[at]))
    }
}

/// Draws a queue, a stage that was sent to one, or a worker.
fn draw_row(model: &Model, row: &WorkerRow, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let (workers, theme) = (&model.workers, model.theme);
    let described = match row {
        WorkerRow::Queue { broker, name } => workers.queue(broker, name).map(|queue| describe_queue(queue, theme)),
        WorkerRow::Stage { message, row } => workers
            .stage(message)
            .map(|(_, stage)| describe_stage(stage, format!("  {row}"), theme)),
        WorkerRow::Worker { broker, hostname } => workers
            .worker(broker, hostname)
            .map(|worker| describe_worker(worker, theme)),
        WorkerRow::Process { node, started_at } => workers
            .process(node, *started_at)
            .map(|process| describe_process(process, theme)),
    };
    let Some((texts, styles)) = described else { return };
    let cells: Vec<Cell> = columns
        .cells(texts.each_ref().map(String::as_str))
        .into_iter()
        .zip(styles)
        .map(|((columns, text), style)| (columns, text, style))
        .collect();
    list_page::draw_cells(&cells, line, buffer);
}

/// The texts of a row, with their styles.
type RowTexts = ([String; 4], [Style; 4]);

fn describe_queue(queue: &WorkerQueue, theme: Theme) -> RowTexts {
    let about = match &queue.reason {
        Some(reason) => reason.clone(),
        None => format!("{} waiting here · {}", queue.waiting, describe_depth(queue)),
    };
    let is_open = queue.reason.is_none();
    let texts = [
        queue.name.clone(),
        figures::count_noun(queue.listeners.len(), "listener"),
        format!("{} of {}", queue.in_flight, queue.slots),
        about,
    ];
    let (state, about) = match is_open {
        true => (theme.good(), theme.plain()),
        false => (theme.bad(), theme.bad()),
    };
    (texts, [theme.strong(), state, theme.accent(), about])
}

fn describe_depth(queue: &WorkerQueue) -> String {
    match queue.depth {
        Some(depth) => format!("{depth} in the broker"),
        None => "the broker does not say how many it has".to_owned(),
    }
}

fn describe_stage(stage: &StageOnWorker, name: String, theme: Theme) -> RowTexts {
    let (state, style) = match &stage.hostname {
        Some(_) => ("● running", theme.good()),
        None => ("◌ sent", theme.warn()),
    };
    let about = match &stage.hostname {
        Some(hostname) => format!("on {hostname}, attempt {}", stage.attempt),
        None => format!("no worker has begun it, attempt {}", stage.attempt),
    };
    let texts = [name, state.to_owned(), String::new(), about];
    (texts, [theme.plain(), style, theme.plain(), theme.faint()])
}

fn describe_worker(worker: &WorkerSeen, theme: Theme) -> RowTexts {
    let style = style_of(worker.state, theme);
    let busy = match worker.active {
        Some(active) => format!("{active} of {}", worker.concurrency),
        None if worker.state == WorkerState::Offline => String::new(),
        None => format!("? of {}", worker.concurrency),
    };
    let about = format!("{} · {}", describe_pool(worker), worker.queues.join(", "));
    let texts = [worker.hostname.clone(), describe_state(worker.state), busy, about];
    (texts, [theme.strong(), style, theme.accent(), theme.plain()])
}

fn describe_process(process: &WarmProcess, theme: Theme) -> RowTexts {
    let (glyph, style) = match process.state {
        WarmState::Starting => ("◌", theme.warn()),
        WarmState::Busy => ("●", theme.good()),
        WarmState::Idle => ("●", theme.plain()),
        WarmState::Ending => ("⊘", theme.faint()),
    };
    let texts = [
        process.task_name.to_string(),
        format!("{glyph} {}", process.state.as_str()),
        count_runs(process),
        format!("keeps its model here · {}", describe_memory(process)),
    ];
    (texts, [theme.strong(), style, theme.accent(), theme.plain()])
}

fn count_runs(process: &WarmProcess) -> String {
    figures::count_noun(usize::try_from(process.runs).unwrap_or(usize::MAX), "run")
}

fn describe_memory(process: &WarmProcess) -> String {
    let memory = process.memory.map(figures::format_bytes);
    let memory = memory.unwrap_or_else(|| "memory not known".to_owned());
    match process.gpu_memory {
        Some(bytes) => format!("{memory} · {} of the GPU", figures::format_bytes(bytes)),
        None => memory,
    }
}

fn describe_pool(worker: &WorkerSeen) -> String {
    let pool = worker.pool.as_deref().unwrap_or("pool not known");
    let version = worker.version.as_deref().unwrap_or("version not known");
    format!("{pool} · {version}")
}

fn describe_state(state: WorkerState) -> String {
    let glyph = match state {
        WorkerState::Online => "●",
        WorkerState::Mute => "◌",
        WorkerState::Lost => "✖",
        WorkerState::Offline => "⊘",
    };
    format!("{glyph} {}", state.as_str())
}

fn style_of(state: WorkerState, theme: Theme) -> Style {
    match state {
        WorkerState::Online => theme.good(),
        WorkerState::Mute => theme.warn(),
        WorkerState::Lost => theme.bad(),
        WorkerState::Offline => theme.faint(),
    }
}

/// Lists all of what is at the cursor.
fn list_facts(model: &Model, columns: u16) -> Lines {
    let (workers, theme) = (&model.workers, model.theme);
    let mut block = Block::new(columns);
    match workers.list.cursor() {
        Some(WorkerRow::Queue { broker, name }) => {
            if let Some(queue) = workers.queue(broker, name) {
                add_queue(queue, theme, &mut block);
            }
        }
        Some(WorkerRow::Stage { message, .. }) => {
            if let Some((queue, stage)) = workers.stage(message) {
                add_stage(model, queue, stage, &mut block);
            }
        }
        Some(WorkerRow::Worker { broker, hostname }) => {
            if let Some(worker) = workers.worker(broker, hostname) {
                add_worker(model, worker, &mut block);
            }
        }
        Some(WorkerRow::Process { node, started_at }) => {
            if let Some(process) = workers.process(node, *started_at) {
                add_process(model, process, &mut block);
            }
        }
        None => {}
    }
    block.into_lines()
}

fn add_queue(queue: &WorkerQueue, theme: Theme, block: &mut Block) {
    if let Some(reason) = &queue.reason {
        block.add_fact("waits", reason, theme.bad());
    }
    let listeners = match queue.listeners.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    block.add_fact("listeners", &listeners, theme.plain());
    block.add_fact(
        "in flight",
        &format!("{} of {} that may be sent", queue.in_flight, queue.slots),
        theme.plain(),
    );
    block.add_fact(
        "waiting",
        &format!("{} in {}", queue.waiting, queue.queue),
        theme.plain(),
    );
    block.add_fact("depth", &describe_depth(queue), theme.plain());
    block.add_fact("broker", &queue.broker, theme.plain());
}

fn add_stage(model: &Model, queue: &WorkerQueue, stage: &StageOnWorker, block: &mut Block) {
    let theme = model.theme;
    block.add_fact("task", stage.task_id.as_str(), theme.strong());
    block.add_fact("stage", stage.task_name.as_str(), theme.strong());
    let worker = stage.hostname.as_deref().unwrap_or("none has begun it");
    let worker = format!("{worker}, attempt {}", stage.attempt);
    block.add_fact("worker", &worker, theme.plain());
    block.add_fact("queue", &queue.name, theme.plain());
    let ago = model.present_clock().seconds_since(stage.sent_at).max(0.0);
    block.add_fact("sent", &figures::format_ago(ago), theme.plain());
    block.add_fact("message", &stage.message_id, theme.faint());
}

fn add_worker(model: &Model, worker: &WorkerSeen, block: &mut Block) {
    let theme = model.theme;
    let state = match worker.state {
        WorkerState::Online => "it answers",
        WorkerState::Mute => "it does not answer: a pool solo is silent while it runs a task",
        WorkerState::Lost => "it does not answer and sends no heartbeat",
        WorkerState::Offline => "it has stopped",
    };
    block.add_fact("state", state, style_of(worker.state, theme));
    block.add_fact("queues", &worker.queues.join(", "), theme.plain());
    block.add_fact("pool", &describe_pool(worker), theme.plain());
    if let Some(heard) = worker.heard_at {
        let ago = model.present_clock().seconds_since(heard).max(0.0);
        block.add_fact("heard of", &figures::format_ago(ago), theme.plain());
    }
    if let Some(processed) = worker.processed {
        block.add_fact(
            "processed",
            &figures::count_noun(processed as usize, "task"),
            theme.plain(),
        );
    }
    for (index, stage) in model.workers.stages_on(worker).iter().enumerate() {
        let label = if index == 0 { "runs" } else { "" };
        block.add_fact(
            label,
            &format!("{} › {}", stage.task_id, stage.task_name),
            theme.plain(),
        );
    }
    block.add_fact("broker", &worker.broker, theme.plain());
}

fn add_process(model: &Model, process: &WarmProcess, block: &mut Block) {
    let theme = model.theme;
    let ago = |time| figures::format_ago(model.present_clock().seconds_since(time).max(0.0));
    let state = match process.state {
        WarmState::Starting => "it is started and takes no run yet",
        WarmState::Busy => "it does a run",
        WarmState::Idle => "it waits for a run",
        WarmState::Ending => "it takes no more runs and ends",
    };
    block.add_fact("state", state, theme.plain());
    block.add_fact("since", &ago(process.since), theme.plain());
    block.add_fact("node", process.task_name.as_str(), theme.strong());
    if let Some(device) = &process.device {
        block.add_fact("device", device, theme.plain());
    }
    block.add_fact("runs", &count_runs(process), theme.plain());
    block.add_fact("memory", &describe_memory(process), theme.plain());
    block.add_fact("started", &ago(process.started_at), theme.plain());
    block.add_fact("process", &process.pid.to_string(), theme.faint());
}
