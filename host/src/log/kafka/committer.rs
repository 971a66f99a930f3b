//! Commits of a member, on a separate thread: the member continues to read meanwhile.
//!
//! ```text
//!             begin: the producer, the positions
//!   member ───────────────────────────────────────> thread "commit"
//!          <───────────────────────────────────────
//!             ended: the producer, the outcome
//! ```
//!
//! The producer goes along, so nothing can be sent before its transaction has ended. The group's metadata is taken by
//! the thread, from the consumer that the member goes on polling: partitions that it is to give up are only released
//! when the commit has ended.
//!
//! librdkafka may never return from the call that sends the group's positions: it does not look at the call's time
//! while it waits for a coordinator that has left the cluster's metadata, as a broker does that restarts (its issues
//! 5456 and 5511). So the thread is waited for only as long as its call may take. Then the producer is lost with the
//! thread; the next one of its transactional id fences it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Topic, TopicPartition};

use super::super::{COMMIT_WAIT, Ends, LogError, TopicId};
use crate::lock::lock;

/// The time that a call is waited for beyond its own limit.
const SLACK: Duration = Duration::from_secs(5);

/// A commit that has begun.
struct Begun<P> {
    producer: P,
    positions: Vec<(TopicPartition, Offset)>,
    ids: TopicIds,
}

/// The identities of the topics of the positions.
pub(super) type TopicIds = Arc<BTreeMap<Topic, TopicId>>;

/// By when the call that a producer is in has to return, if librdkafka keeps to the time that it was given.
#[derive(Clone)]
pub(super) struct CallDeadline(Arc<Mutex<Instant>>);

impl CallDeadline {
    /// That of a call that begins now.
    pub(super) fn new(time_max: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + time_max)))
    }

    /// Another call begins now. Returns its deadline.
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

/// The thread.
pub(super) struct Committer<P> {
    /// Gone when there is nothing to come.
    begin: Option<Sender<Begun<P>>>,
    ended: Receiver<Ended<P>>,
    /// Absent once it is given up.
    thread: Option<JoinHandle<()>>,
    /// That of the commit in flight, or of the last one.
    deadline: Option<CallDeadline>,
}

impl<P: Send + 'static> Committer<P> {
    /// Starts it, with what commits.
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

    /// Hands a transaction over, with the deadline that its producer renews at each call.
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

    /// The one that was handed over, once its commit has ended, waiting up to `timeout` for it.
    ///
    /// # Errors
    /// [`LogError::CommitUnknown`] if a call does not return: the producer is lost.
    pub(super) fn ended(&mut self, timeout: Duration) -> Result<Option<Ended<P>>, LogError> {
        // To look is cheap: a wait of no length would ask for the time.
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

    /// Waits for the commit in flight and for the end of the thread, as long as its calls may take: a broker that does
    /// not answer makes it take 30 s each.
    pub(super) fn finish(&mut self) {
        drop(self.begin.take());
        while self.thread.is_some() {
            match self.ended.recv_timeout(COMMIT_WAIT) {
                Err(RecvTimeoutError::Timeout) => {
                    self.give_up_if_stuck();
                }
                Ok(_) => {}
                // A panic in it was printed.
                Err(RecvTimeoutError::Disconnected) => drop(self.thread.take().map(JoinHandle::join)),
            }
        }
    }

    /// Returns true if the thread's call has missed its deadline; nobody waits for the thread any more then.
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

    /// A producer whose call never returns; its time is over already.
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
