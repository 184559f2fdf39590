//! Ends entries by the end of the process that holds them.
//!
//! Guarantee: an entry ends only by the result of the process that holds it, which the inbox checks; an inbox that fails
//! meanwhile only delays that.

use std::sync::Arc;

use super::in_flight::{InFlight, Say};
use super::process_end::{self, Ended, ProcessEnd, What};
use super::trace::SettledSpans;
use crate::domain::clock::Clock;
use crate::domain::ids::ProcessId;
use crate::inbox::{Concluded, Inbox, InboxError, SubmittedEntry};
use crate::job::completion::Completed;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Ends entries by the end of their process. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Settler {
    pub(super) inbox: Inbox,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) resubmissions_max: u32,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) tracer: Tracer,
}

impl Settler {
    /// A bee in this program has closed a process.
    pub(super) async fn told(&self, completed: Completed) {
        if let Some(Completed { process, result }) = self.in_flight.told(completed)
            && self.settle(&process, ProcessEnd::Ran(result)).await
        {
            self.metrics.confirmations.of("told").increment(1);
        }
    }

    /// True when the process is at its end. What the inbox refuses now is found again by polling.
    pub(super) async fn settle(&self, process: &ProcessId, process_end: ProcessEnd) -> bool {
        let say = match &process_end {
            ProcessEnd::Open => return false,
            ProcessEnd::Ran(_) | ProcessEnd::Failed { .. } => Say::Good,
            // Until the clocks are right, entries go the direct route.
            ProcessEnd::ClocksDiffer { .. } => Say::Bad,
            ProcessEnd::LeasesLost | ProcessEnd::Lost { .. } => Say::Nothing,
        };
        match &process_end {
            ProcessEnd::Failed { code, .. } => {
                tracing::error!(%process, code, "a bee refused a job");
            }
            ProcessEnd::ClocksDiffer { reason } => {
                tracing::error!(%process, reason, "a bee's clock differs from this one's; its entries wait again");
            }
            ProcessEnd::Lost { why, detail } => {
                let reason = why.as_str();
                tracing::warn!(%process, reason, detail, "nothing is known of a process; its entries wait again");
            }
            ProcessEnd::LeasesLost => tracing::warn!(%process, "no bee finished a process within its lease"),
            ProcessEnd::Open | ProcessEnd::Ran(_) => {}
        }
        let end = |entries| process_end::conclusions(&process_end, entries, self.resubmissions_max);
        self.end(process, say, end).await
    }

    pub(super) async fn end(
        &self,
        process: &ProcessId,
        say: Say,
        end: impl FnOnce(Vec<SubmittedEntry>) -> Vec<Ended>,
    ) -> bool {
        match self.try_end(process, end).await {
            Ok(()) => {
                self.in_flight.end(process, say);
                #[expect(clippy::cast_precision_loss, reason = "a small number")]
                self.metrics.processes_in_flight.set(self.in_flight.len() as f64);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%process, error, "inbox takes no conclusions; the process is looked at again");
                false
            }
        }
    }

    async fn try_end(
        &self,
        process: &ProcessId,
        end: impl FnOnce(Vec<SubmittedEntry>) -> Vec<Ended>,
    ) -> Result<(), InboxError> {
        let entries = self.inbox.entries_of(process.clone()).await?;
        let spans = SettledSpans::begin(&self.tracer, process, &entries);
        let mut told = Vec::with_capacity(entries.len());
        let mut conclusions = Vec::with_capacity(entries.len());
        for ended in end(entries) {
            told.push((ended.entry, ended.what, ended.received));
            conclusions.push((ended.entry, ended.conclusion));
        }
        let concluded = self.inbox.conclude_submitted(process.clone(), conclusions).await?;
        let now = self.clock.now();
        let mut returned = false;
        for ((entry, what, received), concluded) in told.into_iter().zip(concluded) {
            match (concluded, what) {
                (Concluded::LeaseLost, _) => {}
                (Concluded::Done, What::Outcome(outcome)) => {
                    self.metrics.outcomes.of(outcome.as_str()).increment(1);
                    spans.ended(entry, outcome.as_str());
                    Metrics::observe(&self.metrics.settle_seconds, now.since(received));
                }
                (Concluded::Done, What::Returned(why)) => {
                    self.metrics.returned.of(why.as_str()).increment(1);
                    spans.returned(entry, why.as_str());
                    returned = true;
                }
            }
        }
        if returned {
            self.inbox.wake();
        }
        Ok(())
    }
}
