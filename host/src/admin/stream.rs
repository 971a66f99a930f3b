//! Answers that are produced while they are sent. One piece is in memory at a time, and production stops when the
//! client has gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The approximate size of a piece, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A body whose pieces come through a channel.
struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// The sending side of a body. Its calls block.
pub(super) struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    next: Vec<u8>,
}

/// Creates a body and its sending side.
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
    /// Adds to the body. Returns false if the client has gone.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        self.next.extend_from_slice(bytes);
        self.next.len() < PIECE_BYTES || self.flush()
    }

    /// Sends what was added. Returns false if the client has gone.
    pub(super) fn flush(&mut self) -> bool {
        let piece = std::mem::take(&mut self.next);
        piece.is_empty() || self.pieces.blocking_send(Ok(piece.into())).is_ok()
    }

    /// Aborts the body, so that the client does not take a part for the whole.
    pub(super) fn fail(self, why: String) {
        // A client that has gone needs no error.
        let _ = self.pieces.blocking_send(Err(io::Error::other(why)));
    }
}
