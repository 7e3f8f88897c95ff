//! Typed client of the daemon's HTTP API, used by the dashboard, the command line and the tests.

mod files;
mod rows;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt};
use onceover_types::{NodeName, Problem, TaskId, Timestamp, VideoId};
use reqwest::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BatchRequest, BatchResponse, CallbackDelivery, CallbackPage, CancelResponse, DeleteReport, DeleteRequest, Event,
    ExplainRequest, Heartbeat, LogPage, MachineLoad, NodeInfo, NodeList, NodeStatistics, NodeStatus, PipelineList,
    Processing, Queues, ReprocessRequest, ResubmitRequest, ReuseExplanation, ReuseMode, StageRuns, SubmitRequest,
    SubmitResponse, SystemHistory, SystemInfo, TaskPage, TaskView, Video, VideoDeletion, VideoPage, VideoRequest,
    VideoStarted, WorkersReport, clock::Clock, token::make_header,
};

pub use crate::token::{TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, TokenError, TokenSource};
pub use files::FileQuery;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no answer from {base}: {source}")]
    Unreachable { base: String, source: reqwest::Error },
    /// The daemon refused, and says why.
    #[error("{0}")]
    Refused(Problem),
    #[error("{base} answered {status} with something that is not Onceover's: {detail}")]
    Unexpected {
        base: String,
        status: StatusCode,
        detail: String,
    },
}

impl ClientError {
    /// HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unexpected { status, .. } => Some(status.as_u16()),
            Self::Unreachable { .. } => None,
        }
    }
}

/// Filters of `GET /v1/tasks`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TaskQuery {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A node name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Text in the task id, a node name or an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Filters of `GET /v1/callbacks`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CallbackQuery {
    /// pending, sent or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which lines of a log are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogQuery {
    /// The number of the first line, from 1; if omitted the last lines, or with `search` those from the first one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Lines at most.
    pub lines: u64,
    /// Only lines with this text; case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// What `GET /v1/events` sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    Event(Box<Event>),
    /// Events after the requested id are not kept any more, so the reader has to read everything again. Holds the
    /// sequence number from which to continue.
    Reset(u64),
    Heartbeat(Heartbeat),
}

/// A client of one daemon. It is cheap to clone, and all clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    strict: bool,
    clock: Clock,
    /// Sent with each request; shared by all clones, so that another one reaches all of them.
    token: Arc<RwLock<Option<header::HeaderValue>>>,
    /// Where another token can come from.
    tokens: TokenSource,
}

impl Client {
    /// Makes a client; `base` is a URL such as `http://127.0.0.1:8788`.
    pub fn new(base: &str) -> Self {
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(3))
                // Less than the daemon's access.idle_timeout, so that no request is sent on a connection that is being
                // closed.
                .pool_idle_timeout(Duration::from_secs(45))
                .no_proxy()
        };
        // A machine without CA certificates can still speak plain http.
        let http = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let http = http.expect("an HTTP client without options that could be refused");
        Self {
            base: base.trim_end_matches('/').to_owned(),
            http,
            strict: false,
            clock: Clock::default(),
            token: Arc::default(),
            tokens: TokenSource::default(),
        }
    }

    /// Makes a client with this token of the daemon.
    pub fn with_token(base: &str, token: Option<&str>) -> Result<Self, TokenError> {
        let client = Self::new(base);
        client.set_token(token)?;
        Ok(client)
    }

    /// Makes a client with the token of this source.
    pub fn with_tokens_of(base: &str, tokens: TokenSource) -> Result<Self, TokenError> {
        let client = Self::with_token(base, tokens.read()?.as_deref())?;
        Ok(Self { tokens, ..client })
    }

    /// Reads the token again: its file may have changed. Where it cannot be read, the token stays as it is.
    pub fn renew_token(&self) -> Result<(), TokenError> {
        match self.tokens.read()? {
            Some(token) => self.set_token(Some(&token)),
            None => Ok(()),
        }
    }

    fn set_token(&self, token: Option<&str>) -> Result<(), TokenError> {
        let header = token.map(make_header).transpose()?;
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = header;
        Ok(())
    }

    /// Makes the daemon refuse a request with a field that nothing reads, where it would answer with a warning
    /// otherwise.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Returns the URL of the daemon.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the daemon's clock, as far as its answers have shown it.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks for a stage.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitResponse, ClientError> {
        self.call(Method::POST, "/v1/tasks", Some(request)).await
    }

    /// Asks for a stage under an idempotency key: without a task, the same request with the same key within a day is the
    /// same task.
    pub async fn submit_once(&self, request: &SubmitRequest, key: &str) -> Result<SubmitResponse, ClientError> {
        let post = self.http.post(self.url("/v1/tasks")).timeout(CALL_TIMEOUT);
        let post = post.header("idempotency-key", key);
        self.answer(self.with_body(post, request)).await
    }

    /// Sends many submits at once; each gets its own result.
    pub async fn submit_batch(&self, request: &BatchRequest) -> Result<BatchResponse, ClientError> {
        self.call(Method::POST, "/v1/tasks/batch", Some(request)).await
    }

    /// Lists tasks, newest first.
    pub async fn tasks(&self, query: &TaskQuery) -> Result<TaskPage, ClientError> {
        let request = self.http.get(self.url("/v1/tasks")).query(query).timeout(CALL_TIMEOUT);
        self.answer(request).await
    }

    /// Reads a task with all its stages.
    pub async fn task(&self, task: &TaskId) -> Result<TaskView, ClientError> {
        self.get(&format!("/v1/tasks/{task}")).await
    }

    /// Reads a task as seen by a client that waits for one node.
    pub async fn status(&self, task: &TaskId, node: Option<&NodeName>) -> Result<NodeStatus, ClientError> {
        let query = node.map(|node| format!("?task_name={node}")).unwrap_or_default();
        self.get(&format!("/v1/tasks/{task}/status{query}")).await
    }

    /// Cancels what is in flight under the task.
    pub async fn cancel(&self, task: &TaskId) -> Result<CancelResponse, ClientError> {
        self.call(Method::DELETE, &format!("/v1/tasks/{task}"), None::<&()>)
            .await
    }

    /// Cancels one stage, when it is in flight.
    pub async fn cancel_stage(&self, task: &TaskId, node: &NodeName) -> Result<CancelResponse, ClientError> {
        self.call(
            Method::DELETE,
            &format!("/v1/tasks/{task}?task_name={node}"),
            None::<&()>,
        )
        .await
    }

    /// Deletes a task. With `force`, its runs are ended first.
    pub async fn delete(&self, task: &TaskId, force: bool) -> Result<DeleteReport, ClientError> {
        self.call(
            Method::POST,
            &format!("/v1/tasks/{task}/delete"),
            Some(&DeleteRequest { force }),
        )
        .await
    }

    /// Sends the stored request of the stage again, under the same task.
    pub async fn resubmit(
        &self,
        task: &TaskId,
        node: &NodeName,
        reuse: ReuseMode,
    ) -> Result<SubmitResponse, ClientError> {
        let path = format!("/v1/tasks/{task}/stages/{node}/resubmit");
        self.call(Method::POST, &path, Some(&ResubmitRequest { reuse })).await
    }

    /// Asks how a submit of the stored request would be decided now.
    pub async fn explain(
        &self,
        task: &TaskId,
        node: &NodeName,
        reuse: Option<ReuseMode>,
    ) -> Result<ReuseExplanation, ClientError> {
        let query = reuse
            .map(|mode| format!("?reuse={}", mode.as_str()))
            .unwrap_or_default();
        self.get(&format!("/v1/tasks/{task}/stages/{node}/reuse{query}")).await
    }

    /// Asks how a submit of the stage with this input would be decided now.
    pub async fn explain_input(
        &self,
        task: &TaskId,
        node: &NodeName,
        request: &ExplainRequest,
    ) -> Result<ReuseExplanation, ClientError> {
        let path = format!("/v1/tasks/{task}/stages/{node}/reuse");
        self.call(Method::POST, &path, Some(request)).await
    }

    /// Reads the runs of the stage, the newest first.
    pub async fn stage_runs(&self, task: &TaskId, node: &NodeName) -> Result<StageRuns, ClientError> {
        self.get(&format!("/v1/tasks/{task}/stages/{node}/runs")).await
    }

    /// Reads the state of the daemon and its Redis.
    pub async fn system(&self) -> Result<SystemInfo, ClientError> {
        self.get("/v1/system").await
    }

    /// Reads the catalog, with what each node is missing on the daemon's machine.
    pub async fn nodes(&self) -> Result<NodeList, ClientError> {
        self.get("/v1/nodes").await
    }

    /// Reads one node of the catalog.
    pub async fn node(&self, node: &NodeName) -> Result<NodeInfo, ClientError> {
        self.get(&format!("/v1/nodes/{node}")).await
    }

    /// Reads how long the runs of each node take, and how often they fail or are saved.
    pub async fn node_statistics(&self) -> Result<NodeStatistics, ClientError> {
        self.get("/v1/nodes/statistics").await
    }

    /// Reads every queue.
    pub async fn queues(&self) -> Result<Queues, ClientError> {
        self.get("/v1/queues").await
    }

    /// Reads which Celery workers there are, and what they run.
    pub async fn workers(&self) -> Result<WorkersReport, ClientError> {
        self.get("/v1/workers").await
    }

    /// Reads how busy the daemon's machine was in the last minutes.
    pub async fn machine(&self) -> Result<MachineLoad, ClientError> {
        self.get("/v1/system/machine").await
    }

    /// Reads what was counted in each minute of the last hour.
    pub async fn history(&self) -> Result<SystemHistory, ClientError> {
        self.get("/v1/system/history").await
    }

    /// Lists registered videos, newest first.
    pub async fn videos(&self, limit: u32, cursor: Option<&str>) -> Result<VideoPage, ClientError> {
        let request = self.http.get(self.url("/api/v1/videos")).query(&[("limit", limit)]);
        let request = match cursor {
            Some(cursor) => request.query(&[("cursor", cursor)]),
            None => request,
        };
        self.answer(request.timeout(CALL_TIMEOUT)).await
    }

    /// Reads one video.
    pub async fn video(&self, video: &VideoId) -> Result<Video, ClientError> {
        self.get(&format!("/api/v1/videos/{video}")).await
    }

    /// Registers a video by path or URL. There is no limit on how long fetching one from a URL may take.
    pub async fn register_video(&self, request: &VideoRequest) -> Result<Video, ClientError> {
        let post = self.http.post(self.url("/api/v1/videos"));
        self.answer(self.with_body(post, request)).await
    }

    /// Deletes a video, and its task if that is asked for.
    pub async fn delete_video(
        &self,
        video: &VideoId,
        with_task: bool,
        force: bool,
    ) -> Result<VideoDeletion, ClientError> {
        let path = format!("/api/v1/videos/{video}?with_task={with_task}&force={force}");
        self.call(Method::DELETE, &path, None::<&()>).await
    }

    /// Starts the video's pipeline in the background (V1); the default one where none is named.
    pub async fn run_video(
        &self,
        video: &VideoId,
        pipeline: Option<&str>,
        force: bool,
    ) -> Result<VideoStarted, ClientError> {
        let request = self.http.post(self.url(&format!("/api/v1/videos/{video}/run_sync")));
        let request = request.query(&[("force", force)]);
        let request = match pipeline {
            Some(pipeline) => request.query(&[("pipeline", pipeline)]),
            None => request,
        };
        self.answer(request.timeout(CALL_TIMEOUT)).await
    }

    /// Runs chosen steps, and what depends on them, again (V2).
    pub async fn reprocess_video(
        &self,
        video: &VideoId,
        request: &ReprocessRequest,
    ) -> Result<VideoStarted, ClientError> {
        self.call(
            Method::POST,
            &format!("/api/v1/videos/{video}/reprocess"),
            Some(request),
        )
        .await
    }

    /// Reads how far the video's pipeline is.
    pub async fn processing(&self, video: &VideoId) -> Result<Processing, ClientError> {
        self.get(&format!("/api/v1/videos/{video}/status")).await
    }

    /// Lists the pipelines.
    pub async fn pipelines(&self) -> Result<PipelineList, ClientError> {
        self.get("/api/v1/pipelines").await
    }

    /// Lists callbacks, newest first.
    pub async fn callbacks(&self, query: &CallbackQuery) -> Result<CallbackPage, ClientError> {
        let request = self.http.get(self.url("/v1/callbacks")).query(query);
        self.answer(request.timeout(CALL_TIMEOUT)).await
    }

    /// Reads one callback.
    pub async fn callback(&self, id: &str) -> Result<CallbackDelivery, ClientError> {
        self.get(&format!("/v1/callbacks/{id}")).await
    }

    /// Sends a callback again: with the same id and body, and the schedule from its beginning.
    pub async fn redeliver(&self, id: &str) -> Result<CallbackDelivery, ClientError> {
        self.call(Method::POST, &format!("/v1/callbacks/{id}/redeliver"), None::<&()>)
            .await
    }

    /// Reads lines of the stage's log.
    pub async fn log_lines(&self, task: &TaskId, node: &NodeName, query: &LogQuery) -> Result<LogPage, ClientError> {
        let path = format!("/v1/tasks/{task}/stages/{node}/log");
        let request = self.http.get(self.url(&path)).query(query).timeout(CALL_TIMEOUT);
        self.answer(request).await
    }

    /// Follows the stage's log from byte `from` on, as it grows. The stream ends when the run ends.
    pub async fn log_follow(
        &self,
        task: &TaskId,
        node: &NodeName,
        from: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let path = format!("/v1/tasks/{task}/stages/{node}/log?follow=true&from={from}");
        let response = self.send(self.http.get(self.url(&path))).await?;
        let response = self.accepted(response).await?;
        Ok(self.byte_stream(response))
    }

    /// Follows the events after `last`, with a sign of life after each `heartbeat`. The stream ends, or gives an error, when
    /// the connection is lost; open it again from the last sequence number seen.
    pub async fn events(
        &self,
        last: Option<u64>,
        heartbeat: Option<Duration>,
    ) -> Result<impl Stream<Item = Result<Feed, ClientError>> + Send + use<>, ClientError> {
        let mut request = self
            .http
            .get(self.url("/v1/events"))
            .header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        if let Some(heartbeat) = heartbeat {
            request = request.query(&[("heartbeat_ms", heartbeat.as_millis().to_string())]);
        }
        let response = self.send(request).await?;
        let response = self.accepted(response).await?;
        self.is_event_stream(&response)?;
        let base = self.base.clone();
        Ok(response.bytes_stream().eventsource().filter_map(move |message| {
            let broken = |detail: String| ClientError::Unexpected {
                base: base.clone(),
                status: StatusCode::OK,
                detail,
            };
            let item = match message {
                Err(error) => Some(Err(broken(format!("the event stream failed: {error}")))),
                Ok(message) if message.event == "reset" => {
                    Some(Ok(Feed::Reset(message.id.parse().unwrap_or_default())))
                }
                Ok(message) if message.event == "change" => Some(
                    serde_json::from_str(&message.data)
                        .map(|event| Feed::Event(Box::new(event)))
                        .map_err(|error| broken(format!("an event could not be read: {error}"))),
                ),
                // One that cannot be read is of a later version, and a sign of life as well.
                Ok(message) if message.event == "heartbeat" => serde_json::from_str(&message.data)
                    .ok()
                    .map(|heartbeat| Ok(Feed::Heartbeat(heartbeat))),
                Ok(_) => None,
            };
            std::future::ready(item)
        }))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            base: self.base.clone(),
            source,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, ClientError> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner).clone();
        let request = match token {
            Some(token) => request.header(header::AUTHORIZATION, token),
            None => request,
        };
        let asked = Timestamp::now();
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if let Some(date) = response.headers().get(header::DATE)
            && let Ok(date) = date.to_str()
        {
            self.clock.learn(date, asked, Timestamp::now());
        }
        Ok(response)
    }

    /// Returns the bytes of an answer as they come.
    fn byte_stream(
        &self,
        response: reqwest::Response,
    ) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + use<> {
        let client = self.clone();
        response
            .bytes_stream()
            .map(move |chunk| chunk.map_err(|source| client.unreachable(source)))
    }

    /// Refuses an answer of another kind of server.
    fn is_event_stream(&self, response: &reqwest::Response) -> Result<(), ClientError> {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("no type");
        if kind.starts_with("text/event-stream") {
            return Ok(());
        }
        Err(ClientError::Unexpected {
            base: self.base.clone(),
            status: response.status(),
            detail: format!("{kind} where an event stream was asked for"),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let mut request = self.http.request(method, self.url(path)).timeout(CALL_TIMEOUT);
        if let Some(body) = body {
            request = self.with_body(request, body);
        }
        self.answer(request).await
    }

    fn with_body<B: Serialize>(&self, request: reqwest::RequestBuilder, body: &B) -> reqwest::RequestBuilder {
        let request = if self.strict {
            request.header("prefer", "handling=strict")
        } else {
            request
        };
        request.json(body)
    }

    async fn answer<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let response = self.accepted(response).await?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Unexpected {
            base: self.base.clone(),
            status,
            detail: error.to_string(),
        })
    }

    async fn accepted(&self, response: reqwest::Response) -> Result<reqwest::Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|source| self.unreachable(source))?;
        Err(self.read_refusal(status, &bytes))
    }

    /// Reads why the daemon refused a request.
    fn read_refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_) => ClientError::Unexpected {
                base: self.base.clone(),
                status,
                detail: String::from_utf8_lossy(body).chars().take(200).collect(),
            },
        }
    }
}

/// Time limit of a delete, which may have to wait for the grace time of a run that it ends.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
