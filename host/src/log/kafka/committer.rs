//! Commits a member's transactions in a separate thread. The member continues to read meanwhile.
//!
//! ```text
//!             begin: the producer, the positions
//!   member ───────────────────────────────────────> thread "commit"
//!          <───────────────────────────────────────
//!             ended: the producer, the outcome
//! ```
//!
//! The producer moves to the thread, so nothing can be sent before its transaction has ended. The thread reads the
//! group's metadata from the consumer, which the member continues to poll. Revoked partitions are released only when
//! the commit has ended.
//!
//! librdkafka may never return from the call that sends the group's positions. It ignores the call's timeout while it
//! waits for a coordinator that has left the cluster's metadata, as a restarting broker does (its issues 5456 and
//! 5511). So the thread is awaited only for as long as its call may take. After that, the producer is lost together
//! with the thread, and the next producer with its transactional id fences it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Topic, TopicPartition};

use super::super::{COMMIT_WAIT, Ends, LogError, TopicId};
use crate::lock::lock;

/// The additional time that a call may take beyond its own timeout.
const SLACK: Duration = Duration::from_secs(5);

/// A commit that has begun.
struct Begun<P> {
    producer: P,
    positions: Vec<(TopicPartition, Offset)>,
    ids: TopicIds,
}

/// The ids of the topics of the positions.
pub(super) type TopicIds = Arc<BTreeMap<Topic, TopicId>>;

/// The deadline of the producer's current call, if librdkafka observes the timeout of the call.
#[derive(Clone)]
pub(super) struct CallDeadline(Arc<Mutex<Instant>>);

impl CallDeadline {
    /// The deadline of a call that begins now.
    pub(super) fn new(time_max: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + time_max)))
    }

    /// Renews the deadline for another call that begins now. Returns it.
    pub(super) fn renew(&self, time_max: Duration) -> Instant {
        let deadline = Instant::now() + time_max;
        *lock(&self.0) = deadline;
        deadline
    }

    fn is_missed(&self) -> bool {
        Instant::now() > *lock(&self.0) + SLACK
    }
}

/// The outcome of a commit.
pub(super) struct Ended<P> {
    pub(super) producer: P,
    pub(super) positions: Vec<(TopicPartition, Offset)>,
    pub(super) outcome: Result<Ends, LogError>,
}

/// The thread that commits.
pub(super) struct Committer<P> {
    /// Absent once no further commits follow.
    begin: Option<Sender<Begun<P>>>,
    ended: Receiver<Ended<P>>,
    /// Absent once it is abandoned.
    thread: Option<JoinHandle<()>>,
    /// The deadline of the commit in flight, or of the last one.
    deadline: Option<CallDeadline>,
}

impl<P: Send + 'static> Committer<P> {
    /// Starts the thread, which commits with `commit`.
    pub(super) fn start(
        commit: impl Fn(&mut P, &[(TopicPartition, Offset)], &TopicIds) -> Result<Ends, LogError> + Send + 'static,
    ) -> Result<Self, LogError> {
        let (begin, begun) = channel::<Begun<P>>();
        let (end, ended) = channel();
        let work = move || {
            for Begun { mut producer, positions, ids } in begun {
                let outcome = commit(&mut producer, &positions, &ids);
                if end.send(Ended { producer, positions, outcome }).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(work);
        let thread = thread.map_err(|error| LogError::Fatal(format!("cannot start a thread: {error}")))?;
        Ok(Self { begin: Some(begin), ended, thread: Some(thread), deadline: None })
    }

    /// Passes a transaction to the thread, with the deadline that its producer renews at each call.
    pub(super) fn begin(
        &mut self,
        producer: P,
        deadline: CallDeadline,
        positions: Vec<(TopicPartition, Offset)>,
        ids: TopicIds,
    ) -> Result<(), LogError> {
        self.deadline = Some(deadline);
        let begun = Begun { producer, positions, ids };
        self.begin.as_ref().and_then(|begin| begin.send(begun).ok()).ok_or_else(gone)
    }

    /// Returns the transaction and its outcome once its commit has ended. Waits up to `timeout` for that.
    ///
    /// # Errors
    /// [`LogError::CommitUnknown`] if a call does not return. The producer is then lost.
    pub(super) fn ended(&mut self, timeout: Duration) -> Result<Option<Ended<P>>, LogError> {
        // A check without a wait is cheap. A wait of length zero would read the clock.
        let ended = if timeout.is_zero() {
            self.ended.try_recv().map_err(|error| error == TryRecvError::Empty)
        } else {
            self.ended.recv_timeout(timeout).map_err(|error| error == RecvTimeoutError::Timeout)
        };
        match ended {
            Ok(ended) => Ok(Some(ended)),
            Err(true) if timeout.is_zero() || !self.give_up_if_stuck() => Ok(None),
            Err(true) => Err(LogError::CommitUnknown(
                "a call of the Kafka client that commits has not returned in its time".to_owned(),
            )),
            Err(false) => Err(gone()),
        }
    }

    /// Waits for the commit in flight and for the end of the thread, for as long as its calls may take. With a broker
    /// that does not answer, each call takes 30 s.
    pub(super) fn finish(&mut self) {
        drop(self.begin.take());
        while self.thread.is_some() {
            match self.ended.recv_timeout(COMMIT_WAIT) {
                Err(RecvTimeoutError::Timeout) => {
                    self.give_up_if_stuck();
                }
                Ok(_) => {}
                // The panic message was printed.
                Err(RecvTimeoutError::Disconnected) => drop(self.thread.take().map(JoinHandle::join)),
            }
        }
    }

    /// Returns true if the thread's call has missed its deadline. The thread is then abandoned.
    fn give_up_if_stuck(&mut self) -> bool {
        let stuck = self.deadline.as_ref().is_some_and(CallDeadline::is_missed);
        if stuck {
            drop(self.thread.take());
        }
        stuck
    }
}

fn gone() -> LogError {
    LogError::Fatal("the thread that commits has ended".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A producer whose call never returns. Its deadline has passed.
    struct Stuck;

    fn stuck() -> Committer<Stuck> {
        let mut committer = Committer::start(|_: &mut Stuck, _, _| {
            loop {
                thread::park();
            }
        })
        .unwrap();
        let deadline = CallDeadline(Arc::new(Mutex::new(Instant::now() - SLACK)));
        committer.begin(Stuck, deadline, vec![], TopicIds::default()).unwrap();
        committer
    }

    #[test]
    fn a_call_that_does_not_return_is_given_up() {
        let mut committer = stuck();
        assert!(matches!(committer.ended(Duration::ZERO), Ok(None)), "a glance does not judge");
        let ended = committer.ended(Duration::from_millis(1));
        assert!(matches!(ended, Err(LogError::CommitUnknown(_))));
        committer.finish();
    }

    #[test]
    fn an_end_does_not_wait_for_a_call_that_does_not_return() {
        stuck().finish();
    }

    #[test]
    fn an_end_waits_for_the_commit_in_flight() {
        let (done, is_done) = channel();
        let mut committer = Committer::start(move |number: &mut u32, _, _| {
            thread::sleep(Duration::from_millis(20));
            done.send(*number).unwrap();
            Ok(Ends::new())
        })
        .unwrap();
        committer.begin(7, CallDeadline::new(Duration::from_secs(60)), vec![], TopicIds::default()).unwrap();
        committer.finish();
        assert_eq!(is_done.try_recv(), Ok(7));
    }
}
