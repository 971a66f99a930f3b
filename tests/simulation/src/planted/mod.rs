//! Deliberate bugs, to prove that lives find them. Each one wraps a seam of the product, in front of or behind its
//! code.

mod blame;
mod dedup;
mod offsets;
mod silent;
mod tables;
mod traces;
mod watermark;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use heddle::log::Member;
use heddle::runtime::Handler;
use heddle::state::{HostState, StateEngine};
use heddle::tables::Table;
use heddle_core::tables::GlobalTable;

use crate::gate::Caller;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The local copy of a changelog applies records when they are sent, before they are committed.
    Watermark,
    /// Offsets are stored outside of the transaction.
    Offsets,
    /// A message id is remembered although its transaction was aborted.
    Dedup,
    /// The record before the one that the log refused is blamed.
    Blame,
    /// A message id is forgotten once the stream is past its window, even if it was handled just before.
    Late,
    /// Nobody is notified of records that were deleted before they were read.
    Silent,
    /// A recreated topic is taken for the deleted one.
    SameTopic,
    /// Partitions that were added while their reader was away stay without a reader.
    Unread,
    /// Records of open transactions are read as committed.
    Undecided,
    /// A full disk reports success for writes that it dropped.
    Full,
    /// Records are handled before the table is read.
    Unrestored,
    /// A table keeps what the topic had that was deleted.
    Unwiped,
    /// A record that is read again is in another trace.
    Traces,
}

impl Planted {
    /// All planted bugs.
    pub const ALL: [Self; 13] = [
        Self::Watermark,
        Self::Offsets,
        Self::Dedup,
        Self::Blame,
        Self::Late,
        Self::Silent,
        Self::SameTopic,
        Self::Unread,
        Self::Undecided,
        Self::Full,
        Self::Unrestored,
        Self::Unwiped,
        Self::Traces,
    ];
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Watermark => "watermark",
            Self::Offsets => "offsets",
            Self::Dedup => "dedup",
            Self::Blame => "blame",
            Self::Late => "late",
            Self::Silent => "silent",
            Self::SameTopic => "same-topic",
            Self::Unread => "unread",
            Self::Undecided => "undecided",
            Self::Full => "full",
            Self::Unrestored => "unrestored",
            Self::Unwiped => "unwiped",
            Self::Traces => "traces",
        })
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|planted| planted.to_string() == text);
        let all = || Self::ALL.map(|planted| format!("`{planted}`")).join(", ");
        known.ok_or_else(|| format!("there are {}, and no `{text}`", all()))
    }
}

/// Puts the bug into a worker's member or handler.
pub(crate) fn apply(
    planted: Option<Planted>,
    member: Box<dyn Member>,
    handler: Box<dyn Handler>,
    caller: &Caller,
    state: &Arc<HostState>,
) -> (Box<dyn Member>, Box<dyn Handler>) {
    match planted {
        // Late is in the bounds of the state, the others are in the log and on the disk.
        None
        | Some(Planted::Late | Planted::SameTopic | Planted::Unread | Planted::Undecided | Planted::Full)
        | Some(Planted::Unrestored | Planted::Unwiped) => (member, handler),
        Some(Planted::Silent) => (silent::plant(member), handler),
        Some(Planted::Traces) => (traces::plant(member), handler),
        Some(Planted::Watermark) => (watermark::plant(member, caller.clone(), state.clone()), handler),
        Some(Planted::Offsets) => (offsets::plant(member, caller.clone()), handler),
        Some(Planted::Dedup) => (member, dedup::plant(handler)),
        Some(Planted::Blame) => (blame::plant(member), handler),
    }
}

/// A global table as workers have it.
pub(crate) fn table(planted: Option<Planted>, table: Arc<Table>) -> Arc<dyn GlobalTable> {
    if planted == Some(Planted::Unrestored) { Arc::new(tables::Hasty(table)) } else { table }
}

/// The engine of global tables.
pub(crate) fn engine(planted: Option<Planted>, engine: Arc<dyn StateEngine>) -> Arc<dyn StateEngine> {
    if planted == Some(Planted::Unwiped) { Arc::new(tables::Keeping(engine)) } else { engine }
}

/// Forwards these methods of [`Member`] unchanged.
macro_rules! hand_on {
    ($($name:ident),+) => {
        $(hand_on!(@one $name);)+

        fn skip(&mut self, losses: &[heddle::log::Loss]) -> Result<(), heddle::log::LogError> {
            self.member.skip(losses)
        }

        fn rejoin(&mut self) -> Result<(), heddle::log::LogError> {
            self.member.rejoin()
        }

        fn leave(self: Box<Self>) -> Result<(), heddle::log::LogError> {
            self.member.leave()
        }
    };
    (@one poll) => {
        fn poll(&mut self, timeout: std::time::Duration) -> Result<heddle::log::Polled, heddle::log::LogError> {
            self.member.poll(timeout)
        }
    };
    (@one send) => {
        fn send(&mut self, record: heddle_core::event::NewRecord) -> Result<(), heddle::log::LogError> {
            self.member.send(record)
        }
    };
    (@one begin_commit) => {
        fn begin_commit(
            &mut self,
            positions: &[(heddle_core::event::TopicPartition, heddle_core::event::Offset)],
        ) -> Result<(), heddle::log::LogError> {
            self.member.begin_commit(positions)
        }
    };
    (@one committed) => {
        fn committed(
            &mut self,
            timeout: std::time::Duration,
        ) -> Result<Option<heddle::log::Ends>, heddle::log::LogError> {
            self.member.committed(timeout)
        }
    };
    (@one take_losses) => {
        fn take_losses(&mut self) -> Vec<heddle::log::Loss> {
            self.member.take_losses()
        }
    };
    (@one abort) => { hand_on!(@plain abort); };
    (@one rewind) => { hand_on!(@plain rewind); };
    (@one pause) => { hand_on!(@places pause); };
    (@one resume) => { hand_on!(@places resume); };
    (@one release) => { hand_on!(@places release); };
    (@plain $name:ident) => {
        fn $name(&mut self) -> Result<(), heddle::log::LogError> {
            self.member.$name()
        }
    };
    (@places $name:ident) => {
        fn $name(&mut self, partitions: &[heddle_core::event::TopicPartition]) -> Result<(), heddle::log::LogError> {
            self.member.$name(partitions)
        }
    };
}
use hand_on;
