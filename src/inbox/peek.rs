//! A look into the inbox file of a gateway that may or may not run: reads only, and takes no lock of ours.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::OpenError;
use super::open::classify;
use super::query::{self, Counts};
use super::schema::{APPLICATION_ID, FORMAT};

/// The file of the inbox in a directory.
pub const FILE_NAME: &str = "inbox.db";

/// Number of entries in each state, read from the file. Blocks.
///
/// # Errors
/// When there is no inbox, or none that this version reads.
pub fn peek(directory: &Path) -> Result<Counts, OpenError> {
    let path = directory.join(FILE_NAME);
    let failed = |source| classify(&path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(2)).map_err(failed)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    if pragma("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path });
    }
    let found = pragma("user_version")?;
    if found > FORMAT {
        return Err(OpenError::Newer { path, found, known: FORMAT });
    }
    query::counts(&mut connection).map_err(failed)
}
