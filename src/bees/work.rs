//! Brings the events of one job to the ledger before a deadline, and finds among them those that cannot be brought.
//!
//! A fault of the ledger is waited out, as long as the deadline lets. What the ledger refuses is cut in halves until the
//! event that causes it stands alone; the same is done with a call that panics, or that keeps timing out while others
//! pass. So one event never fails its neighbours, and everything may be done twice, which the ledger recognises.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::ledger::{Disposition, Ledger, LedgerError, LedgerErrorKind, Outcome, traced};
use crate::revenue::validator::Validator;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{Place, SpanKind};

/// Waits between calls while the ledger takes nothing.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(3) };

/// Calls that may time out or conflict before the events in them are suspected.
const SUSPECT_AFTER: u32 = 2;

/// Calls that fit in the time of a job, at least: a single slow one must not use up the lease.
const CALLS_MIN: u32 = 4;

/// Code of an event on which the pipeline panicked.
const PANICKED: &str = "pipeline_panicked";

/// The pipeline and the ledger.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) validator: Arc<Validator>,
    pub(super) ledger: Arc<dyn Ledger>,
    /// Longest call.
    pub(super) call_timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

/// The deadline passed with events undone; the others may have been applied.
#[derive(Debug)]
pub(super) struct OutOfTime {
    /// What the ledger said last.
    pub(super) last: Option<LedgerError>,
}

/// Why a call came to nothing.
enum Failure {
    Ledger(LedgerError),
    /// A bug met an event that nobody thought of.
    Panicked,
}

/// What to do after a failed call.
enum Next {
    Again(Duration),
    Halve,
    Conclude(Option<Outcome>),
}

impl Work {
    /// What became of each event, in order. Nothing where it stayed open: the event, and no other, kept timing out; the
    /// gateway sends it again. Spans of the work belong to `place`.
    pub(super) async fn run(
        &self,
        events: &[Bytes],
        deadline: Instant,
        place: &Place,
    ) -> Result<Vec<Option<Outcome>>, OutOfTime> {
        let mut random = fastrand::Rng::new();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; events.len()];
        let call_timeout = self.call_timeout.min(self.left(deadline) / CALLS_MIN);
        let mut progress = false;
        let mut groups: Vec<Range<usize>> = std::iter::once(0..events.len()).collect();
        let mut last = None;
        while let Some(group) = groups.pop() {
            let mut failures = 0;
            loop {
                let left = self.left(deadline);
                if left.is_zero() {
                    return Err(OutOfTime { last });
                }
                match self.call(&events[group.clone()], call_timeout.min(left), place).await {
                    Ok(done) => {
                        progress = true;
                        outcomes[group].iter_mut().zip(done).for_each(|(outcome, done)| *outcome = Some(done));
                        break;
                    }
                    Err(failure) => {
                        failures += 1;
                        let next = next(&failure, group.len(), failures, progress, &mut random);
                        if let Failure::Ledger(error) = failure {
                            self.metrics.ledger_errors.of(error.kind.as_str()).increment(1);
                            last = Some(error);
                        }
                        match next {
                            Next::Again(wait) if wait < self.left(deadline) => tokio::time::sleep(wait).await,
                            Next::Again(_) => return Err(OutOfTime { last }),
                            Next::Halve => {
                                groups.extend(halves(group));
                                break;
                            }
                            Next::Conclude(outcome) => {
                                outcomes[group.start] = outcome;
                                break;
                            }
                        }
                    }
                }
            }
        }
        if outcomes.iter().all(Option::is_none) { Err(OutOfTime { last }) } else { Ok(outcomes) }
    }

    fn left(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.clock.instant())
    }

    async fn call(&self, events: &[Bytes], timeout: Duration, place: &Place) -> Result<Vec<Outcome>, Failure> {
        let (events, expected) = (events.to_vec(), events.len());
        let (validator, ledger, place) = (Arc::clone(&self.validator), Arc::clone(&self.ledger), place.clone());
        let started = self.clock.instant();
        // A task of its own, so that a panic comes back as a value.
        let mut call = JoinSet::new();
        call.spawn(async move {
            let validate = place.begin("validate", SpanKind::Internal);
            let verdicts = validator.validate(&events).await;
            drop(validate);
            traced::apply(&*ledger, &verdicts, &place).await
        });
        let result = tokio::time::timeout(timeout, call.join_next()).await;
        Metrics::observe(&self.metrics.ledger_seconds, self.clock.instant().duration_since(started));
        let fault = |kind, message| Err(Failure::Ledger(LedgerError::new(self.ledger.name(), kind, message)));
        match result {
            Ok(Some(Ok(Ok(outcomes)))) if outcomes.len() == expected => Ok(outcomes),
            Ok(Some(Ok(Ok(outcomes)))) => {
                fault(LedgerErrorKind::Schema, format!("{} outcomes for {expected} events", outcomes.len()))
            }
            Ok(Some(Ok(Err(error)))) => Err(Failure::Ledger(error)),
            Ok(Some(Err(_)) | None) => Err(Failure::Panicked),
            Err(_) => fault(LedgerErrorKind::TimedOut, format!("no answer within {timeout:?}")),
        }
    }
}

fn next(failure: &Failure, events: usize, failures: u32, progress: bool, random: &mut fastrand::Rng) -> Next {
    let error = match failure {
        Failure::Panicked if events > 1 => return Next::Halve,
        Failure::Panicked => {
            tracing::error!("the pipeline panicked on an event");
            let reason = "the pipeline panicked on this event; this is a fault of the gateway".to_owned();
            return Next::Conclude(Some(Outcome::Failed { code: PANICKED.to_owned(), reason }));
        }
        Failure::Ledger(error) => error,
    };
    match error.disposition() {
        Disposition::GiveUp if events > 1 => Next::Halve,
        Disposition::GiveUp => {
            Next::Conclude(Some(Outcome::Failed { code: format!("ledger_{}", error.kind), reason: chain(error) }))
        }
        Disposition::Retry { .. } | Disposition::Probe
            if failures >= SUSPECT_AFTER && may_be_the_events(error.kind) && events > 1 =>
        {
            Next::Halve
        }
        Disposition::Retry { .. } | Disposition::Probe
            if failures >= SUSPECT_AFTER && may_be_the_events(error.kind) && progress =>
        {
            Next::Conclude(None)
        }
        Disposition::Retry { after } => Next::Again(after.max(BACKOFF.wait(failures, random))),
        Disposition::Probe => Next::Again(BACKOFF.ceiling(failures)),
    }
}

/// Whether a fault that looks like the ledger's can be that of the events.
fn may_be_the_events(kind: LedgerErrorKind) -> bool {
    match kind {
        LedgerErrorKind::TimedOut | LedgerErrorKind::Conflict | LedgerErrorKind::Unknown => true,
        LedgerErrorKind::Unavailable
        | LedgerErrorKind::Overload
        | LedgerErrorKind::Auth
        | LedgerErrorKind::Schema
        | LedgerErrorKind::Rejected
        | LedgerErrorKind::Storage => false,
    }
}

/// The second half first, so that the first is taken off the stack first.
fn halves(group: Range<usize>) -> [Range<usize>; 2] {
    let middle = group.start + group.len() / 2;
    [middle..group.end, group.start..middle]
}

/// The id by which the gateway knows an event; empty when it has none.
pub(super) fn event_id(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Head {
        id: String,
    }
    serde_json::from_slice(body).map(|head: Head| head.id).unwrap_or_default()
}

#[cfg(test)]
mod tests;
