//! The table `customer_bindings`: which user a customer or subscription belongs to. Never re-pointed in passing.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::ledger::{conflict_reason, is_exclusive};
use crate::revenue::rows::BindingRow;

/// Why these bindings cannot be written, if one of them contradicts what is bound. Of an event that was applied before
/// (`again`), a binding that is older than what is bound contradicts nothing: it gives way.
pub(super) fn conflict(
    transaction: &Transaction<'_>,
    rows: &[BindingRow],
    again: bool,
) -> rusqlite::Result<Option<String>> {
    let mut statement =
        transaction.prepare_cached("SELECT to_id, version FROM customer_bindings WHERE kind = ?1 AND from_id = ?2")?;
    for row in rows.iter().filter(|row| is_exclusive(row.kind)) {
        let bound: Option<(String, String)> = statement
            .query_row([row.kind.as_str(), &row.from_id], |bound| Ok((bound.get(0)?, bound.get(1)?)))
            .optional()?;
        if bound.is_some_and(|(to, version)| to != row.to_id && (!again || row.version.sort_key() > version)) {
            return Ok(Some(conflict_reason(row.kind.as_str(), &row.from_id, &row.evidence)));
        }
    }
    Ok(None)
}

/// Keeps the binding with the greatest version; returns the number of rows that changed.
pub(super) fn merge(transaction: &Transaction<'_>, row: &BindingRow) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO customer_bindings (kind, from_id, to_id, evidence, version) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (kind, from_id) DO UPDATE SET to_id = excluded.to_id, evidence = excluded.evidence,
                 version = excluded.version
             WHERE excluded.version > customer_bindings.version",
        )?
        .execute(params![row.kind.as_str(), row.from_id, row.to_id, row.evidence, row.version.sort_key()])
}
