//! A consistent copy of a SQLite file that another process may be writing.
//!
//! All steps read one snapshot, pinned by a read transaction: without it every commit of the writer would start the copy
//! over. The writer goes on to commit and to checkpoint. Only its log cannot start over until the copy is done, so the time of
//! a copy is bounded. A copy that would fill the writer's disk is not begun.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{BackupError, files};
use crate::domain::clock::Clock;
use crate::domain::disk;

/// Pages copied in one step.
const STEP_PAGES: i32 = 256;

/// Longest copy. The log of the inbox grows until it ends.
const COPY_MAX: Duration = Duration::from_mins(30);

/// Room that a copy leaves on its disk, where the gateway goes on writing.
const ROOM_LEFT: u64 = 16 * 1024 * 1024;

/// How long to wait for a lock. If an inbox was not closed in order, its first reader recovers it.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Copies `source` to the new file `copy`, which is complete without a log.
pub(super) fn take(source: &Path, copy: &Path, clock: &Clock) -> Result<(), BackupError> {
    take_with(source, copy, (clock, COPY_MAX, ROOM_LEFT), |_| {})
}

/// As [`take`], within a time limit and with so much room left on the disk. Calls `between` after each step.
fn take_with(
    source: &Path,
    copy: &Path,
    (clock, most, room_left): (&Clock, Duration, u64),
    mut between: impl FnMut(&Backup<'_, '_>),
) -> Result<(), BackupError> {
    files::create_private(copy)?;
    let failed = |error| BackupError::Copy { path: source.to_owned(), source: error };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(source, flags).map_err(failed)?;
    from.busy_timeout(BUSY_WAIT).map_err(failed)?;
    from.execute_batch("BEGIN").map_err(failed)?;
    from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    require_room(&from, copy, room_left)?;
    let mut to = Connection::open(copy).map_err(failed)?;
    // The archive syncs it; after a crash this file is not needed.
    to.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(())).map_err(failed)?;
    to.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
    let began = clock.instant();
    let backup = Backup::new(&from, &mut to).map_err(failed)?;
    loop {
        match backup.step(STEP_PAGES).map_err(failed)? {
            StepResult::Done => break,
            StepResult::Busy | StepResult::Locked => std::thread::sleep(Duration::from_millis(10)),
            _ => between(&backup),
        }
        if clock.instant().duration_since(began) > most {
            let minutes = most.as_secs() / 60;
            return Err(BackupError::TooSlow { path: source.to_owned(), minutes });
        }
    }
    drop(backup);
    drop(to);
    // Like its source, the copy is marked as having a write-ahead log.
    let to = Connection::open(copy).map_err(failed)?;
    to.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(failed)?;
    to.close().map_err(|(_, error)| failed(error))
}

/// A copy lies beside the inbox until the archive is written: on a disk that it fills, the gateway could take no webhook.
fn require_room(from: &Connection, copy: &Path, room_left: u64) -> Result<(), BackupError> {
    let pragma = |name| from.query_row(name, [], |row| row.get::<_, u64>(0));
    let unread = |error| BackupError::Copy { path: copy.to_owned(), source: error };
    let pages = pragma("PRAGMA page_count").map_err(unread)?;
    let needed = pages.saturating_mul(pragma("PRAGMA page_size").map_err(unread)?);
    let room =
        disk::room(copy).map_err(BackupError::file(copy, "is on a disk that does not say how much room it has"))?;
    if room.free >= needed.saturating_add(room_left) {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    let directory = copy.parent().and_then(Path::parent).unwrap_or(copy).to_owned();
    Err(BackupError::NoRoom {
        directory,
        needed: mib(needed.saturating_add(room_left)),
        free: room.free / (1024 * 1024),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database with so many rows of one page each, with the settings of the inbox.
    fn database(path: &Path, rows: i64) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, x BLOB)").unwrap();
        connection.execute_batch("BEGIN").unwrap();
        let mut insert = connection.prepare("INSERT INTO t VALUES (?1, zeroblob(5000))").unwrap();
        for n in 0..rows {
            insert.execute([n]).unwrap();
        }
        drop(insert);
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    fn count(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_copy_is_one_moment_and_the_writer_and_its_checkpoints_go_on_between_its_steps() {
        let directory = tempfile::tempdir().unwrap();
        let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
        let writer = database(&source, 2000);
        let mut steps = 0;
        take_with(&source, &copy, (&Clock::system(), COPY_MAX, 0), |_| {
            // A commit follows each step: a copy that started over at each commit would never end.
            writer.execute("INSERT INTO t VALUES (?1, zeroblob(5000))", [10_000 + steps]).unwrap();
            let busy: i64 = writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(0)).unwrap();
            assert_eq!(busy, 0, "the checkpoint had to wait");
            steps += 1;
        })
        .unwrap();
        assert!(steps >= 5, "{steps}");
        assert_eq!((count(&copy), count(&source)), (2000, 2000 + steps));
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("copy-")), "{names:?}");
        // Once the copy is done, the log starts over.
        let left: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(1)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_copy_that_takes_too_long_is_given_up_because_the_log_grows_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
        drop(database(&source, 2000));
        let result = take_with(&source, &copy, (&Clock::system(), Duration::ZERO, 0), |_| {});
        assert!(matches!(result, Err(BackupError::TooSlow { .. })), "{result:?}");
    }

    #[test]
    fn a_copy_that_would_fill_the_disk_of_the_inbox_is_not_begun() {
        let directory = tempfile::tempdir().unwrap();
        let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
        drop(database(&source, 200));
        let free = disk::room(directory.path()).unwrap().free;
        let mut steps = 0;
        let result = take_with(&source, &copy, (&Clock::system(), COPY_MAX, free), |_| steps += 1);
        assert!(matches!(result, Err(BackupError::NoRoom { .. })), "{result:?}");
        assert_eq!((steps, std::fs::metadata(&copy).unwrap().len()), (0, 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_copy_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (source, copy) = (directory.path().join("source"), directory.path().join("copy"));
        drop(database(&source, 1));
        take(&source, &copy, &Clock::system()).unwrap();
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
