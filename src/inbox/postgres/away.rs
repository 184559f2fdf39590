//! Whether what arrives is to stand beside the database for a while, because the database is away.
//!
//! Guarantees: nothing stands beside a database that a person has to see to first, such as one whose entries were moved, since it
//! would never be brought in. That lasts until a write succeeds, also when the database cannot be reached meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::error::InboxError;

/// What the last attempts showed.
#[derive(Debug, Default)]
pub(super) struct Away {
    is_away: AtomicBool,
    /// Whether it was unfit for use when it last answered.
    is_unfit: AtomicBool,
}

impl Away {
    /// A write succeeded.
    pub(super) fn is_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
        self.is_unfit.store(false, Ordering::Relaxed);
    }

    /// An attempt failed. Returns whether it is news that the database is unfit for use.
    pub(super) fn failed(&self, error: &InboxError) -> bool {
        self.is_away.store(error.is_away(), Ordering::Relaxed);
        matches!(error, InboxError::Unfit(_)) && !self.is_unfit.swap(true, Ordering::Relaxed)
    }

    /// Whether the database is known to be away. The gateway then does not ask it first.
    pub(super) fn is_known(&self) -> bool {
        self.is_away.load(Ordering::Relaxed) && self.may_be()
    }

    /// Whether deliveries that the database does not take for now may go into the file beside it.
    pub(super) fn may_be(&self) -> bool {
        !self.is_unfit.load(Ordering::Relaxed)
    }
}
