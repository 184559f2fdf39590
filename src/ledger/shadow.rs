//! Shadow mode: the truth is kept, no public table is written, and what would be written is compared with what another
//! system writes there.
//!
//! The switch stands in the database, so that every gateway, bee and transport obeys it; a batch also says which mode its
//! sender is in, and the database refuses one that differs. On SQLite nothing is public and there is nothing to switch.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BoxFuture, LedgerError};

/// Most differences that a report shows one by one; all are counted.
pub const SHADOW_LINES_MAX: u32 = 10_000;

/// Users that are shown in one transaction when shadow mode ends.
pub const REFRESH_USERS: u32 = 500;

/// The switch and the comparison.
pub trait Shadow: Send + Sync + fmt::Debug {
    /// Whether the database is in shadow mode; `None` where nothing is public.
    fn is_shadow(&self) -> BoxFuture<'_, Result<Option<bool>, LedgerError>>;

    /// Switches shadow mode. After it ended, [`Shadow::refresh`] shows what users have. When it begins after a takeover, the
    /// public tables are given back.
    fn set_shadow(&self, wanted: bool) -> BoxFuture<'_, Result<Switched, LedgerError>>;

    /// Shows what the users after `after` have, at most [`REFRESH_USERS`]; answers with the last of them, or nothing when
    /// there are none left.
    fn refresh<'a>(&'a self, after: &'a str) -> BoxFuture<'a, Result<Option<String>, LedgerError>>;

    /// Compares, and shows at most `most` differences.
    fn shadow_report(&self, most: u32) -> BoxFuture<'_, Result<ShadowReport, LedgerError>>;
}

/// What the switch did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// What became of the public tables where a takeover was taken back; nothing where there was none.
    pub given_back: Option<GivenBack>,
}

/// What became of the public tables when a takeover was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Rows that the gateway had made, and that are gone.
    pub removed: u64,
    /// Rows that say again what they said before.
    pub restored: u64,
    /// Users whose access has changed since the takeover: their rows stay.
    pub kept: u64,
    /// The first of them.
    pub kept_users: Vec<String>,
    /// What was not undone.
    pub left: Vec<String>,
}

/// What is shown here and what stands there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Whether the database is in shadow mode.
    pub shadow: bool,
    /// Rows of the other system that were compared.
    pub compared: Compared,
    /// All differences, counted by table, kind and field.
    pub counts: Vec<ShadowCount>,
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
    /// How many.
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
    /// What would be shown.
    pub here_says: Option<String>,
    /// What stands there.
    pub there_says: Option<String>,
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
