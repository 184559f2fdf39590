//! How many deliveries an endpoint accepted and refused since the start, as far as their signatures decide.
//!
//! The door counts, on the way of every delivery, so that counting takes no lock. Readers may see one number a moment before
//! another.

use std::sync::atomic::{AtomicU64, Ordering};

use super::signature::SignatureError;

/// The running counts of an endpoint.
#[derive(Debug, Default)]
pub struct Tally {
    accepted: AtomicU64,
    unfit: AtomicU64,
    untimely: AtomicU64,
    unreadable: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// Deliveries with a good signature.
    pub accepted: u64,
    /// Refused: a well-formed signature that fits no secret.
    pub unfit: u64,
    /// Refused: signed with a secret of the endpoint, but too old or from the future.
    pub untimely: u64,
    /// Refused: no signature, or a header that Stripe never sends.
    pub unreadable: u64,
}

impl Tally {
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refuse(&self, error: SignatureError) {
        let count = match error {
            SignatureError::NoMatch => &self.unfit,
            SignatureError::Stale | SignatureError::Future => &self.untimely,
            SignatureError::Missing
            | SignatureError::Repeated
            | SignatureError::TooLong
            | SignatureError::NotText
            | SignatureError::Timestamp
            | SignatureError::NoV1 => &self.unreadable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> Tallied {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tallied {
            accepted: read(&self.accepted),
            unfit: read(&self.unfit),
            untimely: read(&self.untimely),
            unreadable: read(&self.unreadable),
        }
    }
}

impl Tallied {
    /// Refused deliveries whose signature has the form of Stripe's.
    pub const fn signed(self) -> u64 {
        self.unfit + self.untimely
    }

    pub const fn refused(self) -> u64 {
        self.signed() + self.unreadable
    }

    /// What was counted after an earlier reading.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            unfit: self.unfit.saturating_sub(earlier.unfit),
            untimely: self.untimely.saturating_sub(earlier.untimely),
            unreadable: self.unreadable.saturating_sub(earlier.unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_what_they_say_of_secret_and_clock() {
        let tally = Tally::default();
        tally.accept();
        let before = tally.read();
        for error in [SignatureError::NoMatch, SignatureError::Stale, SignatureError::Future, SignatureError::Missing] {
            tally.refuse(error);
        }
        let counted = Tallied { accepted: 0, unfit: 1, untimely: 2, unreadable: 1 };
        assert_eq!(tally.read().since(before), counted);
        assert_eq!((counted.signed(), counted.refused()), (3, 4));
    }
}
