//! The durable storage of an embedded registry.
//!
//! ```text
//!  Embedded ──decide──> Storage ─┬─ memory           nothing outlives the process
//!                                ├─ Store            a sled folder, for one process
//!                                └─ registry_topic   a topic of the log, for all hosts of a cluster
//! ```

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::RegistryError;
use super::refusal::Refusal;
use super::state::{Change, State};

/// Decides a request on the newest state, and returns the changes that must be durable before the answer. It may be
/// called several times.
pub type Decide<'d> = dyn FnMut(&State) -> Result<Vec<Change>, Refusal> + 'd;

/// The durable side of an embedded registry. Only the storage changes the in-memory state.
pub trait Storage: Send + Sync {
    /// Applies durable changes of other processes to `state`, unless the last refresh is less than `age_max` ago.
    fn refresh(&self, _state: &RwLock<State>, _age_max: Duration) -> Result<(), RegistryError> {
        Ok(())
    }

    /// Makes the changes that `decide` returns durable, all or none, and then applies them to `state`. No other change
    /// can come between the decision and the write.
    fn change(&self, state: &RwLock<State>, decide: &mut Decide<'_>) -> Result<(), ChangeError>;

    /// The storage's name in messages.
    fn place(&self) -> String;
}

/// The reason why a change failed.
#[derive(Debug)]
pub enum ChangeError {
    /// The registry's rules do not allow it.
    Refused(Refusal),
    /// The storage failed.
    Failed(RegistryError),
}

impl From<Refusal> for ChangeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RegistryError> for ChangeError {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::store(error)
    }
}

impl From<ChangeError> for Refusal {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => refusal,
            ChangeError::Failed(error) => error.into(),
        }
    }
}

/// Storage that ends with the process.
pub(super) struct Memory {
    pub(super) place: String,
}

impl Storage for Memory {
    fn change(&self, state: &RwLock<State>, decide: &mut Decide<'_>) -> Result<(), ChangeError> {
        let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
        decide(&state)?.into_iter().for_each(|change| state.apply(change));
        Ok(())
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}
