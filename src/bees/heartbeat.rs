//! A heartbeat per bee in Redis, under the names that the predecessor's monitors read.
//!
//! Every minute, for each bee that shows life: `executor:<name>:heartbeat` with the time (UTC, ISO 8601 without a zone, which
//! is what those monitors parse) for two minutes, the hash `executor:<name>:stats` for an hour, and a line in the stream
//! [`STREAM`], which keeps about [`STREAM_LINES_MAX`] lines.
//!
//! Guarantees: a Redis that is away, stalls or refuses costs a count and one line in the log when that changes; every wait
//! has a bound, and none of them holds a bee or the shutdown. Does not: tell anything that bees do not already count.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::secret::Secret;
use crate::outbound::redis_address::{self, BadAddress};
use crate::telemetry::metrics::Metrics;

/// Name of the stream of telemetry.
pub const STREAM: &str = "executor:telemetry";

/// About how many lines the stream keeps: a week of one bee.
pub const STREAM_LINES_MAX: u32 = 10_000;

/// How long a heartbeat counts, as monitors expect it.
pub const HEARTBEAT_TTL: Duration = Duration::from_mins(2);

/// How long statistics are kept.
const STATS_TTL: Duration = Duration::from_hours(1);

/// When heartbeats are sent and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Time between two heartbeats. It must be less than half of [`HEARTBEAT_TTL`], so that one may be lost.
    pub every: Duration,
    /// Longest wait for a connection, and for an answer.
    pub patience: Duration,
}

impl Default for Rhythm {
    /// Every minute, with three seconds of patience.
    fn default() -> Self {
        Self { every: Duration::from_mins(1), patience: Duration::from_secs(3) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    pub executor: String,
    /// What it does, such as `idle` or `working`.
    pub state: &'static str,
    /// When it last gave a sign of life.
    pub seen: Timestamp,
    /// Processes that it brought to an end.
    pub done: u64,
    /// Processes that it was assigned and did not bring to an end.
    pub failed: u64,
    /// How long the last one took.
    pub last: Option<Duration>,
}

/// Where the pulses of bees come from.
pub trait Pulses: Send + Sync + fmt::Debug {
    /// The bees that show signs of life.
    fn pulses(&self) -> Vec<Pulse>;
}

#[derive(Debug)]
pub struct Heartbeat {
    link: Link,
    pulses: Arc<dyn Pulses>,
    rhythm: Rhythm,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Heartbeat {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(
        url: &Secret,
        pulses: Arc<dyn Pulses>,
        rhythm: Rhythm,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<Self, BadAddress> {
        Ok(Self { link: Link::new(url, rhythm.patience)?, pulses, rhythm, metrics, clock })
    }

    pub async fn run(mut self, draining: CancellationToken) -> Result<(), Infallible> {
        let mut was_good = None;
        let mut ticks = tokio::time::interval(self.rhythm.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = draining.cancelled() => return Ok(()),
            }
            let pulses = self.pulses.pulses();
            let Some(pipeline) = commands(&pulses, self.clock.now()) else {
                // Bees that have just begun must not wait for a whole round.
                ticks.reset_after(self.rhythm.every.min(FIRST_LOOK));
                continue;
            };
            let sent = tokio::select! {
                sent = self.link.send(&pipeline) => sent,
                () = draining.cancelled() => return Ok(()),
            };
            let count = u64::try_from(pulses.len()).unwrap_or(u64::MAX);
            self.metrics.heartbeats.of(if sent.is_ok() { "ok" } else { "failed" }).increment(count);
            if was_good != Some(sent.is_ok()) {
                was_good = Some(sent.is_ok());
                match &sent {
                    Ok(()) => tracing::info!("heartbeats reach Redis"),
                    Err(error) => {
                        let error = error as &dyn std::error::Error;
                        tracing::warn!(error, "heartbeats do not reach Redis; nothing else depends on it");
                    }
                }
            }
        }
    }
}

/// How soon to look again at bees without a pulse.
const FIRST_LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Redis did not answer in time.
    #[error("Redis does not answer within {0:?}")]
    TimedOut(Duration),
    /// Redis cannot be reached, or refuses.
    #[error("Redis")]
    Redis(#[from] RedisError),
}

/// A connection that is made when needed and dropped after a fault.
#[derive(Debug)]
struct Link {
    client: Client,
    open: Option<MultiplexedConnection>,
    patience: Duration,
}

impl Link {
    fn new(url: &Secret, patience: Duration) -> Result<Self, BadAddress> {
        Ok(Self { client: redis_address::client(url.expose().trim())?, open: None, patience })
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, RedisError> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.patience))
            .set_response_timeout(Some(self.patience));
        let open = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        self.open = Some(open.clone());
        Ok(open)
    }

    /// Sends commands and waits for the answers. An idle connection may be gone unnoticed, so a fault on an old one is
    /// followed by one more try on a new one.
    async fn send(&mut self, pipeline: &Pipeline) -> Result<(), LinkError> {
        let was_open = self.open.is_some();
        match self.attempt(pipeline).await {
            Err(LinkError::Redis(error)) if was_open && error.is_connection_dropped() => self.attempt(pipeline).await,
            result => result,
        }
    }

    async fn attempt(&mut self, pipeline: &Pipeline) -> Result<(), LinkError> {
        // Twice the patience: once to connect and introduce itself, once for the answers.
        let bound = self.patience * 2;
        let sent = tokio::time::timeout(bound, async {
            let mut connection = self.connection().await?;
            pipeline.exec_async(&mut connection).await
        });
        let result = match sent.await {
            Ok(sent) => sent.map_err(LinkError::Redis),
            Err(_) => Err(LinkError::TimedOut(bound)),
        };
        if result.is_err() {
            self.open = None;
        }
        result
    }
}

/// The commands that write these pulses; `None` without any.
fn commands(pulses: &[Pulse], now: Timestamp) -> Option<Pipeline> {
    if pulses.is_empty() {
        return None;
    }
    let mut pipeline = redis::pipe();
    let at = naive_utc(now);
    for pulse in pulses {
        let (heartbeat, stats) = (heartbeat_key(&pulse.executor), format!("executor:{}:stats", pulse.executor));
        let last_ms = pulse.last.map(|last| last.as_millis().to_string()).unwrap_or_default();
        let (done, failed) = (pulse.done.to_string(), pulse.failed.to_string());
        let fields = [
            ("status", pulse.state),
            ("last_seen", &naive_utc(pulse.seen)),
            ("jobs_done", &done),
            ("jobs_failed", &failed),
            ("last_job_ms", &last_ms),
            ("version", env!("CARGO_PKG_VERSION")),
        ];
        pipeline.cmd("SET").arg(&heartbeat).arg(&at).arg("EX").arg(HEARTBEAT_TTL.as_secs()).ignore();
        pipeline.cmd("HSET").arg(&stats).arg(&fields).ignore();
        pipeline.cmd("EXPIRE").arg(&stats).arg(STATS_TTL.as_secs()).ignore();
        pipeline.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(STREAM_LINES_MAX).arg("*");
        pipeline.arg("executor").arg(&pulse.executor).arg("at").arg(&at).arg(&fields[..5]).ignore();
    }
    Some(pipeline)
}

fn heartbeat_key(executor: &str) -> String {
    format!("executor:{executor}:heartbeat")
}

/// In the form of Python's `datetime.utcnow().isoformat()`.
fn naive_utc(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.millis()) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&format).ok()).unwrap_or_default()
}

/// A heartbeat that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub executor: String,
    /// How long ago it beat; `None` once its two minutes are over.
    pub age: Option<Duration>,
}

/// Asks for the heartbeats of these executors.
///
/// # Errors
/// If Redis cannot be asked.
pub async fn find(url: &Secret, executors: &[String], patience: Duration) -> Result<Vec<Found>, LinkError> {
    let invalid = |_| RedisError::from((redis::ErrorKind::InvalidClientConfig, "REDIS_URL cannot be used"));
    let mut link = Link::new(url, patience).map_err(invalid)?;
    let bound = patience * 2;
    let asked = async {
        let mut connection = link.connection().await?;
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING").ignore();
        for executor in executors {
            pipeline.cmd("PTTL").arg(heartbeat_key(executor));
        }
        pipeline.query_async::<Vec<i64>>(&mut connection).await
    };
    let left = tokio::time::timeout(bound, asked).await.map_err(|_| LinkError::TimedOut(bound))??;
    let found = executors.iter().zip(left).map(|(executor, left)| {
        // Redis answers with a negative number if the bee has no heartbeat.
        let left = u64::try_from(left).ok().map(Duration::from_millis);
        Found { executor: executor.clone(), age: left.map(|left| HEARTBEAT_TTL.saturating_sub(left)) }
    });
    Ok(found.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_monitors_parse_them() {
        assert_eq!(naive_utc(Timestamp::from_millis(1_700_000_000_123)), "2023-11-14T22:13:20.123000");
    }
}
