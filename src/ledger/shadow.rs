//! Shadow mode: the truth is kept, no public table is written, and what would be written is compared with what another
//! system writes there.
//!
//! The switch is in the database, so that every gateway, bee and transport obeys it; a batch also says which mode its sender is
//! in, and the database refuses one that differs. On SQLite nothing is public and there is nothing to switch.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BoxFuture, LedgerError};

/// Most differences that a report lists; it counts all of them.
pub const SHADOW_LINES_MAX: u32 = 10_000;

/// Users that are shown in one transaction when shadow mode ends.
pub const REFRESH_USERS: u32 = 500;

/// The switch and the comparison.
pub trait Shadow: Send + Sync + fmt::Debug {
    /// Whether the database is in shadow mode; `None` without public tables.
    fn is_shadow(&self) -> BoxFuture<'_, Result<Option<bool>, LedgerError>>;

    /// Switches shadow mode. After it ends, [`Shadow::refresh`] shows what users have. If it begins after a takeover, the
    /// public tables are given back.
    fn set_shadow(&self, wanted: bool) -> BoxFuture<'_, Result<Switched, LedgerError>>;

    /// Shows what the users after `after` have, at most [`REFRESH_USERS`]. Answers with the last of them, or `None` when
    /// none are left.
    fn refresh<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Option<String>, LedgerError>>;

    /// The users whom the other system's rows name for subscriptions and customers without a user, at most
    /// [`SHADOW_LINES_MAX`]. Rows that users can write are left out.
    fn old_owners(&self) -> BoxFuture<'_, Result<Vec<OldOwner>, LedgerError>>;

    /// Rehearses the takeover of the users after `after`, at most [`REFRESH_USERS`], and undoes it.
    fn rehearse<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Rehearsed, LedgerError>>;

    /// Compares, and shows at most `most` differences.
    fn shadow_report(&self, most: u32) -> BoxFuture<'_, Result<ShadowReport, LedgerError>>;
}

/// What the switch did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// What became of the public tables if a takeover was reversed; `None` if there was no takeover.
    pub given_back: Option<GivenBack>,
}

/// What became of the public tables when a takeover was reversed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Rows that the gateway had made and now removed.
    pub removed: u64,
    /// Rows that say again what they said before the takeover.
    pub restored: u64,
    /// Users whose access has changed since the takeover: their rows stay.
    pub kept: u64,
    /// The first of them.
    pub kept_users: Vec<String>,
    /// What was not undone.
    pub left: Vec<String>,
}

/// A user whom the public tables do not take, or not completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub user_id: String,
    /// The subscription that stands for the user.
    pub subscription_id: Option<String>,
    /// Whether the user has access.
    pub entitles: bool,
    /// Why the tables do not say so. Names no user.
    pub fault: String,
}

/// What a row of the other system says about the user of a subscription or customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldOwner {
    /// `sub_…` or `cus_…`
    pub subject: String,
    pub user_id: String,
    /// Table and column.
    pub place: String,
}

/// What a rehearsal found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// The last user; `None` if there were none.
    pub last: Option<String>,
    /// How many users were rehearsed.
    pub users: u64,
    /// Users whom the public tables would not take, or not completely.
    pub refused: Vec<Waiting>,
}

/// Why a row differs from what the gateway would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Stripe still collects, and the other system has taken access.
    LatePayer,
    /// On trial, and the other system gives no access.
    Trial,
    /// Paid for at Stripe, and the other system missed it.
    MissedPurchase,
    /// Ended at Stripe, and the other system missed it.
    MissedEnd,
    /// A subscription without access, for which the other system wrote no row.
    NoRow,
    /// The row has an earlier period, or none.
    Renewal,
    /// The row's period is off by the difference to UTC.
    LocalTime,
    /// The row has no tier where readers compare with `free`.
    NoTier,
    /// The row has another tier than was sold.
    Tier,
    /// The other system does not write `plan`.
    Plan,
    /// The row uses another word that gives the same access.
    Words,
    /// The row gives access by a subscription that the gateway does not know.
    UnknownAccess,
    /// A row without access, of a subscription that the gateway does not know.
    UnknownRow,
    /// Stripe names no user; the row does.
    Unnamed,
    /// Stripe names another user than the row.
    AnotherUser,
    /// The gateway has no tier for the price; the row has one.
    TierUnmapped,
    /// The row is later than what the gateway knows.
    Ahead,
    /// None of these.
    #[serde(other)]
    Other,
}

impl Cause {
    /// A sentence that says what it means, to follow the number of rows.
    pub const fn as_sentence(self, rows: u64) -> &'static str {
        let (one, several) = self.sentences();
        if rows == 1 { one } else { several }
    }

    /// The sentences for one row and for several.
    const fn sentences(self) -> (&'static str, &'static str) {
        match self {
            Self::LatePayer => (
                "late payer gets access: Stripe still collects, the old system took access with the first failed payment",
                "late payers get access: Stripe still collects, the old system took access with the first failed payment",
            ),
            Self::Trial => (
                "trial gets access: the old system took every status but `active` for cancelled",
                "trials get access: the old system took every status but `active` for cancelled",
            ),
            Self::MissedPurchase => {
                ("purchase gets access that the old system missed", "purchases get access that the old system missed")
            }
            Self::MissedEnd => (
                "subscription loses access: it has ended at Stripe, which the old system missed",
                "subscriptions lose access: they have ended at Stripe, which the old system missed",
            ),
            Self::NoRow => (
                "subscription without access gets a row that the old system never wrote",
                "subscriptions without access get a row that the old system never wrote",
            ),
            Self::Renewal => (
                "period is brought up to date: the old system missed a renewal or wrote no period",
                "periods are brought up to date: the old system missed renewals or wrote no period",
            ),
            Self::LocalTime => (
                "period is put right: the old system wrote local time as UTC, so that it is whole hours off",
                "periods are put right: the old system wrote local time as UTC, so that they are whole hours off",
            ),
            Self::NoTier => (
                "tier is written where the old system wrote none and readers compare with `free`",
                "tiers are written where the old system wrote none and readers compare with `free`",
            ),
            Self::Tier => (
                "tier becomes the one that was sold: the old system wrote its own default",
                "tiers become those that were sold: the old system wrote its own default",
            ),
            Self::Plan => (
                "plan is written, which the old system does not write",
                "plans are written, which the old system does not write",
            ),
            Self::Words => {
                ("word changes that means the same to readers", "words change that mean the same to readers")
            }
            Self::UnknownAccess => (
                "row gives access by a subscription that Stripe does not know here (a demo row, another account or mode); it stays as \
                 it is",
                "rows give access by a subscription that Stripe does not know here (a demo row, another account or mode); they \
                 stay as they are",
            ),
            Self::UnknownRow => (
                "row of a subscription that Stripe does not know here stays as it is",
                "rows of subscriptions that Stripe does not know here stay as they are",
            ),
            Self::Unnamed | Self::AnotherUser | Self::TierUnmapped | Self::Ahead | Self::Other => self.obstacle(),
        }
    }

    /// The sentences for causes that a takeover should wait for.
    const fn obstacle(self) -> (&'static str, &'static str) {
        match self {
            Self::Unnamed => (
                "subscription names no user at Stripe, the old row does: nobody would keep this row up to date. \
                 `colony-gateway shadow claim` looks for its user, `bind` says whose it is",
                "subscriptions name no user at Stripe, the old rows do: no program would keep these rows up to date. \
                 `colony-gateway shadow claim` looks for their users, `bind` says whose they are",
            ),
            Self::AnotherUser => (
                "row is of another user than Stripe names: find out who is right, and `colony-gateway bind` the subscription",
                "rows are of another user than Stripe names: find out who is right, and `colony-gateway bind` the subscription",
            ),
            Self::TierUnmapped => (
                "tier would become `premium`, as no STRIPE_PRICE_… names the price: set it, or see whether the old word means \
                 something else",
                "tiers would become `premium`, as no STRIPE_PRICE_… names the price: set it, or see whether the old word means \
                 something else",
            ),
            Self::Ahead => (
                "row is of a later time than what is known here: `colony-gateway reconcile all`",
                "rows are of a later time than what is known here: `colony-gateway reconcile all`",
            ),
            _ => ("row differs for no reason that is known", "rows differ for no reason that is known"),
        }
    }

    /// Whether a takeover should wait for it. The others come from the old system.
    pub const fn blocks(self) -> bool {
        matches!(self, Self::Unnamed | Self::AnotherUser | Self::TierUnmapped | Self::Ahead | Self::Other)
    }
}

/// How many differences have one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCount {
    pub cause: Cause,
    /// Differences, in all tables and fields.
    pub rows: u64,
    /// The first few rows: `sub_…`, or the user for profiles.
    pub subjects: Vec<String>,
}

/// What the gateway would show, compared with the public tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Whether the database is in shadow mode.
    pub shadow: bool,
    /// What `public.subscriptions` is used for: `absent`, `users`, `pairs` or `fans`.
    pub form: String,
    /// Rows of the other system that were compared.
    pub compared: Compared,
    /// All differences, counted by table, kind and field.
    pub counts: Vec<ShadowCount>,
    /// All differences, counted by cause.
    pub causes: Vec<CauseCount>,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// Rows of the other system, by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Platform rows of `public.subscriptions`.
    pub subscriptions: u64,
    /// `public.subscription_tiers` in its second meaning.
    pub subscription_tiers: u64,
    /// `public.user_profiles`.
    pub user_profiles: u64,
}

/// How many differences of one kind there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCount {
    /// Public table.
    pub relation: String,
    /// `missing_there`, `missing_here` or `different`.
    pub kind: String,
    /// What differs: `status`, `tier`, `period_end` and the like.
    pub field: Option<String>,
    pub count: u64,
}

/// One difference. Names things by identifier only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Public table.
    pub relation: String,
    /// As in [`ShadowCount`].
    pub kind: String,
    /// `sub_…`, or for profiles the user.
    pub subject: String,
    /// What differs.
    pub field: Option<String>,
    /// What the gateway would show.
    pub here_says: Option<String>,
    /// What the table says.
    pub there_says: Option<String>,
    pub cause: Cause,
}

impl ShadowReport {
    /// How many differences of a kind there are.
    pub fn of_kind(&self, kind: &str) -> u64 {
        self.counts.iter().filter(|count| count.kind == kind).map(|count| count.count).sum()
    }

    /// How many differences there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.count).sum()
    }
}
