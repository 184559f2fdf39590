//! What the end of a process means for the entries that it held. Pure: no clock, no calls.

use std::collections::HashMap;
use std::time::Duration;

use crate::colony::client::ClientError;
use crate::colony::completion::{self, EventOutcome, EventResult, JobResult};
use crate::colony::messages::{Process, ProcessState};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::{Conclusion, SubmittedEntry};

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
pub(super) enum Fate {
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
    /// Nothing is known of its events, for a reason that metrics know; the ledger decides about them.
    Lost { reason: &'static str, detail: String },
}

impl Fate {
    /// Reads the answer to a question about a process.
    pub(super) fn of(answer: Result<Process, ClientError>) -> Self {
        let process = match answer {
            Ok(process) => process,
            Err(ClientError::UnknownProcess { message }) => {
                return Self::Lost { reason: "unknown_process", detail: message };
            }
            // Any other error says something about the call and nothing about the process.
            Err(_) => return Self::Open,
        };
        match process.state {
            ProcessState::Waiting | ProcessState::Running => Self::Open,
            ProcessState::Cancelled => {
                Self::Lost { reason: "cancelled", detail: "the process was cancelled".to_owned() }
            }
            ProcessState::Success => match JobResult::from_output(&process.out) {
                Ok(result) => Self::Ran(result),
                Err(error) => Self::Lost { reason: "no_result", detail: error.to_string() },
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
    /// Its outcome, or why it came back, by the names in the metrics.
    pub(super) what: What,
    pub(super) conclusion: Conclusion,
}

/// By which metric an entry is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// At its end, with this outcome.
    Outcome(&'static str),
    /// Waits again, for this reason.
    Returned(&'static str),
}

/// The conclusions about the entries of a process. `resubmissions_max` bounds how often the events of a process that
/// failed as a whole are tried again.
pub(super) fn conclude(
    fate: &Fate,
    entries: Vec<SubmittedEntry>,
    now: Timestamp,
    resubmissions_max: u32,
) -> Vec<Ended> {
    let results = match fate {
        Fate::Ran(result) => by_event(&result.events),
        Fate::Open => return Vec::new(),
        Fate::Failed { .. } | Fate::ClocksDiffer { .. } | Fate::LeasesLost | Fate::Lost { .. } => HashMap::new(),
    };
    let is_batch = entries.len() > 1;
    let ended = |entry: SubmittedEntry| {
        let (what, conclusion) = match fate {
            Fate::Ran(_) => match results.get(entry.event_id.as_str()) {
                Some(result) => by_result(result),
                None => returned("missing", "the job's result says nothing about this event", now),
            },
            Fate::Failed { reason, .. } if is_batch => alone("batch_failed", reason, now),
            Fate::Failed { code, reason } => dead(code.clone(), reason.clone()),
            Fate::ClocksDiffer { reason } => returned("clocks_differ", reason, now),
            Fate::LeasesLost if entry.attempts < resubmissions_max => {
                alone("leases_lost", "no bee finished it within its lease", now)
            }
            Fate::LeasesLost => {
                let reason = format!("no bee finished it within its lease, submitted {} times", entry.attempts + 1);
                dead("leases_lost".to_owned(), reason)
            }
            Fate::Lost { reason, detail } => returned(reason, detail, now),
            Fate::Open => returned("missing", "", now),
        };
        Ended { entry: entry.entry, received: entry.received, what, conclusion }
    };
    entries.into_iter().map(ended).collect()
}

/// Takes entries back from a process that nobody brought to its end in time.
pub(super) fn take_back(entries: Vec<SubmittedEntry>, now: Timestamp) -> Vec<Ended> {
    let ended = |entry: SubmittedEntry| Ended {
        entry: entry.entry,
        received: entry.received,
        what: What::Returned("too_old"),
        conclusion: Conclusion::Retry { due: now, counted: false, reason: "the colony took too long".to_owned() },
    };
    entries.into_iter().map(ended).collect()
}

/// Results by event id. Where a bee contradicts itself, what needs a person wins.
fn by_event(events: &[EventResult]) -> HashMap<&str, &EventResult> {
    let needs_person = |result: &EventResult| match result.outcome {
        EventOutcome::Quarantined | EventOutcome::Failed => true,
        EventOutcome::Applied | EventOutcome::Stale | EventOutcome::Duplicate | EventOutcome::Ignored => false,
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
    let reason = result.reason.clone().unwrap_or_default();
    let settle = |outcome| (What::Outcome(outcome), Conclusion::Settle { outcome });
    match result.outcome {
        EventOutcome::Applied => settle("applied"),
        EventOutcome::Stale => settle("stale"),
        EventOutcome::Duplicate => settle("duplicate"),
        EventOutcome::Ignored => settle("ignored"),
        EventOutcome::Quarantined => {
            let code = result.code.clone().unwrap_or_else(|| "quarantined".to_owned());
            (What::Outcome("quarantined"), Conclusion::Quarantine { code, reason })
        }
        EventOutcome::Failed => dead(result.code.clone().unwrap_or_else(|| "failed".to_owned()), reason),
    }
}

fn dead(code: String, reason: String) -> (What, Conclusion) {
    (What::Outcome("failed"), Conclusion::Dead { code, reason })
}

/// Back to the inbox as if it had never been submitted.
fn returned(what: &'static str, reason: &str, now: Timestamp) -> (What, Conclusion) {
    let retry = Conclusion::Retry { due: now.plus(PAUSE), counted: false, reason: reason.to_owned() };
    (What::Returned(what), retry)
}

/// Back to the inbox, to be submitted without neighbours: any of them may be the culprit.
fn alone(what: &'static str, reason: &str, now: Timestamp) -> (What, Conclusion) {
    (What::Returned(what), Conclusion::RetryAlone { due: now, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests;
