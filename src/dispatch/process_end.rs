//! What the end of a process means for the entries that it held. Pure: no clock, no calls.
//!
//! Guarantee: nothing that a Colonies server or a bee elsewhere says ends an entry. What ends one is what the ledger has
//! recorded, or what a bee of this program did itself; everything else goes back, most of it to the direct route.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use colonies::client::ClientError;
use colonies::messages::{Process, ProcessState};

use super::conclude;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::{OutcomeName, Returned};
use crate::inbox::{Conclusion, SubmittedEntry};
use crate::job::completion::{self, EventResult, JobResult};
use crate::ledger::Outcome;
use crate::ledger::witness::Recorded;

/// The server's words for a process that lost all its leases.
const LEASES_LOST: &str = "Maximum execution time limit exceeded";

/// Codes of bees whose clock differs too much from the gateway's. They say nothing about the events. A new attestation or
/// the direct route helps.
const CLOCKS_DIFFER: [&str; 2] = ["attestation_too_old", "attestation_from_the_future"];

/// How long an entry waits that came back without a verdict, so that a colony with nonsense answers is not asked in a tight
/// loop.
const PAUSE: Duration = Duration::from_secs(1);

/// Shortest and longest wait of an entry for Stripe, in whole seconds: powers of two.
const STRIPE_WAIT_S: (u64, u64) = (1, 64);

/// The state of a process.
#[derive(Debug)]
pub(super) enum ProcessEnd {
    /// Not finished, or unknown.
    Open,
    /// A bee of this program ran it.
    Done(JobResult),
    /// The server says that a bee ran it.
    Ran(JobResult),
    /// A bee closed it without running it.
    Refused { code: String, reason: String },
    /// A bee closed it without running it, because its clock and that of the attestation differ too much.
    ClocksDiffer { reason: String },
    /// Every bee that took it let its lease expire.
    LeasesLost,
    /// Nothing is known of its events, so the ledger decides.
    Lost { why: Returned, detail: String },
}

impl ProcessEnd {
    /// Reads the answer to a question about a process.
    pub(super) fn of(answer: Result<Process, ClientError>) -> Self {
        let process = match answer {
            Ok(process) => process,
            Err(ClientError::UnknownProcess { message }) => {
                return Self::Lost { why: Returned::UnknownProcess, detail: message };
            }
            // Any other error is about the call and says nothing about the process.
            Err(_) => return Self::Open,
        };
        match process.state {
            ProcessState::Waiting | ProcessState::Running => Self::Open,
            ProcessState::Cancelled => {
                Self::Lost { why: Returned::Cancelled, detail: "the process was cancelled".to_owned() }
            }
            ProcessState::Success => match JobResult::from_output(&process.out) {
                Ok(result) => Self::Ran(result),
                Err(error) => Self::Lost { why: Returned::NoResult, detail: error.to_string() },
            },
            ProcessState::Failed if process.errors.iter().any(|error| error.contains(LEASES_LOST)) => Self::LeasesLost,
            ProcessState::Failed => {
                let (code, reason) = completion::read_failure(&process.errors);
                if CLOCKS_DIFFER.contains(&code.as_str()) {
                    Self::ClocksDiffer { reason }
                } else {
                    Self::Refused { code, reason }
                }
            }
        }
    }
}

/// What becomes of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) entry: EntryId,
    /// When it became durable.
    pub(super) received: Timestamp,
    pub(super) what: What,
    pub(super) conclusion: Conclusion,
}

/// Whether an entry is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Outcome(OutcomeName),
    /// It waits again.
    Returned(Returned),
}

/// What the ledger has recorded of events, by their ids.
pub(super) type Record = HashMap<String, Recorded>;

/// The conclusions about the entries of a process that ended at `now`. `record` only needs the events that [`claimed`]
/// names. `resubmissions_max` bounds how often events are tried again when their process lost its leases.
pub(super) fn conclusions(
    end: &ProcessEnd,
    record: &Record,
    entries: Vec<SubmittedEntry>,
    resubmissions_max: u32,
    now: Timestamp,
) -> Vec<Ended> {
    let (results, unanswered) = match end {
        ProcessEnd::Done(result) | ProcessEnd::Ran(result) => {
            (by_event(&result.events), result.unanswered.iter().map(String::as_str).collect())
        }
        ProcessEnd::Open => return Vec::new(),
        ProcessEnd::Refused { .. }
        | ProcessEnd::ClocksDiffer { .. }
        | ProcessEnd::LeasesLost
        | ProcessEnd::Lost { .. } => (HashMap::new(), HashSet::new()),
    };
    let is_told = |entry: &SubmittedEntry| {
        results.contains_key(entry.event_id.as_str()) || unanswered.contains(entry.event_id.as_str())
    };
    let says_nothing = matches!(end, ProcessEnd::Ran(_)) && !entries.iter().any(is_told);
    let ended = |entry: SubmittedEntry| {
        let result = results.get(entry.event_id.as_str());
        let (what, conclusion) = match (end, result) {
            _ if says_nothing => returned(Returned::NoResult, "the job's result says nothing about its events"),
            (ProcessEnd::Done(_), Some(result)) => by_result(result),
            (ProcessEnd::Ran(_), Some(result)) => by_record(result, record.get(entry.event_id.as_str())),
            (ProcessEnd::Done(_) | ProcessEnd::Ran(_), None) if unanswered.contains(entry.event_id.as_str()) => {
                let wait = stripe_wait(entry.received, now);
                (What::Returned(Returned::Unanswered), conclude::await_stripe(wait))
            }
            (ProcessEnd::Done(_) | ProcessEnd::Ran(_), None) => {
                returned(Returned::Missing, "the job's result says nothing about this event")
            }
            (ProcessEnd::Refused { code, reason }, _) => {
                returned(Returned::Refused, &format!("a bee refused the job: {code}: {reason}"))
            }
            (ProcessEnd::ClocksDiffer { reason }, _) => returned(Returned::ClocksDiffer, reason),
            (ProcessEnd::LeasesLost, _) if entry.attempts < resubmissions_max => {
                alone(Returned::LeasesLost, "no bee finished it within its lease")
            }
            (ProcessEnd::LeasesLost, _) => {
                let times = entry.attempts + 1;
                let reason = format!("no bee finished it within its lease, submitted {times} times");
                returned(Returned::LeasesLost, &reason)
            }
            (ProcessEnd::Lost { why, detail }, _) => returned(*why, detail),
            (ProcessEnd::Open, _) => returned(Returned::Missing, ""),
        };
        Ended { entry: entry.entry, received: entry.received, what, conclusion }
    };
    entries.into_iter().map(ended).collect()
}

/// The events that the ledger must confirm before the process may end their entries.
pub(super) fn claimed(end: &ProcessEnd, entries: &[SubmittedEntry]) -> Vec<String> {
    let ProcessEnd::Ran(result) = end else { return Vec::new() };
    let results = by_event(&result.events);
    let ids = entries.iter().map(|entry| entry.event_id.as_str()).filter(|id| results.contains_key(id));
    ids.map(str::to_owned).collect()
}

/// What a process was worth, judged by its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It claims effects for events that the ledger does not know.
    Lie,
    /// It ended none of the events that it claims to have ended, or claims nothing about any.
    Nothing,
    /// Its claims are true.
    Good,
}

/// Judges a process that ran by the ends of its entries.
pub(super) fn worth(ends: &[Ended]) -> Worth {
    let count = |why: Returned| ends.iter().filter(|ended| ended.what == What::Returned(why)).count();
    if count(Returned::NotRecorded) > 0 {
        Worth::Lie
    } else if !ends.is_empty() && count(Returned::Unproven) + count(Returned::NoResult) == ends.len() {
        Worth::Nothing
    } else {
        Worth::Good
    }
}

impl Ended {
    /// Whether the entry should go the direct route now, because the colony said something unbelievable or has used up its
    /// chances.
    pub(super) fn goes_direct(&self) -> bool {
        match (self.what, &self.conclusion) {
            (
                What::Returned(Returned::Refused | Returned::NotRecorded | Returned::Unproven | Returned::NoResult),
                _,
            )
            | (What::Returned(Returned::LeasesLost), Conclusion::Retry { .. }) => true,
            (What::Returned(_) | What::Outcome(_), _) => false,
        }
    }
}

/// Takes entries back from a process whose end is not waited for any longer.
pub(super) fn take_back(entries: Vec<SubmittedEntry>, why: Returned, reason: &str) -> Vec<Ended> {
    let ended = |entry: SubmittedEntry| Ended {
        entry: entry.entry,
        received: entry.received,
        what: What::Returned(why),
        conclusion: Conclusion::Retry { after: Duration::ZERO, counted: false, reason: reason.to_owned() },
    };
    entries.into_iter().map(ended).collect()
}

/// Results by event id. If a bee contradicts itself, the result that needs a person wins.
fn by_event(events: &[EventResult]) -> HashMap<&str, &EventResult> {
    let needs_person = |result: &EventResult| match result.outcome {
        OutcomeName::Quarantined | OutcomeName::Failed => true,
        OutcomeName::Applied | OutcomeName::Stale | OutcomeName::Duplicate | OutcomeName::Ignored => false,
    };
    let mut results: HashMap<&str, &EventResult> = HashMap::with_capacity(events.len());
    for result in events {
        let known = results.entry(result.event.as_str()).or_insert(result);
        if needs_person(result) {
            *known = result;
        }
    }
    results
}

fn by_result(result: &EventResult) -> (What, Conclusion) {
    at_end(Outcome::from_parts(result.outcome, result.code.clone(), result.reason.clone()))
}

/// A bee's result, as far as the ledger confirms it. If the two differ, the ledger is right.
fn by_record(result: &EventResult, recorded: Option<&Recorded>) -> (What, Conclusion) {
    match (result.outcome, recorded) {
        (OutcomeName::Failed, None) => {
            let code = result.code.as_deref().unwrap_or_default();
            returned(Returned::Unproven, &format!("a bee says that it cannot be applied: {code}"))
        }
        (_, None) => returned(Returned::NotRecorded, "the ledger does not know what a bee says it applied"),
        (OutcomeName::Duplicate, Some(Recorded { outcome: OutcomeName::Applied | OutcomeName::Stale, .. })) => {
            at_end(Outcome::Duplicate)
        }
        (_, Some(recorded)) => {
            at_end(Outcome::from_parts(recorded.outcome, recorded.rule.clone(), recorded.reason.clone()))
        }
    }
}

/// How long an entry received at that time waits for Stripe: about as long as it has waited so far. So a short outage costs
/// a short wait, and a long one few jobs. The wait ends at a multiple of its length, so that entries that have waited
/// equally long are due at the same moment and go into one job.
fn stripe_wait(received: Timestamp, now: Timestamp) -> Duration {
    let (shortest, longest) = STRIPE_WAIT_S;
    let step = now.since(received).as_secs().clamp(shortest, longest).next_power_of_two() * 1000;
    let now = now.millis().unsigned_abs();
    let due = (now + step / 2).next_multiple_of(step);
    Duration::from_millis(due - now)
}

fn at_end(outcome: Outcome) -> (What, Conclusion) {
    (What::Outcome(outcome.name()), conclude::by_outcome(outcome))
}

/// Back to the inbox as if it had never been submitted.
fn returned(why: Returned, reason: &str) -> (What, Conclusion) {
    let retry = Conclusion::Retry { after: PAUSE, counted: false, reason: reason.to_owned() };
    (What::Returned(why), retry)
}

/// Back to the inbox, to be submitted without neighbours, because any of them may be the culprit.
fn alone(why: Returned, reason: &str) -> (What, Conclusion) {
    (What::Returned(why), Conclusion::RetryAlone { after: Duration::ZERO, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests;
