//! Stripe's clock, as the `Date` of its answers tells it: what a fetch is fenced by.
//!
//! Gateways' clocks differ; were a fetch fenced by the clock of the one that made it, the content that the fast one fetched
//! first would stand above what the slow one fetched later. An answer's date less the time that the call took is a moment
//! before which the call did not begin, on the one clock that all of them share.
//!
//! Dates have whole seconds. Of two calls of one second the later would often seem the earlier, so that what answers said before
//! counts too: a call that began so much later than another one did so on Stripe's clock as well.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::clock::Timestamp;

/// How far a date may differ from what other answers say about Stripe's clock.
pub const DATE_TOLERANCE: Duration = Duration::from_mins(5);

/// How many answers are remembered.
const ANSWERS_MAX: usize = 8;

/// The clock that times calls drifts from Stripe's by less than one part in this many.
const DRIFT: u32 = 10_000;

/// Dates have whole seconds. A little more is for Stripe's machines, whose clocks differ.
const DATE_STEP: Duration = Duration::from_millis(1200);

/// What answers say about Stripe's clock.
#[derive(Debug, Default)]
pub(super) struct StripeClock {
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// The differences between Stripe's clock and this machine's, for the last answers.
    differences: VecDeque<i64>,
    /// When a call began, and its fence: the call that tells the most about others.
    anchor: Option<(Instant, Timestamp)>,
}

/// A date that most other answers contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outlier;

impl StripeClock {
    /// The latest moment, by Stripe's clock, before which the call certainly did not begin. The call was sent at `sent`,
    /// took `took` and was answered with `date`, at `answered` by this machine's clock. Of two calls, the later one has the
    /// later moment. Even an outlier is remembered: after a correction of this machine's clock, many new answers can then
    /// outweigh the few old ones.
    pub(super) fn fence(
        &self,
        date: Timestamp,
        sent: Instant,
        took: Duration,
        answered: Timestamp,
    ) -> Result<Timestamp, Outlier> {
        let difference = date.millis().saturating_sub(answered.millis());
        let tolerance = u64::try_from(DATE_TOLERANCE.as_millis()).unwrap_or(u64::MAX);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let others = &mut said.differences;
        let agreeing = others.iter().filter(|other| other.abs_diff(difference) <= tolerance).count();
        let is_outlier = agreeing * 2 < others.len();
        if others.len() == ANSWERS_MAX {
            others.pop_front();
        }
        others.push_back(difference);
        if is_outlier {
            return Err(Outlier);
        }
        let own = date.minus(took);
        let known = said.anchor.map(|(at, fence)| moved(fence, at, sent));
        // A correct date is behind by less than a second. If there is more between the two, one of them was wrong.
        if let Some(known) = known.filter(|known| *known > own && known.since(own) <= took + DATE_STEP) {
            return Ok(known);
        }
        said.anchor = Some((sent, own));
        Ok(own)
    }
}

/// The fence of a call that began at `sent`, derived from that of one that began at `at`.
fn moved(fence: Timestamp, at: Instant, sent: Instant) -> Timestamp {
    let later = sent.saturating_duration_since(at);
    fence.plus(later.saturating_sub(later / DRIFT)).minus(at.saturating_duration_since(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: i64 = 1_800_000_000;

    fn begin() -> Instant {
        crate::domain::clock::Clock::manual(Timestamp::from_seconds(0)).instant()
    }

    #[test]
    fn the_fence_is_the_date_less_the_time_that_the_call_took() {
        let fence = StripeClock::default().fence(
            Timestamp::from_seconds(DATE),
            begin(),
            Duration::from_millis(800),
            Timestamp::from_seconds(5),
        );
        assert_eq!(fence, Ok(Timestamp::from_millis(DATE * 1000 - 800)));
    }

    #[test]
    fn of_two_calls_of_one_second_the_later_has_the_later_fence() {
        let (clock, begin) = (StripeClock::default(), begin());
        // Stripe's true time is the date of the first call plus so many milliseconds.
        let fence = |at: u64, took: u64| {
            let date = Timestamp::from_seconds(DATE + i64::try_from((at + took) / 1000).unwrap());
            let answered = Timestamp::from_millis(i64::try_from(at + took).unwrap());
            let fence =
                clock.fence(date, begin + Duration::from_millis(at), Duration::from_millis(took), answered).unwrap();
            assert!(
                fence <= Timestamp::from_millis(DATE * 1000 + i64::try_from(at).unwrap()),
                "no later than the call"
            );
            fence
        };
        let fences = [(0, 10), (100, 500), (700, 900), (900, 20), (1300, 5), (90_000_500, 400), (90_000_700, 10)];
        let fences: Vec<Timestamp> = fences.into_iter().map(|(at, took)| fence(at, took)).collect();
        assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    }

    #[test]
    fn a_date_beyond_the_tolerance_from_what_the_others_say_is_not_used() {
        let clock = StripeClock::default();
        let at = |seconds: i64, off: i64| {
            let date = Timestamp::from_seconds(DATE + seconds + off);
            let sent = begin() + Duration::from_secs(seconds.unsigned_abs());
            clock.fence(date, sent, Duration::ZERO, Timestamp::from_seconds(seconds))
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
            clock
                .fence(Timestamp::from_seconds(DATE + off), begin(), Duration::ZERO, Timestamp::from_seconds(0))
                .is_ok()
        };
        assert!((0..ANSWERS_MAX).all(|_| said(0)));
        let refused = (0..ANSWERS_MAX).take_while(|_| !said(100_000)).count();
        assert!((1..ANSWERS_MAX).contains(&refused), "{refused}");
        assert!(said(100_000));
    }
}
