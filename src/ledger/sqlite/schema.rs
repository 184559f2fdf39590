//! Tables and views of the SQLite file.
//!
//! Timestamps are milliseconds since the Unix epoch; JSON is text as it came; versions are text that compares by
//! byte. The views compute on reading what takes the rows of several events: the user of a subscription, and which
//! money counts (the rules of [`crate::revenue::rows::RevenueRow`]'s module).

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::NAME;
use super::fault::fault;
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::revenue::rows::MATCH_WINDOW;

/// Version of the tables, in `PRAGMA user_version`.
///
/// It grows with every change of the tables or views, except the view that counts, which is renewed in place. Older files are
/// not converted: this store keeps only what Stripe can list again, or what a backup has.
pub(super) const SCHEMA_VERSION: i32 = 4;

/// The view that tells which money counts.
const COUNTED_REVENUE: &str = include_str!("counted_revenue.sql");

/// How long a transaction waits for another process to let go of the file.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How many statements stay prepared: more than there are, so that none is prepared twice.
const STATEMENTS_MAX: usize = 64;

/// Sets the connection up and creates what is missing.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), LedgerError> {
    connection.busy_timeout(BUSY_WAIT).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Otherwise SQLite plans statements anew for some of the values that they are given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(fault)?;
    // A database in memory answers `memory` here, which does no harm.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(fault)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
    secure(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    match version(&transaction)? {
        0 => {
            transaction.execute_batch(TABLES).map_err(fault)?;
            transaction.execute_batch(&truth()).map_err(fault)?;
            transaction.execute_batch(&grants()).map_err(fault)?;
            transaction.execute_batch(&views()).map_err(fault)?;
            transaction.execute_batch(ERASURES).map_err(fault)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(fault)?;
        }
        SCHEMA_VERSION => renew_counting(&transaction)?,
        other => return Err(unknown(other)),
    }
    transaction.execute_batch(super::audit::LEASES).map_err(fault)?;
    transaction.execute_batch(super::desk::HISTORY).map_err(fault)?;
    super::witness::identify(&transaction)?;
    super::expiry::prepare(&transaction)?;
    transaction.commit().map_err(fault)
}

/// Replaces the rule of counting of an earlier build. The rule is a view and holds nothing, so either build can read a file of the
/// same tables.
fn renew_counting(transaction: &Transaction<'_>) -> Result<(), LedgerError> {
    let held: String = transaction
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'counted_revenue'", [], |row| row.get(0))
        .map_err(fault)?;
    let ours = counting();
    if ours.contains(&held) {
        return Ok(());
    }
    transaction.execute_batch(&format!("DROP VIEW counted_revenue; {ours}")).map_err(fault)
}

/// A process before may have written without syncing. That is visible, but perhaps not on disk. Moving it from the log into
/// the file writes and syncs it again, before it serves as proof that an event is recorded. If the disk is too full for
/// that, the log is synced.
fn secure(connection: &Connection) -> Result<(), LedgerError> {
    match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
            let log = format!("{}-wal", connection.path().unwrap_or_default());
            std::fs::File::open(log).and_then(|log| log.sync_all()).map_err(|source| {
                LedgerError::new(NAME, LedgerErrorKind::Storage, "the disk is full and its log cannot be synced")
                    .caused_by(source)
            })
        }
        moved => moved.map_err(fault),
    }
}

/// Whether the file exists in this release's format.
pub(super) fn check(connection: &mut Connection) -> Result<(), LedgerError> {
    match version(connection)? {
        SCHEMA_VERSION => Ok(()),
        other => Err(unknown(other)),
    }
}

pub(super) fn version(connection: &Connection) -> Result<i32, LedgerError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)
}

pub(super) fn unknown(version: i32) -> LedgerError {
    let message = if version < SCHEMA_VERSION {
        format!(
            "the file's tables are those of an earlier build (format {version}, this one has {SCHEMA_VERSION}) and are not \
             converted: move the file away, start with a new one and let `reconcile` bring back what Stripe lists, or go \
             on with the build that made it"
        )
    } else {
        format!(
            "the file's tables are those of a later release (format {version}, this one has {SCHEMA_VERSION}): use the \
             release that made it"
        )
    };
    LedgerError::new(NAME, LedgerErrorKind::Schema, message)
}

/// The persons whose data was erased, by fingerprint.
const ERASURES: &str = "
CREATE TABLE erasures (
    kind TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    erased_at INTEGER NOT NULL,
    PRIMARY KEY (kind, fingerprint)
) STRICT;
";

/// Columns of `stripe_subscriptions`, and of the table that keeps contents while it is open which of them is right.
const SUBSCRIPTION_COLUMNS: &str = "
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    account TEXT,
    livemode INTEGER NOT NULL,
    customer_id TEXT,
    status TEXT NOT NULL,
    projected_status TEXT,
    entitles INTEGER NOT NULL,
    access_from INTEGER,
    preference TEXT NOT NULL,
    tier TEXT,
    tier_rank INTEGER NOT NULL DEFAULT 0,
    price_id TEXT,
    product_id TEXT,
    quantity INTEGER,
    currency TEXT,
    unit_amount INTEGER,
    interval TEXT,
    interval_count INTEGER,
    items INTEGER NOT NULL,
    partial INTEGER NOT NULL DEFAULT 0,
    mrr_minor INTEGER NOT NULL,
    resumed_mrr_minor INTEGER,
    created INTEGER,
    started_at INTEGER,
    current_period_start INTEGER,
    current_period_end INTEGER,
    will_cancel INTEGER NOT NULL,
    will_renew INTEGER NOT NULL DEFAULT 0,
    cancel_at_period_end INTEGER NOT NULL,
    cancel_at INTEGER,
    canceled_at INTEGER,
    ended_at INTEGER,
    trial_start INTEGER,
    trial_end INTEGER,
    pause_behavior TEXT,
    pause_resumes_at INTEGER,
    collection_method TEXT,
    grace_days INTEGER,
    late_hint INTEGER,
    late_since INTEGER,
    grace_ends_at INTEGER,
    latest_invoice_id TEXT,
    metadata_user_id TEXT,
    tied INTEGER NOT NULL DEFAULT 0,
    raw TEXT NOT NULL";

/// Columns of `stripe_customers` and of its table of kept contents.
const CUSTOMER_COLUMNS: &str = "
    id TEXT NOT NULL,
    version TEXT NOT NULL,
    source TEXT NOT NULL,
    account TEXT,
    livemode INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    currency TEXT,
    delinquent INTEGER,
    balance_minor INTEGER,
    metadata_user_id TEXT,
    tied INTEGER NOT NULL DEFAULT 0,
    raw TEXT NOT NULL";

/// The truth about each Stripe object, and the contents kept beside it.
fn truth() -> String {
    format!(
        "
CREATE TABLE stripe_subscriptions ({SUBSCRIPTION_COLUMNS}, PRIMARY KEY (id)) STRICT;
CREATE INDEX stripe_subscriptions_by_customer ON stripe_subscriptions (customer_id);
CREATE INDEX stripe_subscriptions_by_preference ON stripe_subscriptions (preference);
CREATE TABLE kept_subscriptions ({SUBSCRIPTION_COLUMNS}, PRIMARY KEY (id, version)) STRICT;
CREATE TABLE vouched_subscriptions ({SUBSCRIPTION_COLUMNS}, PRIMARY KEY (id)) STRICT;
CREATE TABLE kept_vouched ({SUBSCRIPTION_COLUMNS}, PRIMARY KEY (id, version)) STRICT;
CREATE TABLE stripe_customers ({CUSTOMER_COLUMNS}, PRIMARY KEY (id)) STRICT;
CREATE TABLE kept_customers ({CUSTOMER_COLUMNS}, PRIMARY KEY (id, version)) STRICT;
"
    )
}

const TABLES: &str = "
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    account TEXT,
    livemode INTEGER NOT NULL,
    created INTEGER NOT NULL,
    api_version TEXT,
    object_id TEXT,
    payload TEXT NOT NULL,
    outcome TEXT NOT NULL,
    rule TEXT,
    reason TEXT,
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_object ON events (object_id);
CREATE INDEX events_by_outcome ON events (outcome) WHERE outcome = 'quarantined';

CREATE TABLE doubted_subscriptions (
    id TEXT PRIMARY KEY
) STRICT;

CREATE TABLE claims (
    subject TEXT NOT NULL,
    rank INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    evidence TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (subject, rank, user_id)
) STRICT;
CREATE INDEX claims_by_user ON claims (user_id);

CREATE TABLE customer_bindings (
    kind TEXT NOT NULL,
    from_id TEXT NOT NULL,
    to_id TEXT NOT NULL,
    evidence TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (kind, from_id)
) STRICT;

CREATE TABLE revenue_entries (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version TEXT NOT NULL,
    as_of INTEGER NOT NULL,
    account TEXT,
    livemode INTEGER NOT NULL,
    amount_minor INTEGER NOT NULL,
    outside_minor INTEGER NOT NULL DEFAULT 0,
    uncaptured_minor INTEGER NOT NULL DEFAULT 0,
    voided_minor INTEGER NOT NULL,
    currency TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    payment_id TEXT,
    charge_id TEXT,
    invoice_id TEXT,
    subscription_id TEXT,
    customer_id TEXT,
    user_id TEXT,
    status TEXT,
    PRIMARY KEY (kind, key)
) STRICT;
CREATE INDEX revenue_entries_by_payment ON revenue_entries (payment_id) WHERE payment_id IS NOT NULL;

CREATE TABLE payment_links (
    payment_id TEXT NOT NULL,
    invoice_id TEXT NOT NULL,
    evidence INTEGER NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (payment_id, invoice_id)
) STRICT;
CREATE INDEX payment_links_by_invoice ON payment_links (invoice_id);

CREATE TABLE findings (
    event_id TEXT NOT NULL,
    code TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (event_id, code, subject)
) STRICT;

CREATE TABLE guardian_decisions (
    event_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (event_id, rule)
) STRICT;
";

/// What the contents of a table give at this moment: a late payer's grace or a pause may have ended. Without access a
/// subscription ranks with others of its status: `mode.1.tier.status…` becomes `mode.0.status.tier…`.
fn timed(table: &str) -> String {
    format!(
        "SELECT t.id, t.customer_id, t.metadata_user_id, t.projected_status, t.tier, t.gives AS entitles,
        CASE WHEN t.gives = t.entitles THEN t.preference
            ELSE substr(t.preference, 1, 2) || '0.' || substr(t.preference, 8, 2) || '.' || substr(t.preference, 5, 2)
                || substr(t.preference, 10) END AS preference
    FROM (
        SELECT s.id, s.customer_id, s.metadata_user_id, s.projected_status, s.tier, s.entitles, s.preference,
            s.entitles AND coalesce(s.access_from <= unixepoch() * 1000, 1)
                AND coalesce(s.grace_ends_at > unixepoch() * 1000, 1) AS gives
        FROM {table} s) t"
    )
}

/// The owner of each subscription and what it gives. Mirrors `gateway.subscription_grants`; `revenue::owners` has the rule
/// for the owner. A subscription gives what its truth and its vouched state both give: the lesser of the two by preference,
/// and the lower of two tiers.
fn grants() -> String {
    let (truth, vouched) = (timed("stripe_subscriptions"), timed("vouched_subscriptions"));
    format!(
        "
CREATE VIEW subscription_grants AS
WITH timed AS ({truth}), vouched AS ({vouched}), state AS (
    SELECT s.id, d.id IS NOT NULL AS doubted,
        d.id IS NOT NULL AND coalesce(v.preference, '') < s.preference AS held,
        -- What a customer lends counts as long as both name the same.
        CASE WHEN d.id IS NULL OR v.customer_id = s.customer_id THEN s.customer_id END AS payer,
        CASE WHEN d.id IS NULL THEN s.metadata_user_id ELSE v.metadata_user_id END AS present,
        s.entitles AND (d.id IS NULL OR coalesce(v.entitles, 0)) AS entitles,
        s.entitles AND NOT (d.id IS NULL OR coalesce(v.entitles, 0)) AS withheld,
        s.projected_status, s.preference, s.tier,
        v.projected_status AS vouched_status, v.preference AS vouched_preference, v.tier AS vouched_tier
    FROM timed s
    LEFT JOIN doubted_subscriptions d ON d.id = s.id
    LEFT JOIN vouched v ON v.id = s.id
)
SELECT a.id,
    -- SQLite looks for names of an outer query everywhere but in ORDER BY.
    (SELECT x.user_id FROM (
         SELECT c.user_id, c.rank, c.version, c.user_id IS a.present AS is_present FROM claims c
         WHERE (c.subject = a.id OR c.subject = a.payer)
           AND (c.rank NOT IN (10, 30, 40, 50) OR NOT EXISTS (
               SELECT 1 FROM claims o WHERE o.subject = c.subject AND o.rank = c.rank AND o.user_id <> c.user_id))) x
     ORDER BY x.rank DESC, substr(x.version, 1, 24) DESC, x.is_present DESC, x.version DESC, x.user_id
     LIMIT 1) AS user_id,
    EXISTS (SELECT 1 FROM claims c WHERE c.subject = a.id OR c.subject = a.payer) AS claimed,
    a.doubted, a.withheld, a.entitles,
    CASE WHEN a.held THEN a.vouched_status ELSE a.projected_status END AS projected_status,
    CASE WHEN a.held THEN coalesce(a.vouched_preference, '') ELSE a.preference END AS preference,
    coalesce(
        CASE WHEN a.held THEN a.vouched_tier ELSE a.tier END,
        CASE WHEN a.tier IS NULL AND a.vouched_tier IS NULL THEN (
            SELECT b.to_id FROM customer_bindings b WHERE b.kind = 'subscription_tier' AND b.from_id = a.id) END
    ) AS tier
FROM state a;

CREATE VIEW subscription_owners AS SELECT id, user_id, tier FROM subscription_grants;

CREATE VIEW subscription_access AS
SELECT s.id, s.livemode, s.account, g.user_id, s.customer_id, s.status, g.projected_status, g.entitles, g.tier, s.currency,
    CASE WHEN s.pause_resumes_at <= unixepoch() * 1000 THEN coalesce(s.resumed_mrr_minor, s.mrr_minor)
        ELSE s.mrr_minor END AS mrr_minor,
    s.will_cancel, s.will_renew, s.late_since, s.grace_ends_at, s.partial, s.items, s.current_period_end, s.source,
    g.preference
FROM stripe_subscriptions s JOIN subscription_grants g ON g.id = s.id;
"
    )
}

/// The rule of counting, as a statement.
fn counting() -> String {
    COUNTED_REVENUE.replace("MATCH_WINDOW", &MATCH_WINDOW.as_millis().to_string())
}

/// Money that counts, by day, and recurring revenue.
fn views() -> String {
    format!(
        "{}
CREATE VIEW daily_revenue AS
SELECT account, livemode, date(occurred_at / 1000, 'unixepoch') AS day, currency,
    sum(CASE WHEN kind IN ('invoice', 'payment', 'part') THEN amount_minor ELSE 0 END) AS gross_minor,
    sum(CASE WHEN kind IN ('invoice', 'payment', 'part') THEN 0 ELSE amount_minor END) AS returned_minor,
    sum(amount_minor) AS net_minor,
    sum(outside_minor) AS outside_minor
FROM counted_revenue
GROUP BY 1, 2, 3, 4;

CREATE VIEW recurring_revenue AS
SELECT a.livemode, a.account, a.tier, a.currency, sum(a.entitles) AS subscriptions, sum(a.mrr_minor) AS mrr_minor
FROM subscription_access a
WHERE a.entitles OR a.mrr_minor <> 0
GROUP BY 1, 2, 3, 4;
",
        counting()
    )
}
