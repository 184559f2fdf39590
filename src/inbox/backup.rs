//! What a backup and a restore need to know of an inbox file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::open::{classify, lock};
use super::schema::{APPLICATION_ID, FORMAT};

/// Newest format of inbox files that is known here.
pub const FORMAT_KNOWN: i64 = FORMAT;

/// Names of the states, by their number in the store.
const STATES: [&str; 6] = ["waiting", "leased", "submitted", "settled", "dead", "quarantined"];

/// Name of a state.
pub(super) fn state_name(state: i64) -> &'static str {
    usize::try_from(state).ok().and_then(|state| STATES.get(state)).copied().unwrap_or("unknown")
}

/// The right to the inbox of a directory: no gateway starts on it while this lives.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held for its lock")] File);

/// Claims a directory that exists.
///
/// # Errors
/// [`OpenError::Locked`] while a gateway runs on it.
pub fn claim(directory: &Path) -> Result<Claim, OpenError> {
    lock(&directory.join("inbox.lock")).map(Claim)
}

/// Record of a restore that has begun to move files. While it is there nothing opens the inbox.
pub fn restore_journal(directory: &Path) -> PathBuf {
    directory.join("restore.journal")
}

/// What an inbox file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Its format.
    pub format: i64,
    /// Entries by state.
    pub entries: BTreeMap<String, u64>,
}

/// Reads a file through: whether it is an inbox, of a known format, undamaged, and one moment of its life. Blocks.
///
/// # Errors
/// When it is not.
pub fn inspect(path: &Path) -> Result<Contents, OpenError> {
    let classify = |source| classify(path, source);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(classify)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(classify);
    if pragma("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let format = pragma("user_version")?;
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    let damaged = |detail: String| OpenError::Damaged { path: path.to_owned(), detail };
    let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(classify)?;
    if finding != "ok" {
        return Err(damaged(finding));
    }
    let (counted, tally) = (
        numbers(&connection, "SELECT state, count(*) FROM entries GROUP BY state").map_err(classify)?,
        numbers(&connection, "SELECT state, entries FROM tally WHERE entries <> 0").map_err(classify)?,
    );
    if counted != tally {
        return Err(damaged("the entries are not those that it counted".to_owned()));
    }
    let entries = STATES.iter().enumerate().map(|(state, name)| {
        let count = i64::try_from(state).ok().and_then(|state| counted.get(&state)).copied().unwrap_or(0);
        ((*name).to_owned(), count)
    });
    Ok(Contents { format, entries: entries.collect() })
}

fn numbers(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<i64, u64>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
