//! Bugs that are put in on purpose, to see that lives find them. Each sits at a seam of the product, in front of or behind its own code.

mod blame;
mod dedup;
mod offsets;
mod watermark;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use heddle::log::Member;
use heddle::runtime::Handler;
use heddle::state::HostState;

use crate::gate::Caller;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The local copy of a changelog takes its records when they are sent, before they are committed.
    Watermark,
    /// Positions are stored beside the transaction, not in it.
    Offsets,
    /// A message id is remembered although its transaction was aborted.
    Dedup,
    /// The record before the one that the log refused is blamed.
    Blame,
    /// A message id is forgotten as soon as the stream is past its window, however short ago it was handled.
    Late,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Watermark, Self::Offsets, Self::Dedup, Self::Blame, Self::Late];
}

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Watermark => "watermark",
            Self::Offsets => "offsets",
            Self::Dedup => "dedup",
            Self::Blame => "blame",
            Self::Late => "late",
        })
    }
}

impl FromStr for Planted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|planted| planted.to_string() == text);
        known.ok_or_else(|| format!("there are `watermark`, `offsets`, `dedup`, `blame` and `late`, and no `{text}`"))
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
        // The last one is in the bounds of the state.
        None | Some(Planted::Late) => (member, handler),
        Some(Planted::Watermark) => (watermark::plant(member, caller.clone(), state.clone()), handler),
        Some(Planted::Offsets) => (offsets::plant(member, caller.clone()), handler),
        Some(Planted::Dedup) => (member, dedup::plant(handler)),
        Some(Planted::Blame) => (blame::plant(member), handler),
    }
}

/// The methods of [`Member`] that a wrapper hands on as they are.
macro_rules! hand_on {
    ($($name:ident),+) => {
        $(hand_on!(@one $name);)+

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
