//! What can go wrong with the inbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{ErrorCode, ffi};

/// Why the inbox could not be opened. Each error says what to do, and the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Directory or file cannot be used.
    #[error("inbox {path}: {message}")]
    Path {
        path: PathBuf,
        message: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("inbox {path} is in use by another gateway: give each its own data directory, or stop the other one")]
    Locked { path: PathBuf },
    #[error(
        "inbox {path} is damaged ({detail}). Nothing was changed. Move the file and its -wal away and restore the last \
         backup, or start with an empty inbox and run `colony-gateway reconcile` to fetch from Stripe what the file \
         still held; `sqlite3 FILE .recover` can save readable entries"
    )]
    Damaged { path: PathBuf, detail: String },
    #[error(
        "{path} is the record of a restore that was interrupted: run `colony-gateway restore` again, or start the gateway, which finishes it"
    )]
    Restoring { path: PathBuf },
    /// The database of another program.
    #[error("{path} is a database, but not an inbox of colony-gateway: choose another data directory")]
    Foreign { path: PathBuf },
    /// Written by a newer program.
    #[error("inbox {path} has format {found}, this program knows up to {known}: run the newer program again")]
    Newer {
        path: PathBuf,
        found: i64,
        /// Newest format this program knows.
        known: i64,
    },
    /// The inbox is configured to be in a database, but the earlier file still holds unsettled entries.
    #[error(
        "inbox {path} holds entries that are not settled ({left}), and GATEWAY_INBOX_URL has the gateway work on others: run \
         `colony-gateway inbox move --to` once, which carries them there, then start the gateway"
    )]
    LeftBehind { path: PathBuf, left: u64 },
    /// A file beside the inbox's database still holds deliveries, and the settings do not name it any more.
    #[error(
        "{path} holds acknowledged deliveries that the inbox's database does not have ({left}), and inbox.spill_dir no longer names its \
         directory: set it and GATEWAY_INBOX_URL as they were until `colony-gateway check` shows that nothing stands there"
    )]
    LeftBeside { path: PathBuf, left: u64 },
    /// All entries of the file went to another place.
    #[error(
        "inbox {path} was moved to {place}: set GATEWAY_INBOX_URL to that database, or stop its gateways and run \
         `colony-gateway inbox move --from` to have all of it here again"
    )]
    Moved { path: PathBuf, place: String },
    /// Some of its entries went to another place.
    #[error(
        "inbox {path} is being moved to {place}, and not all of it is there: run `colony-gateway inbox move --to` again, or \
         give the move up with `colony-gateway inbox move --to --give-up`"
    )]
    Moving { path: PathBuf, place: String },
    /// It has to receive the entries of another inbox, and some of them are still there.
    #[error(
        "inbox {path} is being filled from {place}, and not all of it is here: run `colony-gateway inbox move --from` again, or \
         give the move up with `colony-gateway inbox move --from --give-up`"
    )]
    HalfFilled { path: PathBuf, place: String },
    /// The URL of an inbox in PostgreSQL cannot be read.
    #[error("the URL of the inbox's database cannot be read: {message}")]
    Url { message: String },
    #[error("the inbox's thread cannot be started; raise the process limit")]
    Thread {
        #[source]
        source: std::io::Error,
    },
    /// Any other error of SQLite.
    #[error("inbox {path} cannot be opened: check that the directory is writable and the disk is not full")]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
}

impl OpenError {
    /// Whether a person has to change a setting, or move entries, before the inbox can be opened.
    pub const fn needs_other_settings(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::LeftBehind { .. }
            | Self::LeftBeside { .. }
            | Self::Moved { .. }
            | Self::Moving { .. } => true,
            Self::Path { .. }
            | Self::Locked { .. }
            | Self::Damaged { .. }
            | Self::Restoring { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::HalfFilled { .. }
            | Self::Thread { .. }
            | Self::Sqlite { .. } => false,
        }
    }
}

/// The store's own error.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why the inbox did not do what it was asked. It acknowledged nothing, and lost nothing that was durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InboxError {
    /// The disk or the configured bound is reached.
    #[error("inbox is full: free disk space or raise inbox.bytes_max")]
    Full(#[source] Cause),
    /// More requests wait than the queue holds.
    #[error("inbox is overloaded")]
    Overloaded,
    /// Another program holds the file's write lock.
    #[error("inbox is locked by another program")]
    Busy(#[source] Cause),
    /// The file system refuses writes.
    #[error("inbox is read-only: check the mount and the file's owner, or which server its URL names")]
    ReadOnly(#[source] Cause),
    /// The file was removed, or another one took its name.
    #[error(
        "the inbox's file is gone, and what is written to it now would be lost when the gateway stops: put it back, or restart the \
         gateway, which goes on with the file that it finds then"
    )]
    Displaced(#[source] Cause),
    #[error("inbox is damaged")]
    Damaged(#[source] Cause),
    /// Any other failure of the store.
    #[error("inbox cannot be written or read")]
    Storage(#[source] Cause),
    /// The database of an inbox in PostgreSQL does not answer.
    #[error("the inbox's database cannot be reached")]
    Unreachable(#[source] Cause),
    /// The database of an inbox in PostgreSQL must not be used as it is. A person has to change it, or the setting.
    #[error("the inbox's database cannot be used")]
    Unfit(#[source] Cause),
    /// The writer has stopped.
    #[error("inbox is closed")]
    Closed,
}

impl InboxError {
    /// Classifies an error of SQLite.
    pub(super) fn from_sqlite(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let is_displaced = is_displaced(&error);
        let error: Cause = Arc::new(error);
        match code {
            _ if is_displaced => Self::Displaced(error),
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error),
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Storage(error),
        }
    }

    /// Whether the store takes nothing now, whatever it is given.
    pub(super) const fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::ReadOnly(_) | Self::Full(_) | Self::Overloaded)
    }

    /// Stable name for metrics and logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Full(_) => "full",
            Self::Overloaded => "overloaded",
            Self::Busy(_) => "busy",
            Self::ReadOnly(_) => "read_only",
            Self::Displaced(_) => "displaced",
            Self::Damaged(_) => "damaged",
            Self::Storage(_) => "storage",
            Self::Unreachable(_) => "unreachable",
            Self::Unfit(_) => "unfit",
            Self::Closed => "closed",
        }
    }
}

/// The error of a write to a file that has no name any more. SQLite itself looks for that only where it keeps no write-ahead log.
pub(super) fn displaced(path: &Path) -> rusqlite::Error {
    let failure = ffi::Error { code: ErrorCode::ReadOnly, extended_code: ffi::SQLITE_READONLY_DBMOVED };
    let reason = format!("{} was removed, or another file has its name", path.display());
    rusqlite::Error::SqliteFailure(failure, Some(reason))
}

fn is_displaced(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(failure, _) if failure.extended_code == ffi::SQLITE_READONLY_DBMOVED
    )
}

/// Why the process has to end after a failed fsync.
pub(super) const FSYNC_FAILED: &str = "the disk failed to store the inbox; restarting replays its log";

/// After a failed fsync the kernel may have dropped the pages, and then reports success for the next one. Only a restart is
/// safe, because it replays the log.
pub(super) fn is_failed_fsync(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_FSYNC
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC
    )
}
