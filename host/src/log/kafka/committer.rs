//! Commits of a member, on a thread of their own: the member reads on meanwhile.
//!
//! ```text
//!             begin: the producer, the positions
//!   member ───────────────────────────────────────> thread "commit"
//!          <───────────────────────────────────────
//!             ended: the producer, the outcome
//! ```
//!
//! The producer goes along, so nothing can be sent before its transaction has ended. The group's metadata is taken by the thread, from the
//! consumer that the member goes on polling: partitions that it is to give up are only released when the commit has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heddle_core::event::{Offset, Topic, TopicPartition};
use rdkafka::consumer::BaseConsumer;

use super::super::{Ends, LogError, TopicId};
use super::producer::TransactionalProducer;
use super::rebalance::Rebalances;

/// What is committed.
struct Begun {
    producer: TransactionalProducer,
    positions: Vec<(TopicPartition, Offset)>,
    ids: TopicIds,
}

/// Which topics of their names the positions are in.
pub(super) type TopicIds = Arc<BTreeMap<Topic, TopicId>>;

/// How it ended.
pub(super) struct Ended {
    pub(super) producer: TransactionalProducer,
    pub(super) positions: Vec<(TopicPartition, Offset)>,
    pub(super) outcome: Result<Ends, LogError>,
}

/// The thread.
pub(super) struct Committer {
    /// Gone when there is nothing to come.
    begin: Option<Sender<Begun>>,
    ended: Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts it, for the producer of `consumer`'s member.
    pub(super) fn start(consumer: Arc<BaseConsumer<Rebalances>>) -> Result<Self, LogError> {
        let (begin, begun) = channel::<Begun>();
        let (end, ended) = channel();
        let work = move || {
            for Begun { mut producer, positions, ids } in begun {
                let outcome = producer.commit(&positions, &ids, &consumer);
                if end.send(Ended { producer, positions, outcome }).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("commit".to_owned()).spawn(work);
        let thread = thread.map_err(|error| LogError::Fatal(format!("cannot start a thread: {error}")))?;
        Ok(Self { begin: Some(begin), ended, thread: Some(thread) })
    }

    /// Hands a transaction over.
    pub(super) fn begin(
        &self,
        producer: TransactionalProducer,
        positions: Vec<(TopicPartition, Offset)>,
        ids: TopicIds,
    ) -> Result<(), LogError> {
        let begun = Begun { producer, positions, ids };
        self.begin.as_ref().and_then(|begin| begin.send(begun).ok()).ok_or_else(gone)
    }

    /// The one that was handed over, once its commit has ended, waiting up to `timeout` for it.
    pub(super) fn ended(&self, timeout: Duration) -> Result<Option<Ended>, LogError> {
        // To look is cheap: a wait of no length would ask for the time.
        let ended = if timeout.is_zero() {
            self.ended.try_recv().map_err(|error| error == TryRecvError::Empty)
        } else {
            self.ended.recv_timeout(timeout).map_err(|error| error == RecvTimeoutError::Timeout)
        };
        match ended {
            Ok(ended) => Ok(Some(ended)),
            Err(true) => Ok(None),
            Err(false) => Err(gone()),
        }
    }

    /// Waits for the commit that is under way and for the end of the thread. A broker that does not answer makes it take as long as the
    /// calls of a commit may, 30 s each.
    pub(super) fn finish(&mut self) {
        drop(self.begin.take());
        // A panic in it was printed.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

fn gone() -> LogError {
    LogError::Fatal("the thread that commits has ended".to_owned())
}
