//! What a message can be about.

use serde::{Deserialize, Serialize};

/// Kinds of matters. The names are part of the signed JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatterKind {
    /// Entries of one code and event type wait for a person.
    Problem,
    /// Subscriptions entitle but give no user access, or the public tables do not show it.
    Access,
    /// A part of the gateway has trouble: the ledger, the colony (including its breakers), the comparison with Stripe.
    Component,
    /// Entries wait for longer than they should.
    Backlog,
    /// Stripe sent nothing for longer than it should.
    NoWebhook,
    /// A comparison with Stripe found events that never arrived.
    MissedEvents,
    /// A key should be rotated.
    KeyDue,
}

impl MatterKind {
    /// The console's page about it.
    pub const fn page(self) -> &'static str {
        match self {
            Self::Problem | Self::Access => "/console/problems",
            Self::Component | Self::NoWebhook => "/console",
            Self::Backlog => "/console/entries?state=waiting,leased,submitted",
            Self::MissedEvents => "/console/reconcile",
            Self::KeyDue => "/console/keys",
        }
    }

    /// The name in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Access => "access",
            Self::Component => "component",
            Self::Backlog => "backlog",
            Self::NoWebhook => "no_webhook",
            Self::MissedEvents => "missed_events",
            Self::KeyDue => "key_due",
        }
    }

    /// Whether it lasts until it is over. Other matters happened once and are reported at once.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Problem | Self::Access | Self::Component | Self::Backlog | Self::NoWebhook | Self::KeyDue => true,
            Self::MissedEvents => false,
        }
    }
}

/// One matter. Of two equal ones only one is reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Matter {
    pub kind: MatterKind,
    /// Which of its kind.
    pub key: String,
}

impl Matter {
    pub fn new(kind: MatterKind, key: impl Into<String>) -> Self {
        Self { kind, key: key.into() }
    }
}

/// The present state of a matter, for people; without secrets and customers' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// A short title.
    pub title: String,
    /// What it is and what it means.
    pub detail: String,
    /// What the reader should do.
    pub action: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json() {
        use MatterKind::{Access, Backlog, Component, KeyDue, MissedEvents, NoWebhook, Problem};
        for kind in [Problem, Access, Component, Backlog, NoWebhook, MissedEvents, KeyDue] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
