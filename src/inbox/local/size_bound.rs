//! A configured bound on the file's size, which binds new entries and nothing else, with room that they leave for work on those
//! that are there.
//!
//! A lease, an outcome, a reason and an index over them take room too. Were they refused in a file that is full to its bound,
//! nothing could be settled, so nothing would ever be removed either. Beside the file stands its log, which the bound does not
//! count: about 32 MiB, and what is written while it is moved into the file.

use rusqlite::{Connection, ErrorCode, ffi};

/// How many bytes an entry may grow until its end, including the indexes over it: it is leased, and gets the id of a
/// process (64 characters, in two places), an outcome, perhaps a reason. Split pages are not full, which is counted too.
const GROWTH: u64 = 512;

/// Pages left for all other writes, such as merging the newest event ids.
const SPARE_PAGES: u64 = 16;

/// The size that the file may grow to.
#[derive(Clone, Copy, Debug)]
pub(super) struct SizeBound {
    page_bytes: u64,
    pages_max: u64,
}

impl SizeBound {
    /// Bounds a file.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(super) fn new(connection: &Connection, bytes_max: u64) -> rusqlite::Result<Self> {
        let page_bytes = pragma(connection, "PRAGMA page_size")?.max(512);
        Ok(Self { page_bytes, pages_max: bytes_max / page_bytes })
    }

    /// Whether there is room for so many bytes besides the reserve for so many unfinished entries.
    ///
    /// # Errors
    /// `SQLITE_FULL` if there is not.
    pub(super) fn check(&self, connection: &Connection, bytes: usize, unfinished: u64) -> rusqlite::Result<()> {
        let free = pragma(connection, "PRAGMA freelist_count")?;
        let used = pragma(connection, "PRAGMA page_count")?.saturating_sub(free);
        let needed = (bytes as u64).div_ceil(self.page_bytes);
        if used + needed + self.reserve(unfinished) <= self.pages_max {
            return Ok(());
        }
        let full = ffi::Error { code: ErrorCode::DiskFull, extended_code: ffi::SQLITE_FULL };
        let reason = "the rest of inbox.bytes_max is for work on the entries that are there";
        Err(rusqlite::Error::SqliteFailure(full, Some(reason.to_owned())))
    }

    fn reserve(&self, unfinished: u64) -> u64 {
        SPARE_PAGES + (unfinished * GROWTH).div_ceil(self.page_bytes)
    }
}

fn pragma(connection: &Connection, statement: &str) -> rusqlite::Result<u64> {
    connection.prepare_cached(statement)?.query_row([], |row| row.get(0))
}
