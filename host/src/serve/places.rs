//! Limits the number of connections at a time. Some places are reserved for health checks, so that a busy host does not
//! look dead.
//!
//! ```text
//!  an ordinary place is free ──> served
//!  none is free ──> a reserved place, for a short time ──> asks for /health ──> answered
//!                                                     └──> asks for more ──> waits for an ordinary one, or is refused
//! ```

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The most connections at a time with ordinary places.
const ORDINARY: usize = 512;
/// The number of additional places for health checks.
const RESERVED: usize = 64;
/// The most connections in reserved places that may wait for an ordinary one. The other places stay free for health
/// checks.
const WAITING_MAX: usize = 32;

/// The places of one server.
#[derive(Clone)]
pub(super) struct Places {
    ordinary: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The place of one connection. Dropping it frees the place.
pub(super) struct Place {
    places: Places,
    held: Mutex<Held>,
}

enum Held {
    Ordinary { _permit: OwnedSemaphorePermit },
    Reserved { _permit: OwnedSemaphorePermit },
}

impl Default for Places {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { ordinary: places(ORDINARY), reserved: places(RESERVED), waiting: places(WAITING_MAX) }
    }
}

impl Places {
    /// Waits for a place of either kind. Returns `None` if there will be no more.
    pub(super) async fn take(&self) -> Option<Place> {
        let held = tokio::select! {
            biased;
            permit = self.ordinary.clone().acquire_owned() => Held::Ordinary { _permit: permit.ok()? },
            permit = self.reserved.clone().acquire_owned() => Held::Reserved { _permit: permit.ok()? },
        };
        Some(Place { places: self.clone(), held: Mutex::new(held) })
    }
}

impl Place {
    /// Returns true if the place is for health checks only.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(&*lock(&self.held), Held::Reserved { .. })
    }

    /// Exchanges a reserved place for an ordinary one, if one is free.
    pub(super) fn try_upgrade(&self) {
        if self.is_reserved()
            && let Ok(permit) = self.places.ordinary.clone().try_acquire_owned()
        {
            *lock(&self.held) = Held::Ordinary { _permit: permit };
        }
    }

    /// Waits for an ordinary place. Returns false if too many connections already wait.
    pub(super) async fn upgrade(&self) -> bool {
        self.try_upgrade();
        if !self.is_reserved() {
            return true;
        }
        let Ok(_waiting) = self.places.waiting.try_acquire() else { return false };
        let Ok(permit) = self.places.ordinary.clone().acquire_owned().await else { return false };
        *lock(&self.held) = Held::Ordinary { _permit: permit };
        true
    }
}
