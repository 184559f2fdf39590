//! The data of charts: the gateway's own metrics, read at intervals, so that charts and Prometheus cannot disagree.
//!
//! Guarantees: memory is bounded; a time without data is a gap and not zero; reading does not use the threads that answer. It
//! reads every ten seconds, or every two while a page is open, and writes its file once a minute.

mod file;
mod reading;
mod ring;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use reading::Reading;
pub(super) use ring::{Column, Point, Ring};

use crate::admin::Health;
use crate::domain::clock::{Clock, Timestamp};
use crate::lifecycle::Shutdown;

/// Time between two readings while no page is open.
const REST: Duration = Duration::from_secs(10);

/// The same while a page is open.
const WATCHED: Duration = Duration::from_secs(2);

/// How long a page counts as open after its last request.
const LOOK: Duration = Duration::from_secs(30);

/// Time between two writes of the file.
const KEEP_EVERY: Duration = Duration::from_mins(1);

/// A span of time that a chart can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its name in a query and for people.
    pub(super) name: &'static str,
    /// Seconds per point.
    step: i64,
    /// Number of points.
    length: usize,
}

/// The spans, the shortest first.
pub(super) const SPANS: [Span; 5] = [
    Span { name: "5m", step: 2, length: 150 },
    Span { name: "1h", step: 10, length: 360 },
    Span { name: "6h", step: 60, length: 360 },
    Span { name: "24h", step: 60, length: 1440 },
    Span { name: "35d", step: 3600, length: 840 },
];

impl Span {
    /// Seconds per point.
    #[expect(clippy::cast_precision_loss, reason = "an hour at most")]
    pub(super) fn step(self) -> f64 {
        self.step as f64
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        SPANS.into_iter().find(|span| span.name == name)
    }
}

#[derive(Debug)]
struct Kept {
    rings: [Ring; 4],
    last: Option<(Timestamp, Reading)>,
}

/// The series of a gateway. Clones share them.
#[derive(Clone, Debug)]
pub struct Series {
    kept: Arc<Mutex<Kept>>,
    looked: Arc<AtomicI64>,
    clock: Clock,
    file: PathBuf,
}

impl Series {
    /// Begins with the points of an earlier run's file, if it can be read.
    pub fn open(file: PathBuf, clock: Clock) -> Self {
        let mut rings = [Ring::new(2, 150), Ring::new(10, 360), Ring::new(60, 1440), Ring::new(3600, 840)];
        match std::fs::read(&file) {
            Ok(bytes) => file::restore(&bytes, &mut rings),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the stored charts cannot be read: new ones begin");
            }
        }
        let kept = Arc::new(Mutex::new(Kept { rings, last: None }));
        Self { kept, looked: Arc::default(), clock, file }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The points of a span up to now, the oldest first; `None` where nothing is known. Notes that a page is open.
    pub(super) fn points(&self, span: Span) -> Vec<Option<Point>> {
        let now = self.clock.now();
        self.looked.store(now.millis(), Ordering::Relaxed);
        let kept = self.lock();
        let ring = kept.rings.iter().find(|ring| ring.step() == span.step);
        ring.map(|ring| ring.points(now, span.length)).unwrap_or_default()
    }

    /// The last reading.
    pub(super) fn last(&self) -> Option<Reading> {
        self.lock().last.as_ref().map(|(_, reading)| reading.clone())
    }

    /// Adds a reading of `text`.
    fn read(&self, text: &str) {
        let (now, reading) = (self.clock.now(), Reading::of(text));
        let mut kept = self.lock();
        if let Some((then, before)) = &kept.last
            && let Some(point) = reading.since(before, now.since(*then))
        {
            kept.rings.iter_mut().for_each(|ring| ring.push(now, point));
        }
        kept.last = Some((now, reading));
    }

    /// Reads the metrics until draining begins, and saves the points.
    ///
    /// # Errors
    /// None occur.
    pub async fn run(self, health: Health, shutdown: Shutdown) -> Result<(), Infallible> {
        let mut kept_at = self.clock.instant();
        loop {
            self.read(&health.metrics().await);
            let is_over = shutdown.is_draining();
            if is_over || self.clock.instant().duration_since(kept_at) >= KEEP_EVERY {
                self.keep().await;
                kept_at = self.clock.instant();
            }
            if is_over {
                return Ok(());
            }
            let looked = Timestamp::from_millis(self.looked.load(Ordering::Relaxed));
            let wait = if self.clock.now().since(looked) < LOOK { WATCHED } else { REST };
            tokio::select! {
                () = self.waited(wait) => {}
                () = shutdown.draining() => {}
            }
        }
    }

    /// Waits, but less if a page is opened.
    async fn waited(&self, wait: Duration) {
        let mut left = wait;
        while !left.is_zero() {
            let step = left.min(WATCHED);
            tokio::time::sleep(step).await;
            left = left.saturating_sub(step);
            let looked = Timestamp::from_millis(self.looked.load(Ordering::Relaxed));
            if self.clock.now().since(looked) < LOOK {
                return;
            }
        }
    }

    async fn keep(&self) {
        let bytes = file::bytes(&self.lock().rings);
        let path = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file::write(&path, &bytes)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(error = &error as &dyn std::error::Error, "the charts could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ok: u32, refused: u32, slow: u32) -> String {
        format!(
            "colony_gateway_webhook_requests_total{{result=\"ok\"}} {ok}\n\
             colony_gateway_webhook_requests_total{{result=\"invalid_signature\"}} {refused}\n\
             colony_gateway_webhook_duration_seconds_bucket{{le=\"0.01\"}} {fast}\n\
             colony_gateway_webhook_duration_seconds_bucket{{le=\"0.1\"}} {ok}\n\
             colony_gateway_webhook_duration_seconds_bucket{{le=\"+Inf\"}} {ok}\n\
             colony_gateway_inbox_entries{{state=\"waiting\"}} 7\n",
            fast = ok - slow
        )
    }

    #[test]
    fn a_point_is_what_happened_between_two_readings_and_a_gap_is_no_zero() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(7200));
        let series = Series::open(directory.path().join("series"), clock.clone());
        series.read(&text(100, 0, 0));
        clock.advance(Duration::from_secs(10));
        series.read(&text(300, 20, 2));
        clock.advance(Duration::from_mins(5));
        series.read(&text(300, 20, 2));
        let points = series.points(Span::named("1h").unwrap());
        let known: Vec<Point> = points.iter().flatten().copied().collect();
        assert_eq!((points.len(), known.len()), (360, 2), "the five minutes between are a gap");
        let of = |at: usize, column: Column| known[at].get(column);
        assert_eq!(
            [of(0, Column::Taken), of(0, Column::Refused), of(0, Column::Backlog)],
            [Some(20.0), Some(2.0), Some(7.0)]
        );
        assert_eq!((of(1, Column::Taken), of(1, Column::AckSlow)), (Some(0.0), None), "no request, no time");
        assert!(of(0, Column::AckSlow).is_some_and(|p99| (0.009..0.011).contains(&p99)), "{known:?}");
    }

    #[tokio::test]
    async fn charts_survive_a_restart_and_a_file_that_is_none_is_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let (clock, path) = (Clock::manual(Timestamp::from_seconds(7200)), directory.path().join("series"));
        let series = Series::open(path.clone(), clock.clone());
        series.read(&text(100, 0, 0));
        clock.advance(Duration::from_secs(10));
        series.read(&text(300, 20, 2));
        series.keep().await;
        let span = Span::named("24h").unwrap();
        let again = Series::open(path.clone(), clock.clone());
        assert_eq!(again.points(span).iter().flatten().count(), 1);
        for bytes in [&b""[..], b"something else", &std::fs::read(&path).unwrap()[..99]] {
            std::fs::write(&path, bytes).unwrap();
            let _ = Series::open(path.clone(), clock.clone()).points(span);
        }
    }
}
