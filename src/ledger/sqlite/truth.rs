//! The tables `stripe_subscriptions` and `stripe_customers`: one row per Stripe object, the greatest version wins.
//!
//! Where the greatest version is not enough (contents of one second, lists of which a part is missing), the contents in
//! question are kept beside the row, and [`super::settle`] says which of them the row is.

use rusqlite::{Connection, OptionalExtension, ToSql, Transaction};

use crate::domain::clock::Timestamp;
use crate::ledger::order::moment_of;
use crate::revenue::rows::{CustomerRow, ProjectedStatus, Rank, SORT_KEY_CLASS, SubscriptionRow};

/// What became of a row to merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    /// Rows that changed.
    pub(super) changed: usize,
    /// Whether kept contents have to be settled.
    pub(super) doubtful: bool,
    /// Whether a rule holds an event of the subscription, now or before. Then its vouched state has to be settled.
    pub(super) doubted: bool,
}

impl Merged {
    pub(super) fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.doubtful |= other.doubtful;
        self.doubted |= other.doubted;
    }
}

/// A table of the truth, and the one that keeps contents beside it.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) table: &'static str,
    pub(super) kept: &'static str,
    /// A pattern of the types of events about these objects.
    pub(super) kinds: &'static str,
    /// Columns that a row is written to. The store adds those that follow from several rows.
    columns: &'static [&'static str],
    /// Columns that the store works out, with their value in a fresh row.
    own: &'static [&'static str],
}

pub(super) const SUBSCRIPTIONS: Truth = Truth {
    table: "stripe_subscriptions",
    kept: "kept_subscriptions",
    kinds: "type LIKE 'customer.subscription.%'",
    columns: &[
        "id",
        "version",
        "source",
        "account",
        "livemode",
        "customer_id",
        "status",
        "projected_status",
        "entitles",
        "access_from",
        "preference",
        "tier",
        "tier_rank",
        "price_id",
        "product_id",
        "quantity",
        "currency",
        "unit_amount",
        "interval",
        "interval_count",
        "items",
        "partial",
        "mrr_minor",
        "resumed_mrr_minor",
        "created",
        "started_at",
        "current_period_start",
        "current_period_end",
        "will_cancel",
        "will_renew",
        "cancel_at_period_end",
        "cancel_at",
        "canceled_at",
        "ended_at",
        "trial_start",
        "trial_end",
        "pause_behavior",
        "pause_resumes_at",
        "collection_method",
        "grace_days",
        "late_hint",
        "latest_invoice_id",
        "metadata_user_id",
        "raw",
    ],
    own: &["tied = 0", "late_since = NULL", "grace_ends_at = NULL"],
};

/// The vouched state of subscriptions that had an event held by a rule: the newest contents of events that no rule holds.
/// Its rows are made from the kept contents alone.
pub(super) const VOUCHED: Truth = Truth { table: "vouched_subscriptions", kept: "kept_vouched", ..SUBSCRIPTIONS };

pub(super) const CUSTOMERS: Truth = Truth {
    table: "stripe_customers",
    kept: "kept_customers",
    kinds: "type IN ('customer.created', 'customer.updated', 'customer.deleted')",
    columns: &[
        "id",
        "version",
        "source",
        "account",
        "livemode",
        "deleted",
        "currency",
        "delinquent",
        "balance_minor",
        "metadata_user_id",
        "raw",
    ],
    own: &["tied = 0"],
};

impl Truth {
    fn insert(&self, into: &str) -> String {
        let places: Vec<String> = (1..=self.columns.len()).map(|place| format!("?{place}")).collect();
        format!("INSERT INTO {into} ({}) VALUES ({})", self.columns.join(", "), places.join(", "))
    }

    fn merge(&self) -> String {
        let given = self.columns.iter().filter(|column| **column != "id");
        let sets = given.map(|column| format!("{column} = excluded.{column}"));
        let sets: Vec<String> = sets.chain(self.own.iter().map(|&own| own.to_owned())).collect();
        let table = self.table;
        format!(
            "{} ON CONFLICT (id) DO UPDATE SET {} WHERE excluded.version > {table}.version",
            self.insert(table),
            sets.join(", ")
        )
    }

    /// Merges a row, after keeping what may be needed again.
    fn put(
        &self,
        transaction: &Transaction<'_>,
        id: &str,
        version: &str,
        partial: bool,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<Merged> {
        let held: Option<(String, bool)> = transaction
            .prepare_cached(&format!("SELECT version, {} FROM {} WHERE id = ?1", self.in_doubt(), self.table))?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let class = version.get(..SORT_KEY_CLASS);
        let tied = |held: &str| held != version && held.get(..SORT_KEY_CLASS) == class && class.is_some_and(is_told);
        let doubtful = partial || held.is_some_and(|(held, doubt)| doubt || tied(&held));
        if doubtful {
            let kept = format!("INSERT OR IGNORE INTO {} SELECT * FROM {} WHERE id = ?1", self.kept, self.table);
            transaction.prepare_cached(&kept)?.execute([id])?;
            self.keep(transaction, id, values)?;
        }
        let changed = transaction.prepare_cached(&self.merge())?.execute(values)?;
        Ok(Merged { changed, doubtful, doubted: false })
    }

    /// Keeps a content.
    fn keep(&self, transaction: &Transaction<'_>, id: &str, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let insert = format!("{} ON CONFLICT (id, version) DO NOTHING", self.insert(self.kept));
        transaction.prepare_cached(&insert)?.execute(values)?;
        // Derived from other events, and worked out again.
        let own = format!("UPDATE {} SET {} WHERE id = ?1", self.kept, self.own.join(", "));
        transaction.prepare_cached(&own)?.execute([id]).map(drop)
    }

    /// Whether a content is held under the same version and says something else. A tied or partial row may have been
    /// completed, so its contents are compared where they are kept.
    fn differs(&self, connection: &Connection, values: &[&dyn ToSql]) -> rusqlite::Result<bool> {
        let plain = format!("AND NOT ({})", self.in_doubt());
        Ok(self.differs_in(connection, self.table, &plain, values)? || self.differs_where_kept(connection, values)?)
    }

    /// As [`Self::differs`], for the kept contents.
    fn differs_where_kept(&self, connection: &Connection, values: &[&dyn ToSql]) -> rusqlite::Result<bool> {
        self.differs_in(connection, self.kept, "", values)
    }

    /// Compares all columns except the last one, which is Stripe's object: no rule makes it.
    fn differs_in(
        &self,
        connection: &Connection,
        table: &str,
        plain: &str,
        values: &[&dyn ToSql],
    ) -> rusqlite::Result<bool> {
        let derived = self.columns.len() - 1;
        let same: Vec<String> = (2..derived).map(|at| format!("{} IS ?{}", self.columns[at], at + 1)).collect();
        let same = same.join(" AND ");
        let sql =
            format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1 AND version = ?2 {plain} AND NOT ({same}))");
        connection.prepare_cached(&sql)?.query_row(&values[..derived], |row| row.get(0))
    }

    /// Whether this is the vouched state.
    pub(super) fn is_vouched(&self) -> bool {
        self.table == VOUCHED.table
    }

    /// Whether a row's contents are kept, as an expression.
    fn in_doubt(&self) -> &'static str {
        if self.has_parts() { "tied OR partial" } else { "tied" }
    }

    /// Whether a content can lack a part of its object.
    pub(super) fn has_parts(&self) -> bool {
        self.columns.contains(&"partial")
    }
}

/// Whether contents of this moment and kind come from events, and were not fetched.
pub(super) fn is_told(class: &str) -> bool {
    moment_of(class).is_some_and(|(_, rank)| rank < Rank::Fetched as u8)
}

fn millis(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::millis)
}

/// Passes on the version of a subscription and its values, in the order of the columns.
fn with_subscription<T>(row: &SubscriptionRow, then: impl FnOnce(&str, &[&dyn ToSql]) -> T) -> T {
    let version = row.version.sort_key();
    let values: &[&dyn ToSql] = rusqlite::params![
        row.id,
        version,
        row.source.as_str(),
        row.account,
        row.livemode,
        row.customer_id,
        row.status,
        row.projected_status.map(ProjectedStatus::as_str),
        row.entitles,
        millis(row.access_from),
        row.preference,
        row.tier,
        row.tier_rank,
        row.price_id,
        row.product_id,
        row.quantity,
        row.currency,
        row.unit_amount,
        row.interval,
        row.interval_count,
        row.items,
        row.partial,
        row.mrr_minor,
        row.resumed_mrr_minor,
        millis(row.created),
        millis(row.started_at),
        millis(row.current_period_start),
        millis(row.current_period_end),
        row.will_cancel,
        row.will_renew,
        row.cancel_at_period_end,
        millis(row.cancel_at),
        millis(row.canceled_at),
        millis(row.ended_at),
        millis(row.trial_start),
        millis(row.trial_end),
        row.pause_behavior,
        millis(row.pause_resumes_at),
        row.collection_method,
        row.grace_days,
        millis(row.late_hint),
        row.latest_invoice_id,
        row.metadata_user_id,
        row.raw.as_str(),
    ];
    then(&version, values)
}

/// Keeps the subscription with the greatest version, and beside it the vouched state if a rule held an event of it.
pub(super) fn merge_subscription(
    transaction: &Transaction<'_>,
    row: &SubscriptionRow,
    vouched: bool,
) -> rusqlite::Result<Merged> {
    with_subscription(row, |version, values| {
        let mut merged = SUBSCRIPTIONS.put(transaction, &row.id, version, row.partial, values)?;
        if vouched {
            let newest: Option<String> = transaction
                .prepare_cached("SELECT max(version) FROM kept_vouched WHERE id = ?1")?
                .query_row([&row.id], |row| row.get(0))?;
            VOUCHED.keep(transaction, &row.id, values)?;
            merged.changed += usize::from(newest.is_none_or(|newest| newest.as_str() < version));
        }
        Ok(merged)
    })
}

/// Passes on the version of a customer and its values, in the order of the columns.
fn with_customer<T>(row: &CustomerRow, then: impl FnOnce(&str, &[&dyn ToSql]) -> T) -> T {
    let version = row.version.sort_key();
    let values: &[&dyn ToSql] = rusqlite::params![
        row.id,
        version,
        row.source.as_str(),
        row.account,
        row.livemode,
        row.deleted,
        row.currency,
        row.delinquent,
        row.balance_minor,
        row.metadata_user_id,
        row.raw.as_str(),
    ];
    then(&version, values)
}

/// Keeps the customer with the greatest version.
pub(super) fn merge_customer(transaction: &Transaction<'_>, row: &CustomerRow) -> rusqlite::Result<Merged> {
    with_customer(row, |version, values| CUSTOMERS.put(transaction, &row.id, version, false, values))
}

/// Whether a content of a subscription is held under the same version and says something else.
pub(super) fn subscription_differs(connection: &Connection, row: &SubscriptionRow) -> rusqlite::Result<bool> {
    with_subscription(row, |_, values| {
        Ok(SUBSCRIPTIONS.differs(connection, values)? || VOUCHED.differs_where_kept(connection, values)?)
    })
}

/// Whether a content of a customer is held under the same version and says something else.
pub(super) fn customer_differs(connection: &Connection, row: &CustomerRow) -> rusqlite::Result<bool> {
    with_customer(row, |_, values| CUSTOMERS.differs(connection, values))
}
