//! What the end of a process means for the entries that it held. Pure: no clock, no calls.

use std::collections::HashMap;
use std::time::Duration;

use colonies::client::ClientError;
use colonies::messages::{Process, ProcessState};

use super::conclude;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::{OutcomeName, ProblemCode, Returned};
use crate::inbox::{Conclusion, SubmittedEntry};
use crate::job::completion::{self, EventResult, JobResult};
use crate::ledger::Outcome;

/// What the server says about a process whose leases were all lost.
const LEASES_LOST: &str = "Maximum execution time limit exceeded";

/// Codes of bees whose clock does not fit the gateway's. They say nothing about the events, and a new attestation or the
/// direct route mends it.
const CLOCKS_DIFFER: [&str; 2] = ["attestation_too_old", "attestation_from_the_future"];

/// An entry that came back without a verdict waits this long, so that a colony that answers nonsense is not asked in a
/// tight loop.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a process stands.
#[derive(Debug)]
pub(super) enum ProcessEnd {
    /// Not at its end, or nobody could say.
    Open,
    /// A bee ran it.
    Ran(JobResult),
    /// A bee ended it for good, unrun.
    Failed { code: String, reason: String },
    /// A bee ended it unrun, because its clock and that of the attestation are too far apart.
    ClocksDiffer { reason: String },
    /// Every bee that took it let its lease end.
    LeasesLost,
    /// Nothing is known of its events; the ledger decides about them.
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
            // Any other error says something about the call and nothing about the process.
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
                    Self::Failed { code, reason }
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

/// The conclusions about the entries of a process. `resubmissions_max` bounds how often the events of a process that
/// failed as a whole are tried again.
pub(super) fn conclusions(end: &ProcessEnd, entries: Vec<SubmittedEntry>, resubmissions_max: u32) -> Vec<Ended> {
    let results = match end {
        ProcessEnd::Ran(result) => by_event(&result.events),
        ProcessEnd::Open => return Vec::new(),
        ProcessEnd::Failed { .. }
        | ProcessEnd::ClocksDiffer { .. }
        | ProcessEnd::LeasesLost
        | ProcessEnd::Lost { .. } => HashMap::new(),
    };
    let is_batch = entries.len() > 1;
    let ended = |entry: SubmittedEntry| {
        let (what, conclusion) = match end {
            ProcessEnd::Ran(_) => match results.get(entry.event_id.as_str()) {
                Some(result) => by_result(result),
                None => returned(Returned::Missing, "the job's result says nothing about this event"),
            },
            ProcessEnd::Failed { reason, .. } if is_batch => alone(Returned::BatchFailed, reason),
            ProcessEnd::Failed { code, reason } => dead(code, reason),
            ProcessEnd::ClocksDiffer { reason } => returned(Returned::ClocksDiffer, reason),
            ProcessEnd::LeasesLost if entry.attempts < resubmissions_max => {
                alone(Returned::LeasesLost, "no bee finished it within its lease")
            }
            ProcessEnd::LeasesLost => {
                let reason = format!("no bee finished it within its lease, submitted {} times", entry.attempts + 1);
                dead(ProblemCode::LeasesLost.as_str(), &reason)
            }
            ProcessEnd::Lost { why, detail } => returned(*why, detail),
            ProcessEnd::Open => returned(Returned::Missing, ""),
        };
        Ended { entry: entry.entry, received: entry.received, what, conclusion }
    };
    entries.into_iter().map(ended).collect()
}

/// Takes entries back from a process that nobody brought to its end in time.
pub(super) fn take_back(entries: Vec<SubmittedEntry>) -> Vec<Ended> {
    let ended = |entry: SubmittedEntry| Ended {
        entry: entry.entry,
        received: entry.received,
        what: What::Returned(Returned::TooOld),
        conclusion: Conclusion::Retry {
            after: Duration::ZERO,
            counted: false,
            reason: "the colony took too long".to_owned(),
        },
    };
    entries.into_iter().map(ended).collect()
}

/// Results by event id. Where a bee contradicts itself, what needs a person wins.
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

fn dead(code: &str, reason: &str) -> (What, Conclusion) {
    at_end(Outcome::Failed { code: code.to_owned(), reason: reason.to_owned() })
}

fn at_end(outcome: Outcome) -> (What, Conclusion) {
    (What::Outcome(outcome.name()), conclude::by_outcome(outcome))
}

/// Back to the inbox as if it had never been submitted.
fn returned(why: Returned, reason: &str) -> (What, Conclusion) {
    let retry = Conclusion::Retry { after: PAUSE, counted: false, reason: reason.to_owned() };
    (What::Returned(why), retry)
}

/// Back to the inbox, to be submitted without neighbours: any of them may be the culprit.
fn alone(why: Returned, reason: &str) -> (What, Conclusion) {
    (What::Returned(why), Conclusion::RetryAlone { after: Duration::ZERO, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests;
