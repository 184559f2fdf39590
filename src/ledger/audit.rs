//! What reconciling asks of a ledger: which events it knows, what it holds about subscriptions, and whose turn it is.
//!
//! Each question is about a bounded batch. Nothing here writes to the state of record; that goes through
//! [`Ledger::apply`](super::Ledger::apply) alone.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BoxFuture, LedgerError};
use crate::domain::clock::Timestamp;
use crate::revenue::rows::{ProjectedStatus, SubscriptionRow};

/// Most identifiers in one question.
pub const AUDIT_IDS_MAX: usize = 1000;

/// Questions that every ledger answers.
pub trait Audit: Send + Sync + fmt::Debug {
    /// Which of these events are recorded, whatever became of them. Asks for [`AUDIT_IDS_MAX`] at most.
    fn known_events<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, LedgerError>>;

    /// What the ledger holds about these subscriptions, in no order. Unknown ones are left out.
    fn subscription_facts<'a>(
        &'a self,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<SubscriptionFacts>, LedgerError>>;

    /// The subscriptions of one mode whose identifiers come after `after` by byte, at most [`AUDIT_IDS_MAX`].
    fn subscriptions_after<'a>(
        &'a self,
        after: &'a str,
        livemode: bool,
    ) -> BoxFuture<'a, Result<Vec<SubscriptionKey>, LedgerError>>;

    /// Takes or keeps the lease under a name for a span from now, by the ledger's own clock, unless another holder has it.
    /// A span of zero gives it back. A `covered` later than the one noted is noted even if another holder has the lease.
    ///
    /// A row and not an advisory lock: a lock belongs to a session, which transaction poolers and Supabase's REST layer do
    /// not offer, and SQLite has none. Two holders at once, after a clock jumped, do double work and no harm.
    fn lease<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<LeaseAnswer, LedgerError>>;
}

/// What a ledger holds about one subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionFacts {
    /// `sub_…`
    pub id: String,
    /// Sort key of its version.
    pub version: String,
    /// The owner.
    pub user_id: Option<String>,
    /// Users that the subscription's own metadata has named.
    pub claimed_by: Vec<String>,
    /// Whether a rule held an event of it.
    pub doubted: bool,
    /// Whether the present content is vouched for.
    pub vouched: bool,
    /// The values to compare, by their names in `compared`.
    pub values: Map<String, Value>,
}

/// A subscription's identifier and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionKey {
    /// `sub_…`
    pub id: String,
    /// Connected account.
    pub account: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: Option<i64>,
}

/// A request for a lease.
#[derive(Clone, Debug)]
pub struct LeaseAsk {
    /// What is leased.
    pub name: &'static str,
    /// The holder that asks.
    pub holder: String,
    /// For how long; zero gives it back.
    pub span: Duration,
    /// Moment up to which the holder has done the work.
    pub covered: Option<Timestamp>,
}

/// Who has a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Whether the caller has it.
    pub mine: bool,
    /// Until when it is held, in milliseconds since the Unix epoch.
    pub until_ms: i64,
    /// The moment up to which holders have done the work.
    pub covered_ms: Option<i64>,
}

impl SubscriptionFacts {
    /// The names of the fields in which a row differs.
    pub fn differences(&self, row: &SubscriptionRow, prices: Vec<String>) -> Vec<&'static str> {
        let held = |name: &str| self.values.get(name).unwrap_or(&Value::Null);
        let given = compared(row, prices);
        given.into_iter().filter(|(name, value)| held(name) != value).map(|(name, _)| name).collect()
    }

    /// The moment of the version: what the ledger holds was true then.
    pub fn at(&self) -> Option<Timestamp> {
        self.version.split('.').nth(1)?.parse().ok().map(Timestamp::from_millis)
    }
}

/// The fields of a row that are compared: not its version, its source, or what follows from the rest.
fn compared(row: &SubscriptionRow, mut prices: Vec<String>) -> Vec<(&'static str, Value)> {
    let time = |moment: Option<Timestamp>| moment.map_or(Value::Null, |moment| moment.millis().into());
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
    let number = |number: Option<i64>| number.map_or(Value::Null, Value::from);
    prices.sort();
    vec![
        ("account", text(&row.account)),
        ("livemode", row.livemode.into()),
        ("customer", text(&row.customer_id)),
        ("status", row.status.clone().into()),
        (
            "projected_status",
            row.projected_status.map_or(Value::Null, |status: ProjectedStatus| status.as_str().into()),
        ),
        ("entitles", row.entitles.into()),
        ("tier", text(&row.tier)),
        ("price", text(&row.price_id)),
        ("prices", prices.into()),
        ("quantity", number(row.quantity)),
        ("currency", text(&row.currency)),
        ("unit_amount", number(row.unit_amount)),
        ("interval", text(&row.interval)),
        ("interval_count", number(row.interval_count)),
        ("items", row.items.into()),
        ("mrr_minor", row.mrr_minor.into()),
        ("current_period_start", time(row.current_period_start)),
        ("current_period_end", time(row.current_period_end)),
        ("partial", row.partial.into()),
        ("will_cancel", row.will_cancel.into()),
        ("will_renew", row.will_renew.into()),
        ("collection_method", text(&row.collection_method)),
        ("grace_days", number(row.grace_days)),
        ("access_from", time(row.access_from)),
        ("cancel_at", time(row.cancel_at)),
        ("canceled_at", time(row.canceled_at)),
        ("ended_at", time(row.ended_at)),
        ("trial_end", time(row.trial_end)),
        ("pause_behavior", text(&row.pause_behavior)),
        ("pause_resumes_at", time(row.pause_resumes_at)),
        ("latest_invoice", text(&row.latest_invoice_id)),
        ("metadata_user", text(&row.metadata_user_id)),
    ]
}

/// The identifiers as a JSON array, up to the bound on a question.
pub(super) fn id_list(ids: &[String]) -> String {
    Value::from(ids.iter().take(AUDIT_IDS_MAX).cloned().collect::<Vec<_>>()).to_string()
}

impl LeaseAsk {
    /// Whole seconds, at most a week.
    pub(super) fn seconds(&self) -> u64 {
        self.span.as_secs().min(7 * 24 * 60 * 60)
    }
}
