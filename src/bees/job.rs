//! What the bees do with a process that they were assigned: each function that they answer to, and all others.
//!
//! Pure of the colony: the caller opens leases and closes processes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use colonies::messages::Process;
use serde_json::Value;

use super::trace::{JobSpan, UNDECIDED};
use super::work::{OutOfTime, Work};
use crate::domain::clock::Clock;
use crate::domain::ledger_id::LedgerId;
use crate::job::attestation::{Rejection, Verifier};
use crate::job::completion::{EventResult, JobResult};
use crate::job::keys::opening::Openers;
use crate::job::{self, JobRejection, Opened, Reader};
use crate::ledger::report::Reports;
use crate::ledger::witness::Identity;
use crate::pipeline::{self, End, Judged};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// The function that answers with the state of record at a glance, if it is offered.
pub const SUMMARY_FUNCTION: &str = "revenue_summary";

/// Days that the summary goes back.
const SUMMARY_DAYS: u32 = 30;

/// How the work on a process ended.
#[derive(Debug)]
pub(super) enum Finished {
    /// Every event has an outcome, or is left to the gateway.
    Worked(JobResult),
    /// An answer for the asking member.
    Answered(Vec<Value>),
    /// It was not attested by a trusted gateway.
    Rejected(JobRejection),
    /// Time ran out: another bee should try.
    OutOfTime(OutOfTime),
    /// The bee could not answer the question.
    Unanswerable(&'static str),
}

/// What the bees of a pool share for their work.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) colony: Arc<str>,
    pub(super) verifier: Arc<Verifier>,
    pub(super) openers: Arc<Openers>,
    /// Which ledger the events of jobs go to.
    pub(super) ledger: Identity,
    pub(super) work: Work,
    /// Where summaries come from; without it, none are offered.
    pub(super) reports: Option<Arc<dyn Reports>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) tracer: Tracer,
}

impl Bench {
    /// The functions that the bees answer to.
    pub(super) fn functions(&self) -> Vec<&'static str> {
        let summary = self.reports.as_ref().map(|_| SUMMARY_FUNCTION);
        std::iter::once(job::FUNCTION).chain(summary).collect()
    }

    /// Works on a process until it is done or `deadline` has come.
    pub(super) async fn run(&self, process: &Process, deadline: Instant) -> Finished {
        if process.spec.funcname == SUMMARY_FUNCTION
            && let Some(reports) = &self.reports
        {
            return self.summary(&**reports, deadline).await;
        }
        let since = self.tracer.moment();
        // The bee learned this before its first poll, so it asks no server.
        let ledger = match self.ledger.get().await {
            Ok(ledger) => ledger,
            Err(error) => return Finished::OutOfTime(OutOfTime { last: Some(error) }),
        };
        let (opened, ledger) = match self.open(process, ledger, deadline).await {
            Ok(opened) => opened,
            Err(rejection) => return Finished::Rejected(rejection),
        };
        let events: Vec<Bytes> =
            opened.events.iter().map(|event| Bytes::copy_from_slice(event.get().as_bytes())).collect();
        self.metrics.use_key("attestation", &opened.attested.kid, self.clock.now());
        drop(opened);
        if events.is_empty() {
            return self.rehearse(deadline).await;
        }
        let mut span = JobSpan::begin(&self.tracer, since, process, events.len());
        match self.work.run(&events, ledger.clone(), deadline, &span.place()).await {
            Ok(judged) => {
                span.outcomes(&judged);
                Finished::Worked(self.result(&events, judged))
            }
            Err(out_of_time) => {
                span.out_of_time();
                if out_of_time.is_elsewhere() && self.is_replaced(&ledger, deadline).await {
                    return Finished::Rejected(JobRejection::Attestation(Rejection::OtherLedger));
                }
                Finished::OutOfTime(out_of_time)
            }
        }
    }

    /// Verifies a job and opens it, and tells which ledger it is for, which is the bee's own. If it is for another one than
    /// was known, this asks which one it is now: a database may have been made anew under its name, and then all jobs to come
    /// are for the new one.
    async fn open(
        &self,
        process: &Process,
        ledger: LedgerId,
        deadline: Instant,
    ) -> Result<(Opened, LedgerId), JobRejection> {
        let open = |ledger: &LedgerId| {
            let (verifier, openers) = (&*self.verifier, &*self.openers);
            job::open(process, &Reader { colony: &self.colony, ledger, verifier, openers }, self.clock.now())
        };
        let rejection = match open(&ledger) {
            Err(rejection @ JobRejection::Attestation(Rejection::OtherLedger)) => rejection,
            result => return result.map(|opened| (opened, ledger)),
        };
        match self.ledger_now(deadline).await {
            Some(now) if now != ledger => open(&now).map(|opened| (opened, now)),
            _ => Err(rejection),
        }
    }

    /// Asks which ledger the database is now; `None` without an answer in time.
    async fn ledger_now(&self, deadline: Instant) -> Option<LedgerId> {
        let left = deadline.saturating_duration_since(self.clock.instant());
        let answer = tokio::time::timeout(left, self.ledger.testify(&[])).await;
        answer.ok()?.ok().map(|testimony| testimony.ledger)
    }

    /// Whether the database is now another ledger than this one.
    async fn is_replaced(&self, ledger: &LedgerId, deadline: Instant) -> bool {
        self.ledger_now(deadline).await.is_some_and(|now| now != *ledger)
    }

    /// A job without events checks that everything is there that a job needs.
    async fn rehearse(&self, deadline: Instant) -> Finished {
        let left = deadline.saturating_duration_since(self.clock.instant());
        match tokio::time::timeout(left, self.ledger.testify(&[])).await {
            Ok(Ok(_)) => Finished::Answered(JobResult::default().to_output()),
            Ok(Err(error)) => Finished::OutOfTime(OutOfTime { last: Some(error) }),
            Err(_) => Finished::OutOfTime(OutOfTime { last: None }),
        }
    }

    async fn summary(&self, reports: &dyn Reports, deadline: Instant) -> Finished {
        let left = deadline.saturating_duration_since(self.clock.instant());
        match tokio::time::timeout(left, reports.summary(SUMMARY_DAYS)).await {
            Ok(Ok(summary)) => match serde_json::to_value(summary) {
                Ok(summary) => Finished::Answered(vec![summary]),
                Err(_) => Finished::Unanswerable("the summary cannot be written"),
            },
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the ledger gives no summary");
                Finished::Unanswerable("the ledger gives no summary now; ask again later")
            }
            Err(_) => Finished::Unanswerable("the ledger gave no summary in time; ask again later"),
        }
    }

    fn result(&self, events: &[Bytes], judged: Vec<Option<Judged>>) -> JobResult {
        let (mut results, mut unanswered) = (Vec::with_capacity(events.len()), Vec::new());
        for (body, judged) in events.iter().zip(judged) {
            let name = judged.as_ref().and_then(|judged| judged.end.name()).unwrap_or(UNDECIDED);
            self.metrics.bee_events.of(name).increment(1);
            let Some(Judged { event, end }) = judged else { continue };
            let event = event.map_or_else(|| pipeline::event_id(body), |id| id.as_str().to_owned());
            match end {
                End::Outcome(outcome) => {
                    let (outcome, code, reason) = outcome.into_parts();
                    results.push(EventResult { event, outcome, code, reason });
                }
                // The event is left to the gateway, which sends it again.
                End::Unanswered { .. } => unanswered.push(event),
            }
        }
        JobResult::new(results).with_unanswered(unanswered)
    }
}
