//! Bodies of requests that are answered before they were read to their end. The rest is taken from the client, up to a
//! bound: one that is cut off while it sends does not hear why.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// How much is taken that nobody reads, in bytes: twice the code that a component may have.
const REST_BYTES_MAX: usize = 64 << 20;

/// A body whose rest is taken when it is dropped before its end.
pub(super) struct Taken {
    /// None when it ended.
    body: Option<Incoming>,
    patience: Duration,
    /// Whether its client sends it: without being asked to, or because it was.
    sent: bool,
}

/// The request, with a body whose rest is taken within `patience`.
pub(super) fn taken(request: Request<Incoming>, patience: Duration) -> Request<Taken> {
    let sent = !request.headers().contains_key(header::EXPECT);
    request.map(|body| Taken { body: Some(body), patience, sent })
}

impl Body for Taken {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // The first look at a body asks for it.
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

/// Whoever sends more than may be, or too slowly, loses the connection with the body.
async fn take(mut body: Incoming) {
    let mut length = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > REST_BYTES_MAX {
            return;
        }
    }
}
