//! Checks of an inbox file, for every program that opens it: whether it is an inbox, of a known format, and undamaged.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::schema::{APPLICATION_ID, FORMAT};
use crate::inbox::error::OpenError;

/// The file of the inbox in its directory.
pub const FILE_NAME: &str = "inbox.db";

/// Opens a file without changing it.
pub(super) fn read_only(path: &Path, busy_timeout: Duration) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|source| classify(path, source))?;
    connection.busy_timeout(busy_timeout).map_err(|source| classify(path, source))?;
    Ok(connection)
}

/// The format of an inbox file.
///
/// # Errors
/// If the file belongs to another program, or to a newer one.
pub(super) fn format(path: &Path, connection: &Connection) -> Result<i64, OpenError> {
    if number(path, connection, "application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let found = number(path, connection, "user_version")?;
    if found > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

/// A number that SQLite keeps with the file.
pub(super) fn number(path: &Path, connection: &Connection, pragma: &str) -> Result<i64, OpenError> {
    connection.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|source| classify(path, source))
}

/// How thoroughly to read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Pages and rows.
    Quick,
    /// Also whether indexes match them.
    Full,
}

/// SQLite's first complaint about the file, if it has one.
pub(super) fn damage(connection: &Connection, depth: Depth) -> rusqlite::Result<Option<String>> {
    let question = match depth {
        Depth::Quick => "PRAGMA quick_check(1)",
        Depth::Full => "PRAGMA integrity_check(1)",
    };
    let finding: Option<String> = connection.query_row(question, [], |row| row.get(0)).optional()?;
    Ok(finding.filter(|finding| finding != "ok"))
}

/// What an error of SQLite means for opening the file.
pub(super) fn classify(path: &Path, source: rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => {
            OpenError::Damaged { path: path.to_owned(), detail: source.to_string() }
        }
        _ => OpenError::Sqlite { path: path.to_owned(), source },
    }
}
