//! Stripe's clock, as the `Date` of its answers tells it: what a fetch is fenced by.
//!
//! Gateways' clocks differ; were a fetch fenced by the clock of the one that made it, the content that the fast one fetched
//! first would stand above what the slow one fetched later. An answer's date less the time that the call took is a moment
//! before which the call did not begin, on the one clock that all of them share.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::Timestamp;

/// How far a date may be from what other answers say of Stripe's clock.
pub const DATE_TOLERANCE: Duration = Duration::from_mins(5);

/// Answers that are remembered.
const ANSWERS_MAX: usize = 8;

/// What answers said, as the difference between Stripe's clock and this machine's.
#[derive(Debug, Default)]
pub(super) struct StripeClock {
    said: Mutex<VecDeque<i64>>,
}

/// A date that most other answers contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlier;

impl StripeClock {
    /// The moment, by Stripe's clock, before which a call did not begin that `took` so long and was answered with `date`, at
    /// `answered` by this machine's clock. An answer is remembered also when it is an outlier, so that the many of tomorrow
    /// may be right against the few of today; so it is when this machine's clock is set.
    pub(super) fn fence(&self, date: Timestamp, took: Duration, answered: Timestamp) -> Result<Timestamp, Outlier> {
        let said = date.millis().saturating_sub(answered.millis());
        let tolerance = u64::try_from(DATE_TOLERANCE.as_millis()).unwrap_or(u64::MAX);
        let mut others = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let agreeing = others.iter().filter(|other| other.abs_diff(said) <= tolerance).count();
        let is_outlier = agreeing * 2 < others.len();
        if others.len() == ANSWERS_MAX {
            others.pop_front();
        }
        others.push_back(said);
        if is_outlier { Err(Outlier) } else { Ok(date.minus(took)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: i64 = 1_800_000_000;

    #[test]
    fn the_fence_is_the_date_less_the_time_that_the_call_took() {
        let fence = StripeClock::default().fence(
            Timestamp::from_seconds(DATE),
            Duration::from_millis(800),
            Timestamp::from_seconds(5),
        );
        assert_eq!(fence, Ok(Timestamp::from_millis(DATE * 1000 - 800)));
    }

    #[test]
    fn a_date_beyond_the_tolerance_from_what_the_others_say_is_not_used() {
        let clock = StripeClock::default();
        let at = |seconds: i64, off: i64| {
            let date = Timestamp::from_seconds(DATE + seconds + off);
            clock.fence(date, Duration::ZERO, Timestamp::from_seconds(seconds))
        };
        let tolerance = i64::try_from(DATE_TOLERANCE.as_secs()).unwrap();
        assert!(at(0, 0).is_ok() && at(10, tolerance).is_ok() && at(20, 1).is_ok());
        assert_eq!(at(30, tolerance * 10), Err(Outlier));
        assert!(at(40, 0).is_ok());
    }

    #[test]
    fn when_most_answers_say_so_the_clock_was_another() {
        let clock = StripeClock::default();
        let said = |off: i64| {
            clock.fence(Timestamp::from_seconds(DATE + off), Duration::ZERO, Timestamp::from_seconds(0)).is_ok()
        };
        assert!((0..ANSWERS_MAX).all(|_| said(0)));
        let refused = (0..ANSWERS_MAX).take_while(|_| !said(100_000)).count();
        assert!((1..ANSWERS_MAX).contains(&refused), "{refused}");
        assert!(said(100_000));
    }
}
