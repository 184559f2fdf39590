//! Bodies in the inbox file.

use rusqlite::{Connection, OptionalExtension};

use crate::inbox::body::Unpacker;

/// The body of an entry, unless retention or an erasure removed it.
pub(super) fn of_entry(
    connection: &Connection,
    unpacker: &mut Unpacker,
    entry: i64,
) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT body, bytes FROM bodies WHERE entry = ?1")?
        .query_row([entry], |row| Ok(unpacker.unpack(entry, row.get_ref(0)?.as_blob()?, row.get(1)?)))
        .optional()
}
