//! Ends entries by the end of the process that holds them.
//!
//! Guarantee: an entry ends only by the result of the process that holds it, which the inbox checks, and only when the ledger
//! knows its event or a bee of this program brought it there. A fault of the inbox or the ledger only delays that: the entries
//! stay with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::doubts::{Doubts, name_of};
use super::in_flight::{InFlight, Say};
use super::process_end::{self, Ended, ProcessEnd, Record, What, Worth};
use super::routing::Routing;
use super::trace::SettledSpans;
use crate::domain::clock::Clock;
use crate::domain::ids::ProcessId;
use crate::domain::outcome::Returned;
use crate::inbox::{Concluded, Inbox, InboxError, SubmittedEntry};
use crate::job::attestation::Rejection;
use crate::job::completion::Completed;
use crate::ledger::witness::{Identity, Testimony};
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Longest wait for the ledger's answer about one process.
const TESTIMONY_MAX: Duration = Duration::from_secs(10);

/// Ends entries by the end of their process. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub(super) inbox: Inbox,
    pub(super) ledger: Identity,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) routing: Routing,
    pub(super) doubts: Doubts,
    pub(super) resubmissions_max: u32,
    /// Whether the ledger failed to answer the last time.
    pub(super) is_silent: Arc<AtomicBool>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) tracer: Tracer,
}

/// Why a process has not ended yet.
#[derive(Debug, thiserror::Error)]
enum NotEnded {
    #[error("the inbox takes no conclusions")]
    Inbox(#[from] InboxError),
    #[error("the ledger does not say what it knows")]
    Ledger(#[source] LedgerError),
}

impl Settler {
    /// A bee in this program has closed a process. It tells so directly, by its own calls of the ledger, so there is no one
    /// else to ask.
    pub(super) async fn told(&self, completed: Completed) {
        if let Some(Completed { process, result }) = self.in_flight.told(completed)
            && self.settle(&process, ProcessEnd::Done(result), "").await
        {
            self.metrics.confirmations.of("told").increment(1);
        }
    }

    /// Returns whether the process has ended. If inbox or ledger refuse now, polling finds it again. `executor` is the one
    /// that had it, according to the server.
    pub(super) async fn settle(&self, process: &ProcessId, process_end: ProcessEnd, executor: &str) -> bool {
        if matches!(process_end, ProcessEnd::Open) {
            return false;
        }
        match self.try_settle(process, &process_end).await {
            Ok(ends) => {
                self.judge(process, &process_end, &ends, executor);
                true
            }
            Err(NotEnded::Inbox(error)) => {
                put_off(process, &error);
                false
            }
            Err(NotEnded::Ledger(error)) => {
                self.metrics.ledger_errors.of(error.kind.as_str()).increment(1);
                if !self.is_silent.swap(true, Ordering::Relaxed) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%process, error, "the ledger does not say which events it knows: entries stay submitted");
                }
                false
            }
        }
    }

    async fn try_settle(&self, process: &ProcessId, end: &ProcessEnd) -> Result<Vec<Ended>, NotEnded> {
        if matches!(end, ProcessEnd::Refused { code, .. } if code == Rejection::OtherLedger.code()) {
            // If the database was made anew, the next job is for the new one.
            let _ = self.testify(&[]).await;
        }
        let entries = self.inbox.entries_of(process.clone()).await?;
        let record = self.record(process_end::claimed(end, &entries)).await.map_err(NotEnded::Ledger)?;
        let now = self.clock.now();
        let ends = |entries| process_end::conclusions(end, &record, entries, self.resubmissions_max, now);
        Ok(self.conclude(process, entries, ends).await?)
    }

    /// What the ledger has recorded of these events.
    async fn record(&self, events: Vec<String>) -> Result<Record, LedgerError> {
        if events.is_empty() {
            return Ok(Record::new());
        }
        let testimony = self.testify(&events).await?;
        if self.is_silent.swap(false, Ordering::Relaxed) {
            tracing::info!("the ledger says again which events it knows");
        }
        Ok(testimony.events.into_iter().map(|recorded| (recorded.id.clone(), recorded)).collect())
    }

    async fn testify(&self, events: &[String]) -> Result<Testimony, LedgerError> {
        let answer = tokio::time::timeout(TESTIMONY_MAX, self.ledger.testify(events)).await;
        answer.unwrap_or_else(|_| {
            let message = format!("no answer within {TESTIMONY_MAX:?}");
            Err(LedgerError::new("state of record", LedgerErrorKind::TimedOut, message))
        })
    }

    /// Judges the bee that had the process, and the colony, by the end of the process.
    fn judge(&self, process: &ProcessId, end: &ProcessEnd, ends: &[Ended], executor: &str) {
        let (entries, name) = (ends.len(), name_of(executor));
        let say = match end {
            ProcessEnd::Done(_) => Say::Good,
            ProcessEnd::Ran(_) => match process_end::worth(ends) {
                Worth::Good => {
                    self.doubts.clear(executor);
                    Say::Good
                }
                Worth::Nothing => Say::Bad(format!("executor {name} brought nothing of a job to the ledger")),
                Worth::Lie => {
                    tracing::error!(
                        %process, executor = name, entries,
                        "a process says that events took effect, but the ledger does not have them: do not trust its \
                         bee or the server; the events are applied directly"
                    );
                    Say::Lie(format!("executor {name} said that events took effect which the ledger does not know"))
                }
            },
            ProcessEnd::Refused { code, .. } => {
                tracing::error!(
                    %process, executor = name, code, entries,
                    "a bee refused a job: check the bee and the keys; the events are applied directly"
                );
                Say::Bad(format!("executor {name} refused a job ({code})"))
            }
            // Until the clocks agree, entries go the direct route.
            ProcessEnd::ClocksDiffer { reason } => {
                tracing::error!(
                    %process, executor = name, reason,
                    "a bee's clock differs from this one's; its entries wait again"
                );
                Say::Bad(format!("the clock of executor {name} differs from the gateway's"))
            }
            ProcessEnd::LeasesLost => {
                tracing::warn!(%process, "no bee finished a process within its lease");
                Say::Nothing
            }
            // Whatever closed it is no bee of ours, and takes jobs from those that are.
            ProcessEnd::Lost { why: Returned::NoResult, detail } => {
                tracing::error!(
                    %process, executor = name, entries, detail,
                    "a process was closed without a result: look at its executor; the events are applied directly"
                );
                Say::Bad(format!("executor {name} closed a job without a result"))
            }
            ProcessEnd::Lost { why, detail } => {
                let reason = why.as_str();
                tracing::warn!(%process, reason, detail, "nothing is known of a process; its entries wait again");
                Say::Nothing
            }
            ProcessEnd::Open => Say::Nothing,
        };
        if matches!(say, Say::Bad(_) | Say::Lie(_)) {
            self.doubts.suspect(executor);
        }
        self.end(process, &say);
    }

    /// Forgets a process that holds no entries any more.
    fn end(&self, process: &ProcessId, say: &Say) {
        self.in_flight.end(process, say);
        self.routing.said(say);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        self.metrics.processes_in_flight.set(self.in_flight.len() as f64);
    }

    /// Takes the entries from a process that no bee finishes. Returns whether it holds none any more.
    pub(super) async fn take_back(&self, process: &ProcessId) -> bool {
        let taken = async {
            let entries = self.inbox.entries_of(process.clone()).await?;
            let end = |entries| process_end::take_back(entries, Returned::TooOld, "the colony took too long");
            self.conclude(process, entries, end).await
        };
        match taken.await {
            Ok(_) => {
                self.end(process, &Say::Bad("no bee brought a job to its end in time".to_owned()));
                true
            }
            Err(error) => {
                put_off(process, &error);
                false
            }
        }
    }

    async fn conclude(
        &self,
        process: &ProcessId,
        entries: Vec<SubmittedEntry>,
        end: impl FnOnce(Vec<SubmittedEntry>) -> Vec<Ended>,
    ) -> Result<Vec<Ended>, InboxError> {
        let spans = SettledSpans::begin(&self.tracer, process, &entries);
        let ends = end(entries);
        // Before they wait again, because a pump may be faster than this.
        for ended in ends.iter().filter(|ended| ended.goes_direct()) {
            self.doubts.send_direct(ended.entry);
        }
        let conclusions = ends.iter().map(|ended| (ended.entry, ended.conclusion.clone())).collect();
        let concluded = self.inbox.conclude_submitted(process.clone(), conclusions).await?;
        let now = self.clock.now();
        let mut returned = false;
        for (Ended { entry, what, received, .. }, concluded) in ends.iter().zip(concluded) {
            match (concluded, what) {
                (Concluded::LeaseLost, _) => {}
                (Concluded::Done, What::Outcome(outcome)) => {
                    self.metrics.outcomes.of(outcome.as_str()).increment(1);
                    spans.ended(*entry, outcome.as_str());
                    Metrics::observe(&self.metrics.settle_seconds, now.since(*received));
                }
                (Concluded::Done, What::Returned(why)) => {
                    self.metrics.returned.of(why.as_str()).increment(1);
                    spans.returned(*entry, why.as_str());
                    returned = true;
                }
            }
        }
        if returned {
            self.inbox.wake();
        }
        Ok(ends)
    }
}

fn put_off(process: &ProcessId, error: &InboxError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(%process, error, "the inbox cannot record results; the process is looked at again");
}
