//! What can go wrong with a statement, and what is known of its effect then.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::super::error::{Cause, InboxError};
use crate::postgres::chain;

/// Why a statement has no answer.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    unknown: Option<Unknown>,
    code: Option<SqlState>,
    constraint: Option<String>,
    error: InboxError,
}

/// Why it is unknown whether the statement took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The connection was refused or broke.
    Connection,
    /// No answer within the deadline.
    Late,
}

/// Classes of codes that say something of the server and nothing of the statement's data: connections, transactions and what they met,
/// statements that a pooler mixed up, roles, resources, limits (among them that no transaction number is left; what is stored here is
/// far from the others), locks, statements that are ended from outside, disks, and what the server calls its own fault.
const OF_THE_SERVER: [&str; 11] = ["08", "25", "26", "28", "40", "53", "54", "55", "57", "58", "XX"];

/// A text as an error's source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl Fault {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        let code = error.code().cloned();
        let constraint = error.as_db_error().and_then(|error| error.constraint()).map(str::to_owned);
        let unknown = match &code {
            None => Some(Unknown::Connection),
            Some(code) if code.code().starts_with("57P") || code.code().starts_with("08") => Some(Unknown::Connection),
            Some(_) => None,
        };
        // The detail of an error has the statement's data; its message names none.
        let cause: Cause = match error.as_db_error() {
            Some(said) => Arc::new(Said(format!("{}: {}", said.code().code(), said.message()))),
            None => Arc::new(Said(chain(error))),
        };
        let error = match &code {
            None => InboxError::Unreachable(cause),
            Some(code) if *code == SqlState::DISK_FULL => InboxError::Full(cause),
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => InboxError::ReadOnly(cause),
            Some(code) if OF_THE_SERVER.into_iter().any(|class| code.code().starts_with(class)) => {
                InboxError::Unreachable(cause)
            }
            Some(_) => InboxError::Storage(cause),
        };
        Self { unknown, code, constraint, error }
    }

    /// The server lets no connection in. No statement was sent, so no data is at fault, whatever the code: a trigger at the login
    /// may raise any, and a database that is missing or a setting in the URL has those of other classes.
    pub(super) fn unconnected(error: &tokio_postgres::Error) -> Self {
        let fault = Self::of(error);
        match fault.error {
            InboxError::Storage(cause) => {
                Self { unknown: Some(Unknown::Connection), error: InboxError::Unreachable(cause), ..fault }
            }
            error => Self { error, ..fault },
        }
    }

    pub(super) fn late(after: Duration) -> Self {
        let cause = Arc::new(Said(format!("no answer within {} s", after.as_secs_f32())));
        Self { unknown: Some(Unknown::Late), code: None, constraint: None, error: InboxError::Unreachable(cause) }
    }

    /// The server warned that it gave up waiting for its standbys.
    pub(super) fn not_durable() -> Self {
        let cause =
            Arc::new(Said("the server did not wait for its standbys, so that its word may not last".to_owned()));
        Self { unknown: Some(Unknown::Late), code: None, constraint: None, error: InboxError::Unreachable(cause) }
    }

    /// The database must not be used as it is.
    pub(super) fn unfit(why: impl Into<String>) -> Self {
        Self { unknown: None, code: None, constraint: None, error: InboxError::Unfit(Arc::new(Said(why.into()))) }
    }

    pub(super) fn closed() -> Self {
        Self { unknown: None, code: None, constraint: None, error: InboxError::Closed }
    }

    pub(super) fn unknown(&self) -> Option<Unknown> {
        self.unknown
    }

    pub(super) fn is_unfit(&self) -> bool {
        matches!(self.error, InboxError::Unfit(_))
    }

    /// Whether another row already has the number of an entry.
    pub(super) fn is_taken_number(&self) -> bool {
        self.code.as_ref() == Some(&SqlState::UNIQUE_VIOLATION)
            && self.constraint.as_deref().is_some_and(|name| name.ends_with("_pkey"))
    }

    /// Whether the tables are missing, or not as this program knows them.
    pub(super) fn is_missing_table(&self) -> bool {
        self.code.as_ref().is_some_and(|code| {
            [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_COLUMN].contains(code)
        })
    }
}

impl From<Fault> for InboxError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}
