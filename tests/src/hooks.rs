//! Receivers whose behaviour a test decides: they answer by what came in, hang, live at addresses of choice; and
//! a trap, which counts who knocks.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
};
use onceover_wire::ReuseMode;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Daemon, callbacks::ReceivedCallback, eventually};

/// A daemon that may call this machine, with more settings of `[callbacks]`.
pub async fn daemon_that_calls(settings: &str) -> Daemon {
    Daemon::builder()
        .config(&format!("[callbacks]\nallow = ['127.0.0.0/8']\n{settings}"))
        .start()
        .await
}

/// Submits `test.echo` with a callback.
pub async fn call(daemon: &Daemon, task: &str, url: String) {
    let answer = daemon
        .try_submit(task, "test.echo", json!({}), Some(url), ReuseMode::Auto)
        .await;
    answer.expect("the submit is accepted");
}

/// How a hook answers.
pub enum HookReply {
    /// With a status and headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Not at all.
    Never,
}

impl From<u16> for HookReply {
    fn from(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }
}

type Mind = Box<dyn Fn(usize, &ReceivedCallback) -> HookReply + Send + Sync>;

struct Inner {
    mind: Mind,
    received: Mutex<Vec<(Instant, ReceivedCallback)>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// Listens until dropped.
pub struct Hook {
    address: SocketAddr,
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
}

/// Counts a request as under way for as long as it lives.
struct UnderWay(Arc<Inner>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn receive(State(inner): State<Arc<Inner>>, uri: Uri, headers: HeaderMap, raw: Bytes) -> Response<Body> {
    let now = inner.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    inner.most.fetch_max(now, Ordering::SeqCst);
    let _under_way = UnderWay(Arc::clone(&inner));
    let one = ReceivedCallback {
        path: uri.path().into(),
        headers,
        body: serde_json::from_slice(&raw).unwrap_or_default(),
        raw,
    };
    let count = {
        let mut received = inner.received.lock().expect("no panic while locked");
        received.push((Instant::now(), one.clone()));
        received.len()
    };
    match (inner.mind)(count, &one) {
        HookReply::Status(status, headers) => {
            let response = headers
                .into_iter()
                .fold(Response::builder().status(status), |response, (name, value)| {
                    response.header(name, value)
                });
            response.body(Body::empty()).expect("an answer")
        }
        HookReply::Never => std::future::pending().await,
    }
}

impl Hook {
    /// Listens on a free port of 127.0.0.1. `mind` gets the number of the request, from 1 on, and the request.
    pub async fn start(mind: impl Fn(usize, &ReceivedCallback) -> HookReply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", mind).await
    }

    pub async fn start_at(
        address: &str,
        mind: impl Fn(usize, &ReceivedCallback) -> HookReply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let inner = Arc::new(Inner {
            mind: Box::new(mind),
            received: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let app = Router::new()
            .fallback(receive)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&inner));
        Self {
            address: listener.local_addr().expect("a bound socket has an address"),
            inner,
            server: tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") }),
        }
    }

    /// Listens on a separate loopback address, 127.0.0.`n`: a host beside others.
    pub async fn start_at_own(
        n: u8,
        mind: impl Fn(usize, &ReceivedCallback) -> HookReply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(&format!("127.0.0.{n}:0"), mind).await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn received(&self) -> Vec<ReceivedCallback> {
        self.timed().into_iter().map(|(_, one)| one).collect()
    }

    /// What came in, and when.
    pub fn timed(&self) -> Vec<(Instant, ReceivedCallback)> {
        self.inner.received.lock().expect("no panic while locked").clone()
    }

    /// Requests under way at a time, at most so far.
    pub fn most_at_a_time(&self) -> usize {
        self.inner.most.load(Ordering::SeqCst)
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

impl Drop for Hook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A port of 127.0.0.1 that nobody is to connect to.
pub struct Trap {
    port: u16,
    caught: Arc<AtomicUsize>,
    listening: tokio::task::JoinHandle<()>,
}

impl Trap {
    pub async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let caught = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&caught);
        let listening = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            port,
            caught,
            listening,
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections so far.
    pub fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
