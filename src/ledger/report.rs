//! What can be asked of a ledger: counts, who has what, and the money.
//!
//! The answers are computed where the rows are, from views that are the same on every store; nothing here is kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::desk::Desk;
use super::erase::Erasure;
use super::expiry::Expiry;
pub use super::lines::{DayLine, Reason, RecurringLine};
use super::recount::Recount;
use super::shadow::{Shadow, Waiting};
use super::witness::Witness;
use super::{BoxFuture, Ledger, LedgerError};
use crate::domain::counted::counted;
pub use crate::revenue::rows::Severity;

/// Most lines that [`Reports::subscriptions`] returns, and most days that [`Reports::summary`] goes back.
pub const REPORT_LINES_MAX: u32 = 10_000;

/// Questions that every ledger answers. They change nothing, and the answers may be a moment old.
pub trait Reports: Send + Sync + fmt::Debug {
    /// Counts, recurring revenue, and the money of the last `days` days that had any (at most [`REPORT_LINES_MAX`]).
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>>;

    /// Subscriptions with their users, those of greatest preference first, at most `limit` and [`REPORT_LINES_MAX`].
    fn subscriptions(&self, limit: u32) -> BoxFuture<'_, Result<Vec<SubscriptionLine>, LedgerError>>;

    /// What a person should look at besides events. It names at most `most` and [`REPORT_LINES_MAX`] subscriptions.
    fn attention(&self, most: u32) -> BoxFuture<'_, Result<Attention, LedgerError>>;

    /// Findings that match everything that is asked for, those of the latest events first, at most `most` and
    /// [`REPORT_LINES_MAX`].
    fn findings<'a>(
        &'a self,
        wanted: &'a FindingsWanted,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<FindingLine>, LedgerError>>;
}

/// A ledger that also answers questions, is compared with Stripe, and erases.
pub trait StateOfRecord: Ledger + Reports + Audit + Desk + Erasure + Expiry + Recount + Shadow + Witness {}

impl<T: Ledger + Reports + Audit + Desk + Erasure + Expiry + Recount + Shadow + Witness> StateOfRecord for T {}

/// The state of record at a glance. Test mode and live mode are never added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many rows there are.
    pub counts: Counts,
    /// Subscriptions that entitle a user now, by mode, account, tier and currency, with the operator's own account first.
    pub recurring: Vec<RecurringLine>,
    /// Money by account, mode, day (UTC) and currency, with the latest day first and the operator's own account before
    /// others.
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
    /// Claims about users.
    pub claims: u64,
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

/// What a person should look at besides events: subscriptions that should give a user access and do not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Subscriptions that are active at Stripe and give no user access, those of greatest preference first.
    pub unowned: Vec<Unowned>,
    /// How many there are, by reason, named or not.
    pub reasons: BTreeMap<Reason, u64>,
    /// Findings by severity.
    pub findings: BTreeMap<Severity, u64>,
    /// Subscriptions in any status without a user.
    pub orphans: u64,
    /// Users whom the public tables do not show, or not completely.
    #[serde(default)]
    pub not_shown: NotShown,
    /// The first of them, those with access first.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// Policies that let users read or write more of the public tables than they should.
    #[serde(default)]
    pub policies: Vec<WeakPolicy>,
    /// What `public.subscriptions` lacks, in the order in which to build it. Without it everything is shown, but more
    /// slowly.
    #[serde(default)]
    pub left: Vec<LeftToBuild>,
}

/// An index, or rows, that a large public table lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftToBuild {
    /// The name of the index, or what the rows lack.
    pub what: String,
    /// A statement that adds it, to run by itself and outside a transaction; `None` while another session is building it.
    pub statement: Option<String>,
}

/// Users whom the public tables do not show correctly. None in shadow mode, or without public tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// Users who pay and do not get what they pay for.
    pub entitled: u64,
    /// Users whose access has ended, although the tables may still show it.
    pub others: u64,
}

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.entitled + self.others;
        let users = counted(all, "user", "users");
        let pay = counted(self.entitled, "of whom pays", "of whom pay");
        let are = if all == 1 { "is" } else { "are" };
        write!(f, "{users} ({pay}) {are} not shown correctly in the public tables")
    }
}

/// A policy that lets users read or write more of a public table than they should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeakPolicy {
    /// Table in `public`.
    pub relation: String,
    /// The policy; `None` if row level security is off.
    pub policy: Option<String>,
    /// What it lets them do.
    pub problem: String,
    /// A statement that ends it.
    pub remedy: String,
}

impl fmt::Display for WeakPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation, policy, problem, remedy } = self;
        match policy {
            Some(policy) => write!(f, "the policy \"{policy}\" of public.{relation} {problem}: {remedy}"),
            None => write!(f, "public.{relation}: {problem}: {remedy}"),
        }
    }
}

/// A subscription that entitles and gives no user access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unowned {
    /// `sub_…`
    pub id: String,
    /// `cus_…`
    pub customer_id: Option<String>,
    /// Connected account, if any.
    pub account: Option<String>,
    /// False for test mode.
    pub livemode: bool,
    /// Stripe's status.
    pub status: String,
    /// Tier, where it is known.
    pub tier: Option<String>,
    /// The user, if one is named whom the tables cannot show.
    pub user_id: Option<String>,
    /// Why it gives nothing.
    pub reason: Reason,
}

/// Which findings are asked for; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FindingsWanted {
    /// Stable code.
    pub code: Option<String>,
    pub severity: Option<Severity>,
    /// Stripe's id of the object concerned.
    pub subject: Option<String>,
}

/// One finding with its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingLine {
    /// `evt_…`
    pub event_id: String,
    /// Type of the event.
    pub event_type: String,
    /// When Stripe made it, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Stable code.
    pub code: String,
    pub severity: Severity,
    /// Stripe's id of the object concerned.
    pub subject: String,
    /// What was expected and what was found.
    pub detail: String,
}

/// One subscription with its user.
#[expect(clippy::struct_excessive_bools, reason = "a flat line: each is a field of its own")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionLine {
    /// `sub_…`
    pub id: String,
    /// False for test mode.
    pub livemode: bool,
    /// The owner, once a claim names one.
    pub user_id: Option<String>,
    /// `cus_…`
    pub customer_id: Option<String>,
    /// Stripe's status.
    pub status: String,
    /// Status for legacy readers.
    pub projected_status: Option<String>,
    /// Whether the subscription gives its user access now.
    pub entitles: bool,
    /// Tier, where it is known.
    pub tier: Option<String>,
    /// ISO 4217 code in lower case.
    pub currency: Option<String>,
    /// What it brings in a month, in minor units.
    pub mrr_minor: i64,
    /// End of the current period, in milliseconds since the Unix epoch.
    pub current_period_end_ms: Option<i64>,
    /// `payload` or `fetch`.
    pub source: String,
    /// Connected account; `None` for the operator's own.
    #[serde(default)]
    pub account: Option<String>,
    /// Whether it ends by itself: at the end of its period, or at a set moment.
    #[serde(default)]
    pub will_cancel: bool,
    /// Whether it goes on with another period unless something happens.
    #[serde(default)]
    pub will_renew: bool,
    /// Until when a late payer keeps access, in milliseconds since the Unix epoch; `None`: without end, or not late.
    #[serde(default)]
    pub grace_ends_at_ms: Option<i64>,
    /// Whether only a part of its items is known: tier and monthly amount are then incomplete.
    #[serde(default)]
    pub partial: bool,
    /// How many items it has, including unknown ones.
    #[serde(default)]
    pub items: i64,
}
