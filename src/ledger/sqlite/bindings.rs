//! The table `customer_bindings`: what sessions and invoices tell of subscriptions.

use rusqlite::{Transaction, params};

use crate::revenue::rows::BindingRow;

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
