//! What is known of one open connection, and when it has been kept open for nothing long enough.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::Instant,
};

use onceover_limits::Limit;

/// How long a connection may keep the daemon waiting.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionTimeouts {
    /// For the whole head of a request, from the connection's or the head's first byte on.
    pub header: Duration,
    /// For the next request, and for the next byte of an answer to be taken.
    pub idle: Duration,
}

/// Marks an answer that goes on until its reader or the daemon leaves: its connection has no time limit.
#[derive(Debug, Clone, Copy)]
pub struct Endless;

/// How a connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The answers under way are sent first.
    Graceful,
    AtOnce,
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    /// Wakes what serves it, since it is to end. Each connection has one: what all share, such as a token, every step of
    /// every connection would lock.
    end: Notify,
    at_once: AtomicBool,
    known: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answer is not sent whole.
    under_way: u32,
    /// One of these has no end.
    endless: bool,
    /// A request has come.
    served: bool,
    /// Since when no request is under way.
    idle_since: Instant,
    /// When the first byte came of a request that is not complete yet.
    head_since: Option<Instant>,
    /// Since when the peer takes nothing of what is sent.
    stalled_since: Option<Instant>,
}

/// How readily a connection is closed for a new one; the lesser goes first, of equal ones that which is idle longest.
pub type Worth = (bool, bool, Instant);

impl Connection {
    pub fn new() -> Self {
        Self {
            end: Notify::new(),
            at_once: AtomicBool::new(false),
            known: AtomicBool::new(false),
            state: Mutex::new(State {
                under_way: 0,
                endless: false,
                served: false,
                idle_since: Instant::now(),
                head_since: None,
                stalled_since: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to end. What is asked for once is not taken back.
    pub fn ask_to_end(&self, end: ConnectionEnd) {
        if end == ConnectionEnd::AtOnce {
            self.at_once.store(true, Ordering::Release);
        }
        self.end.notify_one();
    }

    /// Waits until it is asked to end.
    pub async fn end_asked(&self) -> ConnectionEnd {
        self.end.notified().await;
        match self.at_once.load(Ordering::Acquire) {
            true => ConnectionEnd::AtOnce,
            false => ConnectionEnd::Graceful,
        }
    }

    /// A request of this connection was let in.
    pub fn is_known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// The limit that it has gone over.
    pub fn overdue(&self, patience: &ConnectionTimeouts, now: Instant) -> Option<Limit> {
        let state = self.state();
        let (since, limit) = match &*state {
            State { endless: true, .. } => return None,
            State {
                stalled_since: Some(since),
                ..
            } => (*since, Limit::IdleTime),
            State { under_way: 1.., .. } => return None,
            State {
                head_since: Some(since),
                ..
            } => (*since, Limit::HeaderTime),
            State { served: false, .. } => (state.idle_since, Limit::HeaderTime),
            _ => (state.idle_since, Limit::IdleTime),
        };
        let allowed = match limit {
            Limit::HeaderTime => patience.header,
            _ => patience.idle,
        };
        (now.saturating_duration_since(since) >= allowed).then_some(limit)
    }

    /// None while a request is under way that was let in: nothing is gained by ending work.
    pub fn worth(&self) -> Option<Worth> {
        let state = self.state();
        let (known, busy) = (self.known.load(Ordering::Relaxed), state.under_way > 0);
        (!(known && busy)).then_some((known, busy, state.idle_since))
    }

    /// Tells that an answer of it has no end.
    pub fn is_endless(&self) {
        self.state().endless = true;
    }

    fn has_read(&self) {
        let mut state = self.state();
        if state.under_way == 0 {
            state.head_since.get_or_insert_with(Instant::now);
        }
    }

    fn has_written(&self, stalled: bool) {
        let mut state = self.state();
        match stalled {
            true => _ = state.stalled_since.get_or_insert_with(Instant::now),
            false => state.stalled_since = None,
        }
    }
}

/// A request that is under way, until its answer was sent.
#[derive(Debug)]
pub struct ActiveRequest(Arc<Connection>);

impl ActiveRequest {
    pub fn begin(connection: &Arc<Connection>) -> Self {
        let mut state = connection.state();
        state.under_way += 1;
        state.served = true;
        state.head_since = None;
        drop(state);
        Self(Arc::clone(connection))
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.endless = false;
            state.idle_since = Instant::now();
            state.head_since = None;
        }
    }
}

/// A socket that notes when something comes and when nothing is taken.
pub struct Watched {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Watched {
    pub fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.connection.has_written(written.is_pending());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.has_read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: ConnectionTimeouts = ConnectionTimeouts {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(60),
    };

    fn connection() -> Arc<Connection> {
        Arc::new(Connection::new())
    }

    #[test]
    fn a_head_an_idle_connection_and_a_slow_reader_have_their_time_and_a_stream_has_none() {
        let (connection, start) = (connection(), Instant::now());
        let after = |seconds| connection.overdue(&PATIENCE, start + Duration::from_secs(seconds));
        assert_eq!((after(9), after(11)), (None, Some(Limit::HeaderTime)));

        let request = ActiveRequest::begin(&connection);
        assert_eq!(after(1000), None, "the daemon works on it");
        connection.has_written(true);
        assert_eq!(
            (after(59), after(61)),
            (None, Some(Limit::IdleTime)),
            "its answer is not taken"
        );
        connection.is_endless();
        assert_eq!(after(1000), None);
        connection.has_written(false);
        drop(request);

        assert_eq!((after(59), after(61)), (None, Some(Limit::IdleTime)), "it is idle");
        connection.has_read();
        assert_eq!(
            (after(9), after(11)),
            (None, Some(Limit::HeaderTime)),
            "a part of a head came"
        );
        drop(ActiveRequest::begin(&connection));
        assert_eq!((after(59), after(61)), (None, Some(Limit::IdleTime)));
    }

    #[tokio::test]
    async fn a_connection_that_is_to_end_at_once_does_so_whatever_else_it_was_asked() {
        let connection = connection();
        connection.ask_to_end(ConnectionEnd::Graceful);
        assert_eq!(connection.end_asked().await, ConnectionEnd::Graceful);
        connection.ask_to_end(ConnectionEnd::AtOnce);
        connection.ask_to_end(ConnectionEnd::Graceful);
        assert_eq!(connection.end_asked().await, ConnectionEnd::AtOnce);
    }

    #[test]
    fn strangers_go_before_clients_and_idle_ones_before_busy_ones() {
        let all: Vec<_> = (0..5).map(|_| connection()).collect();
        let [stranger, busy_stranger, older, newer, busy] = &all[..] else {
            unreachable!()
        };
        for known in [older, newer, busy] {
            known.is_known();
        }
        drop(ActiveRequest::begin(newer));
        let _requests = [ActiveRequest::begin(busy_stranger), ActiveRequest::begin(busy)];
        assert_eq!(busy.worth(), None);
        let mut order = [newer, older, busy_stranger, stranger];
        order.sort_by_key(|connection| connection.worth());
        let expected = [stranger, busy_stranger, older, newer];
        assert!(order.iter().zip(expected).all(|(one, other)| Arc::ptr_eq(one, other)));
    }
}
