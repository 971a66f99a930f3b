//! The spans that wait for the exporter. Bounded, and never waits for anything but its lock.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Service;
use super::otlp::Span;
use crate::lock::lock;

/// The reason why a span was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dropped {
    /// The queue was full.
    QueueFull,
    /// The collector did not answer.
    Unreachable,
    /// The collector refused it.
    Refused,
    /// The host stopped before it was sent.
    Stopped,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Unreachable, Self::Refused, Self::Stopped];

    /// The stable name, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// The number of spans that left the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans that the collector accepted.
    pub exported: u64,
    /// Spans that were dropped, in the order of [`Dropped::ALL`].
    dropped: [u64; 4],
}

impl SpanCounts {
    /// The number of spans that were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize]
    }
}

/// Spans with the service that they belong to, oldest first.
pub(super) type Batch = Vec<(Service, Span)>;

/// The spans that wait.
pub(super) struct Queue {
    spans_max: usize,
    state: Mutex<State>,
    /// Notified when the exporter has something to do.
    wakes: Condvar,
}

#[derive(Default)]
struct State {
    spans: VecDeque<(Service, Span)>,
    counts: SpanCounts,
    /// The number of spans for which the exporter wants to be woken.
    wanted: usize,
    /// Set when the export ends. Until then, waiting spans are sent.
    stops_at: Option<Instant>,
}

impl Queue {
    pub(super) fn new(spans_max: usize) -> Self {
        Self { spans_max, state: Mutex::default(), wakes: Condvar::new() }
    }

    /// Adds as many of these spans as there is room for, and drops the others. There are `count`.
    pub(super) fn push(&self, service: &Service, count: usize, spans: impl Iterator<Item = Span>) {
        let room = self.spans_max - lock(&self.state).spans.len();
        // Built without the lock. Another worker may have taken the room meanwhile.
        let built = spans.take(room).collect::<Vec<_>>();
        let mut state = lock(&self.state);
        let room = if state.stops_at.is_some() { 0 } else { self.spans_max - state.spans.len() };
        let added = built.len().min(room);
        state.spans.extend(built.into_iter().take(added).map(|span| (service.clone(), span)));
        let why = if state.stops_at.is_some() { Dropped::Stopped } else { Dropped::QueueFull };
        state.note_dropped(why, count - added);
        let wakes = state.spans.len() >= state.wanted;
        drop(state);
        if wakes {
            self.wakes.notify_one();
        }
    }

    /// Waits until there are `wanted` spans, for `delay` at most, and takes them. Returns `None` at the end of the
    /// export.
    pub(super) fn take(&self, wanted: usize, delay: Duration) -> Option<Batch> {
        let mut state = lock(&self.state);
        state.wanted = wanted;
        let waits = |state: &mut State| state.spans.len() < wanted && state.stops_at.is_none();
        let waited = self.wakes.wait_timeout_while(state, delay, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.wanted = usize::MAX;
        let is_over = state.stops_at.is_some() && state.spans.is_empty();
        let count = state.spans.len().min(wanted);
        (!is_over).then(|| state.spans.drain(..count).collect())
    }

    /// Waits for this time, or until the export ends. Returns the deadline if it ends.
    pub(super) fn pause(&self, time: Duration) -> Option<Instant> {
        let state = lock(&self.state);
        let waited = self.wakes.wait_timeout_while(state, time, |state| state.stops_at.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stops_at
    }

    /// Counts spans that were exported, and others that were dropped.
    pub(super) fn count(&self, exported: usize, dropped: usize, why: Dropped) {
        let mut state = lock(&self.state);
        state.counts.exported += exported as u64;
        state.note_dropped(why, dropped);
    }

    /// Drops the spans that are left.
    pub(super) fn clear(&self) {
        let mut state = lock(&self.state);
        let left = state.spans.len();
        state.spans.clear();
        state.note_dropped(Dropped::Stopped, left);
    }

    pub(super) fn stop(&self, deadline: Instant) {
        lock(&self.state).stops_at.get_or_insert(deadline);
        self.wakes.notify_all();
    }

    pub(super) fn counts(&self) -> SpanCounts {
        lock(&self.state).counts
    }
}

impl State {
    fn note_dropped(&mut self, why: Dropped, spans: usize) {
        self.counts.dropped[why as usize] += spans as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service { component: "shop.intake".into(), digest: None }
    }

    fn push(queue: &Queue, count: usize) {
        queue.push(&service(), count, (0..count).map(|_| Span::default()));
    }

    #[test]
    fn spans_that_do_not_fit_are_dropped_and_counted() {
        let queue = Queue::new(8);
        [5, 5, 5].iter().for_each(|count| push(&queue, *count));
        assert_eq!(queue.counts().dropped(Dropped::QueueFull), 7);
        assert_eq!(queue.take(6, Duration::ZERO).unwrap().len(), 6);
        push(&queue, 1);
        assert_eq!(queue.take(6, Duration::ZERO).unwrap().len(), 3);
        assert_eq!(queue.counts().dropped(Dropped::QueueFull), 7);
    }

    #[test]
    fn the_end_wakes_the_exporter_which_takes_what_is_left() {
        let queue = Queue::new(8);
        push(&queue, 2);
        std::thread::scope(|scope| {
            let taken =
                scope.spawn(|| [(); 2].map(|()| queue.take(6, Duration::from_secs(600)).map(|spans| spans.len())));
            queue.stop(Instant::now());
            assert_eq!(taken.join().unwrap(), [Some(2), None]);
        });
        push(&queue, 1);
        assert_eq!(queue.counts().dropped(Dropped::Stopped), 1);
    }
}
