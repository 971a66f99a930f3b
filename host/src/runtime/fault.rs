//! The faults that end a worker, by remedy.

use heddle_core::fault::TaskFault;
use thiserror::Error;

use super::aborts::Abort;
use crate::log::LogError;
use crate::state::{ReplayError, StateError};

/// A fault that ends a worker before it was stopped.
#[derive(Debug, Error)]
pub enum WorkerFault {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state of a task cannot be read.
    #[error(transparent)]
    Task(#[from] TaskFault),
    /// The copy of a task's state on this host cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A changelog holds a record that is not valid.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A fault that a restart cannot fix, in words for a person.
    #[error("{0}")]
    Stop(String),
}

/// The reaction to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Join the group again and go on from what is committed.
    Rejoin,
    /// Stop the host, because continuing could only do harm.
    Stop,
}

/// The reason why a turn of a worker ended early.
pub(super) enum TurnError {
    /// The transaction cannot be committed: drop it and do everything since the last commit again.
    Abort(Abort),
    /// The worker cannot go on.
    Fault(WorkerFault),
}

impl From<WorkerFault> for TurnError {
    fn from(fault: WorkerFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<LogError> for TurnError {
    fn from(error: LogError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<TaskFault> for TurnError {
    fn from(fault: TaskFault) -> Self {
        Self::Fault(fault.into())
    }
}

impl WorkerFault {
    /// The reaction to this fault.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Task(_)
            | Self::State(_)
            | Self::Log(
                LogError::Fenced(_)
                | LogError::CommitUnknown(_)
                | LogError::Unreachable(_)
                | LogError::Hindered(_)
                | LogError::Abort(_)
                | LogError::Refused(_)
                // The topic was deleted a moment ago. Before the worker joins again, its component is stopped for this
                // reason.
                | LogError::UnknownTopic(_),
            ) => Remedy::Rejoin,
            Self::Replay(ReplayError::State(_)) => Remedy::Rejoin,
            Self::Log(_) | Self::Replay(_) | Self::Stop(_) => Remedy::Stop,
        }
    }
}
