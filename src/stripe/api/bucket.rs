//! A token bucket: so many requests a second, with as many at once after a rest.
//!
//! It only computes: who takes a token is told how long to wait for it. The taker bounds the wait, so no queue grows without a
//! bound.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::clock::{Clock, Timestamp};

/// Gives permission to send requests.
#[derive(Debug)]
pub(super) struct TokenBucket {
    clock: Clock,
    /// Time between two tokens.
    gap: Duration,
    /// Tokens that can be saved up while no requests are sent.
    burst: u32,
    /// When the next token would be available without savings (the "virtual schedule" of ATM's GCRA).
    next: Mutex<Timestamp>,
}

impl TokenBucket {
    /// `rate` tokens per second; zero counts as one.
    pub(super) fn new(rate: u32, clock: Clock) -> Self {
        let rate = rate.clamp(1, 1000);
        let next = Mutex::new(clock.now());
        Self { gap: Duration::from_secs(1) / rate, burst: rate, clock, next }
    }

    /// Takes a token and returns how long to wait for it; `None` if that is longer than `most`.
    pub(super) fn take(&self, most: Duration) -> Option<Duration> {
        let now = self.clock.now();
        let mut next = self.lock();
        let saved = self.gap * (self.burst - 1);
        // Idle time saves tokens up to the burst. If the clock was set back, this starts again instead of waiting.
        let mine = if *next > now.plus(Duration::from_mins(5)) { now } else { (*next).max(now.minus(saved)) };
        let wait = mine.since(now);
        if wait > most {
            return None;
        }
        *next = mine.plus(self.gap);
        Some(wait)
    }

    /// Gives no permission for a while, because Stripe said that it was too much.
    pub(super) fn pause(&self, pause: Duration) {
        let until = self.clock.now().plus(pause.min(Duration::from_mins(1)));
        let mut next = self.lock();
        *next = (*next).max(until);
    }

    fn lock(&self) -> MutexGuard<'_, Timestamp> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn bucket(rate: u32) -> (TokenBucket, Clock) {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        (TokenBucket::new(rate, clock.clone()), clock)
    }

    fn waits(bucket: &TokenBucket, count: usize) -> Vec<u128> {
        (0..count).map(|_| bucket.take(LONG).unwrap().as_millis()).collect()
    }

    #[test]
    fn tokens_come_at_the_rate() {
        let (bucket, clock) = bucket(10);
        assert_eq!(waits(&bucket, 4), [0, 100, 200, 300]);
        clock.advance(Duration::from_millis(350));
        assert_eq!(waits(&bucket, 2), [50, 150]);
    }

    #[test]
    fn a_rest_saves_up_one_second_and_no_more() {
        let (bucket, clock) = bucket(5);
        clock.advance(Duration::from_hours(1));
        assert_eq!(waits(&bucket, 7), [0, 0, 0, 0, 0, 200, 400]);
    }

    #[test]
    fn who_would_wait_too_long_is_turned_away_and_takes_nothing() {
        let (bucket, _) = bucket(10);
        waits(&bucket, 3);
        assert_eq!(bucket.take(Duration::from_millis(299)), None);
        assert_eq!(bucket.take(Duration::from_millis(300)), Some(Duration::from_millis(300)));
    }

    #[test]
    fn a_pause_holds_everybody_up() {
        let (bucket, clock) = bucket(10);
        clock.advance(LONG);
        bucket.pause(Duration::from_secs(2));
        assert_eq!(waits(&bucket, 2), [2000, 2100]);
        bucket.pause(Duration::from_hours(9));
        assert_eq!(bucket.take(Duration::from_mins(1)), Some(Duration::from_mins(1)));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stop_the_flow() {
        let (bucket, clock) = bucket(10);
        clock.set(Timestamp::from_seconds(10));
        assert_eq!(waits(&bucket, 2), [0, 100]);
    }
}
