//! The schema of the PostgreSQL ledgers: which files there are, which of them a database has, and running the rest.
//!
//! The files under `migrations/` are plain SQL: numbered ones for tables, which run once, and one a function or view, which
//! runs whenever its text changed. [`print()`] makes one file of them all, so that Supabase's own tool or `psql` can run
//! them too. What ran is recorded with the checksum of its text. A run is one transaction: it takes effect as a whole, or not
//! at all. Statements go as plain text, so a transaction pooler is no hindrance. What would hold up the writers of a large
//! public table is left to [`build`], which comes after it.
//!
//! Guarantees nothing about tables that are not the gateway's beyond what `gateway.prepare_subscriptions` does.

mod files;
mod left;
mod role;
mod script;
mod standing;

use tokio_postgres::Row;

pub use self::files::{ALL, File, Kind};
pub use self::left::{Built, LOCK_MAX, build, left};
pub use self::role::{Caller, RoleName};
pub use self::script::{Wanted, print};
pub use self::standing::{Installed, Standing, Step};
pub(super) use self::standing::{missing_error, none_ran};

use self::files::{PREPARE, RECORD, RETIRE};
use self::script::{BEGIN, begin};
use self::standing::RunnerRecord;
use super::driver::{NAME, fault, no_row};
use super::report::LeftToBuild;
use super::{LedgerError, LedgerErrorKind};
use crate::postgres::Link;

/// The public table that a run may change.
const PUBLIC_TABLE: &str = "public.subscriptions";

/// Advice for a role that may not migrate.
const OWNERS: &str = ". Migrations run as the role that owns the schema gateway, or that is to own it and may create schemas: set \
                      GATEWAY_LEDGER_OWNER_URL to its URL, or DATABASE_URL for this command";

/// What [`migrate`] would do.
#[derive(Debug)]
pub struct Plan {
    /// Every file, and every definition in the database that no file has.
    pub steps: Vec<Step>,
    /// What a run would do to `public.subscriptions`.
    pub public_table: Touch,
    /// What the table lacks and a run would build beside its writers; not what the pending steps will add to that.
    pub left: Vec<LeftToBuild>,
}

/// What a run does to `public.subscriptions`. It never touches another public table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing.
    None,
    /// It is made.
    Made,
    /// It gets the columns, indexes and policies that it lacks.
    Completed,
}

/// What [`migrate`] would do. Changes nothing. `shadow` says whether a new database would begin in shadow mode.
pub async fn plan(link: &mut Link, shadow: bool) -> Result<Plan, LedgerError> {
    require_utf8(link).await?;
    let recorded = recorded(link).await?;
    let public_table = touch(link, &recorded, shadow).await?;
    let left = left(link).await?;
    Ok(Plan { steps: recorded.steps(), public_table, left })
}

async fn touch(link: &mut Link, recorded: &RunnerRecord, shadow: bool) -> Result<Touch, LedgerError> {
    let is_new = recorded.migrations.is_empty();
    if !recorded.prepares() || (is_new && shadow) {
        return Ok(Touch::None);
    }
    if !is_new {
        let question = "SELECT EXISTS (SELECT FROM gateway.operation WHERE NOT shadow) AND EXISTS (SELECT FROM \
                        gateway.projections WHERE name = 'subscriptions' AND mode <> 'off') AS answer";
        if !is_so(link, question).await? {
            return Ok(Touch::None);
        }
    }
    let question = format!("SELECT pg_catalog.to_regclass('{PUBLIC_TABLE}') IS NOT NULL AS answer");
    Ok(if is_so(link, &question).await? { Touch::Completed } else { Touch::Made })
}

/// As [`migrate_to`], for a database in live mode, without a role of its own for the gateway.
pub async fn migrate(link: &mut Link) -> Result<Vec<String>, LedgerError> {
    migrate_to(link, &Wanted::default()).await
}

/// As [`migrate`], but a new database begins in shadow mode.
pub async fn migrate_in_shadow(link: &mut Link) -> Result<Vec<String>, LedgerError> {
    migrate_to(link, &Wanted { shadow: true, ..Wanted::default() }).await
}

/// Runs the pending files in one transaction and returns what ran. A second run finds nothing to do, nor does a run on a
/// database that a later release has migrated. A named role may call the entries afterwards in any case.
pub async fn migrate_to(link: &mut Link, wanted: &Wanted) -> Result<Vec<String>, LedgerError> {
    require_utf8(link).await?;
    link.run_all(BEGIN).await.map_err(fault)?;
    let ran = run_pending(link, wanted).await;
    let end = if ran.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = link.run_all(end).await.map_err(fault);
    // The first error says why nothing was changed; an error of the rollback would add nothing.
    let ran = ran?;
    ended.map(|()| ran)
}

async fn run_pending(link: &mut Link, wanted: &Wanted) -> Result<Vec<String>, LedgerError> {
    run(link, "the beginning", &begin(wanted)).await?;
    let before = recorded(link).await?;
    let steps = before.steps();
    if let Some(step) = steps.iter().find(|step| step.standing == Standing::Edited) {
        return Err(edited(&step.label));
    }
    let privileges = || ALL.iter().filter(|file| file.kind == Kind::Privileges);
    if steps.iter().all(|step| step.standing == Standing::Applied) {
        if wanted.runtime_role.is_some() {
            for file in privileges() {
                run(link, file.name, file.sql).await?;
            }
        }
        return Ok(Vec::new());
    }
    let mut done = Vec::new();
    for file in ALL.iter().filter(|file| matches!(file.kind, Kind::Tables { .. })) {
        run_unless_applied(link, &before, file, &mut done).await?;
    }
    run(link, "the removal of old definitions", RETIRE).await?;
    // Read again: views are removed together, so the earlier list no longer holds.
    let left = recorded(link).await?;
    for file in ALL.iter().filter(|file| matches!(file.kind, Kind::View | Kind::Function)) {
        run_unless_applied(link, &left, file, &mut done).await?;
    }
    run(link, "the record", RECORD).await?;
    for file in privileges() {
        run(link, file.name, file.sql).await?;
        done.push(file.label());
    }
    if before.prepares() {
        run(link, PUBLIC_TABLE, PREPARE).await?;
    }
    Ok(done)
}

/// The identity of a ledger whose tables exist.
pub async fn identity(link: &mut Link) -> Result<String, LedgerError> {
    let rows = rows(link, "SELECT id FROM gateway.identity").await?;
    rows.first().ok_or_else(no_row)?.try_get("id").map_err(fault)
}

async fn run_unless_applied(
    link: &mut Link,
    recorded: &RunnerRecord,
    file: &File,
    done: &mut Vec<String>,
) -> Result<(), LedgerError> {
    if recorded.standing(file) != Standing::Applied {
        run(link, &file.label(), file.sql).await?;
        done.push(file.label());
    }
    Ok(())
}

async fn run(link: &mut Link, label: &str, sql: &str) -> Result<(), LedgerError> {
    let failed = |error: tokio_postgres::Error| {
        // The operator needs what the database says of a definition, and it quotes no rows.
        let said = error.as_db_error().map(|error| error.message().to_owned());
        let mut error = fault(error);
        let said = said.unwrap_or_else(|| error.message.clone());
        let hint = if error.kind == LedgerErrorKind::Auth { OWNERS } else { "" };
        error.message = format!("migration {label} failed, nothing was changed: {said}{hint}");
        error
    };
    link.run_all(sql).await.map_err(failed)
}

/// A database that takes any bytes for text, or cannot hold every name, would spoil or refuse what customers write.
async fn require_utf8(link: &mut Link) -> Result<(), LedgerError> {
    let rows = rows(link, "SELECT pg_catalog.current_setting('server_encoding') AS encoding").await?;
    let row = rows.first().ok_or_else(no_row)?;
    encoding_fault(&row.try_get::<_, String>("encoding").map_err(fault)?).map_or(Ok(()), Err)
}

/// The error of a database with this encoding, unless it is UTF-8.
pub(super) fn encoding_fault(encoding: &str) -> Option<LedgerError> {
    (encoding != "UTF8").then(|| {
        let message = format!(
            "the database's encoding is {encoding}, and names and metadata are UTF-8: make a database with ENCODING 'UTF8' \
             (createdb --encoding=UTF8 --template=template0) and point DATABASE_URL to it"
        );
        LedgerError::new(NAME, LedgerErrorKind::Schema, message)
    })
}

async fn recorded(link: &mut Link) -> Result<RunnerRecord, LedgerError> {
    let mut found = RunnerRecord::default();
    if is_so(link, "SELECT pg_catalog.to_regclass('gateway.migrations') IS NOT NULL AS answer").await? {
        let statement =
            "SELECT version::bigint AS version, checksum FROM gateway.migrations WHERE checksum IS NOT NULL";
        for row in rows(link, statement).await? {
            found.migrations.insert(row.try_get("version").map_err(fault)?, row.try_get("checksum").map_err(fault)?);
        }
    }
    if is_so(link, "SELECT pg_catalog.to_regclass('gateway.definitions') IS NOT NULL AS answer").await? {
        for row in rows(link, "SELECT name, checksum, release FROM gateway.definitions").await? {
            found.definitions.insert(row.try_get("name").map_err(fault)?, row.try_get("checksum").map_err(fault)?);
            found.release = row.try_get("release").map_err(fault)?;
        }
    }
    Ok(found)
}

async fn rows(link: &mut Link, statement: &str) -> Result<Vec<Row>, LedgerError> {
    link.rows(statement).await.map_err(fault)
}

/// The answer to a question with one row.
async fn is_so(link: &mut Link, question: &str) -> Result<bool, LedgerError> {
    let rows = rows(link, question).await?;
    rows.first().ok_or_else(no_row)?.try_get("answer").map_err(fault)
}

fn edited(label: &str) -> LedgerError {
    let message =
        format!("migration {label} is not the one this database has: use the release that ran it or a later one");
    LedgerError::new(NAME, LedgerErrorKind::Schema, message)
}
