//! A proxy before the daemon's HTTP API: it makes each call slow, and loses, repeats and swaps events on their way. It
//! keeps what it has passed on.

use std::{
    future::ready,
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use tokio::{net::TcpListener, task::JoinHandle};

/// An answer that was passed on.
#[derive(Debug, Clone)]
pub struct PassedAnswer {
    pub path: String,
    /// How its body was encoded on the way.
    pub encoding: Option<String>,
}

struct Inner {
    upstream: String,
    http: reqwest::Client,
    stall: Mutex<Duration>,
    spoils: AtomicBool,
    passed: Mutex<Vec<PassedAnswer>>,
}

/// Listens until dropped.
pub struct HttpProxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    server: JoinHandle<()>,
}

impl HttpProxy {
    /// Listens on a free port before the daemon with this URL.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let inner = Arc::new(Inner {
            upstream: upstream.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            stall: Mutex::default(),
            spoils: AtomicBool::new(false),
            passed: Mutex::default(),
        });
        let app = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        Self {
            address: listener.local_addr().expect("a bound socket has an address"),
            inner,
            server: tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") }),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes each call on so much later.
    pub fn stall(&self, stall: Duration) {
        *self.inner.stall.lock().expect("no panic while locked") = stall;
    }

    /// Loses, repeats and swaps events from now on, or passes on all of them.
    pub fn spoil_events(&self, spoils: bool) {
        self.inner.spoils.store(spoils, Ordering::SeqCst);
    }

    /// Returns what was passed on of a path.
    pub fn passed(&self, path: &str) -> Vec<PassedAnswer> {
        let passed = self.inner.passed.lock().expect("no panic while locked");
        passed.iter().filter(|answer| answer.path == path).cloned().collect()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    value.to_str().ok().map(str::to_owned)
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let stall = *inner.stall.lock().expect("no panic while locked");
    tokio::time::sleep(stall).await;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole request");
    let mut headers = parts.headers;
    // The daemon answers for its address alone.
    headers.remove(header::HOST);
    let url = format!("{}{}", inner.upstream, parts.uri);
    let call = inner.http.request(parts.method, url).headers(headers).body(body);
    let Ok(answer) = call.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let mut headers = answer.headers().clone();
    headers.remove(header::TRANSFER_ENCODING);
    inner.passed.lock().expect("no panic while locked").push(PassedAnswer {
        path: parts.uri.path().to_owned(),
        encoding: text_of(&headers, header::CONTENT_ENCODING),
    });
    let kind = text_of(&headers, header::CONTENT_TYPE).unwrap_or_default();
    let status = answer.status();
    let bytes = answer.bytes_stream();
    let body = if kind.starts_with("text/event-stream") {
        let mut spoiler = Spoiler::default();
        Body::from_stream(bytes.filter_map(move |chunk| {
            let spoils = inner.spoils.load(Ordering::SeqCst);
            ready(match chunk {
                Ok(chunk) => spoiler.take(&chunk, spoils).map(Ok),
                Err(error) => Some(Err(error)),
            })
        }))
    } else {
        Body::from_stream(bytes)
    };
    (status, headers, body).into_response()
}

/// Loses, repeats and swaps events of a stream.
#[derive(Default)]
struct Spoiler {
    /// The beginning of a message whose end has not come yet.
    rest: Vec<u8>,
    /// A message that is passed on after the next one.
    held: Vec<u8>,
    events: usize,
}

impl Spoiler {
    /// Takes in bytes of the stream. Returns those to pass on, if there are any.
    fn take(&mut self, chunk: &[u8], spoils: bool) -> Option<Bytes> {
        self.rest.extend_from_slice(chunk);
        let mut out = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let message: Vec<u8> = self.rest.drain(..end + 2).collect();
            let is_event = String::from_utf8_lossy(&message).contains("event: change");
            if !is_event || !spoils {
                out.append(&mut self.held);
                out.extend(message);
                continue;
            }
            self.events += 1;
            match self.events % 7 {
                1 => {}
                3 => out.extend(message.repeat(2)),
                5 => self.held = message,
                _ => {
                    let held = mem::take(&mut self.held);
                    out.extend(message);
                    out.extend(held);
                }
            }
        }
        (!out.is_empty()).then(|| out.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lost_repeated_and_swapped_and_nothing_else_is() {
        let mut spoiler = Spoiler::default();
        let message = |n: usize| format!("id: {n}\nevent: change\ndata: {n}\n\n");
        let mut passed = String::new();
        let mut take = |text: &str, spoils: bool| {
            let bytes = spoiler.take(text.as_bytes(), spoils).unwrap_or_default();
            passed += &String::from_utf8_lossy(&bytes);
        };
        take("event: reset\n", true);
        take("data: {}\n\n", true);
        for n in 1..=7 {
            take(&message(n), true);
        }
        take(&message(8), false);
        let ids: Vec<_> = passed.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(ids, ["2", "3", "3", "4", "6", "5", "7", "8"]);
        assert!(passed.starts_with("event: reset\ndata: {}\n\n"));
    }
}
