//! A receiver for callbacks: a real HTTP server that keeps what it got and answers as a test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use crate::eventually;

/// One request that came in.
#[derive(Debug, Clone)]
pub struct ReceivedCallback {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
    pub raw: Bytes,
}

impl ReceivedCallback {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A status, and where a redirect points.
type Planned = (u16, Option<String>);

#[derive(Clone, Default)]
struct Shared {
    received: Arc<Mutex<Vec<ReceivedCallback>>>,
    answers: Arc<Mutex<VecDeque<Planned>>>,
}

/// Listens on a separate port until dropped.
pub struct Receiver {
    port: u16,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

async fn receive(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, raw: Bytes) -> Response {
    let body = serde_json::from_slice(&raw).unwrap_or_default();
    shared
        .received
        .lock()
        .expect("no panic while locked")
        .push(ReceivedCallback {
            path: uri.path().into(),
            headers,
            body,
            raw,
        });
    let answer = shared.answers.lock().expect("no panic while locked").pop_front();
    let (status, location) = answer.unwrap_or((200, None));
    let status = StatusCode::from_u16(status).expect("a status code");
    match location {
        Some(location) => (status, [(header::LOCATION, location)]).into_response(),
        None => status.into_response(),
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let app = Router::new().fallback(receive).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { port, shared, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Answers the next requests with these statuses, then 200.
    pub fn answer(&self, statuses: &[u16]) {
        let mut answers = self.shared.answers.lock().expect("no panic while locked");
        answers.extend(statuses.iter().map(|status| (*status, None)));
    }

    /// Answers the next request with a redirect.
    pub fn redirect(&self, status: u16, to: &str) {
        self.shared
            .answers
            .lock()
            .expect("no panic while locked")
            .push_back((status, Some(to.to_owned())));
    }

    pub fn received(&self) -> Vec<ReceivedCallback> {
        self.shared.received.lock().expect("no panic while locked").clone()
    }

    /// Whether such a request came in.
    pub fn any(&self, such: impl Fn(&ReceivedCallback) -> bool) -> bool {
        self.shared
            .received
            .lock()
            .expect("no panic while locked")
            .iter()
            .any(such)
    }

    /// Waits until this many requests came in, and answers them all.
    pub async fn wait_for(&self, count: usize) -> Vec<ReceivedCallback> {
        eventually(&format!("{count} callbacks"), || async {
            let received = self.received();
            (received.len() >= count).then_some(received)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}
