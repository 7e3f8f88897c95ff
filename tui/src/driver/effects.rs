//! Carries out what the state machine asks for: calls the daemon and follows logs. Each call is a separate task, so
//! that none waits for another, and each answer comes back as an event.

use std::sync::{Arc, LazyLock};

use futures_util::StreamExt;
use onceover_types::{NodeName, ProblemKind, TaskId, Timestamp, problem::ProblemType};
use onceover_wire::{
    LogPage, SubmitRequest, VideoPage,
    client::{CallbackQuery, Client, ClientError, LogQuery},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::announce::run_command;
use super::{
    pictures::Pictures,
    result_files::{read_content, read_result_files},
};
use crate::{
    feed::{FeedRequest, short_reason},
    model::{Tone, json_tree::JsonTree, preview::ResultFile},
    update::{Call, Effect, Refusal, Reply, UiEvent},
};

/// Callbacks that are read, newest first.
const MOST_CALLBACKS: u32 = 500;

/// Videos that are read at once, and at most.
const PAGE: u32 = 200;
const MOST_VIDEOS: usize = 2_000;

/// Lines of a log that are read at once, and bytes of a whole log at most.
const LOG_LINES: u64 = 5_000;
const MOST_LOG_BYTES: usize = 64 * 1024 * 1024;

/// Changes asked of the daemon at once; a bulk action of a thousand rows queues here.
const CHANGES_AT_ONCE: usize = 8;

/// Starts effects. Dropping it stops the logs that are followed; calls that were started go on.
pub struct EffectRunner {
    client: Client,
    events: mpsc::Sender<UiEvent>,
    feed: mpsc::Sender<FeedRequest>,
    log: Option<JoinHandle<()>>,
    /// The logs of one task that are followed beside each other.
    task_logs: Vec<JoinHandle<()>>,
    /// Reads the file that is previewed.
    preview: Option<JoinHandle<()>>,
    pictures: Pictures,
    changes: Arc<Semaphore>,
    /// The program that announces an end, and its arguments.
    announce_command: Vec<String>,
}

impl EffectRunner {
    pub fn new(
        client: Client,
        events: mpsc::Sender<UiEvent>,
        feed: mpsc::Sender<FeedRequest>,
        pictures: Pictures,
        announce_command: Vec<String>,
    ) -> Self {
        Self {
            client,
            events,
            feed,
            log: None,
            task_logs: Vec::new(),
            preview: None,
            pictures,
            changes: Arc::new(Semaphore::new(CHANGES_AT_ONCE)),
            announce_command,
        }
    }

    /// Returns the pictures that were read, as the terminal takes them.
    pub fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    /// Starts an effect, unless it is one for the terminal.
    pub async fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Reread => {
                // A full queue holds the same request already.
                let _ = self.feed.try_send(FeedRequest::Reread);
            }
            Effect::Call {
                id,
                call: Call::Preview { file, room },
            } => self.read_preview(id, file, room),
            Effect::Call { id, call } => {
                let (client, events) = (self.client.clone(), self.events.clone());
                let changes = self.changes.clone();
                tokio::spawn(async move {
                    let _turn = match call.changes() {
                        true => changes.acquire_owned().await.ok(),
                        false => None,
                    };
                    let reply = send_call(&client, call).await;
                    let _ = events.send(UiEvent::Reply { id, reply }).await;
                });
            }
            Effect::FollowLog { id, task, node } => {
                self.stop_log();
                let (client, events) = (self.client.clone(), self.events.clone());
                self.log = Some(tokio::spawn(follow_log(client, events, id, task, node)));
            }
            Effect::StopLog => self.stop_log(),
            Effect::Announce(announcement) => {
                let (command, events) = (self.announce_command.clone(), self.events.clone());
                tokio::spawn(async move {
                    if let Err(reason) = run_command(&command, &announcement).await {
                        let (tone, text) = (Tone::Bad, reason);
                        let _ = events.send(UiEvent::Say { tone, text }).await;
                    }
                });
            }
            Effect::FollowTaskLog { id, task, node } => {
                let (client, events) = (self.client.clone(), self.events.clone());
                self.task_logs.retain(|log| !log.is_finished());
                self.task_logs
                    .push(tokio::spawn(follow_log(client, events, id, task, node)));
            }
            Effect::StopTaskLog => self.stop_task_logs(),
            Effect::ParseJson { id, json } => {
                let events = self.events.clone();
                tokio::task::spawn_blocking(move || {
                    let tree = Box::new(JsonTree::parse(&json));
                    // The dashboard may have ended.
                    let _ = events.blocking_send(UiEvent::JsonParsed { id, tree });
                });
            }
            Effect::Quit
            | Effect::Redraw
            | Effect::Suspend
            | Effect::Copy(_)
            | Effect::EditText { .. }
            | Effect::ShowText(_)
            | Effect::UseMouse(_) => {}
        }
    }

    /// Reads a file instead of the one that is being read.
    fn read_preview(&mut self, id: u64, file: ResultFile, room: (u16, u16)) {
        if let Some(preview) = self.preview.take() {
            preview.abort();
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        let pictures = self.pictures.clone();
        self.preview = Some(tokio::spawn(async move {
            let content = read_content(&client, &file, room, Some((id, pictures))).await;
            let reply = Reply::Preview(content.map(Box::new));
            let _ = events.send(UiEvent::Reply { id, reply }).await;
        }));
    }

    /// Stops following a log.
    fn stop_log(&mut self) {
        if let Some(log) = self.log.take() {
            log.abort();
        }
    }

    /// Stops following the logs of a task.
    fn stop_task_logs(&mut self) {
        for log in self.task_logs.drain(..) {
            log.abort();
        }
    }
}

impl Drop for EffectRunner {
    fn drop(&mut self) {
        self.stop_log();
        self.stop_task_logs();
    }
}

/// Sends a log as it grows, then its end. Returns early when the dashboard has ended.
async fn follow_log(client: Client, events: mpsc::Sender<UiEvent>, id: u64, task: TaskId, node: NodeName) {
    let stream = match client.log_follow(&task, &node, 0).await {
        Ok(stream) => stream,
        Err(error) => {
            let error = Some(short_reason(&error));
            let _ = events.send(UiEvent::LogEnd { id, error }).await;
            return;
        }
    };
    let mut stream = std::pin::pin!(stream);
    let error = loop {
        match stream.next().await {
            None => break None,
            Some(Err(error)) => break Some(short_reason(&error)),
            Some(Ok(bytes)) => {
                if events.send(UiEvent::LogChunk { id, bytes }).await.is_err() {
                    return;
                }
            }
        }
    };
    let _ = events.send(UiEvent::LogEnd { id, error }).await;
}

/// Calls the daemon. Returns its answer.
pub async fn send_call(client: &Client, call: Call) -> Reply {
    match call {
        Call::Stage { task } => Reply::Stage(client.task(&task).await.map(Box::new).map_err(Refusal::from)),
        Call::Task { task } => Reply::Task(client.task(&task).await.map(Box::new).map_err(Refusal::from)),
        Call::Log { task, node, query } => {
            Reply::Log(match client.log_lines(&task, &node, &query).await {
                // A stage written by another worker has no log here.
                Err(error) if error.status() == Some(404) => Ok(LogPage::default()),
                other => other.map_err(Refusal::from),
            })
        }
        Call::WholeLog { task, node } => {
            Reply::WholeLog(read_whole_log(client, &task, &node).await.map_err(Refusal::from))
        }
        Call::ResultFiles { task, node } => Reply::ResultFiles(
            read_result_files(client, &task, &node)
                .await
                .map(Box::new)
                .map_err(Refusal::from),
        ),
        Call::Preview { file, room } => Reply::Preview(read_content(client, &file, room, None).await.map(Box::new)),
        Call::Queues => Reply::Queues(client.queues().await.map_err(Refusal::from)),
        Call::Statistics => Reply::Statistics(client.node_statistics().await.map_err(Refusal::from)),
        Call::StageRuns { task, node } => Reply::StageRuns(
            client
                .stage_runs(&task, &node)
                .await
                .map(Box::new)
                .map_err(Refusal::from),
        ),
        Call::Machine => Reply::Machine(client.machine().await.map_err(Refusal::from)),
        Call::Workers => Reply::Workers(client.workers().await.map_err(Refusal::from)),
        Call::History => Reply::History(client.history().await.map_err(Refusal::from)),
        Call::Resubmit { task, node, reuse } => Reply::Submitted(
            client
                .resubmit(&task, &node, reuse)
                .await
                .map(Box::new)
                .map_err(Refusal::from),
        ),
        Call::Cancel { task, node } => Reply::Cancelled(
            match &node {
                Some(node) => client.cancel_stage(&task, node).await,
                None => client.cancel(&task).await,
            }
            .map_err(Refusal::from),
        ),
        Call::Delete { task, force } => Reply::Deleted(client.delete(&task, force).await.map_err(Refusal::from)),
        Call::Reuse { task, node, reuse } => {
            let answer = client.explain(&task, &node, reuse).await;
            Reply::Reuse(answer.map(Box::new).map_err(Refusal::from))
        }
        Call::Forecast { task, node, request } => {
            let answer = client.explain_input(&task, &node, &request).await;
            Reply::Reuse(answer.map(Box::new).map_err(Refusal::from))
        }
        Call::Callbacks { task } => {
            let query = CallbackQuery {
                task_id: task.map(|task| task.to_string()),
                limit: Some(MOST_CALLBACKS),
                ..CallbackQuery::default()
            };
            Reply::Callbacks(client.callbacks(&query).await.map_err(Refusal::from))
        }
        Call::Nodes => Reply::Nodes(client.nodes().await.map_err(Refusal::from)),
        Call::Submit { request, form } => {
            let sent = client.submit_once(&request, &make_key(form, &request)).await;
            Reply::Submitted(sent.map(Box::new).map_err(Refusal::from))
        }
        Call::Videos => Reply::Videos(read_videos(client).await.map_err(Refusal::from)),
        Call::Pipelines => Reply::Pipelines(client.pipelines().await.map_err(Refusal::from)),
        Call::Processing { video } => {
            Reply::Processing(client.processing(&video).await.map(Box::new).map_err(Refusal::from))
        }
        Call::RunVideo { video, pipeline, force } => {
            let started = client.run_video(&video, pipeline.as_deref(), force).await;
            Reply::Started(started.map(Box::new).map_err(Refusal::from))
        }
        Call::Reprocess { video, request } => {
            let started = client.reprocess_video(&video, &request).await;
            Reply::Started(started.map(Box::new).map_err(Refusal::from))
        }
        Call::RegisterVideo { request } => Reply::Registered(
            client
                .register_video(&request)
                .await
                .map(Box::new)
                .map_err(Refusal::from),
        ),
        Call::DeleteVideo {
            video,
            with_task,
            force,
        } => {
            let deleted = client.delete_video(&video, with_task, force).await;
            Reply::VideoDeleted(deleted.map(Box::new).map_err(Refusal::from))
        }
        Call::Redeliver { id } => Reply::Redelivered(client.redeliver(&id).await.map(Box::new).map_err(Refusal::from)),
    }
}

/// Makes the idempotency key of a form's request: the same for the same request, and no other program's.
fn make_key(form: u64, request: &SubmitRequest) -> String {
    static PROGRAM: LazyLock<String> =
        LazyLock::new(|| format!("{}-{}", std::process::id(), Timestamp::now().as_millis()));
    // A request can always be written.
    let request = serde_json::to_string(request).unwrap_or_default();
    blake3::hash(format!("{} {form} {request}", *PROGRAM).as_bytes())
        .to_hex()
        .to_string()
}

/// Reads every line of a log that is kept, with a line where some are not.
async fn read_whole_log(client: &Client, task: &TaskId, node: &NodeName) -> Result<String, ClientError> {
    let mut text = String::new();
    let mut from = 1;
    loop {
        let query = LogQuery {
            from: Some(from),
            lines: LOG_LINES,
            search: None,
        };
        let page = match client.log_lines(task, node, &query).await {
            // A stage written by another worker has no log here.
            Err(error) if error.status() == Some(404) => return Ok(text),
            other => other?,
        };
        for line in &page.lines {
            if line.number > from {
                text += &format!("… {} lines are not kept\n", line.number - from);
            }
            text += &line.text;
            text.push('\n');
            from = line.number + 1;
        }
        if page.lines.is_empty() || from > page.total {
            return Ok(text);
        }
        if text.len() > MOST_LOG_BYTES {
            text += "… the rest is left out: it is too much\n";
            return Ok(text);
        }
    }
}

/// Reads the newest videos, page after page.
async fn read_videos(client: &Client) -> Result<VideoPage, ClientError> {
    let mut all = VideoPage {
        items: Vec::new(),
        next_cursor: None,
    };
    loop {
        let page = client.videos(PAGE, all.next_cursor.as_deref()).await?;
        all.items.extend(page.items);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() || all.items.len() >= MOST_VIDEOS {
            return Ok(all);
        }
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let lacks_scope = match &error {
            ClientError::Refused(problem) => problem.kind == ProblemType::from(ProblemKind::Scope),
            _ => false,
        };
        Self {
            status: error.status(),
            text: short_reason(&error),
            lacks_scope,
            errors: match error {
                ClientError::Refused(problem) => problem.errors,
                _ => Vec::new(),
            },
        }
    }
}
