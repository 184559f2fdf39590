//! What a recount asks of a ledger: its payloads, the rows that are derived from them, and mending those that are wrong.
//!
//! A row of the same version is never overwritten by a batch, so what older rules made of a payload stays until a recount
//! compares it. All comparing is by version: what stands on a payload that is gone, on what was fetched or on a person's word
//! has no counterpart, and is left. A change names what it replaces, and does nothing when that is another by then, or when
//! the payload that it was counted from is gone.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BoxFuture, LedgerError};
use crate::domain::ledger_id::LedgerId;
use crate::revenue::rows::{CustomerRow, PaymentLink, RawJson, RevenueRow, SubscriptionRow};
use crate::revenue::verdict::{Plan, Verdict};

/// Most events of a page, and so most plans in one question.
pub const RECOUNT_EVENTS_MAX: u32 = 100;

/// About how many bytes of payloads a page has at most, unless a single payload is larger.
pub const RECOUNT_BYTES_MAX: usize = 4 << 20;

/// Most rows of a page, and so most changes of one call.
pub const RECOUNT_ROWS_MAX: u32 = 500;

/// Counting again, on every ledger.
pub trait Recount: Send + Sync + fmt::Debug {
    /// The events whose ids come after `after` by byte, at most [`RECOUNT_EVENTS_MAX`] and about [`RECOUNT_BYTES_MAX`].
    fn stored_events<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Vec<StoredEvent>, LedgerError>>;

    /// The rows of money that come after this one, by kind and key, at most [`RECOUNT_ROWS_MAX`].
    fn held_money<'a>(&'a self, after: Option<&'a Money>) -> BoxFuture<'a, Result<Vec<Money>, LedgerError>>;

    /// The links that come after this one, by payment and invoice, at most [`RECOUNT_ROWS_MAX`].
    fn held_links<'a>(&'a self, after: Option<&'a Link>) -> BoxFuture<'a, Result<Vec<Link>, LedgerError>>;

    /// Which contents of these plans' subscriptions and customers are held under the same version and say something else.
    /// Changes nothing.
    fn differing<'a>(&'a self, plans: &'a [Plan]) -> BoxFuture<'a, Result<Vec<Content>, LedgerError>>;

    /// Makes the changes, in one transaction, and tells of each whether it was made.
    fn mend<'a>(&'a self, mending: &'a Mending) -> BoxFuture<'a, Result<Mended, LedgerError>>;
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// `evt_…`
    pub id: String,
    /// Identifier of its object.
    pub object_id: Option<String>,
    /// The payload if the event was applied, stale or ignored. Nothing if the payload is gone, or if a person dropped the
    /// event or has still to judge it.
    pub payload: Option<Value>,
}

/// A row of money, as the ledger holds it or as it should be. Moments in milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `RevenueRow`")]
pub struct Money {
    pub kind: String,
    pub key: String,
    pub version: String,
    pub as_of: i64,
    pub account: Option<String>,
    pub livemode: bool,
    pub amount_minor: i64,
    pub outside_minor: i64,
    pub uncaptured_minor: i64,
    pub voided_minor: i64,
    pub currency: String,
    pub occurred_at: i64,
    pub payment_id: Option<String>,
    pub charge_id: Option<String>,
    pub invoice_id: Option<String>,
    pub subscription_id: Option<String>,
    pub customer_id: Option<String>,
    pub user_id: Option<String>,
    pub status: Option<String>,
}

impl From<&RevenueRow> for Money {
    fn from(row: &RevenueRow) -> Self {
        Self {
            kind: row.kind.as_str().to_owned(),
            key: row.key.clone(),
            version: row.version.sort_key(),
            as_of: row.as_of.millis(),
            account: row.account.clone(),
            livemode: row.livemode,
            amount_minor: row.amount_minor,
            outside_minor: row.outside_minor,
            uncaptured_minor: row.uncaptured_minor,
            voided_minor: row.voided_minor,
            currency: row.currency.clone(),
            occurred_at: row.occurred_at.millis(),
            payment_id: row.payment_id.clone(),
            charge_id: row.charge_id.clone(),
            invoice_id: row.invoice_id.clone(),
            subscription_id: row.subscription_id.clone(),
            customer_id: row.customer_id.clone(),
            user_id: row.user_id.clone(),
            status: row.status.clone(),
        }
    }
}

/// A link between payment and invoice, as the ledger holds it or as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of `PaymentLink`")]
pub struct Link {
    pub payment_id: String,
    pub invoice_id: String,
    pub evidence: i64,
    pub version: String,
}

impl From<&PaymentLink> for Link {
    fn from(row: &PaymentLink) -> Self {
        let (payment_id, invoice_id) = (row.payment_id.clone(), row.invoice_id.clone());
        Self { payment_id, invoice_id, evidence: row.evidence as i64, version: row.version.sort_key() }
    }
}

/// The kind of object that a content is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum TruthKind {
    Subscriptions,
    Customers,
}

/// A content of a subscription or customer, named by its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Content {
    pub truth: TruthKind,
    /// `sub_…` or `cus_…`
    pub id: String,
    /// Sort key of its version.
    pub version: String,
}

/// A row in place of another. Without `held` the row is missing; without `now` there should be none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// The row as it was found.
    pub held: Option<T>,
    /// The row as it should be.
    pub now: Option<T>,
}

/// The changes to make.
#[derive(Clone, Debug, Default)]
pub struct Mending {
    /// Rows of money, at most [`RECOUNT_ROWS_MAX`].
    pub money: Vec<Change<Money>>,
    /// Links, at most as many.
    pub links: Vec<Change<Link>>,
    /// Contents to write again, each by a verdict of `batch`.
    pub contents: Vec<Content>,
    /// The replays that write the contents; see [`replay`].
    pub batch: Vec<Verdict>,
}

/// Which of the changes were made, in their order. A change is not made if its row has changed in the meantime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// Of the rows of money.
    pub money: Vec<bool>,
    /// Of the links.
    pub links: Vec<bool>,
    /// Of the contents.
    pub contents: Vec<bool>,
}

/// A verdict that writes a plan's subscriptions and customers again, and nothing else. `None` while a rule holds the event,
/// because its content waits for a person.
pub fn replay(plan: &Plan) -> Option<Verdict> {
    if plan.suspicion.is_some() || (plan.subscriptions.is_empty() && plan.customers.is_empty()) {
        return None;
    }
    let (subscriptions, customers) = (plan.subscriptions.clone(), plan.customers.clone());
    let again = Plan { replayed: true, subscriptions, customers, ..Plan::new(plan.event.clone()) };
    Some(Verdict::Apply(Box::new(again)))
}

/// A call of `public.gateway_recount`.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum Request<'a> {
    Events {
        after: &'a str,
        most: u32,
        bytes: usize,
    },
    Money {
        kind: &'a str,
        key: &'a str,
        most: u32,
    },
    Links {
        payment: &'a str,
        invoice: &'a str,
        most: u32,
    },
    Differing {
        subscriptions: Vec<SubscriptionRow>,
        customers: Vec<CustomerRow>,
    },
    Mend {
        money: &'a [Change<Money>],
        links: &'a [Change<Link>],
        contents: &'a [Content],
        /// In the form that `public.gateway_apply_batch` takes.
        batch: Option<&'a RawValue>,
        shadow: bool,
        /// Which ledger the changes are for, if the settings say so.
        #[serde(skip_serializing_if = "Option::is_none")]
        ledger: Option<&'a LedgerId>,
    },
}

impl<'a> Request<'a> {
    pub(super) const fn events(after: &'a str) -> Self {
        Self::Events { after, most: RECOUNT_EVENTS_MAX, bytes: RECOUNT_BYTES_MAX }
    }

    pub(super) fn money(after: Option<&'a Money>) -> Self {
        let (kind, key) = after.map_or(("", ""), |row| (row.kind.as_str(), row.key.as_str()));
        Self::Money { kind, key, most: RECOUNT_ROWS_MAX }
    }

    pub(super) fn links(after: Option<&'a Link>) -> Self {
        let (payment, invoice) = after.map_or(("", ""), |row| (row.payment_id.as_str(), row.invoice_id.as_str()));
        Self::Links { payment, invoice, most: RECOUNT_ROWS_MAX }
    }

    /// Without Stripe's objects, because no rule makes them.
    pub(super) fn differing(plans: &[Plan]) -> Self {
        let raw = RawJson::from_value(&Value::Null);
        let subscriptions = plans.iter().flat_map(|plan| &plan.subscriptions);
        let customers = plans.iter().flat_map(|plan| &plan.customers);
        Self::Differing {
            subscriptions: subscriptions.map(|row| SubscriptionRow { raw: raw.clone(), ..row.clone() }).collect(),
            customers: customers.map(|row| CustomerRow { raw: raw.clone(), ..row.clone() }).collect(),
        }
    }

    pub(super) fn document(&self, ledger: &'static str) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| {
            let kind = super::LedgerErrorKind::Rejected;
            LedgerError::new(ledger, kind, "the request cannot be written as JSON").caused_by(error)
        })
    }
}
