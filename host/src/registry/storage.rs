//! Where an embedded registry keeps what it must not forget.
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

/// Decides a request on the newest state: the changes that must be durable before the answer. May be asked several
/// times.
pub type Decide<'d> = dyn FnMut(&State) -> Result<Vec<Change>, Refusal> + 'd;

/// The durable side of an embedded registry. The state in memory changes through it alone.
pub trait Storage: Send + Sync {
    /// Applies to `state` what others have made durable; does nothing if that was done less than `age_max` ago.
    ///
    /// # Errors
    /// If the storage cannot be read.
    fn refresh(&self, _state: &RwLock<State>, _age_max: Duration) -> Result<(), RegistryError> {
        Ok(())
    }

    /// Makes the changes that `decide` asks for durable, all or none, and then applies them to `state`. Nobody else
    /// changes the storage between the decision and that.
    ///
    /// # Errors
    /// The refusal of `decide`, or the storage's failure.
    fn change(&self, state: &RwLock<State>, decide: &mut Decide<'_>) -> Result<(), ChangeError>;

    /// Names the storage in messages.
    fn place(&self) -> String;
}

/// Why a change did not take place.
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
