//! What the pipeline decided about one event: the only thing a ledger accepts.

use serde::Serialize;

use super::rows::{
    BindingRow, ClaimRow, CustomerRow, Decision, EventFacts, Finding, PaymentLink, RevenueRow, SubscriptionRow,
};

/// The decision about one event. Serialises with its name under `verdict`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Genuine: write these rows. Where a rule holds the event ([`Plan::suspicion`]) they grant nothing until a person
    /// releases it.
    Apply(Box<Plan>),
    /// Trusted, but the gateway maps nothing from this type: record it.
    Ignore {
        /// The event.
        event: EventFacts,
        /// What Guardian rules said that did not hold it back.
        decisions: Vec<Decision>,
        /// A person has released or replayed the event: record this also if it was recorded as quarantined.
        reopen: bool,
    },
    /// Not an event of ours, or one that cannot be understood: record the decisions, write nothing else.
    Quarantine {
        /// The event.
        event: EventFacts,
        /// Identifier of the rule that decided.
        rule: String,
        /// What the rule found, without customer data.
        reason: String,
        /// All that Guardian rules said, the deciding one included.
        decisions: Vec<Decision>,
    },
    /// A person decided that the event is never applied: record that, unless it was applied before. From then on the event is
    /// a duplicate on every route, until a person replays or releases it.
    Drop {
        /// What the inbox knows of the event; its payload is not among it.
        event: EventFacts,
        /// Who dropped it, when and why.
        reason: String,
    },
    /// Not an event at all; no retry can mend it. There is nothing to record it under.
    Reject {
        /// Stable code.
        code: &'static str,
        /// Why, without customer data.
        reason: String,
    },
}

impl Verdict {
    /// Whether a person asks for an event that was recorded as quarantined.
    pub fn reopens(&self) -> bool {
        match self {
            Self::Apply(plan) => plan.released || plan.replayed,
            Self::Ignore { reopen, .. } => *reopen,
            Self::Quarantine { .. } | Self::Drop { .. } | Self::Reject { .. } => false,
        }
    }

    /// The event, unless there is none.
    pub fn event(&self) -> Option<&EventFacts> {
        match self {
            Self::Apply(plan) => Some(&plan.event),
            Self::Ignore { event, .. } | Self::Quarantine { event, .. } | Self::Drop { event, .. } => Some(event),
            Self::Reject { .. } => None,
        }
    }
}

/// Why an event gives nothing until a person releases it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// Identifier of the rule.
    pub rule: String,
    /// What the rule found, without customer data.
    pub reason: String,
}

/// The rows that one event writes. Within one plan no two rows of a list share a key.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The event.
    pub event: EventFacts,
    /// The rule that holds the event. Facts are written all the same and a store answers `Quarantined`; nothing that the
    /// plan says gives access to any user.
    pub suspicion: Option<Suspicion>,
    /// A person has released the event from quarantine: apply it also if it was recorded as quarantined.
    pub released: bool,
    /// A person has asked for the event again: judge it anew if it was recorded as quarantined, and merge its rows again
    /// by their version if it was applied before, so that what the store lost is written again.
    pub replayed: bool,
    /// Subscriptions, at most a few.
    pub subscriptions: Vec<SubscriptionRow>,
    /// Customers.
    pub customers: Vec<CustomerRow>,
    /// What the event says about users; nothing while a rule holds it.
    pub claims: Vec<ClaimRow>,
    /// What the event tells of subscriptions that are not its object.
    pub bindings: Vec<BindingRow>,
    /// Money.
    pub revenue: Vec<RevenueRow>,
    /// Which payments paid which invoices.
    pub links: Vec<PaymentLink>,
    /// What does not add up.
    pub findings: Vec<Finding>,
    /// What Guardian rules said.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// A plan that only records the event.
    pub fn new(event: EventFacts) -> Self {
        Self {
            event,
            suspicion: None,
            released: false,
            replayed: false,
            subscriptions: Vec::new(),
            customers: Vec::new(),
            claims: Vec::new(),
            bindings: Vec::new(),
            revenue: Vec::new(),
            links: Vec::new(),
            findings: Vec::new(),
            decisions: Vec::new(),
        }
    }
}
