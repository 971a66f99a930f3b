//! Why a worker ended, by remedy.

use heddle_core::explain::{Explain, Explained};
use heddle_core::fault::TaskFault;
use thiserror::Error;

use super::aborts::Abort;
use crate::log::LogError;
use crate::state::{ReplayError, StateError};

/// What ended a worker before it was told to stop.
#[derive(Debug, Error)]
pub enum WorkerFault {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state of a task cannot be read.
    #[error(transparent)]
    Task(#[from] TaskFault),
    /// The copy of a task's state on this host cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A changelog holds what is no record of it.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Something that no new start can cure, in words for a person.
    #[error("{0}")]
    Stop(Explained),
}

impl WorkerFault {
    fn inner(&self) -> &dyn Explain {
        match self {
            Self::Log(error) => error,
            Self::Task(error) => error,
            Self::State(error) => error,
            Self::Replay(error) => error,
            Self::Stop(error) => error,
        }
    }
}

impl Explain for WorkerFault {
    fn place(&self) -> Option<String> {
        self.inner().place()
    }

    fn remedy(&self) -> Option<String> {
        self.inner().remedy()
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Join the group again and go on from what is committed.
    Rejoin,
    /// Stop the host: going on could only do harm.
    Stop,
}

/// Why a turn of a worker ended early.
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
    /// What follows from it.
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
                // It was deleted a moment ago: before a worker joins again, its component is stopped, with the reason.
                | LogError::UnknownTopic(_),
            ) => Remedy::Rejoin,
            Self::Replay(ReplayError::State(_)) => Remedy::Rejoin,
            Self::Log(_) | Self::Replay(_) | Self::Stop(_) => Remedy::Stop,
        }
    }
}
