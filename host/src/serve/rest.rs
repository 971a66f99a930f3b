//! Bodies of requests that are answered before they were read to the end. The rest is read up to a bound: a client that
//! is cut off while it sends does not receive the answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// The most bytes that are read and discarded: twice the largest code of a component.
const REST_BYTES_MAX: usize = 64 << 20;

/// A body whose rest is read when it is dropped before its end.
pub(super) struct Taken {
    /// `None` after the body's end.
    body: Option<Incoming>,
    patience: Duration,
    /// True if the client sends the body: it does not expect `100-continue`, or has received it.
    sent: bool,
}

/// Wraps the request's body, so that its rest is read within `patience`.
pub(super) fn taken(request: Request<Incoming>, patience: Duration) -> Request<Taken> {
    let sent = !request.headers().contains_key(header::EXPECT);
    request.map(|body| Taken { body: Some(body), patience, sent })
}

impl Body for Taken {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The first poll of a body asks the client for it.
        self.sent = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_end_stream() || !self.sent {
            return;
        }
        // Without a runtime there is no connection to save.
        if let (Some(body), Ok(runtime)) = (self.body.take(), Handle::try_current()) {
            drop(runtime.spawn(tokio::time::timeout(self.patience, take(body))));
        }
    }
}

/// Reads the rest of a body. A client that sends too much or too slowly loses the connection.
async fn take(mut body: Incoming) {
    let mut length = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > REST_BYTES_MAX {
            return;
        }
    }
}
