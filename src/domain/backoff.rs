//! Full-jitter exponential back-off: a wait drawn evenly from zero to a ceiling that doubles with each attempt
//! (M. Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

/// Ceilings of the waits between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub first: Duration,
    /// No wait is longer than this.
    pub max: Duration,
}

impl Backoff {
    /// The largest wait before attempt `attempt + 1`, after `attempt` failed attempts (at least one).
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }

    /// A random wait in `0..=ceiling(attempt)`.
    pub fn wait(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        let ceiling = u64::try_from(self.ceiling(attempt).as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random.u64(0..=ceiling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) };

    #[test]
    fn ceilings_double_up_to_the_maximum() {
        let ceilings: Vec<u128> = (1..=9).map(|attempt| BACKOFF.ceiling(attempt).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(BACKOFF.ceiling(u32::MAX), BACKOFF.max);
    }

    #[test]
    fn waits_stay_under_their_ceiling_and_spread_over_it() {
        let mut random = fastrand::Rng::with_seed(7);
        let waits: Vec<Duration> = (0..1000).map(|_| BACKOFF.wait(4, &mut random)).collect();
        let ceiling = BACKOFF.ceiling(4);
        assert!(waits.iter().all(|wait| *wait <= ceiling));
        assert!(waits.iter().any(|wait| *wait < ceiling / 4));
        assert!(waits.iter().any(|wait| *wait > ceiling / 4 * 3));
    }
}
