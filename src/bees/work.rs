//! Brings the events of one job to the ledger before a deadline, and finds among them those that cannot be brought.
//!
//! It waits for a ledger with a fault, until the deadline. If the ledger refuses a batch, it cuts the batch in halves until the
//! event that causes it is alone. It does the same with a call that panics, or that keeps timing out while others pass. So one
//! event never fails its neighbours. Work may be done twice, which the ledger recognises.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::domain::ledger_id::LedgerId;
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::pipeline::{Blame, End, Failure, Groups, Judged, Occasion, Pipeline, may_be_the_events};
use crate::telemetry::trace::Place;

/// Waits between calls while the ledger takes nothing.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), max: Duration::from_secs(3) };

/// How many calls may time out or conflict before the events in them are suspected.
const SUSPECT_AFTER: u32 = 2;

/// How many calls must fit in a job's time: a single slow one must not use up the lease.
const CALLS_MIN: u32 = 4;

/// The work of all bees of a pool.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) pipeline: Pipeline,
    pub(super) call_timeout: Duration,
    pub(super) clock: Clock,
}

/// The deadline passed before all events were done, or waiting for it was of no use. Some may have been applied.
#[derive(Debug)]
pub(super) struct OutOfTime {
    /// The ledger's last error.
    pub(super) last: Option<LedgerError>,
}

impl OutOfTime {
    /// Whether the database turned out to be another ledger than the one that the events are for.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.last.as_ref().is_some_and(|error| error.kind == LedgerErrorKind::OtherLedger)
    }
}

/// What to do after a failed call.
enum Next {
    Again(Duration),
    Halve,
    /// Leave the events to the gateway, which sends them again.
    Leave,
    Fail,
    /// End the work on the job.
    Stop,
}

impl Work {
    /// Brings the events to this ledger, and to no other. Returns the outcome of each event, in order; `None` if it stayed open
    /// because that event alone kept timing out, so that the gateway sends it again. Spans of the work belong to `place`.
    pub(super) async fn run(
        &self,
        events: &[Bytes],
        ledger: LedgerId,
        deadline: Instant,
        place: &Place,
    ) -> Result<Vec<Option<Judged>>, OutOfTime> {
        let pipeline = self.pipeline.meant_for(ledger);
        let mut random = fastrand::Rng::new();
        let mut judged: Vec<Option<Judged>> = vec![None; events.len()];
        let call_timeout = self.call_timeout.min(self.left(deadline) / CALLS_MIN);
        let mut progress = false;
        let mut groups = Groups::of(events.len());
        let mut last = None;
        while let Some(group) = groups.next() {
            let mut failures = 0;
            loop {
                let left = self.left(deadline);
                if left.is_zero() {
                    return Err(OutOfTime { last });
                }
                let calls = events[group.clone()].iter().map(|event| (event.clone(), Occasion::default()));
                let result = pipeline.apply(calls.collect(), call_timeout.min(left), place.clone()).await;
                let failure = match result {
                    Ok(done) => {
                        progress = true;
                        judged[group].iter_mut().zip(done).for_each(|(judged, done)| *judged = Some(done));
                        break;
                    }
                    Err(failure) => failure,
                };
                failures += 1;
                match next(&failure, group.len(), failures, progress, &mut random) {
                    Next::Again(wait) if wait < self.left(deadline) => {
                        last = failure.into_error().or(last);
                        tokio::time::sleep(wait).await;
                        continue;
                    }
                    Next::Again(_) | Next::Stop => return Err(OutOfTime { last: failure.into_error().or(last) }),
                    Next::Halve => groups.halve(&group),
                    Next::Leave => {}
                    Next::Fail => {
                        if matches!(failure, Failure::Panicked) {
                            tracing::error!("the pipeline panicked on an event");
                        }
                        judged[group.start] = Some(Judged { event: None, end: End::Outcome(failure.into_outcome()) });
                        break;
                    }
                }
                last = failure.into_error().or(last);
                break;
            }
        }
        if judged.iter().all(Option::is_none) { Err(OutOfTime { last }) } else { Ok(judged) }
    }

    fn left(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.clock.instant())
    }
}

fn next(failure: &Failure, events: usize, failures: u32, progress: bool, random: &mut fastrand::Rng) -> Next {
    if matches!(failure, Failure::Ledger(error) if error.kind == LedgerErrorKind::OtherLedger) {
        return Next::Stop;
    }
    let is_suspect = match failure {
        Failure::Panicked => false,
        Failure::Ledger(error) => failures >= SUSPECT_AFTER && may_be_the_events(error.kind),
    };
    match failure.blame() {
        Blame::Events if events > 1 => Next::Halve,
        Blame::Events => Next::Fail,
        Blame::Ledger { .. } | Blame::Unknown if is_suspect && events > 1 => Next::Halve,
        Blame::Ledger { .. } | Blame::Unknown if is_suspect && progress => Next::Leave,
        Blame::Ledger { after } => Next::Again(after.max(BACKOFF.wait(failures, random))),
        Blame::Unknown => Next::Again(BACKOFF.ceiling(failures)),
    }
}

#[cfg(test)]
mod tests;
