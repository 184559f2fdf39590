//! What came of the traffic: counters and latencies that can be read while it runs.
//!
//! Memory does not grow with the number of requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;

use stripe_events::simulator::{Delivery, Role};

/// Most descriptions of unexpected answers that are kept; the others are only counted.
pub const UNEXPECTED_KEPT: usize = 10;

/// How many powers of two of microseconds are distinguished. The last also holds all longer latencies (over 12 days).
const POWERS: usize = 40;

/// Equal parts of each power of two, so that a latency is known to about 6 %.
const PARTS: usize = 16;

#[derive(Debug, Default)]
pub struct Stats {
    sent: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    other: AtomicU64,
    unanswered: AtomicU64,
    retried: AtomicU64,
    genuine: AtomicU64,
    duplicates: AtomicU64,
    forged: AtomicU64,
    unexpected: AtomicU64,
    abandoned: AtomicU64,
    latencies: Histogram,
    samples: Mutex<Vec<String>>,
}

/// The counters at one moment. Requests are counted as attempts, so retries count again.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Requests made.
    pub sent: u64,
    /// Answers of 2xx.
    pub accepted: u64,
    /// Answers of 4xx.
    pub refused: u64,
    /// Answers of 5xx.
    pub failed: u64,
    /// Other answers.
    pub other: u64,
    /// Requests without a whole answer.
    pub unanswered: u64,
    /// Requests made again.
    pub retried: u64,
    /// Events whose genuine delivery ended as expected.
    pub genuine: u64,
    /// Duplicates that ended as expected.
    pub duplicates: u64,
    /// Forgeries that ended as expected.
    pub forged: u64,
    /// Deliveries that ended otherwise than expected.
    pub unexpected: u64,
    /// Deliveries given up between two attempts because of the stop.
    pub abandoned: u64,
    /// What some of the unexpected answers were.
    pub samples: Vec<String>,
    /// Time to the end of the answer.
    #[serde(skip)]
    pub latencies: Latencies,
}

impl Snapshot {
    /// Deliveries that have ended.
    pub fn finished(&self) -> u64 {
        self.genuine + self.duplicates + self.forged + self.unexpected + self.abandoned
    }
}

impl Stats {
    /// The counters now. They are read one after the other while the traffic continues.
    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            sent: read(&self.sent),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            failed: read(&self.failed),
            other: read(&self.other),
            unanswered: read(&self.unanswered),
            retried: read(&self.retried),
            genuine: read(&self.genuine),
            duplicates: read(&self.duplicates),
            forged: read(&self.forged),
            unexpected: read(&self.unexpected),
            abandoned: read(&self.abandoned),
            samples: self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            latencies: self.latencies.read(),
        }
    }

    pub(super) fn sent(&self) {
        add(&self.sent);
    }

    pub(super) fn retried(&self) {
        add(&self.retried);
    }

    pub(super) fn unanswered(&self) {
        add(&self.unanswered);
    }

    pub(super) fn abandoned(&self) {
        add(&self.abandoned);
    }

    pub(super) fn answered(&self, status: StatusCode, latency: Duration) {
        self.latencies.record(latency);
        add(match status.as_u16() {
            200..300 => &self.accepted,
            400..500 => &self.refused,
            500..600 => &self.failed,
            _ => &self.other,
        });
    }

    pub(super) fn as_expected(&self, delivery: &Delivery) {
        add(match delivery.role {
            Role::Genuine => &self.genuine,
            Role::Duplicate => &self.duplicates,
            Role::Forged(_) => &self.forged,
        });
    }

    pub(super) fn unexpected(&self, delivery: &Delivery, what: &str) {
        add(&self.unexpected);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() < UNEXPECTED_KEPT {
            let (event, role) = (&delivery.event, delivery.role);
            samples.push(format!("{} ({}, {role:?}): {what}", event.id, event.kind));
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts latencies in buckets whose width grows with their value.
#[derive(Debug)]
struct Histogram {
    buckets: Vec<AtomicU64>,
    max_micros: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..POWERS * PARTS).map(|_| AtomicU64::new(0)).collect(), max_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    fn record(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.max_micros.fetch_max(micros, Ordering::Relaxed);
        add(&self.buckets[bucket(micros)]);
    }

    fn read(&self) -> Latencies {
        let buckets = self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Latencies { buckets, max: Duration::from_micros(self.max_micros.load(Ordering::Relaxed)) }
    }
}

/// Below [`PARTS`] each value has its own bucket. Above, the power of two and the next four bits choose it.
fn bucket(micros: u64) -> usize {
    let parts = PARTS as u64;
    if micros < parts {
        return usize::try_from(micros).unwrap_or(0);
    }
    let power = micros.ilog2() as usize - PARTS.ilog2() as usize;
    let part = usize::try_from((micros >> power) % parts).unwrap_or(0);
    ((power + 1) * PARTS + part).min(POWERS * PARTS - 1)
}

/// The first value of the next bucket.
fn bucket_end(at: usize) -> u64 {
    let (power, part) = (at / PARTS, (at % PARTS) as u64);
    if power == 0 { part + 1 } else { (PARTS as u64 + part + 1) << (power - 1) }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: Vec<u64>,
    max: Duration,
}

impl Latencies {
    /// Number of latencies.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The longest, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The latency that `per_mille` of a thousand do not exceed, at most about 6 % too high; `None` if there are none.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let wanted = (self.count().saturating_mul(per_mille.min(1000))).div_ceil(1000).max(1);
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_micros(bucket_end(at)).min(self.max))
    }

    /// Those that came after `earlier` was read. [`Latencies::max`] still covers all.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        let buckets = self.buckets.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
        Self { buckets, max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_sixteenth() {
        let histogram = Histogram::default();
        for micros in 1..=100_000 {
            histogram.record(Duration::from_micros(micros));
        }
        let latencies = histogram.read();
        for per_mille in [1, 10, 500, 900, 990, 999, 1000] {
            let exact = 100 * per_mille;
            let found = latencies.quantile(per_mille).expect("there are latencies").as_micros();
            assert!(
                (exact..=exact + exact / 15 + 1).contains(&u64::try_from(found).expect("small")),
                "{per_mille}: {found}"
            );
        }
        assert_eq!(latencies.max(), Duration::from_millis(100));
        assert_eq!(latencies.count(), 100_000);
    }

    #[test]
    fn buckets_cover_every_latency_without_gaps() {
        assert_eq!(bucket(0), 0);
        for at in 0..POWERS * PARTS - 1 {
            let end = bucket_end(at);
            assert_eq!((bucket(end - 1), bucket(end)), (at, at + 1), "bucket {at} ends at {end}");
        }
        assert_eq!(bucket(u64::MAX), POWERS * PARTS - 1);
    }

    #[test]
    fn a_difference_holds_the_new_latencies_only() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(9));
        let before = histogram.read();
        histogram.record(Duration::from_millis(2));
        let news = histogram.read().since(&before);
        assert_eq!(news.count(), 1);
        assert!(news.quantile(990).expect("one") < Duration::from_millis(3));
        assert_eq!(Latencies::default().quantile(990), None);
    }
}
