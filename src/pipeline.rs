//! What pumps and bees share: the way of a batch of events through revenue into the ledger, and what a search needs for the
//! events in it that cannot be applied.
//!
//! Guarantees: a call ends within its time, and a panic on an event is a failure like any other; a batch is applied whole
//! or not at all. Does not decide what comes after a failure: a pump gives entries back, a bee waits within its lease.

mod failure;
mod groups;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::task::JoinSet;

pub use failure::{Blame, Failure, may_be_the_events};
pub use groups::Groups;

use crate::domain::clock::Clock;
use crate::domain::ids::EventId;
use crate::domain::ledger_id::LedgerId;
use crate::ledger::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome, traced};
pub use crate::revenue::validator::Occasion;
use crate::revenue::validator::{Look, Validator};
pub use crate::revenue::validator::{OtherKeys, Unanswered};
use crate::revenue::verdict::Verdict;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{Place, SpanKind};

/// Revenue and ledger, ready to be called. Clones share both.
#[derive(Clone, Debug)]
pub struct Pipeline {
    validator: Arc<Validator>,
    ledger: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
    clock: Clock,
    meant_for: Option<LedgerId>,
}

/// The result for one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The event's id, unless the body is not an event.
    pub event: Option<EventId>,
    pub end: End,
}

/// The result of the work on one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Outcome(Outcome),
    /// Stripe's answer about its object is not known yet. Nothing is wrong with the event, and nothing of it was applied.
    Unanswered {
        why: Unanswered,
        /// The wait after which asking again makes sense.
        after: Duration,
    },
}

impl End {
    /// The outcome's name, if there is an outcome.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Outcome(outcome) => Some(outcome.as_str()),
            Self::Unanswered { .. } => None,
        }
    }
}

impl Pipeline {
    pub fn new(validator: Arc<Validator>, ledger: Arc<dyn Ledger>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self { validator, ledger, metrics, clock, meant_for: None }
    }

    /// The same, for events that are meant for this ledger: behind the same address, another one refuses them.
    #[must_use]
    pub fn meant_for(&self, ledger: LedgerId) -> Self {
        Self { meant_for: Some(ledger), ..self.clone() }
    }

    /// Whether this process asks Stripe.
    pub fn asks_stripe(&self) -> bool {
        self.validator.asks_stripe()
    }

    /// Validates events and applies the verdicts, all or none. Each event comes with the reason why it is looked at.
    /// Returns the results in the same order. Spans of the work belong to `place`.
    ///
    /// # Errors
    /// If nothing was applied, or the effect is unknown: the ledger's error, no answer within `timeout`, or a panic.
    pub async fn apply(
        &self,
        events: Vec<(Bytes, Occasion)>,
        timeout: Duration,
        place: Place,
    ) -> Result<Vec<Judged>, Failure> {
        self.apply_noting(events, timeout, place, (OtherKeys::None, None)).await
    }

    /// As [`Self::apply`], with other processes that may ask Stripe, and with a callback. It runs once another program has
    /// the batch and this one only waits for the answer. If the ledger is in this program, it does not run.
    ///
    /// # Errors
    /// Those of [`Self::apply`].
    pub async fn apply_noting(
        &self,
        events: Vec<(Bytes, Occasion)>,
        timeout: Duration,
        place: Place,
        around: (OtherKeys, Option<BoxFuture<'static, ()>>),
    ) -> Result<Vec<Judged>, Failure> {
        let started = self.clock.instant();
        let result = self.guarded(events, timeout, place, around).await;
        Metrics::observe(&self.metrics.ledger_seconds, self.clock.instant().duration_since(started));
        match &result {
            Err(Failure::Ledger(error)) => {
                self.metrics.ledger_errors.of(error.kind.as_str()).increment(1);
                if is_away(error.kind) {
                    self.metrics.ledger_away.set(1.0);
                }
            }
            Ok(judged) if judged.iter().any(|judged| judged.end.name().is_some()) => self.metrics.ledger_away.set(0.0),
            Ok(_) | Err(Failure::Panicked) => {}
        }
        result
    }

    async fn guarded(
        &self,
        events: Vec<(Bytes, Occasion)>,
        timeout: Duration,
        place: Place,
        around: (OtherKeys, Option<BoxFuture<'static, ()>>),
    ) -> Result<Vec<Judged>, Failure> {
        let (this, expected) = (self.clone(), events.len());
        // A separate task, so that a panic comes back as a value.
        let mut call = JoinSet::new();
        call.spawn(async move { this.run(&events, &place, around).await });
        let fault = |kind, message| Err(Failure::Ledger(LedgerError::new(self.ledger.name(), kind, message)));
        match tokio::time::timeout(timeout, call.join_next()).await {
            Ok(Some(Ok(Ok(judged)))) if judged.len() == expected => Ok(judged),
            Ok(Some(Ok(Ok(judged)))) => {
                fault(LedgerErrorKind::Schema, format!("{} outcomes for {expected} events", judged.len()))
            }
            Ok(Some(Ok(Err(error)))) => Err(Failure::Ledger(error)),
            Ok(Some(Err(_)) | None) => Err(Failure::Panicked),
            Err(_) => fault(LedgerErrorKind::TimedOut, format!("no answer within {timeout:?}")),
        }
    }

    async fn run(
        &self,
        events: &[(Bytes, Occasion)],
        place: &Place,
        (others, waiting): (OtherKeys, Option<BoxFuture<'static, ()>>),
    ) -> Result<Vec<Judged>, LedgerError> {
        let validate = place.begin("validate", SpanKind::Internal);
        let looks = self.validator.look(events, others).await;
        drop(validate);
        let (mut judged, mut verdicts) = (Vec::with_capacity(looks.len()), Vec::with_capacity(looks.len()));
        for look in looks {
            judged.push(match look {
                Look::Decided(verdict) => {
                    verdicts.push(verdict);
                    None
                }
                Look::Unanswered { event, why, after } => {
                    Some(Judged { event: Some(event.id), end: End::Unanswered { why, after } })
                }
            });
        }
        if verdicts.is_empty() {
            return Ok(judged.into_iter().flatten().collect());
        }
        let outcomes = self.write(&verdicts, place, waiting).await?;
        let ids = verdicts.into_iter().map(|verdict| verdict.event().map(|event| event.id.clone()));
        let mut ended = ids.zip(outcomes).map(|(event, outcome)| Judged { event, end: End::Outcome(outcome) });
        Ok(judged.into_iter().filter_map(|judged| judged.or_else(|| ended.next())).collect())
    }
}

impl Pipeline {
    /// Sends a batch to the ledger. The first step of the call makes and sends the request; what follows waits.
    async fn write(
        &self,
        verdicts: &[Verdict],
        place: &Place,
        waiting: Option<BoxFuture<'static, ()>>,
    ) -> Result<Vec<Outcome>, LedgerError> {
        let mut call = pin!(traced::apply_for(&*self.ledger, self.meant_for.as_ref(), verdicts, place));
        if let Some(waiting) = waiting.filter(|_| !self.ledger.is_in_this_program()) {
            let step = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
            if let Poll::Ready(done) = step {
                return done;
            }
            waiting.await;
        }
        call.await
    }
}

/// Whether the ledger cannot be reached or is too busy.
const fn is_away(kind: LedgerErrorKind) -> bool {
    matches!(kind, LedgerErrorKind::Unavailable | LedgerErrorKind::Overload | LedgerErrorKind::TimedOut)
}

/// The gateway's id for an event that revenue could not read or did not see; empty if there is none.
pub fn event_id(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Head {
        id: String,
    }
    serde_json::from_slice(body).map(|head: Head| head.id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_what_is_no_event_is_empty() {
        assert_eq!(event_id(br#"{"id":"evt_1","x":[1]}"#), "evt_1");
        for body in ["", "[]", r#"{"id":7}"#, "{}"] {
            assert_eq!(event_id(body.as_bytes()), "", "{body}");
        }
    }
}
