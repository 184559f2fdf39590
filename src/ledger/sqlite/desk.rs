//! What people ask about persons, events and money, from the SQLite file; and what is noted of each day.
//!
//! A mirror of `gateway.person`, `gateway.event_report`, `gateway.business`, `gateway.subscription_page` and `gateway.note_recurring`. Each answer is made by
//! SQLite as one document, read in one snapshot.

use std::sync::LazyLock;

use rusqlite::{Connection, TransactionBehavior, named_params};
use serde::de::DeserializeOwned;

use super::NAME;
use super::attention::with_dropped;
use super::fault::fault;
use crate::domain::clock::Timestamp;
use crate::ledger::audit::id_list;
use crate::ledger::desk::{
    BUSINESS_DAYS_MAX, Business, EventReport, EventWanted, Noted, PERSON_ROWS_MAX, PersonReport, SUBSCRIPTIONS_MAX,
    SubscriptionPage, SubscriptionsWanted, Whom,
};
use crate::ledger::person::fingerprint;
use crate::ledger::{LedgerError, LedgerErrorKind};

/// Recurring revenue by day, and an index of one customer's money, also added to files of earlier releases that lack them.
pub(super) const HISTORY: &str = "
CREATE TABLE IF NOT EXISTS recurring_history (
    day TEXT NOT NULL,
    livemode INTEGER NOT NULL,
    account TEXT NOT NULL,
    tier TEXT NOT NULL,
    currency TEXT NOT NULL,
    subscriptions INTEGER NOT NULL,
    mrr_minor INTEGER NOT NULL,
    PRIMARY KEY (day, livemode, account, tier, currency)
) STRICT;
CREATE INDEX IF NOT EXISTS revenue_entries_by_customer ON revenue_entries (customer_id) WHERE customer_id IS NOT NULL;
";

static PERSON: LazyLock<String> = LazyLock::new(|| with_subscriptions(include_str!("person.sql")));
static EVENT: LazyLock<String> = LazyLock::new(|| with_subscriptions(include_str!("event_report.sql")));
static BUSINESS: LazyLock<String> = LazyLock::new(|| with_dropped(include_str!("business.sql")));
static PAGE: LazyLock<String> = LazyLock::new(|| with_dropped(include_str!("subscription_page.sql")));

/// Puts the statement about subscriptions into another statement.
fn with_subscriptions(statement: &str) -> String {
    with_dropped(&statement.replace("SUBSCRIPTION_LINES", include_str!("person_subscriptions.sql")))
}

/// What the ledger has about a person.
pub(super) fn person(connection: &mut Connection, whom: &Whom) -> Result<PersonReport, LedgerError> {
    let snapshot = connection.transaction().map_err(fault)?;
    let fingerprint = fingerprint(whom.kind(), whom.id());
    let parameters = named_params! {
    ":kind": whom.kind(), ":given": whom.id(), ":fingerprint": fingerprint, ":most": PERSON_ROWS_MAX};
    let text: rusqlite::Result<String> =
        snapshot.prepare_cached(&PERSON).and_then(|mut asked| asked.query_row(parameters, |row| row.get(0)));
    read(&text.map_err(fault)?)
}

/// What the ledger has about an event.
pub(super) fn event(connection: &mut Connection, wanted: &EventWanted) -> Result<EventReport, LedgerError> {
    let snapshot = connection.transaction().map_err(fault)?;
    let objects = id_list(&wanted.objects);
    let parameters = named_params! {":wanted": wanted.id, ":ids": objects, ":most": PERSON_ROWS_MAX};
    let text: rusqlite::Result<String> =
        snapshot.prepare_cached(&EVENT).and_then(|mut asked| asked.query_row(parameters, |row| row.get(0)));
    read(&text.map_err(fault)?)
}

/// Recurring revenue, and the last days.
pub(super) fn business(connection: &mut Connection, days: u32, now: Timestamp) -> Result<Business, LedgerError> {
    let snapshot = connection.transaction().map_err(fault)?;
    let parameters = named_params! {":days": days.min(BUSINESS_DAYS_MAX), ":now": now.millis()};
    let text: rusqlite::Result<String> =
        snapshot.prepare_cached(&BUSINESS).and_then(|mut asked| asked.query_row(parameters, |row| row.get(0)));
    read(&text.map_err(fault)?)
}

/// A page of subscriptions.
pub(super) fn page(connection: &mut Connection, wanted: &SubscriptionsWanted) -> Result<SubscriptionPage, LedgerError> {
    let snapshot = connection.transaction().map_err(fault)?;
    let most = wanted.most.clamp(1, SUBSCRIPTIONS_MAX);
    let parameters = named_params! {":chosen": wanted.chosen.as_str(), ":before": wanted.before, ":most": most};
    let text: rusqlite::Result<String> =
        snapshot.prepare_cached(&PAGE).and_then(|mut asked| asked.query_row(parameters, |row| row.get(0)));
    read(&text.map_err(fault)?)
}

/// Notes the present recurring revenue as that of this day.
pub(super) fn note(connection: &mut Connection, now: Timestamp) -> Result<Noted, LedgerError> {
    let write = |connection: &mut Connection| -> rusqlite::Result<Noted> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let day: String =
            transaction.query_row("SELECT date(?1 / 1000, 'unixepoch')", [now.millis()], |row| row.get(0))?;
        transaction.prepare_cached("DELETE FROM recurring_history WHERE day = ?1")?.execute([&day])?;
        let lines = transaction
            .prepare_cached(
                "INSERT INTO recurring_history (day, livemode, account, tier, currency, subscriptions, mrr_minor)
                 SELECT ?1, livemode, coalesce(account, ''), coalesce(tier, ''), coalesce(currency, ''), subscriptions, mrr_minor
                 FROM recurring_revenue
                 UNION ALL SELECT ?1, 1, '', '', '', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM recurring_revenue)",
            )?
            .execute([&day])?;
        transaction.commit()?;
        Ok(Noted { day, lines: lines as u64 })
    };
    write(connection).map_err(fault)
}

fn read<T: DeserializeOwned>(document: &str) -> Result<T, LedgerError> {
    serde_json::from_str(document).map_err(|error| {
        LedgerError::new(NAME, LedgerErrorKind::Schema, "the file's own answer cannot be read").caused_by(error)
    })
}
