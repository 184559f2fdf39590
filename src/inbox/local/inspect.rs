//! Looks into an inbox file without opening the inbox: they change nothing, and take no lock of ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::checks::{self, Depth, FILE_NAME, classify};
use super::counts;
use super::schema::FORMAT;
use crate::inbox::counts::Counts;
use crate::inbox::error::OpenError;
use crate::inbox::state::StateName;

/// Newest format of inbox files that is known here.
pub const FORMAT_KNOWN: i64 = FORMAT;

/// How long a look waits for a program that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of entries in each state, from the file of a gateway that may be running. Blocks.
///
/// # Errors
/// If the directory has no inbox, or none that this version can read.
pub fn counts_in(directory: &Path) -> Result<Counts, OpenError> {
    let path = directory.join(FILE_NAME);
    let mut connection = checks::read_only(&path, BUSY_TIMEOUT)?;
    checks::format(&path, &connection)?;
    counts::counts(&mut connection).map_err(|source| classify(&path, source))
}

/// What an inbox file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub format: i64,
    /// Entries by state.
    pub entries: BTreeMap<String, u64>,
}

/// Reads a copy through and checks that it is an inbox in a known format, undamaged, and from one moment. Blocks.
///
/// # Errors
/// If it is not.
pub fn inspect(path: &Path) -> Result<Contents, OpenError> {
    let classify = |source| classify(path, source);
    let connection = checks::read_only(path, BUSY_TIMEOUT)?;
    let format = checks::format(path, &connection)?;
    let damaged = |detail: String| OpenError::Damaged { path: path.to_owned(), detail };
    if let Some(finding) = checks::damage(&connection, Depth::Full).map_err(classify)? {
        return Err(damaged(finding));
    }
    let counted = by_state(&connection, "SELECT state, count(*) FROM entries GROUP BY state").map_err(classify)?;
    let tally = by_state(&connection, "SELECT state, entries FROM tally WHERE entries <> 0").map_err(classify)?;
    if counted != tally {
        return Err(damaged("the entries are not those that it counted".to_owned()));
    }
    let count = |state: StateName| counted.get(&state.number()).copied().unwrap_or(0);
    let entries = StateName::ALL.into_iter().map(|state| (state.as_str().to_owned(), count(state)));
    Ok(Contents { format, entries: entries.collect() })
}

fn by_state(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeMap<i64, u64>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
