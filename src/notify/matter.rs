//! What a message can be about.

use serde::{Deserialize, Serialize};

/// Kinds of matters. The names are part of the signed JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatterKind {
    /// Entries of one code and event type wait for a person.
    Problem,
    /// Subscriptions entitle and give no user access, or the public tables do not show it.
    Access,
    /// A part of the gateway is not well: the ledger, the colony (its breakers among it), the comparison with Stripe.
    Component,
    /// Entries wait for longer than they should.
    Backlog,
    /// Nothing came from Stripe for longer than it should.
    NoWebhook,
    /// A comparison with Stripe found events that never arrived.
    MissedEvents,
    /// A key is due to be rotated.
    KeyDue,
}

impl MatterKind {
    /// The page of the console that shows it.
    pub const fn page(self) -> &'static str {
        match self {
            Self::Problem | Self::Access => "/console/problems",
            Self::Component | Self::NoWebhook => "/console",
            Self::Backlog => "/console/entries?state=waiting,leased,submitted",
            Self::MissedEvents => "/console/reconcile",
            Self::KeyDue => "/console/keys",
        }
    }

    /// Whether it lasts until it is over. What does not last happened once and is told at once.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Problem | Self::Access | Self::Component | Self::Backlog | Self::NoWebhook | Self::KeyDue => true,
            Self::MissedEvents => false,
        }
    }
}

/// One matter: of two that are equal only one is told.
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

/// How a matter stands now, for people; without secrets and customers' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// A few words that name it.
    pub title: String,
    /// What it is and what it means.
    pub detail: String,
    /// What to do.
    pub action: String,
}
