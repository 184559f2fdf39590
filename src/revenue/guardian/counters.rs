//! Plain counts of what the Guardian did, for telemetry to read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow.
#[derive(Debug, Default)]
pub struct Counters {
    approved: AtomicU64,
    flagged: AtomicU64,
    blocked: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events looked at: the sum of the others.
    pub total: u64,
    /// Events that passed without a remark.
    pub approved: u64,
    /// Events that passed, but that a rule flagged.
    pub flagged: u64,
    /// Events held back.
    pub blocked: u64,
}

impl Counters {
    pub(super) fn approve(&self) {
        self.approved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn flag(&self) {
        self.flagged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn block(&self) {
        self.blocked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let [approved, flagged, blocked] =
            [&self.approved, &self.flagged, &self.blocked].map(|count| count.load(Ordering::Relaxed));
        let total = approved.saturating_add(flagged).saturating_add(blocked);
        Counts { total, approved, flagged, blocked }
    }
}
