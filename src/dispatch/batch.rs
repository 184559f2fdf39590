//! Brings one leased batch to its end, and finds in it the entries that cannot be applied.

use std::time::Duration;

use super::conclude;
use super::pause::{Judgement, Pause};
use super::trace::AttemptSpans;
use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::outcome::ProblemCode;
use crate::domain::route::Route;
use crate::inbox::{Conclusion, Inbox, Lease, Leased, Suspects};
use crate::ledger::{BoxFuture, LedgerError, Outcome};
use crate::pipeline::{self, Blame, End, Failure, Groups, Occasion, OtherKeys, Pipeline, Unanswered};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// A ledger that took something this recently is not down: what then times out alone is the entry's own fault.
const RECENT: Duration = Duration::from_secs(30);

/// Bounds on the work on a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchOptions {
    pub(super) call_timeout: Duration,
    /// Time from the lease after which no new call begins.
    pub(super) work_max: Duration,
    /// Failed attempts after which an entry is dead.
    pub(super) attempts_max: u32,
    /// Waits between attempts of one entry.
    pub(super) backoff: Backoff,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Worked {
    pub(super) conclusions: Vec<(Lease, Conclusion)>,
    /// Why the ledger took nothing more, if so.
    pub(super) down: Option<Down>,
    /// Why it is unknown what to do, if so: entries failed one by one, with an unknown error.
    pub(super) unknown: Option<LedgerError>,
    /// Whether the ledger took anything.
    pub(super) progress: bool,
    /// Whether the ledger was asked at all.
    pub(super) asked: bool,
}

/// The ledger is not to be asked for a while.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) after: Duration,
    pub(super) error: LedgerError,
}

pub(super) struct Batch<'a> {
    /// Where the leases are from.
    pub(super) inbox: &'a Inbox,
    pub(super) pipeline: &'a Pipeline,
    /// Who else may ask Stripe.
    pub(super) others: OtherKeys,
    pub(super) options: &'a BatchOptions,
    pub(super) clock: &'a Clock,
    pub(super) metrics: &'a Metrics,
    /// What is known of the ledger from all batches.
    pub(super) pause: &'a Pause,
    pub(super) tracer: &'a Tracer,
}

impl Batch<'_> {
    /// Works until every entry has a conclusion.
    pub(super) async fn run(&self, leased: Vec<Leased>, random: &mut fastrand::Rng) -> Worked {
        let started = self.clock.instant();
        let mut worked = Worked::default();
        let mut ends = vec![None; leased.len()];
        let mut groups = Groups::of(leased.len());
        while let Some(group) = groups.next() {
            let late = self.clock.instant().duration_since(started) > self.options.work_max;
            let (entries, ends) = (&leased[group.clone()], &mut ends[group.clone()]);
            if late || worked.down.is_some() || worked.unknown.is_some() {
                put_back(ends);
                continue;
            }
            let failure = match self.call(entries).await {
                Ok(judged) => {
                    // What waits for Stripe says nothing about the ledger.
                    if judged.iter().any(|end| end.name().is_some()) {
                        (worked.progress, worked.asked) = (true, true);
                        self.pause.succeeded();
                        self.pause.acquit(entries.iter().map(|leased| leased.lease.entry()));
                    }
                    for ((leased, end), judged) in entries.iter().zip(ends).zip(judged) {
                        *end = Some(match judged {
                            End::Outcome(outcome) => self.end(leased, outcome),
                            End::Unanswered { why, after } => self.unanswered(why, after),
                        });
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            worked.asked = true;
            match (failure.blame(), failure, entries) {
                (Blame::Ledger { after }, Failure::Ledger(error), _) => {
                    match entries {
                        [alone] if self.is_own_fault(&error, worked.progress) => {
                            ends.fill(Some(self.failed_alone(alone, &chain(&error), random)));
                        }
                        _ => put_back(ends),
                    }
                    worked.down = Some(Down { after, error });
                }
                (Blame::Unknown, Failure::Ledger(error), [alone]) => {
                    ends.fill(Some(self.unknown_alone(alone, error, &mut worked)));
                }
                (_, Failure::Panicked, [alone]) => {
                    let (event_id, entry) = (&alone.event_id, alone.lease.entry().0);
                    tracing::error!(%event_id, entry, "the pipeline panicked");
                    let reason = "the pipeline panicked on this event";
                    ends.fill(Some(self.failed_alone(alone, reason, random)));
                }
                (_, failure, [alone]) => ends.fill(Some(self.end(alone, failure.into_outcome()))),
                (Blame::Events | Blame::Unknown | Blame::Ledger { .. }, _, _) => groups.halve(&group),
            }
        }
        let conclusion = |(leased, end): (Leased, Option<Conclusion>)| Some((leased.lease, end?));
        worked.conclusions = leased.into_iter().zip(ends).filter_map(conclusion).collect();
        worked
    }

    /// One attempt on a group, with its spans.
    async fn call(&self, group: &[Leased]) -> Result<Vec<End>, Failure> {
        let mut spans = AttemptSpans::begin(self.tracer, Route::Direct, group);
        let event = |leased: &Leased| {
            (leased.body.clone(), Occasion { released_at: leased.released, replayed: leased.replayed })
        };
        let events = group.iter().map(event).collect();
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        self.metrics.batch_entries.record(group.len() as f64);
        let suspects = Suspects::among(self.inbox, group);
        // Of what was waited for before, such as for the whole of which this group is a half.
        suspects.work().await;
        let waiting: Option<BoxFuture<'static, ()>> =
            if suspects.is_empty() { None } else { Some(Box::pin(async move { suspects.wait().await })) };
        let around = (self.others, waiting);
        match self.pipeline.apply_noting(events, self.options.call_timeout, spans.place(), around).await {
            Ok(judged) => {
                spans.outcomes(judged.iter().map(|judged| judged.end.name().unwrap_or("unanswered")));
                Ok(judged.into_iter().map(|judged| judged.end).collect())
            }
            Err(failure) => {
                spans.failed(failure.code());
                Err(failure)
            }
        }
    }

    /// A fault that looks like the dependency's is the entry's own when it is alone and its neighbours pass.
    fn is_own_fault(&self, error: &LedgerError, progress: bool) -> bool {
        let passes =
            progress || self.pause.last_success().is_some_and(|at| self.clock.instant().duration_since(at) < RECENT);
        passes && pipeline::may_be_the_events(error.kind)
    }

    /// The event waits for Stripe, or for a bee that may ask it. It costs the entry nothing but time, whose length an alert is
    /// about.
    fn unanswered(&self, why: Unanswered, after: Duration) -> Conclusion {
        self.metrics.outcomes.of("retried").increment(1);
        match why {
            Unanswered::ByStripe => conclude::await_stripe(after),
            Unanswered::WithoutKey => conclude::await_bee(after),
        }
    }

    /// An entry came to its end.
    fn end(&self, leased: &Leased, outcome: Outcome) -> Conclusion {
        if let Outcome::Failed { code, .. } = &outcome {
            log_dead(leased, code);
        }
        self.metrics.outcomes.of(outcome.as_str()).increment(1);
        Metrics::observe(&self.metrics.settle_seconds, self.clock.now().since(leased.received));
        conclude::by_outcome(outcome)
    }

    fn dead(&self, leased: &Leased, code: impl Into<String>, reason: &str) -> Conclusion {
        self.end(leased, Outcome::Failed { code: code.into(), reason: reason.to_owned() })
    }

    /// One more failed attempt of an entry that was alone in its batch.
    fn failed_alone(&self, leased: &Leased, reason: &str, random: &mut fastrand::Rng) -> Conclusion {
        let attempts = leased.attempts + 1;
        if attempts >= self.options.attempts_max {
            return self.dead(leased, ProblemCode::AttemptsExhausted.as_str(), reason);
        }
        self.metrics.outcomes.of("retried").increment(1);
        let after = self.options.backoff.wait(attempts, random);
        Conclusion::Retry { after, counted: true, reason: conclude::short(reason) }
    }

    /// An entry that was alone met an error that no rule knows. It waits without paying an attempt, unless it is shown to
    /// be at fault itself.
    fn unknown_alone(&self, leased: &Leased, error: LedgerError, worked: &mut Worked) -> Conclusion {
        let again_after = match self.pause.judge(leased.lease.entry()) {
            Judgement::Guilty => return self.end(leased, Failure::Ledger(error).into_outcome()),
            Judgement::Suspect { again_after } => {
                let (event_id, entry) = (leased.event_id.as_str(), leased.lease.entry().0);
                let fault = &error as &dyn std::error::Error;
                tracing::warn!(
                    event_id,
                    entry,
                    error = fault,
                    "the ledger answers with an unknown error: the entry is tried again"
                );
                again_after
            }
            Judgement::LedgerAtFault { again_after } => {
                worked.unknown = Some(error);
                again_after
            }
        };
        let reason = "the ledger answered with an error that no rule knows".to_owned();
        Conclusion::Retry { after: again_after, counted: false, reason }
    }
}

/// Back to the inbox as if they had never been taken.
fn put_back(ends: &mut [Option<Conclusion>]) {
    let reason = "the ledger was not available".to_owned();
    ends.fill(Some(Conclusion::Retry { after: Duration::ZERO, counted: false, reason }));
}

fn log_dead(leased: &Leased, code: &str) {
    let (event_id, entry) = (leased.event_id.as_str(), leased.lease.entry().0);
    tracing::error!(event_id, entry, code, event_type = leased.event_type, "entry is dead: it needs a person");
}

#[cfg(test)]
mod tests;
