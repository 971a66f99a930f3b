//! Time limits for the bodies of requests. A body may be large, but a client that stops sending is dropped. The whole
//! body has no time limit, because a component may be deployed over a slow line.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;

struct Pieces {
    body: Body,
    patience: Duration,
    /// The deadline of the next piece.
    until: Option<Pin<Box<Sleep>>>,
}

/// Limits the time for each piece of the request's body to `patience`.
pub(super) fn in_time(request: Request, patience: Duration) -> Request {
    request.map(|body| Body::new(Pieces { body, patience, until: None }))
}

/// Refuses a body with a declared size above `max` bytes, before it is read.
pub(super) async fn declared(State(max): State<usize>, request: Request, next: Next) -> Result<Response, StatusCode> {
    if request.body().size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(next.run(request).await)
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.until = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the body of the request did not come in time");
        until.as_mut().poll(cx).map(|()| Some(Err(late().into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
