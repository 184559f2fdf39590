//! A circuit breaker: after several failures in a row it lets no call through for a while, then one probe at a time.
//!
//! It keeps a caller from waiting for a service that is down, and a service that is coming up from being run over. It
//! decides nothing about what a failure is: the caller says so through the [`Permit`] that it was given. A permit that
//! is dropped without a word (a cancelled call) counts for nothing and frees its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backoff::Backoff;
use super::clock::{Clock, Timestamp};
use super::counted::lasting;
use super::named::named;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it; at least one.
    pub failures: u32,
    /// How long it stays open. The ceiling doubles with each failed probe, up to the maximum.
    pub open: Backoff,
    /// How many probes in a row must succeed before it closes; at least one.
    pub probes: u32,
}

named! {
    /// What a breaker does now, for metrics and health.
    pub enum BreakerState {
        /// Lets all calls through.
        Closed = "closed",
        /// Lets no call through.
        Open = "open",
        /// Lets one probe through at a time.
        HalfOpen = "half_open",
    }
}

/// The breaker lets no call through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open for another {}", lasting(*retry_after))]
pub struct BreakerOpen {
    /// When to ask again. Zero while another probe is under way.
    pub retry_after: Duration,
}

/// A circuit breaker. Clones share it.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    clock: Clock,
    inner: Arc<Mutex<Tally>>,
}

#[derive(Debug)]
struct Tally {
    phase: Phase,
    /// How often it opened since it was last closed.
    openings: u32,
    /// Grows with each change of phase, so that a permit of an earlier phase cannot act in a later one.
    epoch: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { since: Timestamp, until: Timestamp },
    HalfOpen { probing: bool, succeeded: u32 },
}

/// Permission for one call, to be returned with the call's result.
#[derive(Debug)]
#[must_use = "a permit that is dropped says nothing about the call"]
pub struct Permit {
    breaker: Breaker,
    epoch: u64,
    probe: bool,
    spoken: bool,
}

impl Breaker {
    pub fn new(settings: BreakerSettings, clock: Clock) -> Self {
        let inner = Tally { phase: Phase::Closed { failures: 0 }, openings: 0, epoch: 0 };
        Self { settings, clock, inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn admit(&self) -> Result<Permit, BreakerOpen> {
        let now = self.clock.now();
        let mut inner = self.lock();
        if let Phase::Open { since, until } = inner.phase {
            // If the clock was set back, the breaker must not stay open for the difference.
            if now < until && now >= since {
                return Err(BreakerOpen { retry_after: until.since(now) });
            }
            inner.enter(Phase::HalfOpen { probing: false, succeeded: 0 });
        }
        let mut probe = false;
        if let Phase::HalfOpen { probing, .. } = &mut inner.phase {
            if *probing {
                return Err(BreakerOpen { retry_after: Duration::ZERO });
            }
            *probing = true;
            probe = true;
        }
        Ok(Permit { breaker: self.clone(), epoch: inner.epoch, probe, spoken: false })
    }

    /// Lets a probe through now instead of after the wait. Returns whether it was open.
    pub fn probe_now(&self) -> bool {
        let mut inner = self.lock();
        let open = matches!(inner.phase, Phase::Open { .. });
        if open {
            inner.enter(Phase::HalfOpen { probing: false, succeeded: 0 });
        }
        open
    }

    /// Closes it and forgets earlier failures. Returns whether it was not closed.
    pub fn close(&self) -> bool {
        let mut inner = self.lock();
        let changed = !matches!(inner.phase, Phase::Closed { .. });
        inner.openings = 0;
        inner.enter(Phase::Closed { failures: 0 });
        changed
    }

    /// Opens it for its longest wait. After that it probes and closes by itself. Returns whether it was not open.
    pub fn trip(&self) -> bool {
        let now = self.clock.now();
        let mut inner = self.lock();
        let changed = !matches!(inner.phase, Phase::Open { .. });
        inner.openings = inner.openings.saturating_add(1);
        inner.enter(Phase::Open { since: now, until: now.plus(self.settings.open.max) });
        changed
    }

    pub fn state(&self) -> BreakerState {
        match self.lock().phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nothing panics while the lock is held, and the state is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, epoch: u64, outcome: Option<bool>) {
        let now = self.clock.now();
        let mut inner = self.lock();
        if inner.epoch != epoch {
            return;
        }
        let (needed, most) = (self.settings.probes.max(1), self.settings.failures.max(1));
        match (&mut inner.phase, outcome) {
            (Phase::Closed { failures }, Some(true)) => *failures = 0,
            (Phase::Closed { failures }, Some(false)) => {
                *failures = failures.saturating_add(1);
                if *failures >= most {
                    inner.open(now, &self.settings.open);
                }
            }
            (Phase::HalfOpen { probing, succeeded }, Some(true)) => {
                *probing = false;
                *succeeded = succeeded.saturating_add(1);
                if *succeeded >= needed {
                    inner.openings = 0;
                    inner.enter(Phase::Closed { failures: 0 });
                }
            }
            (Phase::HalfOpen { .. }, Some(false)) => inner.open(now, &self.settings.open),
            (Phase::HalfOpen { probing, .. }, None) => *probing = false,
            (Phase::Closed { .. }, None) | (Phase::Open { .. }, _) => {}
        }
    }
}

impl Tally {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn open(&mut self, now: Timestamp, open: &Backoff) {
        self.openings = self.openings.saturating_add(1);
        self.enter(Phase::Open { since: now, until: now.plus(open.ceiling(self.openings)) });
    }
}

impl Permit {
    /// Whether this is the one call that finds out the service's state.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The call succeeded, or failed for a reason that is not the service's.
    pub fn succeed(mut self) {
        self.speak(Some(true));
    }

    pub fn fail(mut self) {
        self.speak(Some(false));
    }

    fn speak(&mut self, outcome: Option<bool>) {
        if !self.spoken {
            self.spoken = true;
            self.breaker.report(self.epoch, outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.speak(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker(failures: u32, probes: u32) -> (Breaker, Clock) {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        let open = Backoff { first: 2 * SECOND, max: 5 * SECOND };
        (Breaker::new(BreakerSettings { failures, open, probes }, clock.clone()), clock)
    }

    #[test]
    fn it_opens_after_a_row_of_failures_and_not_before() {
        let (breaker, _) = breaker(3, 1);
        for _ in 0..2 {
            breaker.admit().unwrap().fail();
        }
        breaker.admit().unwrap().succeed();
        for _ in 0..2 {
            breaker.admit().unwrap().fail();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.admit().unwrap().fail();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit().unwrap_err().retry_after, 2 * SECOND);
    }

    #[test]
    fn one_probe_at_a_time_goes_through_when_the_wait_is_over() {
        let (breaker, clock) = breaker(1, 2);
        breaker.admit().unwrap().fail();
        clock.advance(2 * SECOND);
        let probe = breaker.admit().unwrap();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.admit().is_err());
        probe.succeed();
        breaker.admit().unwrap().succeed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_up_to_the_maximum() {
        let (breaker, clock) = breaker(1, 1);
        breaker.admit().unwrap().fail();
        for seconds in [2, 4, 5, 5] {
            assert_eq!(breaker.admit().unwrap_err().retry_after, seconds * SECOND);
            clock.advance(seconds * SECOND);
            breaker.admit().unwrap().fail();
        }
        clock.advance(5 * SECOND);
        breaker.admit().unwrap().succeed();
        breaker.admit().unwrap().fail();
        assert_eq!(breaker.admit().unwrap_err().retry_after, 2 * SECOND);
    }

    #[test]
    fn a_cancelled_probe_frees_its_place() {
        let (breaker, clock) = breaker(1, 1);
        breaker.admit().unwrap().fail();
        clock.advance(2 * SECOND);
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().succeed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_call_that_began_before_it_opened_has_no_say_after() {
        let (breaker, clock) = breaker(1, 1);
        let slow = breaker.admit().unwrap();
        breaker.admit().unwrap().fail();
        clock.advance(2 * SECOND);
        let probe = breaker.admit().unwrap();
        slow.succeed();
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        probe.fail();
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn a_person_may_close_it_open_it_or_have_it_probe_at_once() {
        let (breaker, clock) = breaker(1, 1);
        assert!(!breaker.close() && !breaker.probe_now());
        let before = breaker.admit().unwrap();
        assert!(breaker.trip() && !breaker.trip());
        before.succeed();
        assert_eq!(breaker.admit().unwrap_err().retry_after, 5 * SECOND);
        assert!(breaker.probe_now());
        let probe = breaker.admit().unwrap();
        assert!(probe.is_probe());
        probe.fail();
        assert!(breaker.close());
        assert!(!breaker.admit().unwrap().is_probe());
        breaker.trip();
        clock.advance(5 * SECOND);
        breaker.admit().unwrap().succeed();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        let (breaker, clock) = breaker(1, 1);
        breaker.admit().unwrap().fail();
        clock.set(Timestamp::from_seconds(10));
        assert!(breaker.admit().is_ok());
    }
}
