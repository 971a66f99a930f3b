//! The faults that end a worker, by remedy.

use heddle_core::explain::{Explain, Explained};
use heddle_core::fault::TaskFault;
use thiserror::Error;

use super::aborts::Abort;
use crate::log::LogError;
use crate::state::{ReplayError, StateError};
use crate::telemetry::RejoinCause;

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
    /// A fault that a restart cannot fix, described for a person.
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

/// The reaction to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Rejoin the group and continue from the committed positions.
    Rejoin,
    /// Stop the host, because continuing could only do harm.
    Stop,
}

/// The reason why a turn of a worker ended early.
pub(super) enum TurnError {
    /// The transaction cannot be committed. Drop it and repeat everything since the last commit.
    Abort(Abort),
    /// The worker cannot continue.
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
    /// The cause for which the worker rejoins.
    pub(super) fn rejoin_cause(&self) -> RejoinCause {
        match self {
            Self::Log(LogError::Fenced(_)) => RejoinCause::Fenced,
            Self::Log(LogError::CommitUnknown(_)) => RejoinCause::CommitUnknown,
            Self::Log(LogError::Unreachable(_)) => RejoinCause::Unreachable,
            Self::Log(LogError::Hindered(_)) => RejoinCause::Hindered,
            Self::Log(_) | Self::Stop(_) => RejoinCause::Log,
            Self::Task(_) | Self::State(_) | Self::Replay(_) => RejoinCause::State,
        }
    }

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
