//! What a person may want to look at: findings of the checks and decisions of the Guardian.

use serde::Serialize;

/// A contradiction or doubt in an event. It never blocks the write. Key (event id, `code`, `subject`). Every event has its
/// own findings, so there is nothing to merge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code, e.g. `invoice_total`.
    pub code: String,
    pub severity: Severity,
    /// Stripe's id of the object concerned; empty if it has none.
    pub subject: String,
    /// What was expected and what was found: amounts and ids, no customer data.
    pub detail: String,
}

/// The decision of a Guardian rule about an event. Key (event id, `rule`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Identifier of the rule.
    pub rule: String,
    pub severity: Severity,
    /// What was done.
    pub action: Action,
    /// What the rule found, without customer data.
    pub reason: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Look now.
    Critical,
}

impl Severity {
    /// The name in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What a rule does with an event that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: the rule is switched off, or vouches for the event.
    Allow,
    /// Applied; the decision is recorded.
    Flag,
    /// The event grants nothing until a person releases it. If the rule is about the origin, nothing of it is applied.
    Quarantine,
}

impl Action {
    /// The name in the store and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Quarantine => "quarantine",
        }
    }
}
