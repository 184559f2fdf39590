//! What waits for a person: dead and quarantined entries, grouped by why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::StateName;
use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::outcome::ProblemCode;

/// Most groups that are listed; entries beyond them are only counted.
pub const GROUPS_MAX: usize = 500;

/// Entries that ended the same way, for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemGroup {
    /// `dead` or `quarantined`.
    pub state: StateName,
    pub code: String,
    pub event_type: String,
    pub count: u64,
    /// When the first of them ended so.
    pub oldest: Timestamp,
    /// When the last of them ended so.
    pub newest: Timestamp,
    /// The last of them.
    pub sample_entry: Option<EntryId>,
    /// The reason of that one.
    pub sample_reason: Option<String>,
    /// What an operator can do about it.
    pub advice: String,
}

/// Everything that waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    /// Entries in all groups.
    pub entries: u64,
    /// The groups, the largest first; at most [`GROUPS_MAX`].
    pub groups: Vec<ProblemGroup>,
}

impl Problems {
    /// Whether no group is left out.
    pub fn are_whole(&self) -> bool {
        self.groups.iter().map(|group| group.count).sum::<u64>() >= self.entries
    }
}

/// How many entries wait for a person, by code and event type.
pub type ProblemCounts = BTreeMap<(String, String), u64>;

/// What an operator can do about entries that ended with a code.
pub fn advice(state: StateName, code: &str) -> &'static str {
    match code.parse().ok() {
        Some(ProblemCode::Malformed) => {
            "the signed content is not a Stripe event: look at one with `inbox show --reveal`, then `inbox drop`; the \
             usual cause is a proxy that changes bodies, or a secret that another sender uses too"
        }
        Some(ProblemCode::Misrouted) => {
            "the endpoint is set up for the other payload style: correct it in Stripe or in the configuration, then \
             `inbox release` what should be applied"
        }
        Some(ProblemCode::ModeMismatch) => {
            "test events came to a live endpoint or the other way round: correct the endpoint, then `inbox drop` the \
             test events, or `inbox release` what should be applied"
        }
        Some(ProblemCode::AccountMismatch) => {
            "the events are of an account that the endpoint does not expect: correct the endpoint, then `inbox release`"
        }
        Some(ProblemCode::ObjectUnknown) => {
            "Stripe does not have the object, or no key may be asked for it: the reason says which; mend the key, then \
             `inbox replay`, or `inbox drop` what Stripe does not have"
        }
        Some(ProblemCode::ProjectionFailed | ProblemCode::PipelinePanicked) => {
            "the gateway has a bug: report it with the event's type and API version; `inbox replay` after an upgrade"
        }
        Some(ProblemCode::LedgerRejected) => {
            "the database refuses the rows: remove the constraint or trigger that the reason names, then `inbox replay`"
        }
        Some(ProblemCode::LedgerUnknown) => {
            "the database refuses only this event, with an error that the gateway does not know: read the database's \
             log, then `inbox replay`"
        }
        Some(ProblemCode::AttemptsExhausted) => {
            "every attempt failed: read the reason, remove the cause, then `inbox replay`"
        }
        Some(ProblemCode::CrashLoop) => {
            "the gateway died each time it worked on the event: check whether it ran out of memory; `inbox replay` \
             after an upgrade"
        }
        None if state == StateName::Quarantined => {
            "a rule of the Guardian holds it, so it gives no access; `inbox release` if it is genuine, `inbox drop` if \
             not, `inbox replay` after you changed the rules"
        }
        None => "read the reason, remove the cause, then `inbox replay`; `inbox drop` if it should never be applied",
    }
}

impl Inbox {
    /// Everything that waits for a person, with a sample of each kind.
    pub async fn problems(&self) -> Result<Problems, InboxError> {
        match &self.store {
            Store::Local(local) => local.problems().await,
            Store::Postgres(postgres) => postgres.core.problems().await,
        }
    }

    /// How many entries wait for a person, by code and event type. Reads only an index.
    pub async fn problem_counts(&self) -> Result<ProblemCounts, InboxError> {
        match &self.store {
            Store::Local(local) => local.problem_counts().await,
            Store::Postgres(postgres) => postgres.core.problem_counts().await,
        }
    }
}
