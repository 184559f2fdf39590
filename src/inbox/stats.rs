//! What the writer has done, for health and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the writer has done since the start.
#[derive(Debug)]
pub struct WriterStats {
    pub(super) commits: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) writable: AtomicBool,
}

impl Default for WriterStats {
    fn default() -> Self {
        Self {
            commits: AtomicU64::new(0),
            appended: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            writable: AtomicBool::new(true),
        }
    }
}

impl WriterStats {
    /// Transactions committed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Appends committed, including duplicates.
    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Transactions that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the last write succeeded.
    pub fn writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }
}
