//! Which ledger the SQLite file is, and what it has recorded of events.

use rusqlite::{Connection, OptionalExtension, Row, Transaction};

use super::NAME;
use super::fault::fault;
use crate::domain::ledger_id::LedgerId;
use crate::ledger::audit::AUDIT_IDS_MAX;
use crate::ledger::witness::{Recorded, Testimony};
use crate::ledger::{LedgerError, LedgerErrorKind};

/// The table of the identity, also added to files of earlier releases that lack it.
const IDENTITY: &str = "
CREATE TABLE IF NOT EXISTS identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL
) STRICT;
";

/// Gives the file an identity, unless it has one.
pub(super) fn identify(transaction: &Transaction<'_>) -> Result<(), LedgerError> {
    transaction.execute_batch(IDENTITY).map_err(fault)?;
    let random = |source: getrandom::Error| {
        LedgerError::new(NAME, LedgerErrorKind::Unavailable, "the operating system gives no randomness")
            .caused_by(source)
    };
    let drawn = LedgerId::draw().map_err(random)?;
    transaction
        .execute("INSERT INTO identity (only_row, id) VALUES (1, ?1) ON CONFLICT DO NOTHING", [drawn.as_str()])
        .map(drop)
        .map_err(fault)
}

/// Refuses a batch that is meant for another ledger. The open file keeps its identity, so this needs no transaction with the batch.
pub(super) fn refuse_other(connection: &Connection, meant_for: &LedgerId) -> Result<(), LedgerError> {
    let ours: LedgerId = identity(connection).map_err(fault)?;
    if ours == *meant_for {
        return Ok(());
    }
    let message = format!("a batch is meant for the ledger {meant_for}, and this one is {ours}");
    Err(LedgerError::new(NAME, LedgerErrorKind::OtherLedger, message))
}

fn identity(connection: &Connection) -> rusqlite::Result<LedgerId> {
    connection.prepare_cached("SELECT id FROM identity")?.query_row([], |row| text(row, 0))
}

/// A dropped event is done: on every route it is a duplicate.
const WITNESS: &str = "
    SELECT id, iif(outcome = 'dropped', 'duplicate', outcome), rule, reason FROM events WHERE id = ?1";

/// What is recorded of the events.
pub(super) fn witness(connection: &mut Connection, events: &[String]) -> Result<Testimony, LedgerError> {
    let read = |connection: &mut Connection| -> rusqlite::Result<Testimony> {
        let snapshot = connection.transaction()?;
        let ledger = identity(&snapshot)?;
        let mut statement = snapshot.prepare_cached(WITNESS)?;
        let mut recorded = Vec::with_capacity(events.len());
        for id in events.iter().take(AUDIT_IDS_MAX) {
            let found = statement.query_row([id], |row| {
                Ok(Recorded { id: row.get(0)?, outcome: text(row, 1)?, rule: row.get(2)?, reason: row.get(3)? })
            });
            recorded.extend(found.optional()?);
        }
        Ok(Testimony { ledger, events: recorded })
    };
    read(connection).map_err(fault)
}

/// A text of a known form.
fn text<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let value = serde_json::Value::String(row.get(column)?);
    serde_json::from_value(value).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}
