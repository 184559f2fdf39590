//! The one source of time. Nothing else in the crate reads the system clock, so that a test can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use stripe_events::Timestamp;

/// Tells the time: the system's, or in tests one that moves only when told to.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Self {
        Self { manual: None }
    }

    /// A clock that stays at `start` until [`Clock::advance`] or [`Clock::set`] moves it. Clones share it.
    pub fn manual(start: Timestamp) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.millis()))) }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
            None => match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
                Ok(since) => Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
                Err(_) => Timestamp::from_millis(0),
            },
        }
    }

    /// A monotonic reading, for durations only.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Moves a manual clock forward. Has no effect on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Some(millis) = &self.manual {
            millis.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too. Has no effect on the system clock.
    pub fn set(&self, to: Timestamp) {
        if let Some(millis) = &self.manual {
            millis.store(to.millis(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual(Timestamp::from_seconds(10));
        let other = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(other.now(), Timestamp::from_seconds(15));
    }
}
