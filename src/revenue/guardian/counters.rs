//! Plain counts of what the Guardian did, for telemetry to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    approved: AtomicU64,
    blocked: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events looked at: the sum of the other two.
    pub total: u64,
    /// Events let pass, flagged ones included.
    pub approved: u64,
    /// Events held back.
    pub blocked: u64,
}

impl Counters {
    pub(super) fn approve(&self) {
        self.approved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn block(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let (approved, blocked) = (self.approved.load(Ordering::Relaxed), self.blocked.load(Ordering::Relaxed));
        Counts { total: approved.saturating_add(blocked), approved, blocked }
    }
}
