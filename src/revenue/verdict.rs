//! What the pipeline decided about one event: the only thing a ledger accepts.

use serde::Serialize;

use super::rows::{
    BindingRow, ClaimRow, CustomerRow, Decision, EventFacts, Finding, PaymentLink, RevenueRow, SubscriptionRow,
};

/// The decision about one event. Serialises with its name under `verdict`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Genuine: write these rows. If a rule holds the event ([`Plan::suspicion`]), they grant nothing until a person
    /// releases it.
    Apply(Box<Plan>),
    /// Trusted, but the gateway maps nothing from this type: record it.
    Ignore {
        event: EventFacts,
        /// Decisions of Guardian rules that did not hold it back.
        decisions: Vec<Decision>,
        /// Whether a person released or replayed the event. Then it is recorded even if it was recorded as quarantined.
        reopen: bool,
    },
    /// Not an event of ours, or one that cannot be understood: record the decisions, write nothing else.
    Quarantine {
        event: EventFacts,
        /// Identifier of the rule that decided.
        rule: String,
        /// What the rule found, without customer data.
        reason: String,
        /// All decisions of Guardian rules, including the deciding one.
        decisions: Vec<Decision>,
    },
    /// A person decided that the event is never applied: record that, unless it was applied before. From then on the event is
    /// a duplicate on every route, until a person replays or releases it.
    Drop {
        /// What the inbox knows of the event, without its payload.
        event: EventFacts,
        /// Who dropped it, when and why.
        reason: String,
    },
    /// Not an event at all, so no retry can mend it. It has no id to record it under.
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

    /// The rule that holds the event, and what it found.
    pub fn held_by(&self) -> Option<(&str, &str)> {
        match self {
            Self::Apply(plan) => plan.suspicion.as_ref().map(|held| (held.rule.as_str(), held.reason.as_str())),
            Self::Quarantine { rule, reason, .. } => Some((rule, reason)),
            Self::Ignore { .. } | Self::Drop { .. } | Self::Reject { .. } => None,
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
    pub event: EventFacts,
    /// The rule that holds the event. Facts are written in any case, and a store answers `Quarantined`. Nothing in the plan
    /// gives any user access.
    pub suspicion: Option<Suspicion>,
    /// Whether a person released the event from quarantine. Then it is applied even if it was recorded as quarantined.
    pub released: bool,
    /// Whether a person asked for the event again. Then it is judged again if it was recorded as quarantined. If it was
    /// applied before, its rows are merged again by their version, so that rows that the store lost are written again.
    pub replayed: bool,
    /// Subscriptions, at most a few.
    pub subscriptions: Vec<SubscriptionRow>,
    pub customers: Vec<CustomerRow>,
    /// What the event says about users; nothing while a rule holds it.
    pub claims: Vec<ClaimRow>,
    /// What the event tells of subscriptions other than its object.
    pub bindings: Vec<BindingRow>,
    pub revenue: Vec<RevenueRow>,
    /// Which payments paid which invoices.
    pub links: Vec<PaymentLink>,
    /// Contradictions and doubts.
    pub findings: Vec<Finding>,
    /// What Guardian rules decided.
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
