//! What the pipeline decided about one event: the only thing a ledger accepts.

use serde::Serialize;

use super::rows::EventFacts;

/// The decision about one event.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Trusted: write these rows.
    Apply(Box<Plan>),
    /// Trusted, but the gateway maps nothing from this type: record it.
    Ignore(EventFacts),
    /// A rule wants a person to look first: record the decision, write nothing.
    Quarantine {
        /// The event.
        event: EventFacts,
        /// Identifier of the rule.
        rule: &'static str,
        /// What the rule found, without customer data.
        reason: String,
    },
    /// Not an event at all; no retry can mend it.
    Reject {
        /// Stable code.
        code: &'static str,
        /// Why, without customer data.
        reason: String,
    },
}

/// The rows that one event writes.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The event.
    pub event: EventFacts,
}
