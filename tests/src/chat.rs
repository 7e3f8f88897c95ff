//! A server that speaks the chat completions of OpenAI, and misbehaves as a test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    eventually,
    model::{ModelServer, Sent},
};

/// What the server does with one question.
#[derive(Debug, Clone)]
pub enum ChatReply {
    /// This text.
    Text(String),
    /// What the function makes of the last message's text.
    Made(fn(&str) -> String),
    /// What a model makes of the whole request.
    Model(Arc<ModelServer>),
    /// A status and a body, with Retry-After where given.
    Status(u16, Option<String>, String),
    /// A redirect to there.
    Redirect(String),
    /// 200 with this body.
    Raw(String),
    /// The text with this `finish_reason`.
    Finished(String, &'static str),
    /// Headers, half an answer, and the end of the connection.
    Cut,
    /// No answer at all, until the asker goes away.
    Hang,
}

/// One question that came in.
#[derive(Debug, Clone)]
pub struct AskedQuestion {
    pub at: Instant,
    pub path: String,
    pub authorization: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl AskedQuestion {
    /// The model's instructions.
    pub fn system(&self) -> &str {
        self.message("system")
    }

    pub fn user(&self) -> &str {
        self.message("user")
    }

    fn message(&self, role: &str) -> &str {
        let messages = self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let message = messages.iter().find(|message| message["role"] == role);
        message
            .and_then(|message| message["content"].as_str())
            .unwrap_or_default()
    }
}

#[derive(Clone, Default)]
struct Shared {
    asked: Arc<Mutex<Vec<AskedQuestion>>>,
    replies: Arc<Mutex<VecDeque<ChatReply>>>,
    /// When the planned ones are used up.
    then: Arc<Mutex<Option<ChatReply>>>,
    /// Questions that hang and whose asker is still there.
    hanging: Arc<Mutex<usize>>,
}

/// Listens on a separate port until dropped.
pub struct ChatServer {
    port: u16,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

fn completion(text: &str, finish: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "test-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let question = AskedQuestion {
        at: Instant::now(),
        path: uri.path().to_owned(),
        authorization: header.unwrap_or_default().to_owned(),
        headers: headers.clone(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let (user, body) = (question.user().to_owned(), question.body.clone());
    shared.asked.lock().expect("no panic while locked").push(question);
    let planned = shared.replies.lock().expect("no panic while locked").pop_front();
    let then = shared.then.lock().expect("no panic while locked").clone();
    match planned.or(then).unwrap_or(ChatReply::Text("fine".into())) {
        ChatReply::Text(text) => axum::Json(completion(&text, "stop")).into_response(),
        ChatReply::Made(make) => axum::Json(completion(&make(&user), "stop")).into_response(),
        ChatReply::Model(model) => sent(model.answer(&body)),
        ChatReply::Finished(text, finish) => axum::Json(completion(&text, finish)).into_response(),
        ChatReply::Raw(body) => body.into_response(),
        ChatReply::Status(status, after, body) => {
            let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
            if let Some(after) = after {
                let after = after.parse().expect("a header value");
                response.headers_mut().insert("retry-after", after);
            }
            response
        }
        ChatReply::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        ChatReply::Cut => {
            let half = Bytes::from_static(b"{\"choices\": [{\"message\": {\"content\": \"ha");
            let parts = [Ok(half), Err(std::io::Error::other("the connection is cut"))];
            Body::from_stream(futures_util::stream::iter(parts)).into_response()
        }
        ChatReply::Hang => {
            /// Dropped with the connection.
            struct Held(Shared);
            impl Drop for Held {
                fn drop(&mut self) {
                    *self.0.hanging.lock().expect("no panic while locked") -= 1;
                }
            }
            *shared.hanging.lock().expect("no panic while locked") += 1;
            let _held = Held(shared);
            std::future::pending().await
        }
    }
}

fn sent(sent: Sent) -> Response {
    let status = StatusCode::from_u16(sent.status).expect("a status");
    let mut response = (status, axum::Json(sent.body)).into_response();
    if let Some(after) = sent.retry_after {
        response.headers_mut().insert("retry-after", after.into());
    }
    response
}

impl ChatServer {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { port, shared, server }
    }

    /// What a provider is configured with.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Answers the next questions like this, one after another.
    pub fn plan(&self, replies: impl IntoIterator<Item = ChatReply>) {
        self.shared
            .replies
            .lock()
            .expect("no panic while locked")
            .extend(replies);
    }

    /// Answers every question for which nothing is planned like this.
    pub fn always(&self, reply: ChatReply) {
        *self.shared.then.lock().expect("no panic while locked") = Some(reply);
    }

    /// Answers every question for which nothing is planned as this model does.
    pub fn serve(&self, model: ModelServer) {
        self.always(ChatReply::Model(Arc::new(model)));
    }

    pub fn asked(&self) -> Vec<AskedQuestion> {
        self.shared.asked.lock().expect("no panic while locked").clone()
    }

    /// Waits until this many questions hang.
    pub async fn until_hanging(&self, count: usize) {
        eventually(&format!("{count} questions that hang"), || async {
            let hanging = *self.shared.hanging.lock().expect("no panic while locked");
            (hanging == count).then_some(())
        })
        .await;
    }
}

impl Drop for ChatServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
