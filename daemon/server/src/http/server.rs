//! The HTTP server: takes connections, as many as the daemon can afford, closes those that keep it waiting, and lets
//! requests under way end when the daemon stops. HTTP/1 only.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use hyper::{
    Request,
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::connection::{ActiveRequest, Connection, ConnectionEnd, ConnectionTimeouts, Endless, Watched};
use onceover_limits::{Limit, lack::Lack};

/// Between two looks for connections that have gone over a limit of time.
const SWEEP: Duration = Duration::from_millis(250);
/// How long nothing is accepted after the system refused a connection for the lack of something.
const REST: Duration = Duration::from_millis(100);
/// How often the log says that connections are refused or closed.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// Serves one router on one listener.
pub struct Server {
    pub router: Router,
    pub patience: ConnectionTimeouts,
    /// Connections open at a time.
    pub most: usize,
}

#[derive(Clone)]
struct Open(Arc<Mutex<Vec<Arc<Connection>>>>);

impl Open {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Arc<Connection>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes the one that can best be done without; false where all are at work.
    fn make_room(&self) -> bool {
        self.with(|open| {
            let worth = open.iter().enumerate();
            let least = worth
                .filter_map(|(at, connection)| Some((connection.worth()?, at)))
                .min();
            let Some((_, at)) = least else { return false };
            // It is counted no more, though it may take a moment to go.
            open.swap_remove(at).ask_to_end(ConnectionEnd::AtOnce);
            true
        })
    }

    fn sweep(&self, patience: &ConnectionTimeouts) {
        let now = Instant::now();
        self.with(|open| {
            open.retain(|connection| match connection.overdue(patience, now) {
                None => true,
                Some(limit) => {
                    limit.reached();
                    connection.ask_to_end(ConnectionEnd::AtOnce);
                    false
                }
            });
        });
    }

    /// Has all of them end once the answers under way have been sent.
    fn finish(&self) {
        self.with(|open| {
            for connection in open.iter() {
                connection.ask_to_end(ConnectionEnd::Graceful);
            }
        });
    }

    fn forget(&self, gone: &Arc<Connection>) {
        self.with(|open| {
            if let Some(at) = open.iter().position(|connection| Arc::ptr_eq(connection, gone)) {
                open.swap_remove(at);
            }
        });
    }
}

impl Server {
    /// Serves until asked to stop, and then until the answers under way have been sent.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let open = Open(Arc::default());
        let tasks = TaskTracker::new();
        let service = TowerToHyperService::new(self.router.clone());
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut complaint = Complaint::default();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = sweep.tick() => {
                    open.sweep(&self.patience);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    if !self.has_room(&open, &mut complaint) {
                        continue;
                    }
                    let connection = Arc::new(Connection::new());
                    open.with(|open| open.push(Arc::clone(&connection)));
                    let serving = serve_connection(stream, connection, service.clone(), open.clone());
                    tasks.spawn(serving);
                }
                Err(error) if Lack::in_use(&error).is_some() => {
                    Limit::Connections.reached();
                    complaint.say(&format!("connections wait to be accepted: {error}"));
                    open.make_room();
                    tokio::time::sleep(REST).await;
                }
                // It was closed before it was accepted, or the network failed.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(listener);
        open.finish();
        tasks.close();
        tasks.wait().await;
    }

    /// Whether one more connection may be open, if need be in the place of an idle one.
    fn has_room(&self, open: &Open, complaint: &mut Complaint) -> bool {
        if open.with(|open| open.len()) < self.most {
            return true;
        }
        Limit::Connections.reached();
        complaint.say(&format!("{} connections are open, as many as can be", self.most));
        open.make_room()
    }
}

/// Tells the log once in a while.
#[derive(Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn say(&mut self, text: &str) {
        if self.0.is_none_or(|said| said.elapsed() >= SAY_AGAIN) {
            self.0 = Some(Instant::now());
            tracing::warn!("{text}; the longest idle ones are closed (access.max_connections, docs/limits.md)");
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: Arc<Connection>,
    router: TowerToHyperService<Router>,
    open: Open,
) {
    let _ = stream.set_nodelay(true);
    let of_requests = Arc::clone(&connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let under_way = ActiveRequest::begin(&of_requests);
        let connection = Arc::clone(&of_requests);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&connection));
        let answer = router.call(request);
        async move {
            let answer: Response = answer.await?;
            if answer.extensions().get::<Endless>().is_some() {
                connection.is_endless();
            }
            Ok::<_, Infallible>(answer.map(|body| Answer { body, under_way }))
        }
    });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&connection)));
    // Our own limits of time tell a head from an idle connection; hyper's does not.
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(io, service);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            biased;
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::trace!(%error, "a connection broke off");
                }
                break;
            }
            end = connection.end_asked() => match end {
                ConnectionEnd::AtOnce => break,
                ConnectionEnd::Graceful => serving.as_mut().graceful_shutdown(),
            },
        }
    }
    open.forget(&connection);
}

/// The body of an answer, which keeps its request under way.
struct Answer {
    body: Body,
    #[expect(dead_code, reason = "dropped when the answer was sent")]
    under_way: ActiveRequest,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Raises the number of files that may be open as far as the system lets us, and answers it.
pub fn raise_open_files() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// More are of no use, and some programs of nodes go through all numbers there may be.
    const ENOUGH: u64 = 65_536;
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.unwrap_or(ENOUGH);
    let possible = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if possible <= now {
        return Ok(now);
    }
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(possible),
            maximum: limit.maximum,
        },
    )?;
    Ok(possible)
}

/// Connections that can be open where so many files can: runs, Redis and logs need the rest.
pub fn affordable(wanted: usize, open_files: u64) -> usize {
    let kept = (open_files / 4).clamp(128, 4096);
    let left = usize::try_from(open_files.saturating_sub(kept)).unwrap_or(usize::MAX);
    wanted.min(left.max(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_runs() {
        assert_eq!(affordable(4096, 1024), 768);
        assert_eq!(affordable(4096, 65_536), 4096);
        assert_eq!(affordable(100, 65_536), 100);
        assert_eq!(affordable(4096, 64), 16);
    }
}
