//! What a run leaves to do: indexes of a large `public.subscriptions`, which a transaction would build while its writers wait.
//!
//! `gateway.left_to_build` tells the statements. Each runs by itself and lets the table's writers go on: PostgreSQL waits for the
//! transactions that are open, not the other way round. A build that is broken off leaves an index that is of no use and still
//! costs every write; the next run replaces it.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

use super::{fault, is_so, rows};
use crate::ledger::report::LeftToBuild;
use crate::ledger::{LedgerError, LedgerErrorKind};
use crate::postgres::Link;

/// Longest wait for a lock. The lock waits for the app's open transactions. Behind it wait only other changes of the
/// table's form, and vacuuming.
pub const LOCK_MAX: Duration = Duration::from_mins(5);

/// Longest build: an hour is some hundred million rows.
const BUILD_MAX: &str = "1h";

/// What became of one statement that was left.
#[derive(Debug)]
pub enum Built {
    /// It is there.
    Done,
    /// Another session builds it.
    ByAnother,
    /// Several platform rows are one user's, so that no index can hold them to one.
    NotUnique,
    /// It is not there. What was begun was removed as far as that was possible.
    Failed(LedgerError),
}

/// What is left, in the order in which to do it; empty if the database has no function yet that tells it.
pub async fn left(link: &mut Link) -> Result<Vec<LeftToBuild>, LedgerError> {
    if !is_so(link, "SELECT pg_catalog.to_regprocedure('gateway.left_to_build()') IS NOT NULL AS answer").await? {
        return Ok(Vec::new());
    }
    let read = |row: &Row| -> Result<LeftToBuild, Error> {
        Ok(LeftToBuild { what: row.try_get("what")?, statement: row.try_get("statement")? })
    };
    let found = rows(link, "SELECT what, statement FROM gateway.left_to_build()").await?;
    found.iter().map(read).collect::<Result<_, _>>().map_err(fault)
}

/// Runs what is left, outside a transaction, and tells what became of each. If one fails, the next still gets its turn.
/// `lock_max` is the longest wait for a lock: [`LOCK_MAX`], except in tests.
///
/// # Errors
/// When the database does not tell what is left.
pub async fn build(
    link: &mut Link,
    lock_max: Duration,
    mut tell: impl FnMut(&LeftToBuild, &Built),
) -> Result<(), LedgerError> {
    let left = left(link).await?;
    if left.is_empty() {
        return Ok(());
    }
    // Each by itself, because several statements at once would be one transaction.
    link.run_all(&format!("SET lock_timeout = {}", lock_max.as_millis())).await.map_err(fault)?;
    link.run_all(&format!("SET statement_timeout = '{BUILD_MAX}'")).await.map_err(fault)?;
    for one in &left {
        tell(one, &build_one(link, lock_max, one).await);
    }
    // A pooler may hand the session on, so the settings are reset.
    for setting in ["lock_timeout", "statement_timeout"] {
        link.run_all(&format!("RESET {setting}")).await.map_err(fault)?;
    }
    Ok(())
}

async fn build_one(link: &mut Link, lock_max: Duration, left: &LeftToBuild) -> Built {
    let Some(statement) = &left.statement else { return Built::ByAnother };
    let Err(error) = link.run_all(statement).await else { return Built::Done };
    let code = error.code().cloned();
    if statement.starts_with("CREATE ") {
        remove_leftover(link, &left.what).await;
    }
    if code == Some(SqlState::UNIQUE_VIOLATION) {
        Built::NotUnique
    } else {
        Built::Failed(failed(error, code.as_ref(), lock_max))
    }
}

/// Removes what a failed build began, because an unfinished index costs every write. If that fails too, the next run replaces it. The
/// database is asked again, because an index of that name may be one that another session builds, or has built in the meantime.
async fn remove_leftover(link: &mut Link, what: &str) {
    for leftover in left(link).await.unwrap_or_default().into_iter().filter(|left| left.what == what) {
        if let Some(statement) = leftover.statement.filter(|statement| statement.starts_with("DROP ")) {
            drop(link.run_all(&statement).await);
        }
    }
}

fn failed(error: Error, code: Option<&SqlState>, lock_max: Duration) -> LedgerError {
    let said = error.as_db_error().map(|error| error.message().to_owned());
    let mut error = fault(error);
    error.message = match (code, error.kind) {
        (Some(&SqlState::LOCK_NOT_AVAILABLE), _) => format!(
            "a transaction has the table for longer than {lock_max:?}: look for it in pg_stat_activity (xact_start), end it, and run \
             `colony-gateway migrate` again"
        ),
        (_, LedgerErrorKind::TimedOut) => {
            format!("it took longer than {BUILD_MAX}: run the statement yourself, with statement_timeout = 0")
        }
        _ => said.unwrap_or(error.message),
    };
    error
}
