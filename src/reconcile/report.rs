//! What is ordered of a reconciliation and what it reports: shared by the command, the admin path and the work itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most differences that a report lists; more are only counted.
const EXAMPLES_MAX: usize = 100;

/// What to compare with Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReconcileScope {
    /// Stripe's list of events of the last 30 days.
    Events,
    Subscriptions,
    /// Rows that older rules made of payloads that are still here. Stripe is not asked.
    Counts,
    All,
}

impl ReconcileScope {
    pub const fn events(self) -> bool {
        matches!(self, Self::Events | Self::All)
    }

    pub const fn subscriptions(self) -> bool {
        matches!(self, Self::Subscriptions | Self::All)
    }

    pub const fn counts(self) -> bool {
        matches!(self, Self::Counts | Self::All)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileOrder {
    pub what: ReconcileScope,
    /// Events made since then, in milliseconds since the Unix epoch; without it, since the cursor.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// Only find out, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileReport {
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// The part about events, if it was asked for.
    pub events: Option<EventsReport>,
    /// The part about subscriptions, if it was asked for.
    pub subscriptions: Option<SubscriptionsReport>,
    /// The part about rows of older rules, if they were counted again.
    #[serde(default)]
    pub counts: Option<RecountReport>,
}

/// The result of comparing events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsReport {
    /// The beginning of the compared time, RFC 3339.
    pub from: Option<String>,
    pub to: Option<String>,
    /// After the run, everything older is durable here or recorded in the ledger.
    pub cursor: Option<String>,
    /// Seconds between `from` and `to`, over all accounts, and how many of them are done.
    pub span_seconds: (u64, u64),
    pub pages: u64,
    pub seen: u64,
    /// Events of types from which nothing is mapped. They are not compared, because they change nothing.
    pub unmapped: u64,
    /// Events that belong to no configured endpoint, by mode or account. They are not compared.
    pub foreign: u64,
    pub known: u64,
    /// Events in the inbox, on their way to the ledger or kept for a person.
    pub in_hand: u64,
    /// Events that the ledger does not know and a person dropped here. They stay dropped, and the ledger is told.
    #[serde(default)]
    pub dropped: u64,
    /// Events that are in neither, or are settled here and unknown to the ledger.
    pub missing: u64,
    /// How many of these were put into the inbox.
    pub inserted: u64,
    /// Stripe can no longer list events that are older than this and newer than the cursor, RFC 3339.
    pub lost_before: Option<String>,
    /// Why the run ended early. The cursor is before everything that was not read.
    pub error: Option<String>,
}

/// The result of comparing subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionsReport {
    pub pages: u64,
    pub seen: u64,
    /// Subscriptions that are the same here and at Stripe.
    pub in_order: u64,
    pub missing: u64,
    pub different: u64,
    /// Missing and different ones that were corrected.
    pub repaired: u64,
    /// Missing and different ones that something newer changed here in the meantime.
    pub overtaken: u64,
    /// Missing and different ones that were not corrected.
    pub failed: u64,
    /// Subscriptions in the ledger that Stripe does not have. They are left as they are.
    pub unknown_at_stripe: u64,
    pub fields: BTreeMap<String, u64>,
    /// The first ones with a difference.
    pub examples: Vec<Example>,
    /// Why the run ended early.
    pub error: Option<String>,
}

/// The result of counting again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecountReport {
    /// Events looked at.
    pub events: u64,
    /// How many of these were counted again from their payload.
    pub counted: u64,
    /// How many had none: it is gone, or a person has dropped the event or has still to judge it.
    pub without_payload: u64,
    /// How many have a payload without its object, for which Stripe was asked.
    pub asked_of_stripe: u64,
    /// How many are foreign events by today's rules.
    pub refused: u64,
    /// Rows of money and links that were compared.
    pub rows: u64,
    /// Corrections made or, in a dry run, needed, by kind: `invoice`, `payment`, `part`, `refund`, `refund_total`,
    /// `dispute`, `link`, `subscription`, `customer`.
    pub mended: BTreeMap<String, MendedRows>,
    /// Rows that changed while they were counted. The next run compares them.
    pub overtaken: u64,
    /// Why the run ended early.
    pub error: Option<String>,
}

/// Rows of one kind that older rules had wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendedRows {
    pub replaced: u64,
    /// Rows that were missing.
    pub added: u64,
    /// Rows that no payload gives.
    pub removed: u64,
}

impl RecountReport {
    /// The corrected rows of a kind.
    pub fn of(&mut self, kind: &str) -> &mut MendedRows {
        self.mended.entry(kind.to_owned()).or_default()
    }

    /// How many rows were corrected, or should be.
    pub fn total(&self) -> u64 {
        self.mended.values().map(|rows| rows.replaced + rows.added + rows.removed).sum()
    }

    /// Leaves a line in the log.
    pub(super) fn log(&self, dry_run: bool) {
        let (looked_at, mended, by_kind) = (self.events, self.total(), &self.mended);
        if mended > 0 {
            tracing::warn!(looked_at, mended, ?by_kind, dry_run, "reconcile: older rules had rows wrong");
        } else {
            tracing::info!(looked_at, "reconcile: no row differs from what its payload comes to");
        }
    }

    /// Notes an attempted change: whether there was a row before, and whether there is one now.
    pub(super) fn note(&mut self, kind: &str, before: bool, now: bool, made: bool) {
        match (made, before, now) {
            (false, _, _) => self.overtaken += 1,
            (true, true, true) => self.of(kind).replaced += 1,
            (true, false, _) => self.of(kind).added += 1,
            (true, true, false) => self.of(kind).removed += 1,
        }
    }

    /// Whether nothing failed and nothing is left to correct.
    pub fn is_in_order(&self, dry_run: bool) -> bool {
        self.error.is_none() && (!dry_run || self.total() == 0)
    }
}

/// A subscription with a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// `sub_…`
    pub subscription: String,
    /// `missing`, `different` or `unknown_at_stripe`.
    pub found: String,
    pub fields: Vec<String>,
    /// `repaired`, `overtaken`, `left`, or why it was not repaired.
    pub end: String,
}

impl EventsReport {
    /// Whether nothing failed and nothing is out of reach.
    pub fn is_in_order(&self, dry_run: bool) -> bool {
        let done = if dry_run { self.missing == 0 } else { self.missing == self.inserted };
        self.error.is_none() && self.lost_before.is_none() && done
    }
}

impl SubscriptionsReport {
    /// Whether nothing failed and no difference is left.
    pub fn is_in_order(&self) -> bool {
        let left = (self.missing + self.different).saturating_sub(self.repaired + self.overtaken);
        self.error.is_none() && left == 0 && self.unknown_at_stripe == 0
    }

    /// Adds an example, if there is room.
    pub fn show(&mut self, subscription: &str, found: &str, fields: Vec<String>, end: &str) {
        if self.examples.len() < EXAMPLES_MAX {
            let (subscription, found, end) = (subscription.to_owned(), found.to_owned(), end.to_owned());
            self.examples.push(Example { subscription, found, fields, end });
        }
    }
}

impl ReconcileReport {
    /// Whether a part broke off, so that the remaining differences are unknown.
    pub fn ended_early(&self) -> bool {
        let events = self.events.as_ref().and_then(|events| events.error.as_ref());
        let subscriptions = self.subscriptions.as_ref().and_then(|subscriptions| subscriptions.error.as_ref());
        let counts = self.counts.as_ref().and_then(|counts| counts.error.as_ref());
        events.or(subscriptions).or(counts).is_some()
    }

    /// Whether nothing failed and no difference is left.
    pub fn is_in_order(&self) -> bool {
        self.events.as_ref().is_none_or(|events| events.is_in_order(self.dry_run))
            && self.subscriptions.as_ref().is_none_or(SubscriptionsReport::is_in_order)
            && self.counts.as_ref().is_none_or(|counts| counts.is_in_order(self.dry_run))
    }
}

/// The state of a gateway's reconciliation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileStatus {
    /// Whether a run is in progress.
    pub running: bool,
    /// Runs begun since the start; the present one is the last.
    pub runs: u64,
    /// Whether it is this gateway's turn to reconcile by itself; unknown until it has asked the ledger.
    pub leads: Option<bool>,
    /// The present run, or else the last one.
    pub report: Option<ReconcileReport>,
    /// When that one ended, RFC 3339.
    pub ended: Option<String>,
}
