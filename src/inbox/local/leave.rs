//! What a file notes of moves: one that is left says where its entries went, in a table of its own that no other file has; one that is
//! being filled says so in a mark. Neither is opened by a gateway.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::LocalInbox;
use super::checks::{self, FILE_NAME, classify};
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::inbox::error::{InboxError, OpenError};
use crate::inbox::moving::{ARRIVING, CAME_MARK, IDENTITY_MARK, MovedTo, shown};
use crate::inbox::state::StateName;

/// Whether to open a file whose entries were moved, or that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::inbox) enum AfterAMove {
    Refuse,
    Open,
}

/// How long a look waits for a program that holds the file's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

impl LocalInbox {
    pub(in crate::inbox) async fn moved_to(&self) -> Result<Option<MovedTo>, InboxError> {
        self.read(|connection| moved_to(connection)).await
    }

    pub(in crate::inbox) async fn begin_leaving(&self, to: String) -> Result<(), InboxError> {
        self.ask(Leave::Begin(to)).await.map(drop)
    }

    /// False if no move to that place had begun.
    pub(in crate::inbox) async fn end_leaving(&self, to: String) -> Result<bool, InboxError> {
        self.ask(Leave::End(to)).await
    }

    pub(in crate::inbox) async fn give_up_leaving(&self) -> Result<(), InboxError> {
        self.ask(Leave::GiveUp).await.map(drop)
    }

    /// False if the file was not being filled.
    pub(in crate::inbox) async fn give_up_arrival(&self) -> Result<bool, InboxError> {
        self.ask(Leave::GiveUpArrival).await
    }

    pub(in crate::inbox) async fn empty(&self) -> Result<(), InboxError> {
        self.ask(Leave::Empty).await.map(drop)
    }
}

/// The place to which a file's entries went, or are going.
fn moved_to(connection: &Connection) -> rusqlite::Result<Option<MovedTo>> {
    let question = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'moved')";
    if !connection.query_row(question, [], |row| row.get::<_, bool>(0))? {
        return Ok(None);
    }
    let read = |row: &Row<'_>| Ok(MovedTo { place: row.get(0)?, is_done: row.get(1)? });
    connection.query_row("SELECT place, is_done FROM moved", [], read).optional()
}

/// The place that a file is being filled from.
fn filled_from(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let question =
        "SELECT substr(name, length(?1) + 1) FROM counters WHERE substr(name, 1, length(?1)) = ?1 AND value = ?2";
    connection.query_row(question, params![format!("mark.{CAME_MARK}"), ARRIVING], |row| row.get(0)).optional()
}

/// Refuses a file whose entries were moved or are being moved, and one that is being filled.
pub(super) fn refuse_moved(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let faulty = |source| classify(path, source);
    if let Some(MovedTo { place, is_done }) = moved_to(connection).map_err(faulty)? {
        let (path, place) = (path.to_owned(), shown(&place));
        return Err(if is_done { OpenError::Moved { path, place } } else { OpenError::Moving { path, place } });
    }
    match filled_from(connection).map_err(faulty)? {
        Some(place) => Err(OpenError::HalfFilled { path: path.to_owned(), place }),
        None => Ok(()),
    }
}

/// The place to which the entries of the file in a directory went. Changes nothing, and blocks.
///
/// # Errors
/// If the directory has no inbox, or none that this version can read.
pub fn moved_from(directory: &Path) -> Result<Option<MovedTo>, OpenError> {
    let moved = look(directory, moved_to)?;
    Ok(moved.map(|to| MovedTo { place: shown(&to.place), ..to }))
}

/// Whether the file in a directory is being filled from another place. Changes nothing, and blocks.
///
/// # Errors
/// Those of [`moved_from`].
pub fn is_half_filled(directory: &Path) -> Result<bool, OpenError> {
    Ok(look(directory, filled_from)?.is_some())
}

fn look<T>(directory: &Path, ask: fn(&Connection) -> rusqlite::Result<T>) -> Result<T, OpenError> {
    let path = directory.join(FILE_NAME);
    let connection = checks::read_only(&path, BUSY_TIMEOUT)?;
    checks::format(&path, &connection)?;
    ask(&connection).map_err(|source| classify(&path, source))
}

/// A note about a move.
enum Leave {
    /// The entries go to this place.
    Begin(String),
    /// All entries are at this place.
    End(String),
    GiveUp,
    GiveUpArrival,
    /// All entries are in another place, and come back from there.
    Empty,
}

impl Request for Leave {
    /// Whether there was something to note.
    type Done = bool;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<bool> {
        let connection = &file.connection;
        let changed = match self {
            Self::Begin(place) => {
                let table = "CREATE TABLE IF NOT EXISTS moved (place TEXT NOT NULL, is_done INTEGER NOT NULL, at INTEGER NOT NULL)";
                connection.execute_batch(table)?;
                let insert = "INSERT INTO moved SELECT ?1, 0, ?2 WHERE NOT EXISTS (SELECT 1 FROM moved)";
                connection.execute(insert, params![place, now.millis()])?
            }
            Self::End(place) => match moved_to(connection)? {
                Some(noted) if noted.place == *place => {
                    connection.execute("UPDATE moved SET is_done = 1, at = ?1", [now.millis()])?
                }
                _ => 0,
            },
            // The caller may be gone, and this may already have been done for it.
            Self::GiveUp => {
                connection.execute_batch("DROP TABLE IF EXISTS moved")?;
                1
            }
            Self::GiveUpArrival => {
                let marks = "DELETE FROM counters WHERE substr(name, 1, length(?1)) = ?1 AND value = ?2";
                connection.execute(marks, params![format!("mark.{CAME_MARK}"), ARRIVING])?
            }
            Self::Empty => {
                empty(file)?;
                1
            }
        };
        Ok(changed > 0)
    }
}

/// Removes everything except what identifies the file and where it is being filled from.
fn empty(file: &mut InboxFile) -> rusqlite::Result<()> {
    for state in StateName::ALL {
        let question = "SELECT count(*) FROM entries WHERE state = ?1";
        let entries: i64 = file.connection.query_row(question, [state], |row| row.get(0))?;
        file.count(state, -entries);
    }
    file.connection.execute_batch(
        "UPDATE counters SET value = max(value, (SELECT coalesce(max(id), 0) + 1 FROM entries)) WHERE name = 'next_entry';
         DELETE FROM entries; DELETE FROM bodies; DELETE FROM orders; DELETE FROM event_ids; DELETE FROM event_ids_new;
         DELETE FROM steps; DELETE FROM deeds; DROP TABLE IF EXISTS moved;",
    )?;
    let marks = "DELETE FROM counters WHERE substr(name, 1, 5) = 'mark.' AND name <> 'mark.' || ?1
                 AND NOT (substr(name, 1, length(?2)) = ?2 AND value = ?3)";
    file.connection.execute(marks, params![IDENTITY_MARK, format!("mark.{CAME_MARK}"), ARRIVING]).map(drop)
}
