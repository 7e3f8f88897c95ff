//! A body that is handed on a chunk at a time. What reads forms takes all that has come whenever it looks, and would hold in
//! memory whatever a fast sender is ahead of a slow disk or store.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
};
use bytes::Bytes;
use futures_util::Stream;

struct Paced {
    body: BodyDataStream,
    /// A chunk was just given: nothing more before the reader has done something with it.
    rest: bool,
}

impl Stream for Paced {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rest) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = Pin::new(&mut self.body).poll_next(context);
        self.rest = matches!(next, Poll::Ready(Some(_)));
        next
    }
}

/// The same request, its body a chunk at a time.
pub fn paced(request: Request) -> Request {
    request.map(|body| {
        Body::from_stream(Paced {
            body: body.into_data_stream(),
            rest: false,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn what_has_come_is_given_one_chunk_a_look_and_whole() {
        let chunks = (0..5u8).map(|n| Ok::<_, axum::Error>(Bytes::from(vec![n])));
        let body = Body::from_stream(futures_util::stream::iter(chunks));
        let mut stream = paced(Request::new(body)).into_body().into_data_stream();
        let mut context = Context::from_waker(Waker::noop());
        assert!(stream.poll_next_unpin(&mut context).is_ready());
        assert!(stream.poll_next_unpin(&mut context).is_pending());
        let rest: Vec<_> = stream.map(|chunk| chunk.unwrap()[0]).collect().await;
        assert_eq!(rest, [1, 2, 3, 4]);
    }
}
