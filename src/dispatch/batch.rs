//! Brings one leased batch to its end, and finds in it the entries that cannot be applied.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::pause::{Judgement, Pause};
use super::trace::Carried;
use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::route::Route;
use crate::inbox::{Conclusion, Lease, Leased};
use crate::ledger::{BoxFuture, Disposition, LedgerError, LedgerErrorKind, Outcome};
use crate::revenue::validator::Occasion;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{Place, Tracer};

/// Longest reason kept with an entry, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// A ledger that took something this recently is not down: what then times out alone is the entry's own fault.
const RECENT: Duration = Duration::from_secs(30);

/// Runs the pipeline over events and applies the verdicts, all or none.
pub trait Work: Send + Sync + 'static {
    /// What became of each event, in order. Each comes with why it is looked at. Spans of the work belong to `place`.
    fn run(
        &self,
        events: Vec<(Bytes, Occasion)>,
        place: Place,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, LedgerError>>;
}

/// Bounds on the work on a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchOptions {
    /// Longest call.
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
    /// Why nobody knows what to do, if so: entries failed one by one, in a way that no rule knows.
    pub(super) unknown: Option<LedgerError>,
    /// Whether the ledger took anything.
    pub(super) progress: bool,
}

/// The ledger is not to be asked for a while.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) after: Duration,
    pub(super) error: LedgerError,
}

/// Why a call came to nothing.
enum Failure {
    Ledger(LedgerError),
    /// A bug met an event that nobody thought of.
    Panicked,
}

pub(super) struct Batch<'a> {
    pub(super) work: &'a Arc<dyn Work>,
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
        let mut groups = vec![leased];
        while let Some(mut group) = groups.pop() {
            let late = self.clock.instant().duration_since(started) > self.options.work_max;
            if late || worked.down.is_some() || worked.unknown.is_some() {
                self.put_back(group, &mut worked);
                continue;
            }
            match self.call(&group).await {
                Ok(outcomes) => {
                    worked.progress = true;
                    self.pause.succeeded();
                    self.pause.acquit(group.iter().map(|leased| leased.lease.entry()));
                    self.conclude(group, outcomes, &mut worked);
                }
                Err(Failure::Ledger(error)) => {
                    self.metrics.ledger_errors.of(error.kind.as_str()).increment(1);
                    match error.disposition() {
                        Disposition::Retry { after } => {
                            if group.len() == 1 && self.is_own_fault(&error, worked.progress) {
                                self.failed_alone(group.remove(0), &chain(&error), &mut worked, random);
                            } else {
                                self.put_back(group, &mut worked);
                            }
                            worked.down = Some(Down { after, error });
                        }
                        Disposition::GiveUp | Disposition::Probe if group.len() > 1 => split(group, &mut groups),
                        Disposition::Probe => self.unknown_alone(group.remove(0), error, &mut worked),
                        Disposition::GiveUp => {
                            let leased = group.remove(0);
                            let code = format!("ledger_{}", error.kind);
                            self.dead(leased, &code, &chain(&error), &mut worked);
                        }
                    }
                }
                Err(Failure::Panicked) if group.len() > 1 => split(group, &mut groups),
                Err(Failure::Panicked) => {
                    let leased = group.remove(0);
                    tracing::error!(event_id = %leased.event_id, entry = leased.lease.entry().0, "the pipeline panicked");
                    self.failed_alone(leased, "the pipeline panicked on this event", &mut worked, random);
                }
            }
        }
        worked
    }

    /// One attempt on a group, with its spans.
    async fn call(&self, group: &[Leased]) -> Result<Vec<Outcome>, Failure> {
        let mut spans = Carried::begin(self.tracer, Route::Direct, group);
        let result = self.ask(group, spans.place()).await;
        match &result {
            Ok(outcomes) => spans.outcomes(outcomes.iter().map(Outcome::as_str)),
            Err(Failure::Ledger(error)) => spans.failed(error.kind.as_str()),
            Err(Failure::Panicked) => spans.failed("panicked"),
        }
        result
    }

    async fn ask(&self, group: &[Leased], place: Place) -> Result<Vec<Outcome>, Failure> {
        let event = |leased: &Leased| {
            (leased.body.clone(), Occasion { released_at: leased.released, replayed: leased.replayed })
        };
        let events: Vec<(Bytes, Occasion)> = group.iter().map(event).collect();
        let expected = events.len();
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        self.metrics.batch_entries.record(expected as f64);
        let started = self.clock.instant();
        // A task of its own, so that a panic comes back as a value.
        let mut call = JoinSet::new();
        call.spawn(self.work.run(events, place));
        let result = tokio::time::timeout(self.options.call_timeout, call.join_next()).await;
        Metrics::observe(&self.metrics.ledger_seconds, self.clock.instant().duration_since(started));
        let (kind, message) = match result {
            Ok(Some(Ok(Ok(outcomes)))) if outcomes.len() == expected => return Ok(outcomes),
            Ok(Some(Ok(Ok(outcomes)))) => {
                let message = format!("{} outcomes for {expected} events", outcomes.len());
                (LedgerErrorKind::Schema, message)
            }
            Ok(Some(Ok(Err(error)))) => return Err(Failure::Ledger(error)),
            Ok(Some(Err(_)) | None) => return Err(Failure::Panicked),
            Err(_) => (LedgerErrorKind::TimedOut, format!("no answer within {:?}", self.options.call_timeout)),
        };
        Err(Failure::Ledger(LedgerError { ledger: "any", kind, message, source: None }))
    }

    /// A fault that looks like the dependency's is the entry's own when it is alone and its neighbours pass.
    fn is_own_fault(&self, error: &LedgerError, progress: bool) -> bool {
        let passes =
            progress || self.pause.last_success().is_some_and(|at| self.clock.instant().duration_since(at) < RECENT);
        let may_be = match error.kind {
            LedgerErrorKind::TimedOut | LedgerErrorKind::Conflict => true,
            LedgerErrorKind::Unavailable
            | LedgerErrorKind::Overload
            | LedgerErrorKind::Auth
            | LedgerErrorKind::Schema
            | LedgerErrorKind::Rejected
            | LedgerErrorKind::Storage
            | LedgerErrorKind::Unknown => false,
        };
        may_be && passes
    }

    fn conclude(&self, group: Vec<Leased>, outcomes: Vec<Outcome>, worked: &mut Worked) {
        let now = self.clock.now();
        for (leased, outcome) in group.into_iter().zip(outcomes) {
            let (name, conclusion) = match outcome {
                Outcome::Applied => ("applied", Conclusion::Settle { outcome: "applied" }),
                Outcome::Stale => ("stale", Conclusion::Settle { outcome: "stale" }),
                Outcome::Duplicate => ("duplicate", Conclusion::Settle { outcome: "duplicate" }),
                Outcome::Ignored => ("ignored", Conclusion::Settle { outcome: "ignored" }),
                Outcome::Quarantined { rule, reason } => {
                    ("quarantined", Conclusion::Quarantine { code: rule, reason: short(&reason) })
                }
                Outcome::Failed { code, reason } => {
                    log_dead(&leased, &code);
                    ("failed", Conclusion::Dead { code, reason: short(&reason) })
                }
            };
            self.end(name, leased, conclusion, now, worked);
        }
    }

    fn end(&self, name: &str, leased: Leased, conclusion: Conclusion, now: Timestamp, worked: &mut Worked) {
        self.metrics.outcomes.of(name).increment(1);
        Metrics::observe(&self.metrics.settle_seconds, now.since(leased.received));
        worked.conclusions.push((leased.lease, conclusion));
    }

    fn dead(&self, leased: Leased, code: &str, reason: &str, worked: &mut Worked) {
        log_dead(&leased, code);
        let conclusion = Conclusion::Dead { code: code.to_owned(), reason: short(reason) };
        self.end("failed", leased, conclusion, self.clock.now(), worked);
    }

    /// One more failed attempt of an entry that was alone in its batch.
    fn failed_alone(&self, leased: Leased, reason: &str, worked: &mut Worked, random: &mut fastrand::Rng) {
        let attempts = leased.attempts + 1;
        if attempts >= self.options.attempts_max {
            return self.dead(leased, "attempts_exhausted", reason, worked);
        }
        self.metrics.outcomes.of("retried").increment(1);
        let due = self.clock.now().plus(self.options.backoff.wait(attempts, random));
        let retry = Conclusion::Retry { due, counted: true, reason: short(reason) };
        worked.conclusions.push((leased.lease, retry));
    }

    /// An entry that was alone met an error that no rule knows. It waits without paying an attempt, unless it is shown to
    /// be at fault itself.
    fn unknown_alone(&self, leased: Leased, error: LedgerError, worked: &mut Worked) {
        let again_after = match self.pause.judge(leased.lease.entry()) {
            Judgement::Guilty => return self.dead(leased, &format!("ledger_{}", error.kind), &chain(&error), worked),
            Judgement::Suspect { again_after } => {
                let (event_id, entry) = (leased.event_id.as_str(), leased.lease.entry().0);
                let fault = &error as &dyn std::error::Error;
                tracing::warn!(event_id, entry, error = fault, "an error that no rule knows: the entry is tried again");
                again_after
            }
            Judgement::LedgerAtFault { again_after } => {
                worked.unknown = Some(error);
                again_after
            }
        };
        let due = self.clock.now().plus(again_after);
        let reason = "the ledger answered with an error that no rule knows".to_owned();
        worked.conclusions.push((leased.lease, Conclusion::Retry { due, counted: false, reason }));
    }

    /// Back to the inbox as if it had never been taken.
    fn put_back(&self, group: Vec<Leased>, worked: &mut Worked) {
        let due = self.clock.now();
        let retry = || Conclusion::Retry { due, counted: false, reason: "the ledger was not available".to_owned() };
        worked.conclusions.extend(group.into_iter().map(|leased| (leased.lease, retry())));
    }
}

fn log_dead(leased: &Leased, code: &str) {
    let (event_id, entry) = (leased.event_id.as_str(), leased.lease.entry().0);
    tracing::error!(event_id, entry, code, event_type = leased.event_type, "entry is dead: it needs a person");
}

fn split(mut group: Vec<Leased>, groups: &mut Vec<Vec<Leased>>) {
    let second = group.split_off(group.len() / 2);
    groups.push(second);
    groups.push(group);
}

fn short(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
