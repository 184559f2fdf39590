//! What the ledger has of one event: its outcome, and the present state of the objects that it refers to.
//!
//! Guarantees: names no user; it is asked about a bounded number of objects, each by its key.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{PersonEvent, PersonSubscription};
use crate::ledger::order::moment_of;
use crate::revenue::rows::{Severity, event_of_sort_key};

/// Most objects in a question about an event.
pub const EVENT_OBJECTS_MAX: usize = 50;

/// An event to ask about, and the objects that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWanted {
    pub(in crate::ledger) id: String,
    pub(in crate::ledger) objects: Vec<String>,
}

impl EventWanted {
    /// The event `id` with the first [`EVENT_OBJECTS_MAX`] of these objects.
    pub fn new(id: &str, mut objects: Vec<String>) -> Self {
        objects.truncate(EVENT_OBJECTS_MAX);
        Self { id: id.to_owned(), objects }
    }
}

/// What the ledger has about an event: at most 50 rows of a kind, and twice as many subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventReport {
    /// What is recorded of it; `None` if it is not recorded.
    pub event: Option<EventRecord>,
    /// Subscriptions that it refers to, those that give most first. For an event about a customer, all of the customer's.
    pub subscriptions: Vec<EventSubscription>,
    pub customers: Vec<EventCustomer>,
    pub money: Vec<EventMoney>,
    /// What checks found of it.
    pub findings: Vec<EventFinding>,
    /// What rules said of it when it was applied.
    pub decisions: Vec<EventDecision>,
    /// Whether the ledger is in shadow mode, in which it does not write the public tables.
    pub shadow: bool,
    /// Whether this ledger has public tables at all.
    pub has_tables: bool,
}

impl EventReport {
    /// Leaves out the words of checks, which may quote an event.
    #[must_use]
    pub fn masked(mut self) -> Self {
        self.findings
            .iter_mut()
            .for_each(|finding| "hidden until the body is revealed".clone_into(&mut finding.detail));
        self
    }

    /// Where a row comes from, compared with the event `id`.
    pub fn age(&self, id: &str, row: RowVersion<'_>) -> Age {
        if row.event() == id {
            return Age::Own;
        }
        let created = self.event.as_ref().map(|event| event.created_ms);
        match row.at_ms().zip(created).map(|(at, created)| at.cmp(&created)) {
            Some(Ordering::Greater) => Age::Newer,
            Some(Ordering::Equal) => Age::SameMoment,
            Some(Ordering::Less) => Age::Older,
            None => Age::Unknown,
        }
    }
}

/// What is recorded of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    #[serde(rename = "type")]
    pub kind: String,
    /// `applied`, `stale`, `ignored`, `quarantined` or `dropped`.
    pub outcome: String,
    /// The rule that holds it in quarantine.
    pub rule: Option<String>,
    /// What the rule found, or why a person dropped it; without customer data.
    pub reason: Option<String>,
    /// Moments in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it got the outcome.
    pub recorded_at_ms: i64,
    pub content: Content,
}

impl EventRecord {
    /// The same as one of a person's events, under its `id`.
    pub fn of_person(&self, id: &str) -> PersonEvent {
        PersonEvent {
            id: id.to_owned(),
            kind: self.kind.clone(),
            object_id: None,
            outcome: self.outcome.clone(),
            rule: self.rule.clone(),
            reason: self.reason.clone(),
            created_ms: self.created_ms,
        }
    }
}

/// What is left of the payload of a recorded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Whole,
    /// It was older than payloads are kept.
    Expired,
    /// The data of its person was erased on request.
    Erased,
}

/// A subscription: what the ledger holds about it, and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventSubscription {
    /// It says only whether there is a user.
    #[serde(flatten)]
    pub line: PersonSubscription,
    /// Whether the event refers to the subscription itself, and not only to its customer.
    pub is_named: bool,
    /// What the public tables make of it; `None` without an owner, or without such tables.
    pub tables: Option<PublicTables>,
}

/// What the public tables make of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicTables {
    /// They show it.
    Shown,
    /// They will show what its user has.
    Waits,
    /// They did not take what its user has.
    Refused,
    /// Their columns cannot take the user's id.
    Unfit,
    /// They show another subscription of its user, which gives more.
    Another,
}

/// What the ledger holds about a Stripe customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCustomer {
    /// `cus_…`
    pub id: String,
    /// Sort key of the row's version.
    pub version: String,
    /// `payload` or `fetch`.
    pub source: String,
    /// Connected account; `None` for the operator's own.
    pub account: Option<String>,
    pub livemode: bool,
    pub deleted: bool,
}

/// An amount, under the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMoney {
    /// `invoice`, `payment`, `part`, `refund`, `refund_total` or `dispute`.
    pub kind: String,
    pub key: String,
    /// Sort key of the row's version.
    pub version: String,
    pub amount_minor: i64,
    pub currency: String,
    pub account: Option<String>,
    pub livemode: bool,
    pub status: Option<String>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFinding {
    pub code: String,
    pub severity: Severity,
    pub subject: String,
    pub detail: String,
}

/// What a rule said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDecision {
    pub rule: String,
    pub severity: Severity,
    /// `flag` or `quarantine`.
    pub action: String,
    pub reason: String,
}

/// The version of a row.
#[derive(Clone, Copy, Debug)]
pub struct RowVersion<'a>(pub &'a str);

impl<'a> RowVersion<'a> {
    /// The event that the row comes from. A version that the gateway made itself has no Stripe id here.
    pub fn event(self) -> &'a str {
        event_of_sort_key(self.0)
    }

    /// The moment of its content, in milliseconds since the Unix epoch: that of the event, or of Stripe's answer.
    pub fn at_ms(self) -> Option<i64> {
        moment_of(self.0).map(|(at, _)| at)
    }
}

/// Where a row comes from, compared with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// From the event itself.
    Own,
    /// From another one, of a later moment.
    Newer,
    /// From another one, of the same moment.
    SameMoment,
    /// From another one, of an earlier moment.
    Older,
    /// From another one; the event is not recorded, or the moment is not known.
    Unknown,
}
