//! How many connections are served at once. Some are kept for health checks, so that a host that is busy does not look
//! dead.
//!
//! ```text
//!  an ordinary place is free ──> served
//!  none is free ──> a reserved place, for a short time ──> asks for /health ──> answered
//!                                                     └──> asks for more ──> waits for an ordinary place, or is told to come back
//! ```

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lock::lock;

/// The most connections at once that may ask for anything.
const ORDINARY: usize = 512;
/// How many more are served for health checks.
const RESERVED: usize = 64;
/// How many connections on a reserved place may wait for an ordinary one. The others stay free for health checks.
const WAITING_MAX: usize = 32;

/// The places of one server.
#[derive(Clone)]
pub(super) struct Places {
    ordinary: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The place of one connection, given back when this is dropped.
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
    /// Waits for a place of either kind. `None`: there will be none any more.
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
    /// Whether it is for health checks only.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(&*lock(&self.held), Held::Reserved { .. })
    }

    /// Takes an ordinary place instead of a reserved one, if one is free.
    pub(super) fn try_upgrade(&self) {
        if self.is_reserved()
            && let Ok(permit) = self.places.ordinary.clone().try_acquire_owned()
        {
            *lock(&self.held) = Held::Ordinary { _permit: permit };
        }
    }

    /// Waits for an ordinary place. Returns false if too many wait already.
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
