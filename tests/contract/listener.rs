//! What the daemon reaches: a receiver of callbacks, and files that it downloads, some of which keep it waiting.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::world::PATIENCE;

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Instant,
    pub method: String,
    pub headers: Map<String, Value>,
    pub body: Value,
}

impl Received {
    /// The request as a check compares it.
    pub fn seen(&self) -> Value {
        json!({"method": self.method, "headers": self.headers, "body": self.body})
    }
}

#[derive(Default)]
struct Traffic {
    /// Requests by the name in their path.
    received: HashMap<String, Vec<Received>>,
    /// Answers by the name in the path, the next first: a status, and where it leads.
    answers: HashMap<String, Vec<(u16, Option<String>)>>,
    /// Files that wait until they are released.
    held: HashMap<String, watch::Sender<bool>>,
}

/// Listens until dropped.
pub struct Listener {
    /// `http://host:port` as the daemon reaches it.
    url: String,
    traffic: Arc<Mutex<Traffic>>,
    server: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Listens at `bind`; the daemon reaches it as `host`.
    pub async fn start(bind: IpAddr, host: &str) -> anyhow::Result<Self> {
        let socket = tokio::net::TcpListener::bind(SocketAddr::new(bind, 0)).await?;
        let url = format!("http://{host}:{}", socket.local_addr()?.port());
        let traffic = Arc::<Mutex<Traffic>>::default();
        let app = Router::new()
            .route("/hook/{name}", any(receive))
            .route("/file/{name}", get(serve_file))
            .with_state(Arc::clone(&traffic));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(socket, app).await {
                eprintln!("contract: the receiver of callbacks ended: {error}");
            }
        });
        Ok(Self { url, traffic, server })
    }

    pub fn hook_url(&self, name: &str) -> String {
        format!("{}/hook/{name}", self.url)
    }

    pub fn file_url(&self, name: &str) -> String {
        format!("{}/file/{name}", self.url)
    }

    /// Answers the next requests to a hook so, then with 200.
    pub fn plan_answers(&self, name: &str, answers: &[(u16, Option<String>)]) {
        let mut traffic = self.traffic.lock().expect("no panic while locked");
        traffic.answers.insert(name.to_owned(), answers.to_vec());
    }

    pub fn received(&self, name: &str) -> Vec<Received> {
        let traffic = self.traffic.lock().expect("no panic while locked");
        traffic.received.get(name).cloned().unwrap_or_default()
    }

    /// Waits until so many requests came to a hook or for a file, and returns what came, fewer when none more come.
    pub async fn wait_for(&self, name: &str, count: usize, limit: Duration) -> Vec<Received> {
        let start = Instant::now();
        loop {
            let received = self.received(name);
            if received.len() >= count || start.elapsed() > limit {
                return received;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes a file wait until [`Listener::release`].
    pub fn hold(&self, name: &str) {
        let mut traffic = self.traffic.lock().expect("no panic while locked");
        traffic.held.insert(name.to_owned(), watch::Sender::new(false));
    }

    pub fn release(&self, name: &str) {
        let traffic = self.traffic.lock().expect("no panic while locked");
        if let Some(held) = traffic.held.get(name) {
            held.send_replace(true);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn keep(traffic: &Mutex<Traffic>, name: &str, method: &Method, headers: &HeaderMap, body: &[u8]) {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes()))));
    let received = Received {
        at: Instant::now(),
        method: method.to_string(),
        headers: headers.collect(),
        body: serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body))),
    };
    let mut traffic = traffic.lock().expect("no panic while locked");
    traffic.received.entry(name.to_owned()).or_default().push(received);
}

async fn receive(
    State(traffic): State<Arc<Mutex<Traffic>>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    keep(&traffic, &name, &method, &headers, &body);
    let mut traffic = traffic.lock().expect("no panic while locked");
    let answers = traffic.answers.entry(name).or_default();
    if answers.is_empty() {
        return StatusCode::OK.into_response();
    }
    let (status, location) = answers.remove(0);
    let status = StatusCode::from_u16(status).expect("a status");
    match location {
        Some(location) => (status, [(header::LOCATION, location)]).into_response(),
        None => status.into_response(),
    }
}

async fn serve_file(
    State(traffic): State<Arc<Mutex<Traffic>>>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    keep(&traffic, &name, &method, &headers, b"");
    let held = {
        let traffic = traffic.lock().expect("no panic while locked");
        traffic.held.get(&name).map(watch::Sender::subscribe)
    };
    if let Some(mut held) = held {
        // One that nobody releases any more is given out in the end.
        let _ = tokio::time::timeout(PATIENCE, held.wait_for(|released| *released)).await;
    }
    ([(header::CONTENT_TYPE, "audio/x-wav")], silence()).into_response()
}

/// A second of silence as a WAV file: 8 kHz, 8 bits, one channel.
pub fn silence() -> Vec<u8> {
    const RATE: u32 = 8000;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + RATE).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(RATE.to_le_bytes());
    wav.extend(RATE.to_le_bytes());
    wav.extend(1u16.to_le_bytes());
    wav.extend(8u16.to_le_bytes());
    wav.extend(b"data");
    wav.extend(RATE.to_le_bytes());
    wav.extend(vec![128; RATE as usize]);
    wav
}
