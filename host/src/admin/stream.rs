//! Answers that are sent while they are made: one piece is in memory at a time, and none is made that nobody takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// How many bytes a piece has, about.
const PIECE_BYTES: usize = 64 << 10;

/// A body whose pieces come from elsewhere.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// Where the pieces of a body go. Calls block.
pub(super) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    next: Vec<u8>,
}

/// A body, and where its pieces go.
pub(super) fn body() -> (Body, Sink) {
    let (sender, receiver) = mpsc::channel(1);
    (Body::new(Pieces(receiver)), Sink { pieces: sender, next: vec![] })
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

impl Sink {
    /// Adds to the body. Returns false if nobody takes it any more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        self.next.extend_from_slice(bytes);
        self.next.len() < PIECE_BYTES || self.flush()
    }

    /// Sends what was added. Returns false if nobody takes it any more.
    pub(super) fn flush(&mut self) -> bool {
        let piece = std::mem::take(&mut self.next);
        piece.is_empty() || self.pieces.blocking_send(Ok(piece.into())).is_ok()
    }

    /// Breaks the body off, so that nobody takes a part for the whole.
    pub(super) fn fail(self, why: String) {
        // Who does not take it any more need not hear.
        let _ = self.pieces.blocking_send(Err(io::Error::other(why)));
    }
}
