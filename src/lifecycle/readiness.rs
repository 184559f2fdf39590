//! Readiness: true once every latch is set, and until draining begins.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether the process should get traffic. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Latches>);

#[derive(Debug, Default)]
struct Latches {
    open: AtomicUsize,
    names: Mutex<Vec<&'static str>>,
    draining: AtomicBool,
}

/// An event that must happen before the process is ready. Releasing the latch says that it has.
#[derive(Debug)]
#[must_use = "an unreleased latch keeps the process from becoming ready"]
pub struct Latch {
    readiness: Readiness,
    name: &'static str,
}

impl Readiness {
    /// Adds an event to wait for.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Latch { readiness: self.clone(), name }
    }

    /// Whether every latch is released and draining has not begun.
    pub fn is_ready(&self) -> bool {
        self.0.open.load(Ordering::SeqCst) == 0 && !self.is_draining()
    }

    /// What it is still waiting for.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it not ready, for good.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }
}

impl Latch {
    pub fn release(self) {
        let mut names = self.readiness.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = names.iter().position(|name| *name == self.name) {
            names.swap_remove(index);
        }
        drop(names);
        self.readiness.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_latch_released_and_not_draining() {
        let readiness = Readiness::default();
        let (inbox, listener) = (readiness.latch("inbox"), readiness.latch("listener"));
        inbox.release();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), ["listener"]);
        listener.release();
        assert!(readiness.is_ready());
        readiness.drain();
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_latch_dropped_on_an_error_keeps_the_process_unready() {
        let readiness = Readiness::default();
        drop(readiness.latch("inbox"));
        assert!(!readiness.is_ready());
    }
}
