//! What there is about a person, as the ledger tells it.

use serde::{Deserialize, Serialize};

use crate::revenue::rows::Severity;

/// What the ledger has about a person, at most 50 rows of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonReport {
    /// Users that claims name; several if a customer's claims contradict each other.
    pub users: Vec<String>,
    pub customers: Vec<PersonCustomer>,
    /// Those that give most first.
    pub subscriptions: Vec<PersonSubscription>,
    /// `sub_…` that events or people name, and of which no event has told anything.
    #[serde(default)]
    pub untold: Vec<String>,
    /// When the data of the given user or customer was erased, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub erased_at_ms: Option<i64>,
    /// What the public tables should show of each user; empty if there are no public tables.
    pub access: Vec<PersonAccess>,
    /// The strongest first.
    pub claims: Vec<PersonClaim>,
    /// The latest first. An invoice and the payment that paid it are the same money.
    pub money: Vec<PersonMoney>,
    /// Recorded events about these objects, the latest first.
    pub events: Vec<PersonEvent>,
    /// Contradictions and doubts in these events.
    pub findings: Vec<PersonFinding>,
    /// Whether the ledger is in shadow mode, in which it does not write the public tables.
    pub shadow: bool,
    /// Whether this ledger has public tables at all.
    pub has_tables: bool,
}

impl PersonReport {
    /// Replaces each user by a number.
    #[must_use]
    pub fn masked(mut self) -> Self {
        let users = std::mem::take(&mut self.users);
        let mask = |id: &str| {
            let place = users.iter().position(|known| known == id);
            place.map_or_else(|| "another user".to_owned(), |place| format!("user {}", place + 1))
        };
        for one in &mut self.subscriptions {
            one.user_id = one.user_id.as_deref().map(mask);
        }
        for access in &mut self.access {
            access.user_id = mask(&access.user_id);
            // The database's message may name the row that it refuses.
            access.fault = access.fault.take().map(|_| "hidden until users are revealed".to_owned());
        }
        for claim in &mut self.claims {
            claim.user_id = mask(&claim.user_id);
        }
        self.users = users.iter().map(|id| mask(id)).collect();
        self
    }
}

/// A Stripe customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonCustomer {
    /// `cus_…`
    pub id: String,
    /// Whether an event about the customer itself has arrived.
    pub known: bool,
    /// Connected account; `None` for the operator's own.
    pub account: Option<String>,
    pub livemode: Option<bool>,
    pub deleted: bool,
    pub delinquent: Option<bool>,
    /// Minor units; negative if Stripe will deduct it from the next invoice.
    pub balance_minor: Option<i64>,
    pub currency: Option<String>,
}

/// A subscription: what Stripe says, what is vouched for, and what it gives.
#[expect(clippy::struct_excessive_bools, reason = "a flat line: each is a field of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonSubscription {
    /// `sub_…`
    pub id: String,
    pub account: Option<String>,
    pub livemode: bool,
    pub customer_id: Option<String>,
    /// Stripe's status.
    pub status: String,
    /// Whether that status gives access.
    pub entitles: bool,
    pub tier: Option<String>,
    /// Sort key of the version of the truth.
    pub version: String,
    /// `payload` or `fetch`.
    pub source: String,
    pub currency: Option<String>,
    /// Of a month, in minor units.
    pub mrr_minor: i64,
    pub price_id: Option<String>,
    pub will_cancel: bool,
    /// Whether only a part of its items is known.
    pub partial: bool,
    pub pause_behavior: Option<String>,
    /// Moments in milliseconds since the Unix epoch.
    pub started_at_ms: Option<i64>,
    pub current_period_end_ms: Option<i64>,
    pub cancel_at_ms: Option<i64>,
    pub canceled_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    pub trial_end_ms: Option<i64>,
    pub late_since_ms: Option<i64>,
    pub grace_ends_at_ms: Option<i64>,
    pub access_from_ms: Option<i64>,
    /// The owner.
    pub user_id: Option<String>,
    /// Whether claims name a user.
    pub claimed: bool,
    /// Whether a rule held an event of it.
    pub doubted: bool,
    /// Whether a rule keeps it from giving what it would give.
    pub withheld: bool,
    /// Whether a person dropped the event that a rule held, so that there is nothing to decide.
    #[serde(default)]
    pub dropped: bool,
    /// Whether the data of its person was erased on request.
    #[serde(default)]
    pub erased: bool,
    /// Whether it gives access now.
    pub gives: bool,
    /// The tier that it gives.
    pub given_tier: Option<String>,
    /// The content that no rule holds, if a rule ever held an event.
    pub vouched: Option<PersonVouched>,
}

/// What is vouched for of a doubted subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonVouched {
    pub status: String,
    pub entitles: bool,
    pub tier: Option<String>,
    pub version: String,
}

/// What the public tables should show of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonAccess {
    pub user_id: String,
    pub subscription_id: Option<String>,
    pub status: String,
    pub tier: String,
    pub entitles: bool,
    /// Whether the tables show it.
    pub shown: bool,
    pub attempts: i64,
    /// Why not yet.
    pub fault: Option<String>,
    pub retry_at_ms: Option<i64>,
}

/// What an event or an operator says about the user of a subscription or customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonClaim {
    pub subject: String,
    /// The greater, the stronger.
    pub rank: i64,
    pub user_id: String,
    /// Where it was said.
    pub evidence: String,
    pub version: String,
}

/// An amount, under the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonMoney {
    /// `invoice`, `payment`, `part`, `refund`, `refund_total` or `dispute`.
    pub kind: String,
    pub key: String,
    pub amount_minor: i64,
    pub currency: String,
    pub account: Option<String>,
    pub livemode: bool,
    pub status: Option<String>,
    pub invoice_id: Option<String>,
    pub payment_id: Option<String>,
    pub subscription_id: Option<String>,
    pub customer_id: Option<String>,
    pub occurred_at_ms: i64,
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonEvent {
    /// `evt_…`
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub object_id: Option<String>,
    pub outcome: String,
    pub rule: Option<String>,
    pub reason: Option<String>,
    pub created_ms: i64,
}

/// A contradiction or doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonFinding {
    pub event_id: String,
    pub code: String,
    pub severity: Severity,
    pub subject: String,
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_report_names_no_user_and_still_tells_them_apart() {
        let claim = |user: &str| PersonClaim {
            subject: "cus_1".to_owned(),
            rank: 50,
            user_id: user.to_owned(),
            evidence: "customer.metadata".to_owned(),
            version: "1".to_owned(),
        };
        let access = PersonAccess {
            user_id: "bob".to_owned(),
            subscription_id: None,
            status: "active".to_owned(),
            tier: "gold".to_owned(),
            entitles: true,
            shown: false,
            attempts: 1,
            fault: Some("invalid input syntax for type uuid: \"bob\"".to_owned()),
            retry_at_ms: None,
        };
        let report = PersonReport {
            users: vec!["ann".to_owned(), "bob".to_owned()],
            claims: vec![claim("ann"), claim("bob"), claim("eve")],
            access: vec![access],
            ..PersonReport::default()
        };
        let masked = report.masked();
        let users: Vec<&str> = masked.claims.iter().map(|claim| claim.user_id.as_str()).collect();
        assert_eq!((masked.users.len(), users), (2, vec!["user 1", "user 2", "another user"]));
        let text = format!("{masked:?}");
        assert!(["ann", "bob", "eve"].iter().all(|user| !text.contains(&format!("{user}\""))), "{text}");
    }
}
