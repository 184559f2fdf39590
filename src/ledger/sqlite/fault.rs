//! What an error of SQLite means for a batch.

use rusqlite::{Error, ErrorCode};

use super::NAME;
use crate::ledger::{LedgerError, LedgerErrorKind as Kind};

/// The ledger error for an error of SQLite, with advice to the operator.
pub(super) fn fault(error: Error) -> LedgerError {
    let (kind, hint) = classify(&error);
    let message = if hint.is_empty() { "SQLite refused".to_owned() } else { format!("SQLite refused: {hint}") };
    LedgerError::new(NAME, kind, message).caused_by(error)
}

fn classify(error: &Error) -> (Kind, &'static str) {
    let Some(code) = error.sqlite_error_code() else {
        // Not an error of SQLite's own, but a column of an unexpected type or a wrong number of parameters: another release
        // made the file.
        return (Kind::Schema, "the file is from another release");
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (Kind::Overload, "another process holds the file"),
        ErrorCode::OutOfMemory => (Kind::Overload, "out of memory"),
        ErrorCode::DiskFull => (Kind::Storage, "the disk is full: free some space"),
        ErrorCode::DatabaseCorrupt => (Kind::Storage, "the file is damaged: restore it, then replay"),
        ErrorCode::NotADatabase => (Kind::Storage, "the file is not a SQLite database: check the path"),
        ErrorCode::CannotOpen => (Kind::Storage, "the file cannot be opened: check that its directory exists"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            (Kind::Storage, "the file cannot be written: check its owner and permissions")
        }
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => (Kind::Storage, "the disk reports errors"),
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => (Kind::Rejected, ""),
        ErrorCode::InternalMalfunction => (Kind::Storage, "an internal fault"),
        // A code that a later SQLite adds is not held against the events.
        _ => (Kind::Unknown, "a code that no rule knows"),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn every_code_has_its_decision() {
        let cases = [
            (ffi::SQLITE_BUSY, Kind::Overload),
            (ffi::SQLITE_LOCKED, Kind::Overload),
            (ffi::SQLITE_NOMEM, Kind::Overload),
            (ffi::SQLITE_FULL, Kind::Storage),
            (ffi::SQLITE_CORRUPT, Kind::Storage),
            (ffi::SQLITE_NOTADB, Kind::Storage),
            (ffi::SQLITE_CANTOPEN, Kind::Storage),
            (ffi::SQLITE_READONLY, Kind::Storage),
            (ffi::SQLITE_PERM, Kind::Storage),
            (ffi::SQLITE_IOERR, Kind::Storage),
            (ffi::SQLITE_PROTOCOL, Kind::Storage),
            (ffi::SQLITE_INTERNAL, Kind::Storage),
            (ffi::SQLITE_ERROR, Kind::Unknown),
            (ffi::SQLITE_CONSTRAINT, Kind::Rejected),
            (ffi::SQLITE_MISMATCH, Kind::Rejected),
            (ffi::SQLITE_TOOBIG, Kind::Rejected),
        ];
        for (code, kind) in cases {
            assert_eq!(fault(Error::SqliteFailure(ffi::Error::new(code), None)).kind, kind, "{code}");
        }
        assert_eq!(fault(Error::InvalidQuery).kind, Kind::Schema);
    }
}
