//! Whose turn it is to ask the inbox, and when: so that ordinary traffic comes in batches, and a lone event waits for nothing.
//!
//! One pump is at the front; it waits and leases, and gives up its place with a batch in hand. A batch costs a round trip, a commit
//! of the ledger and two of the inbox, or a whole process of the colony, whatever it holds. So while events keep coming the next
//! lease lingers, counted from the last that found something. One after a quiet time does not, nor one after a full one: then
//! there is a backlog, and batches are large already. The fewer events a batch holds, the more an event costs, so small batches
//! are worth a longer wait than larger ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::domain::clock::Timestamp;
use crate::domain::route::Route;

/// A lease of so many entries spreads the cost of its batch well enough: the next one comes sooner.
const MANY: usize = 8;

/// Least time between leases while events keep coming. Three quarters of it are enough when batches hold many events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Linger {
    /// On the direct route.
    pub direct: Duration,
    /// On the colony's, where each batch is a process.
    pub colony: Duration,
}

impl Linger {
    pub(super) const fn on(&self, route: Route) -> Duration {
        match route {
            Route::ColonyOs => self.colony,
            Route::Direct => self.direct,
        }
    }
}

/// The place at the front. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Front(Arc<Mutex<Leases>>);

/// What the last leases tell the next one.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// When the last one found something, unless it was full.
    last: Option<Instant>,
    /// Whether that one found many entries.
    found_many: bool,
    next: Next,
}

/// When there is something to lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// Now, as far as is known.
    #[default]
    Now,
    /// When the next entry is due, or one arrives.
    Due(Timestamp),
    /// When one arrives: none waits.
    Arrival,
}

impl Front {
    /// Waits for the place.
    pub(super) async fn take(&self) -> OwnedMutexGuard<Leases> {
        Arc::clone(&self.0).lock_owned().await
    }
}

impl Leases {
    /// When there is something to lease again. It tells only once, because the pump that is told waits for it.
    pub(super) fn take_next(&mut self) -> Next {
        std::mem::take(&mut self.next)
    }

    /// Whether the next lease waits for something to be due.
    pub(super) fn is_waiting(&self) -> bool {
        self.next != Next::Now
    }

    /// How long the next lease has to wait yet.
    pub(super) fn wait(&self, linger: Duration, now: Instant) -> Duration {
        let linger = if self.found_many { linger * 3 / 4 } else { linger };
        self.last.map_or(Duration::ZERO, |last| linger.saturating_sub(now.saturating_duration_since(last)))
    }

    /// Takes note of a lease of `entries` out of at most `entries_max`, after which the next entry is due at `next_due`.
    pub(super) fn note(
        &mut self,
        (entries, entries_max): (usize, usize),
        next_due: Option<Timestamp>,
        (now, instant): (Timestamp, Instant),
    ) {
        let is_full = entries == entries_max || next_due.is_some_and(|due| due <= now);
        if is_full {
            *self = Self::default();
            return;
        }
        self.next = next_due.map_or(Next::Arrival, Next::Due);
        if entries > 0 {
            self.last = Some(instant);
            self.found_many = entries >= MANY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;

    const LINGER: Duration = Duration::from_millis(20);

    #[test]
    fn a_lease_lingers_after_one_that_found_something_and_was_not_full() {
        let clock = Clock::manual(Timestamp::from_seconds(1));
        let (mut leases, start, now) = (Leases::default(), clock.instant(), clock.now());
        let later = |millis| start + Duration::from_millis(millis);
        assert_eq!((leases.wait(LINGER, start), leases.take_next()), (Duration::ZERO, Next::Now), "the first one");
        leases.note((3, 8), None, (now, start));
        assert_eq!(leases.wait(LINGER, later(5)), Duration::from_millis(15));
        assert_eq!(leases.wait(LINGER, later(50)), Duration::ZERO, "after a quiet time");
        leases.note((0, 8), None, (now, later(6)));
        assert_eq!(leases.wait(LINGER, later(6)), Duration::from_millis(14), "an empty one changes nothing");
        leases.note((8, 8), None, (now, later(20)));
        assert_eq!((leases.wait(LINGER, later(20)), leases.take_next()), (Duration::ZERO, Next::Now), "a full one");
    }

    #[test]
    fn a_lease_lingers_less_after_one_that_found_many() {
        let clock = Clock::manual(Timestamp::from_seconds(1));
        let (mut leases, start, now) = (Leases::default(), clock.instant(), clock.now());
        leases.note((MANY, 256), None, (now, start));
        assert_eq!(leases.wait(LINGER, start), Duration::from_millis(15));
        leases.note((0, 256), None, (now, start));
        assert_eq!(leases.wait(LINGER, start), Duration::from_millis(15), "an empty one changes nothing");
        leases.note((MANY - 1, 256), None, (now, start));
        assert_eq!(leases.wait(LINGER, start), LINGER);
    }

    #[test]
    fn a_lease_that_left_something_due_is_full_and_one_that_did_not_tells_what_comes_next() {
        let clock = Clock::manual(Timestamp::from_seconds(9));
        let (mut leases, start, now) = (Leases::default(), clock.instant(), clock.now());
        leases.note((1, 8), Some(now), (now, start));
        assert_eq!((leases.wait(LINGER, start), leases.take_next()), (Duration::ZERO, Next::Now), "large bodies");
        let due = Timestamp::from_seconds(10);
        leases.note((1, 8), Some(due), (now, start));
        assert_eq!(leases.take_next(), Next::Due(due));
        assert_eq!(leases.take_next(), Next::Now);
        leases.note((0, 8), None, (now, start));
        assert_eq!(leases.take_next(), Next::Arrival);
    }
}
