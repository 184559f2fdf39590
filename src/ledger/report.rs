//! What can be asked of a ledger: counts, who has what, and the money.
//!
//! The answers are computed where the rows are, from views that are the same on every store; nothing here is kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::erase::Erasure;
use super::shadow::Shadow;
use super::{BoxFuture, Ledger, LedgerError};

/// Most lines that [`Reports::subscriptions`] returns, and most days that [`Reports::summary`] goes back.
pub const REPORT_LINES_MAX: u32 = 10_000;

/// Questions that every ledger answers. They change nothing and may be a moment behind.
pub trait Reports: Send + Sync + fmt::Debug {
    /// Counts, recurring revenue, and the money of the last `days` days that had any (at most [`REPORT_LINES_MAX`]).
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>>;

    /// Subscriptions with their users, those of greatest preference first, at most `limit` and [`REPORT_LINES_MAX`].
    fn subscriptions(&self, limit: u32) -> BoxFuture<'_, Result<Vec<SubscriptionLine>, LedgerError>>;
}

/// A ledger that also answers questions, is compared with Stripe, and erases.
pub trait StateOfRecord: Ledger + Reports + Audit + Erasure + Shadow {}

impl<T: Ledger + Reports + Audit + Erasure + Shadow> StateOfRecord for T {}

/// The state of record at a glance. Test mode and live mode are never added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many rows there are.
    pub counts: Counts,
    /// Subscriptions that entitle a user now, by mode, tier and currency.
    pub recurring: Vec<RecurringLine>,
    /// Money by mode, day (UTC) and currency, the latest day first.
    pub daily: Vec<DayLine>,
}

/// Rows by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events recorded, whatever became of them.
    pub events: u64,
    /// Of these, held back until a person looks.
    pub quarantined: u64,
    /// Subscriptions, in every status.
    pub subscriptions: u64,
    /// Of these, without a known user.
    pub orphans: u64,
    /// Customers.
    pub customers: u64,
    /// Bindings.
    pub bindings: u64,
    /// Amounts of money, counting or not.
    pub revenue_entries: u64,
    /// Findings of the checks.
    pub findings: u64,
    /// Decisions of Guardian rules.
    pub decisions: u64,
    /// Users whose access the public tables do not show yet; see `gateway.user_access`. Zero on SQLite.
    #[serde(default)]
    pub not_shown: u64,
}

/// What recurs, for one mode, tier and currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecurringLine {
    /// False for test mode.
    pub livemode: bool,
    /// Tier; `None` is a price that is in no map.
    pub tier: Option<String>,
    /// ISO 4217 code in lower case.
    pub currency: Option<String>,
    /// Subscriptions that entitle their user now.
    pub subscriptions: u64,
    /// What they bring in a month, in minor units.
    pub mrr_minor: i64,
}

/// Money of one mode, day and currency, in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayLine {
    /// False for test mode.
    pub livemode: bool,
    /// Day in UTC, as `YYYY-MM-DD`.
    pub day: String,
    /// ISO 4217 code in lower case.
    pub currency: String,
    /// What came in: invoices and payments.
    pub gross_minor: i64,
    /// What went out: refunds and disputes; zero or negative.
    pub returned_minor: i64,
    /// The sum of both.
    pub net_minor: i64,
}

/// One subscription with its user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionLine {
    /// `sub_…`
    pub id: String,
    /// False for test mode.
    pub livemode: bool,
    /// The user, once a binding names one.
    pub user_id: Option<String>,
    /// `cus_…`
    pub customer_id: Option<String>,
    /// Stripe's status.
    pub status: String,
    /// Status for legacy readers.
    pub projected_status: Option<String>,
    /// Whether the user has what the tier gives, now.
    pub entitles: bool,
    /// Tier, where it is known.
    pub tier: Option<String>,
    /// ISO 4217 code in lower case.
    pub currency: Option<String>,
    /// What it brings in a month, in minor units.
    pub mrr_minor: i64,
    /// End of the period that was paid last, in milliseconds since the Unix epoch.
    pub current_period_end_ms: Option<i64>,
    /// `payload` or `fetch`.
    pub source: String,
    /// Ends by itself: at the end of its period, or at a moment that is set.
    #[serde(default)]
    pub will_cancel: bool,
    /// Connected account, if any.
    #[serde(default)]
    pub account: Option<String>,
}
