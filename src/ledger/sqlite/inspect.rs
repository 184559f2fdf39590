//! What a backup and a restore need to know of a ledger file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::NAME;
use super::fault::fault;
use super::schema::{SCHEMA_VERSION, unknown, version};
use crate::ledger::{LedgerError, LedgerErrorKind};

/// Reads a file through and checks that it is an undamaged ledger in this release's format. Returns the number of its
/// events. Blocks.
///
/// # Errors
/// If it is not.
pub fn inspect(path: &Path) -> Result<u64, LedgerError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fault)?;
    let found = version(&connection)?;
    if found != SCHEMA_VERSION {
        return Err(unknown(found));
    }
    let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(fault)?;
    if finding != "ok" {
        let message = format!("the file is damaged: {finding}");
        return Err(LedgerError::new(NAME, LedgerErrorKind::Storage, message));
    }
    connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).map_err(fault)
}
