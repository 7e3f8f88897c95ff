//! The body of a request as it comes: while nothing comes, its request holds no slot among those under way, and it has
//! only so much time.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use onceover_types::{Problem, ProblemKind, humane};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::PollSemaphore;

use onceover_limits::Limit;

/// Bytes that must arrive for the time limit of a body to start again.
const ENOUGH: u64 = 16 * 1024;

/// A slot among the requests under way; free while it is lent to nobody.
#[derive(Debug, Clone)]
pub struct RequestSlot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl RequestSlot {
    /// Takes one of the slots, if there is one.
    pub fn take(slots: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(slots).try_acquire_owned().ok()?;
        Some(Self(Arc::new(Mutex::new(Some(permit)))))
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The same request, its body waited for without its slot.
pub fn awaited(request: Request, slot: &RequestSlot, slots: &Arc<Semaphore>, limit: Duration) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| {
        Body::new(Awaited {
            body,
            come: None,
            slot: slot.clone(),
            slots: PollSemaphore::new(Arc::clone(slots)),
            limit,
            timer: None,
            is_timed: false,
            waiting_since: None,
            waited: Duration::ZERO,
            got: 0,
        })
    })
}

/// The answer to a body that did not come in time; None where reading it failed otherwise.
pub fn late_body(error: &(dyn Error + 'static)) -> Option<Problem> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<io::Error>() {
            Some(late) if late.kind() == io::ErrorKind::TimedOut => {
                return Some(Problem::new(ProblemKind::BodyTimeout, format!("the body: {late}")));
            }
            _ => cause = error.source(),
        }
    }
    None
}

type Part = Option<Result<Frame<Bytes>, axum::Error>>;

struct Awaited {
    body: Body,
    /// What has come and waits for a slot.
    come: Option<Part>,
    slot: RequestSlot,
    slots: PollSemaphore,
    limit: Duration,
    /// Made when something is first waited for that does not come at once: most bodies come right behind their heads.
    timer: Option<Pin<Box<Sleep>>>,
    /// The timer is set to the end of this wait.
    is_timed: bool,
    waiting_since: Option<Instant>,
    /// Time spent waiting for the sender since the limit started; the handler's own time does not count.
    waited: Duration,
    /// Bytes since then.
    got: u64,
}

impl Awaited {
    fn note(&mut self, part: &Part) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
            self.is_timed = false;
        }
        if let Some(Ok(frame)) = part {
            self.got += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        if self.got >= ENOUGH {
            (self.got, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Waits for the sender, without the slot, until the time limit ends. The first time it has itself asked once more
    /// instead: what has come with the head is handed on in the next step of the connection.
    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        let Some(since) = self.waiting_since else {
            self.waiting_since = Some(Instant::now());
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
        self.slot.set(None);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !self.is_timed {
            self.is_timed = true;
            timer.as_mut().reset(since + self.limit.saturating_sub(self.waited));
        }
        ready!(timer.as_mut().poll(context));
        Limit::BodyTime.reached();
        let text = format!(
            "it did not come within {} (access.body_timeout)",
            humane::duration(self.limit)
        );
        let error = io::Error::new(io::ErrorKind::TimedOut, text);
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }
}

impl HttpBody for Awaited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Part> {
        let this = &mut *self;
        if this.come.is_none() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(part) => {
                    this.note(&part);
                    this.come = Some(part);
                }
                Poll::Pending => return this.poll_time(context),
            }
        }
        if !this.slot.is_held() {
            let permit = ready!(this.slots.poll_acquire(context));
            this.slot.set(permit);
        }
        Poll::Ready(this.come.take().flatten())
    }

    fn is_end_stream(&self) -> bool {
        self.come.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use futures_util::stream;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(400);

    fn request(body: Body, slots: &Arc<Semaphore>) -> (RequestSlot, Request) {
        let slot = RequestSlot::take(slots).unwrap();
        let request = awaited(Request::new(body), &slot, slots, LIMIT);
        (slot, request)
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_holds_no_place_and_ends_in_time() {
        let slots = Arc::new(Semaphore::new(1));
        let never = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let (_slot, request) = request(never, &slots);
        let reading = tokio::spawn(to_bytes(request.into_body(), 100));
        tokio::task::yield_now().await;
        assert!(RequestSlot::take(&slots).is_some());
        let error = reading.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("access.body_timeout"), "{error}");
    }

    #[tokio::test]
    async fn a_drip_ends_in_time_and_a_steady_sender_does_not() {
        for (size, whole) in [(1, false), (ENOUGH as usize, true)] {
            let slots = Arc::new(Semaphore::new(1));
            let drops = stream::unfold(0, move |sent| async move {
                tokio::time::sleep(LIMIT / 4).await;
                (sent < 8).then(|| (Ok::<_, io::Error>(Bytes::from(vec![0; size])), sent + 1))
            });
            let (slot, request) = request(Body::from_stream(drops), &slots);
            let read = to_bytes(request.into_body(), usize::MAX).await;
            assert_eq!(read.is_ok(), whole, "{read:?}");
            assert!(!whole || slot.is_held());
        }
    }
}
