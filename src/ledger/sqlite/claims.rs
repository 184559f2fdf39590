//! The table `claims`: all that events and operators said about users. A set; nothing in it is refused or re-pointed.

use rusqlite::{Transaction, params};

use crate::revenue::rows::ClaimRow;

/// Adds a claim, or keeps the newest evidence of one that is there; returns the number of rows that changed.
pub(super) fn merge(transaction: &Transaction<'_>, row: &ClaimRow) -> rusqlite::Result<usize> {
    transaction
        .prepare_cached(
            "INSERT INTO claims (subject, rank, user_id, evidence, version) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (subject, rank, user_id) DO UPDATE SET evidence = excluded.evidence, version = excluded.version
             WHERE excluded.version > claims.version",
        )?
        .execute(params![row.subject, row.rank as i16, row.user_id, row.evidence, row.version.sort_key()])
}
