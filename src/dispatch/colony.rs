//! The colony route: a leased batch becomes one signed job, and its entries stay with the process until it ends.
//!
//! Guarantees: no more processes are in flight than allowed, so that entries pile up into larger batches when the
//! colony is slower than Stripe; what cannot be submitted is given back, leases and all. A process that was submitted
//! and not recorded (a crash, a lost reply) holds nothing: its entries are worked on again, and the ledger recognises
//! what the process did.

use std::sync::Arc;
use std::time::Duration;

use colonies::client::ClientError;
use colonies::messages::FunctionSpec;
use tokio_util::sync::CancellationToken;

use super::conclude;
use super::confirm::Confirm;
use super::context::Context;
use super::doubts::Doubts;
use super::in_flight::{InFlight, Slot};
use super::routing::{Admission, FallbackOptions, Routing};
use super::settler::Settler;
use super::submitter::Submitter;
use super::trace::AttemptSpans;
use crate::domain::backoff::Backoff;
use crate::domain::breaker::{Breaker, Permit};
use crate::domain::ids::ProcessId;
use crate::domain::ledger_id::LedgerId;
use crate::domain::route::Route;
use crate::domain::trace::TraceContext;
use crate::inbox::{Concluded, Conclusion, Leased, Suspects};
use crate::job::completion::Completed;
use crate::job::{self, SealError, Sender};
use crate::ledger::witness::{Identity, Witness};
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::pipeline::OtherKeys;
use crate::telemetry::instruments::Instruments;
use crate::telemetry::metrics::Metrics;

/// Longest wait for the ledger to say which one it is, which happens once. In the meantime entries go the direct route.
const IDENTITY_MAX: Duration = Duration::from_secs(3);

/// Longest wait of entries, at the start, for the server's first answer. After it they go the direct route.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(5);

/// Bounds of the colony route.
#[derive(Clone, Copy, Debug)]
pub struct ColonyOptions {
    pub processes_max: usize,
    /// How often events are submitted again when their process lost all leases; at least once.
    pub resubmissions_max: u32,
    /// Times between questions about one process. They begin at `first` and double up to `max`.
    pub status: Backoff,
    /// When entries go the direct route instead.
    pub fallback: FallbackOptions,
}

/// The colony route. Clones share it.
#[derive(Clone, Debug)]
pub struct ColonyRoute {
    submitter: Submitter,
    options: ColonyOptions,
    /// The other end of the route, with the handles that both ends use.
    settler: Settler,
}

/// The way of the next batch.
#[derive(Debug)]
pub(super) enum Way {
    /// Into one job.
    Colony { slot: Slot, admission: Admission },
    /// Directly to the ledger, from this process.
    Direct,
}

/// Why a batch did not become a process.
#[derive(Debug, thiserror::Error)]
enum SubmitError {
    /// An event is not UTF-8.
    #[error("an event is not text")]
    NotText,
    /// The events do not fit into a job.
    #[error("the events cannot be put into a job")]
    Seal(#[source] SealError),
    #[error("sealing the job panicked")]
    Panicked,
    /// It is not known yet which ledger the job would be for.
    #[error("the ledger does not say which one it is")]
    Ledger(#[source] LedgerError),
    /// The server did not take the job, or did not say that it did.
    #[error("the job was not submitted")]
    Client(#[source] ClientError),
}

impl SubmitError {
    const fn code(&self) -> &'static str {
        match self {
            Self::NotText | Self::Seal(_) | Self::Panicked | Self::Ledger(_) => "sealing",
            Self::Client(error) => error.code(),
        }
    }
}

impl ColonyRoute {
    /// A route, and the task that confirms by the word of `ledger` what the route submits. The task gets the completions of
    /// the bees in this program, if there are any.
    pub fn new(
        submitter: Submitter,
        options: ColonyOptions,
        context: Context,
        ledger: Arc<dyn Witness>,
        completions: Option<tokio::sync::mpsc::Receiver<Completed>>,
    ) -> (Self, Confirm) {
        let Context { inbox, switch, in_force, instruments } = context;
        let Instruments { metrics, board, clock, tracer } = instruments;
        let settler = Settler {
            routing: Routing::new(options.fallback, switch, in_force, Arc::clone(&metrics), board, clock.clone()),
            in_flight: Arc::new(InFlight::new(options.processes_max)),
            ledger: Identity::of(ledger),
            doubts: Doubts::new(Arc::clone(&metrics)),
            is_silent: Arc::default(),
            resubmissions_max: options.resubmissions_max,
            inbox,
            metrics,
            clock,
            tracer,
        };
        let confirm = Confirm::new(submitter.clone(), options.status, settler.clone(), completions);
        (Self { submitter, options, settler }, confirm)
    }

    /// The circuit breakers of the route, by name.
    pub fn breakers(&self) -> [(&'static str, Breaker); 2] {
        self.settler.routing.breakers()
    }

    /// The route of the next batch, as far as it is known beforehand.
    pub(super) fn in_force(&self) -> Route {
        self.settler.routing.in_force()
    }

    /// Who besides this process may ask Stripe: the bees, while the colony is meant to be used.
    pub(super) fn other_keys(&self) -> OtherKeys {
        if self.settler.routing.is_wished() { OtherKeys::Bees } else { OtherKeys::None }
    }

    /// Decides about the next batch. Waits while the colony is in use and holds as many processes as it may. `None` if
    /// draining began.
    pub(super) async fn way(&self, draining: &CancellationToken) -> Option<Way> {
        let mut changes = self.settler.routing.changes();
        if self.settler.routing.is_unasked() {
            // The task that confirms asks the server when it starts. A batch should not go direct before that answer.
            let answered = async { while self.settler.routing.is_unasked() && changes.changed().await.is_ok() {} };
            tokio::select! {
                _ = tokio::time::timeout(FIRST_ANSWER_MAX, answered) => {}
                () = draining.cancelled() => return None,
            }
        }
        let mut free = self.settler.in_flight.try_slot();
        loop {
            if let Some(slot) = free {
                return Some(match self.settler.routing.admit() {
                    Some(admission) => Way::Colony { slot, admission },
                    None => Way::Direct,
                });
            }
            self.settler.routing.refresh();
            if self.settler.routing.in_force() == Route::Direct {
                return Some(Way::Direct);
            }
            tokio::select! {
                slot = self.settler.in_flight.slot() => free = slot,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Some(Way::Direct);
                    }
                    free = None;
                }
                () = draining.cancelled() => return None,
            }
        }
    }

    /// Whether an entry takes the direct route now, whatever route is in force. That is so if a person asked for it, which
    /// a job cannot say, or if the colony said something unbelievable about it, or says for too long that Stripe does not
    /// answer.
    pub(super) fn leaves_out(&self, leased: &Leased) -> bool {
        self.settler.doubts.take(leased.lease.entry())
            || leased.is_asked_for()
            || (leased.awaited_stripe && self.settler.routing.is_too_old(leased.received))
    }

    /// Notes that these entries take the direct route, because that one is in force.
    pub(super) fn went_direct(&self, leased: &[Leased]) {
        self.settler.doubts.forget(leased.iter().map(|leased| leased.lease.entry()));
    }

    /// Submits a batch and hands its entries to the process. Returns those that cannot go this way.
    pub(super) async fn carry(
        &self,
        slot: Slot,
        admission: Admission,
        leased: Vec<Leased>,
        random: &mut fastrand::Rng,
    ) -> Result<(), Vec<Leased>> {
        // An entry that only a bee may be able to do has no other way, however old it is.
        if leased.iter().any(|leased| !leased.awaits_bee && self.settler.routing.is_too_old(leased.received)) {
            return Err(leased);
        }
        let Admission { server, bees } = admission;
        let started = self.settler.clock.instant();
        let submitted = self.submit(&leased).await;
        Metrics::observe(&self.settler.metrics.submit_seconds, self.settler.clock.instant().duration_since(started));
        let process = match submitted {
            Ok(process) => {
                self.settler.metrics.submissions.of("ok").increment(1);
                self.settler.routing.called(server, None);
                process
            }
            Err(error) => {
                self.settler.metrics.submissions.of(error.code()).increment(1);
                let (entries, fault) = (leased.len(), &error as &dyn std::error::Error);
                tracing::warn!(entries, error = fault, "not submitted; the entries go the direct route");
                match &error {
                    // This job is at fault and not the server, so it says nothing about the next one.
                    SubmitError::NotText
                    | SubmitError::Seal(_)
                    | SubmitError::Panicked
                    | SubmitError::Ledger(_)
                    | SubmitError::Client(ClientError::Rejected { .. } | ClientError::Encode(_)) => {}
                    SubmitError::Client(error) => self.settler.routing.called(server, Some(error)),
                }
                return Err(leased);
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        self.settler.metrics.batch_entries.record(leased.len() as f64);
        self.record(process, slot, bees, leased, random).await;
        Ok(())
    }

    /// One submission, with its spans.
    async fn submit(&self, leased: &[Leased]) -> Result<ProcessId, SubmitError> {
        let mut spans = AttemptSpans::begin(&self.settler.tracer, Route::ColonyOs, leased);
        let result = self.hand_over(leased, spans.context()).await;
        match &result {
            Ok(process) => spans.text("colony.process_id", process.as_str()),
            Err(error) => spans.failed(error.code()),
        }
        result
    }

    async fn hand_over(&self, leased: &[Leased], trace: Option<TraceContext>) -> Result<ProcessId, SubmitError> {
        let suspects = Suspects::among(&self.settler.inbox, leased);
        if self.settler.ledger.known().is_none() {
            suspects.wait().await;
        }
        let ledger = tokio::time::timeout(IDENTITY_MAX, self.settler.ledger.get()).await.unwrap_or_else(|_| {
            let message = format!("no answer within {IDENTITY_MAX:?}");
            Err(LedgerError::new("state of record", LedgerErrorKind::TimedOut, message))
        });
        let ledger = ledger.map_err(SubmitError::Ledger)?;
        suspects.work().await;
        // Both must be the same member, because the job names its submitter.
        let member = self.submitter.member.get();
        let spec = job::traced(self.seal(leased, ledger, member.id().as_str().to_owned()).await?, trace);
        suspects.wait().await;
        let process = member.submit(spec).await.map_err(SubmitError::Client)?;
        Ok(process.id())
    }

    /// Compressing a large batch takes milliseconds, for which other tasks must not wait.
    async fn seal(&self, leased: &[Leased], ledger: LedgerId, submitter: String) -> Result<FunctionSpec, SubmitError> {
        let bodies: Vec<bytes::Bytes> = leased.iter().map(|leased| leased.body.clone()).collect();
        let recipients = self.submitter.recipients.get();
        let (signer, terms, now) =
            (self.submitter.signer.get(), self.submitter.terms.clone(), self.settler.clock.now());
        let seal = move || {
            let events = bodies.iter().map(|body| std::str::from_utf8(body)).collect::<Result<Vec<&str>, _>>();
            let events = events.map_err(|_| SubmitError::NotText)?;
            let recipients = recipients.as_ref().as_ref();
            let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter: &submitter, recipients };
            job::seal(&sender, &events, now).map_err(SubmitError::Seal)
        };
        tokio::task::spawn_blocking(seal).await.unwrap_or(Err(SubmitError::Panicked))
    }

    async fn record(
        &self,
        process: ProcessId,
        slot: Slot,
        bees: Permit,
        leased: Vec<Leased>,
        random: &mut fastrand::Rng,
    ) {
        let poll_after = self.first_poll();
        let submitted = |leased: Leased| (leased.lease, Conclusion::Submitted { process: process.clone(), poll_after });
        let conclusions = leased.into_iter().map(submitted).collect();
        let concluded = conclude::conclude(&self.settler.inbox, conclusions, random).await;
        if !concluded.contains(&Concluded::Done) {
            // The process holds no entries: either their leases have ended, or the inbox takes nothing and they will end.
            return;
        }
        let early = self.settler.in_flight.enter(process.clone(), slot, bees);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        self.settler.metrics.processes_in_flight.set(self.settler.in_flight.len() as f64);
        if let Some(result) = early {
            self.settler.told(Completed { process, result }).await;
        }
    }

    /// The earliest time to ask about a process.
    fn first_poll(&self) -> Duration {
        self.options.status.first
    }
}
