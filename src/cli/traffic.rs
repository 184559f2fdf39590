//! Posts deliveries to a webhook endpoint as Stripe does and holds the answers against what must be answered.
//!
//! Bounded: [`CONCURRENCY_MAX`] requests at a time, [`ATTEMPTS_MAX`] attempts at a delivery, [`RETRY_AFTER_MAX`] for
//! a wait, [`ANSWER_BYTES_MAX`] read of an answer, a deadline for every request. Deliveries are made only as fast as
//! they can be sent. It does not follow redirects, use proxies or judge the body of an answer.

mod client;
mod stand_in;
mod stats;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{StatusCode, Url};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use stripe_events::simulator::{Delivery, Expectation, Expected, Role};

pub use stand_in::{Holdings, OBJECTS_MAX, StandIn};
pub use stats::{Latencies, Snapshot, Stats, UNEXPECTED_KEPT};

/// Most requests in flight.
pub const CONCURRENCY_MAX: usize = 1024;

/// Most attempts at one delivery. Stripe makes more, over days.
pub const ATTEMPTS_MAX: u32 = 6;

/// Longest wait for which a `Retry-After` is followed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Most bytes that are read from an answer. If there are more, the connection is given up.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Waits after answers that name no wait.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(5) };

/// Where and how to deliver.
#[derive(Clone, Debug)]
pub struct TrafficOptions {
    /// The endpoint, `http` or `https`.
    pub url: Url,
    /// Signing secrets; each makes a signature of its own, as while a secret is rolled. At least one.
    pub secrets: Vec<Secret>,
    /// Deliveries a second; as fast as answers come without it. Time lost to a slow endpoint is caught up on.
    pub rate: Option<f64>,
    /// Requests at a time; at most [`CONCURRENCY_MAX`].
    pub concurrency: NonZeroUsize,
    /// Deadline of one request, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// Told of every event whose genuine delivery was answered with a 2xx.
    pub expected: Option<Arc<Mutex<Expected>>>,
}

/// Why no traffic can be made. What the endpoint answers is never an error here but counted.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// Only `http` and `https` can be posted to.
    #[error("cannot post to {0}: give an http:// or https:// URL with a host")]
    Url(Url),
    #[error("no signing secret: set STRIPE_WEBHOOK_SECRET or give --secret")]
    NoSecret,
    /// The HTTP client could not be made, for example because the system has no certificate authorities.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// A worker stopped without finishing, which is a mistake in this program.
    #[error("a traffic worker broke")]
    Worker(#[from] tokio::task::JoinError),
}

/// Delivers. Clones share everything.
#[derive(Clone, Debug)]
pub struct Driver {
    shared: Arc<DriverParts>,
}

#[derive(Debug)]
struct DriverParts {
    options: TrafficOptions,
    client: reqwest::Client,
    clock: Clock,
    stop: CancellationToken,
    stats: Arc<Stats>,
}

/// The deliveries to come, and how many were taken.
struct Source<I> {
    deliveries: I,
    taken: u32,
    begun: Instant,
}

/// What is to be done after an attempt.
enum AfterAnswer {
    Done(StatusCode),
    /// Try again after this time, if attempts are left.
    Again {
        after: Option<Duration>,
        why: String,
    },
}

impl Driver {
    /// Prepares to deliver. When `stop` is cancelled, no new request is made, and those in flight are awaited.
    pub fn new(options: TrafficOptions, clock: Clock, stop: CancellationToken) -> Result<Self, TrafficError> {
        if !matches!(options.url.scheme(), "http" | "https") || options.url.host_str().is_none() {
            return Err(TrafficError::Url(options.url));
        }
        if options.secrets.is_empty() {
            return Err(TrafficError::NoSecret);
        }
        let client = client::build(&options).map_err(TrafficError::Client)?;
        let shared = DriverParts { options, client, clock, stop, stats: Arc::new(Stats::default()) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What happened so far. Can be read at any time.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.shared.stats)
    }

    /// Makes all deliveries and returns when the last is answered, or soon after the stop.
    pub async fn run<I>(&self, deliveries: I) -> Result<(), TrafficError>
    where
        I: Iterator<Item = Delivery> + Send + 'static,
    {
        let begun = self.shared.clock.instant();
        let source = Arc::new(Mutex::new(Source { deliveries, taken: 0, begun }));
        let mut workers = JoinSet::new();
        for _ in 0..self.shared.options.concurrency.get().min(CONCURRENCY_MAX) {
            workers.spawn(work(Arc::clone(&self.shared), Arc::clone(&source)));
        }
        while let Some(ended) = workers.join_next().await {
            ended?;
        }
        Ok(())
    }
}

async fn work<I: Iterator<Item = Delivery> + Send>(shared: Arc<DriverParts>, source: Arc<Mutex<Source<I>>>) {
    while !shared.stop.is_cancelled() {
        let taken = {
            let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
            let number = source.taken;
            source.taken = source.taken.saturating_add(1);
            source.deliveries.next().map(|delivery| (delivery, number, source.begun))
        };
        let Some((delivery, number, begun)) = taken else { return };
        if shared.waits_for_its_turn(number, begun).await {
            shared.deliver(&delivery).await;
        }
    }
}

impl DriverParts {
    /// Returns false if the stop came first.
    async fn waits_for_its_turn(&self, number: u32, begun: Instant) -> bool {
        let Some(rate) = self.options.rate.filter(|rate| *rate > 0.0) else { return true };
        let turn = Duration::try_from_secs_f64(f64::from(number) / rate).unwrap_or(Duration::MAX);
        let late = self.clock.instant().saturating_duration_since(begun);
        self.pauses(turn.saturating_sub(late)).await
    }

    /// Returns false if the stop came first.
    async fn pauses(&self, wait: Duration) -> bool {
        if wait.is_zero() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = self.stop.cancelled() => false,
        }
    }

    async fn deliver(&self, delivery: &Delivery) {
        let mut random = fastrand::Rng::new();
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(delivery).await {
                AfterAnswer::Done(status) => return self.judge(delivery, status),
                AfterAnswer::Again { why, .. } if attempt == ATTEMPTS_MAX => {
                    let why = format!("{why}, {ATTEMPTS_MAX} times");
                    return self.stats.unexpected(delivery, &why);
                }
                AfterAnswer::Again { after, .. } => {
                    self.stats.retried();
                    if !self.pauses(wait_before_retry(after, attempt, &mut random)).await {
                        return self.stats.abandoned();
                    }
                }
            }
        }
    }

    fn judge(&self, delivery: &Delivery, status: StatusCode) {
        let as_expected = match delivery.expectation() {
            Expectation::Accepted => status.is_success(),
            Expectation::Refused => status == StatusCode::BAD_REQUEST,
        };
        if !as_expected {
            return self.stats.unexpected(delivery, &format!("answered {status}"));
        }
        self.stats.as_expected(delivery);
        if let (Some(expected), Role::Genuine, true) = (&self.options.expected, delivery.role, status.is_success()) {
            expected.lock().unwrap_or_else(PoisonError::into_inner).learn(&delivery.event);
        }
    }

    /// One request, signed afresh.
    async fn attempt(&self, delivery: &Delivery) -> AfterAnswer {
        let mut request = self
            .client
            .post(self.options.url.clone())
            .header("Content-Type", "application/json; charset=utf-8")
            .header("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")
            .body(delivery.body());
        let secrets: Vec<&str> = self.options.secrets.iter().map(Secret::expose).collect();
        if let Some(signature) = delivery.signature(&secrets, self.clock.now()) {
            request = request.header("Stripe-Signature", signature);
        }
        let begun = self.clock.instant();
        self.stats.sent();
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.stats.unanswered();
                return AfterAnswer::Again { after: None, why: format!("no answer ({})", kind_of(&error)) };
            }
        };
        let (status, after) = (answer.status(), retry_after(&answer));
        if let Err(error) = client::drain(answer).await {
            self.stats.unanswered();
            return AfterAnswer::Again { after: None, why: format!("half an answer ({})", kind_of(&error)) };
        }
        let latency = self.clock.instant().saturating_duration_since(begun);
        self.stats.answered(status, latency);
        match status {
            StatusCode::SERVICE_UNAVAILABLE => AfterAnswer::Again { after, why: format!("answered {status}") },
            _ => AfterAnswer::Done(status),
        }
    }
}

/// The wait that the answer asked for, within its bound, or a random wait.
fn wait_before_retry(after: Option<Duration>, attempt: u32, random: &mut fastrand::Rng) -> Duration {
    after.map_or_else(|| BACKOFF.wait(attempt, random), |after| after.min(RETRY_AFTER_MAX))
}

/// The seconds of a `Retry-After`; a date is not followed.
fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let text = answer.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The class of a transport error in a few words. Its full chain would repeat the URL for every delivery.
fn kind_of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "connection broke"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_followed_within_its_bound() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut wait = |after| wait_before_retry(after, 1, &mut random);
        assert_eq!(wait(Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(wait(Some(Duration::MAX)), RETRY_AFTER_MAX);
        assert!(wait(None) <= BACKOFF.first);
    }
}
