//! Which public tables the PostgreSQL ledgers keep up to date for legacy readers, and working them out anew.
//!
//! The setting lives in the database, in `gateway.projections`, so that both transports and every gateway agree.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row};

use super::LedgerError;
use super::driver::{fault, no_row};
use super::report::WeakPolicy;
use crate::postgres::Link;

/// A public table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicTable {
    /// `public.subscriptions`: one platform row per user.
    Subscriptions,
    /// `public.subscription_tiers` in its second meaning: one row per Stripe subscription.
    SubscriptionTiers,
    /// The flags of `public.user_profiles`.
    UserProfiles,
}

impl PublicTable {
    pub const ALL: [Self; 3] = [Self::Subscriptions, Self::SubscriptionTiers, Self::UserProfiles];

    /// The table's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subscriptions => "subscriptions",
            Self::SubscriptionTiers => "subscription_tiers",
            Self::UserProfiles => "user_profiles",
        }
    }
}

/// Whether a projection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// If a table of the expected shape exists.
    Auto,
    /// Always; if the table is missing, users wait with that as the reason.
    On,
    /// Never.
    Off,
}

/// The status that readers see of a late payer who keeps access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatePayers {
    /// `active`, as readers query for it.
    Active,
    /// `past_due`, as Stripe says.
    PastDue,
}

impl LatePayers {
    /// Its name in `gateway.operation`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PastDue => "past_due",
        }
    }
}

impl FromStr for LatePayers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Active, Self::PastDue].into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| "must be active or past_due".to_owned())
    }
}

impl FromStr for PublicTable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| "must be subscriptions, subscription_tiers or user_profiles".to_owned())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("must be auto, on or off".to_owned()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// Code that the database raises if a projection is on and its table is missing.
const TABLE_MISSING: &str = "GW002";

/// Each projection with its mode, and whether its table exists in the expected shape and is written.
pub async fn read(link: &mut Link) -> Result<Vec<(PublicTable, Mode, bool)>, LedgerError> {
    let mut found = Vec::with_capacity(PublicTable::ALL.len());
    for projection in PublicTable::ALL {
        let name = [(&projection.as_str() as &(dyn ToSql + Sync), Type::TEXT)];
        let asked = link.run("SELECT mode FROM gateway.projections WHERE name = $1", &name).await.map_err(fault)?;
        let Some(row) = asked.rows.first() else { continue };
        let Ok(mode) = row.try_get::<_, &str>(0).map_err(fault)?.parse() else { continue };
        let written = match link.run("SELECT gateway.projection($1) IS NOT NULL", &name).await {
            Ok(answer) => answer.rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)),
            Err(error) if error.code().is_some_and(|code| code.code() == TABLE_MISSING) => false,
            Err(error) => return Err(fault(error)),
        };
        found.push((projection, mode, written));
    }
    Ok(found)
}

/// Policies that let users read or write more of the public tables than they should.
pub async fn weak_policies(link: &mut Link) -> Result<Vec<WeakPolicy>, LedgerError> {
    let statement = "SELECT relation, policy, problem, remedy FROM gateway.weak_policies() ORDER BY 1, 2, 3";
    let rows = link.rows(statement).await.map_err(fault)?;
    let read = |row: &Row| -> Result<WeakPolicy, Error> {
        let (relation, policy) = (row.try_get("relation")?, row.try_get("policy")?);
        Ok(WeakPolicy { relation, policy, problem: row.try_get("problem")?, remedy: row.try_get("remedy")? })
    };
    rows.iter().map(read).collect::<Result<_, _>>().map_err(fault)
}

/// Sets what readers see of late payers; [`refresh`] then shows it.
pub async fn set_late_payers(link: &mut Link, told: LatePayers) -> Result<(), LedgerError> {
    let statement = format!("UPDATE gateway.operation SET late_payers = '{}'", told.as_str());
    link.run_all(&statement).await.map_err(fault)
}

/// What readers see of late payers.
pub async fn late_payers(link: &mut Link) -> Result<LatePayers, LedgerError> {
    let rows = link.rows("SELECT late_payers FROM gateway.operation").await.map_err(fault)?;
    let told = rows.first().map(|row| row.try_get::<_, &str>(0)).transpose().map_err(fault)?;
    Ok(told.and_then(|told| told.parse().ok()).unwrap_or(LatePayers::Active))
}

/// Sets whether a projection is written, and completes `public.subscriptions` if it is. How that table is used is found out
/// again. [`refresh`] updates the rows that exist.
pub async fn set(link: &mut Link, projection: PublicTable, mode: Mode) -> Result<(), LedgerError> {
    let name = projection.as_str();
    let statements = format!(
        "UPDATE gateway.projections SET mode = '{mode}', form = NULL WHERE name = '{name}';
         SELECT gateway.prepare_subscriptions();"
    );
    link.run_all(&statements).await.map_err(fault)
}

/// Works out again what every user has, and shows it: after [`set`], or after a public table was changed by hand. Takes
/// users in the order of their ids, a thousand in a transaction, and returns the number of transactions.
pub async fn refresh(link: &mut Link) -> Result<u64, LedgerError> {
    let mut transactions = 0;
    let mut last = String::new();
    loop {
        let answer = link.run("SELECT gateway.refresh($1)", &[(&last, Type::TEXT)]).await.map_err(fault)?;
        match answer.rows.first().ok_or_else(no_row)?.try_get(0).map_err(fault)? {
            Some(user) => last = user,
            None => return Ok(transactions),
        }
        transactions += 1;
    }
}
