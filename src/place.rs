//! A call's place among those in flight.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The place, which a call may leave while it only waits. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Semaphore>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Place {
    /// One of those, not taken yet.
    pub(crate) fn among(places: &Arc<Semaphore>) -> Self {
        Self {
            places: Arc::clone(places),
            taken: Mutex::new(None),
        }
    }

    /// Takes a place; `false` if there is none.
    pub(crate) fn enter(&self) -> bool {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        let is_taken = place.is_some();
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = place;
        is_taken
    }

    /// Leaves the place to others.
    pub(crate) fn leave(&self) {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}
