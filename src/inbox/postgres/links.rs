//! How a statement is given to one of a few connections to the database.
//!
//! A statement is answered within a deadline or its connection is dropped, never cancelled: a commit that is cancelled while it
//! waits for a standby reads as a success. A server that yields to another transaction is asked again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::super::error::InboxError;
use super::super::stats::WriterStats;
use super::away::Away;
use super::fault::{Fault, Unknown};
use crate::postgres::{Link, Parameter, Place, Pool};

/// Wait before another connection is tried after one was refused.
const RECONNECT: Duration = Duration::from_millis(250);

/// How often a statement is repeated that conflicts with another transaction.
const CONFLICTS_MAX: u32 = 20;

/// Whether a server that says so loses commits when the power fails, and whether it stores its data as PostgreSQL does.
const STORAGE: &str = "
    SELECT 'off' IN (coalesce(current_setting('fsync', true), 'on'), coalesce(current_setting('full_page_writes', true), 'on')),
        version() LIKE 'PostgreSQL %' AND version() NOT LIKE '%-YB-%'";

/// Whether a server that looks like PostgreSQL stores its data elsewhere: Neon, Aurora and `AlloyDB` do, whatever `fsync` says.
const STORES_ELSEWHERE: &str = "
    SELECT EXISTS (
        SELECT 1 FROM pg_catalog.pg_settings
        WHERE name LIKE 'neon.%' OR name LIKE 'aurora%' OR name LIKE 'rds.aurora%' OR name LIKE 'alloydb%')";

/// How connections are made and used.
pub(super) struct LinkOptions {
    pub(super) pool: Pool,
    /// Longest wait for the answer to a statement, connecting included.
    pub(super) deadline: Duration,
    /// Whether to accept a server that loses commits when the power fails.
    pub(super) allows_unsafe: bool,
}

/// The result of a statement.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// The server warned of something, so the statement may not be as durable as it should be.
    pub(super) has_warned: bool,
    /// The statement may have run once before, with a lost answer.
    pub(super) is_again: bool,
}

pub(super) struct Links {
    options: LinkOptions,
    /// When the database last refused or dropped a connection, so that not every caller runs into it.
    refused: Mutex<Option<(Instant, Fault)>>,
    stats: Arc<WriterStats>,
    pub(super) away: Away,
}

impl Links {
    pub(super) fn new(options: LinkOptions, stats: Arc<WriterStats>) -> Self {
        Self { options, refused: Mutex::default(), stats, away: Away::default() }
    }

    /// Runs a statement that changes nothing, or that may run twice: if the connection turns out to be dead, it is replaced
    /// once.
    pub(super) async fn run(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Answer, Fault> {
        let started = Instant::now();
        let run = async {
            let place = self.options.pool.place().await.map_err(|_| Fault::closed())?;
            let mut is_again = false;
            let mut conflicts = 0;
            loop {
                let (mut link, is_fresh) = match place.idle().await {
                    Some(link) => (link, false),
                    None => (self.connect(&place).await?, true),
                };
                match link.run(statement, parameters).await {
                    Ok(answer) => {
                        place.keep(link);
                        return Ok(Answer { rows: answer.rows, has_warned: answer.has_warned, is_again });
                    }
                    Err(error) => match error.code() {
                        Some(code) if conflicts < CONFLICTS_MAX && is_conflict(code) => {
                            conflicts += 1;
                            place.keep(link);
                        }
                        Some(code) if !ends_connection(code) => {
                            place.keep(link);
                            return Err(Fault::of(&error));
                        }
                        _ => {
                            place.discard(link);
                            // A pooler or a server that restarted leaves dead connections behind.
                            if is_fresh || is_again {
                                return Err(self.note(Fault::of(&error)));
                            }
                            is_again = true;
                        }
                    },
                }
            }
        };
        match tokio::time::timeout(self.options.deadline, run).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::late(started.elapsed())),
        }
    }

    /// As [`Self::run`], for statements that must be as durable as the server can make them: a warning is an error.
    pub(super) async fn run_durably(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Answer, Fault> {
        let answer = self.run(statement, parameters).await?;
        if answer.has_warned { Err(Fault::not_durable()) } else { Ok(answer) }
    }

    /// Runs statements without parameters, in a transaction.
    pub(super) async fn run_all(&self, statements: &str) -> Result<(), Fault> {
        let run = async {
            let place = self.options.pool.place().await.map_err(|_| Fault::closed())?;
            let mut link = self.connect(&place).await?;
            link.run_all(statements).await.map_err(|error| Fault::of(&error))
        };
        let deadline = self.options.deadline;
        tokio::time::timeout(deadline, run).await.unwrap_or_else(|_| Err(Fault::late(deadline)))
    }

    async fn connect(&self, place: &Place<'_>) -> Result<Link, Fault> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, fault)) = refused
            && since.elapsed() < RECONNECT
        {
            return Err(fault);
        }
        let mut link = place.connect().await.map_err(|error| self.note(Fault::unconnected(&error)))?;
        if !self.options.allows_unsafe {
            refuse_unsafe(&mut link).await.map_err(|fault| self.note(fault))?;
        }
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(link)
    }

    /// Notes that the database did not do what it was asked, and logs it the first time.
    pub(super) fn failed(&self, error: &InboxError) {
        let is_refused = self.away.failed(error);
        let was_writable = self.stats.writable.swap(false, Ordering::Relaxed);
        let error = error as &dyn std::error::Error;
        if is_refused {
            tracing::error!(error, "inbox: the database cannot be used as it is; webhooks get 503");
        } else if was_writable {
            tracing::error!(
                error,
                "inbox: the database takes no writes; webhooks are answered 503, unless inbox.spill_dir takes them"
            );
        }
    }

    /// Notes that the database cannot be reached or used.
    fn note(&self, fault: Fault) -> Fault {
        if matches!(fault.unknown(), Some(Unknown::Connection)) || fault.is_unfit() {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), fault.clone()));
            self.failed(&InboxError::from(fault.clone()));
        }
        fault
    }
}

/// Refuses a server that loses commits when the power fails.
async fn refuse_unsafe(link: &mut Link) -> Result<(), Fault> {
    let ask = |error: tokio_postgres::Error| Fault::of(&error);
    let rows = link.run(STORAGE, &[]).await.map_err(ask)?.rows;
    let (is_off, is_plain) = rows.first().map_or((false, false), |row| (row.get(0), row.get(1)));
    if !is_off || !is_plain {
        return Ok(());
    }
    let rows = link.run(STORES_ELSEWHERE, &[]).await.map_err(ask)?.rows;
    if rows.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    Err(Fault::unfit(
        "fsync or full_page_writes is off there, so that a power cut takes what was acknowledged: switch both on (for tests, \
         inbox.allow_unsafe takes such a server)",
    ))
}

/// Whether another transaction was in the way. Then the statement did nothing and may be repeated.
fn is_conflict(code: &SqlState) -> bool {
    *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
}

/// Whether the server can no longer be used: it shuts down, or is a standby.
fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("08") || code.code().starts_with("57P") || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}
