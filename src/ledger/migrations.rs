//! The schema of the PostgreSQL ledgers: which migrations there are, which a database has, and running the rest.
//!
//! The files under `migrations/` are plain SQL, so Supabase's own tool or `psql` can run them too. Each file records
//! itself in `gateway.migrations`; the runner here adds the checksum of the text it ran, and refuses to go on when a
//! recorded file has since been edited. All pending files run in one transaction: either all of them are there or none.
//! Statements go as plain text, so a transaction pooler is no hindrance.
//!
//! Guarantees nothing about tables that are not the gateway's beyond what the files themselves do.

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::postgres::fault;
use super::{LedgerError, LedgerErrorKind};

/// Name of the ledger in errors of this module.
const LEDGER: &str = "postgres";

/// Key of the advisory lock under which one migration runs at a time: "gateway" in ASCII.
const LOCK: i64 = 0x0067_6174_6577_6179;

/// One file of `migrations/`.
#[derive(Debug)]
pub struct Migration {
    /// Version, from the file's name: when it was written, as `YYYYMMDDhhmmss`.
    pub version: i64,
    /// What it does, from the file's name.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

impl Migration {
    /// SHA-256 of the statements, as hexadecimal text.
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql.as_bytes()))
    }

    /// Version and name, as in the file's name.
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $version, "_", $name, ".sql")),
        }),*]
    };
}

/// Every migration, oldest first.
#[expect(clippy::unreadable_literal, reason = "the digits are those of the file's name")]
pub const ALL: &[Migration] = migrations![
    20260101000000 "gateway_schema",
    20260101000100 "gateway_projections",
    20260101000200 "gateway_apply",
    20260101000300 "gateway_show",
    20260101000400 "gateway_reports",
    20260101000500 "gateway_access",
    20260101000600 "gateway_replay",
    20260101000700 "gateway_reconcile",
    20260101000800 "gateway_shadow",
    20260115000000 "gateway_erase",
    20260201000000 "gateway_batches",
];

/// How a migration stands in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Recorded, with the checksum of the file or, when another tool ran it, without one.
    Applied,
    /// Would run.
    Pending,
    /// Recorded with another checksum: the file was edited after it ran.
    Edited,
}

/// One line of a plan.
#[derive(Debug)]
pub struct Step {
    /// The migration.
    pub migration: &'static Migration,
    /// How it stands.
    pub standing: Standing,
}

/// A row of `gateway.migrations`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Version of the file.
    pub version: i64,
    /// Checksum of the text that ran; absent when another tool ran it.
    pub checksum: Option<String>,
}

/// The migrations that are not among the recorded versions, oldest first.
pub fn missing(recorded: &[i64]) -> Vec<&'static Migration> {
    ALL.iter().filter(|migration| !recorded.contains(&migration.version)).collect()
}

/// The error that a ledger reports, and for which `serve` refuses to start, when migrations are missing.
pub fn missing_error(ledger: &'static str, recorded: &[i64]) -> Option<LedgerError> {
    let missing: Vec<String> = missing(recorded).into_iter().map(Migration::label).collect();
    (!missing.is_empty()).then(|| LedgerError {
        ledger,
        kind: LedgerErrorKind::Schema,
        message: format!(
            "migrations are missing: {}; run `colony-gateway migrate`, or run the files with your own tool",
            missing.join(", ")
        ),
        source: None,
    })
}

/// The error of a database whose function that tells the migrations is itself missing: none of them has run.
pub(super) fn none_ran(ledger: &'static str, error: LedgerError) -> LedgerError {
    match missing_error(ledger, &[]) {
        Some(missing) if error.kind == LedgerErrorKind::Schema => missing.caused_by(error),
        Some(_) | None => error,
    }
}

/// What [`migrate`] would do. Changes nothing.
pub async fn plan(connection: &mut PgConnection) -> Result<Vec<Step>, LedgerError> {
    Ok(steps(&recorded(connection).await?))
}

/// What a database in which nothing of the gateway is there gets before its first migration, so that none of them touches
/// a public table. The definitions are those of the files, which then find them.
const SHADOW_PRELUDE: &str = "
    CREATE SCHEMA gateway;
    CREATE TABLE gateway.operation (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        shadow boolean NOT NULL
    );
    INSERT INTO gateway.operation (only_row, shadow) VALUES (true, true);
    CREATE TABLE gateway.projections (
        name text PRIMARY KEY CHECK (name IN ('subscriptions', 'subscription_tiers', 'user_profiles')),
        mode text NOT NULL CHECK (mode IN ('auto', 'on', 'off'))
    );
    INSERT INTO gateway.projections (name, mode) VALUES ('subscriptions', 'off');
";

/// What it gets after them: the projection is as it always is, and shadow mode alone keeps it from being written.
const SHADOW_EPILOGUE: &str = "UPDATE gateway.projections SET mode = 'on' WHERE name = 'subscriptions'";

/// As [`migrate`], and leaves a database that is new to the gateway in shadow mode, with its public tables untouched. One
/// that is not new stays in the mode that it is in.
pub async fn migrate_in_shadow(connection: &mut PgConnection) -> Result<Vec<&'static Migration>, LedgerError> {
    run_pending(connection, true).await
}

/// Runs what is pending, in one transaction, and returns it. A second run finds nothing to do.
pub async fn migrate(connection: &mut PgConnection) -> Result<Vec<&'static Migration>, LedgerError> {
    run_pending(connection, false).await
}

async fn run_pending(connection: &mut PgConnection, shadow: bool) -> Result<Vec<&'static Migration>, LedgerError> {
    let mut transaction = connection.begin().await.map_err(fault)?;
    // A migration that cannot get a lock on a busy table gives up rather than make the table's readers queue behind it.
    sqlx::raw_sql("SET LOCAL lock_timeout = '15s'; SET LOCAL statement_timeout = '10min'")
        .execute(&mut *transaction)
        .await
        .map_err(fault)?;
    sqlx::raw_sql(AssertSqlSafe(format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})")))
        .execute(&mut *transaction)
        .await
        .map_err(fault)?;
    let steps = steps(&recorded(&mut transaction).await?);
    if let Some(step) = steps.iter().find(|step| step.standing == Standing::Edited) {
        return Err(edited(step.migration));
    }
    let mut done = Vec::new();
    let is_new = shadow && steps.iter().all(|step| step.standing == Standing::Pending);
    if is_new {
        sqlx::raw_sql(SHADOW_PRELUDE).execute(&mut *transaction).await.map_err(fault)?;
    }
    for step in steps.iter().filter(|step| step.standing == Standing::Pending) {
        run(&mut transaction, step.migration).await?;
        done.push(step.migration);
    }
    if is_new {
        sqlx::raw_sql(SHADOW_EPILOGUE).execute(&mut *transaction).await.map_err(fault)?;
    }
    transaction.commit().await.map_err(fault)?;
    Ok(done)
}

async fn run(connection: &mut PgConnection, migration: &'static Migration) -> Result<(), LedgerError> {
    let failed = |error: sqlx::Error| {
        // What the database says of a table's definition is what the operator needs, and quotes no rows.
        let said = error.as_database_error().map(|error| error.message().to_owned());
        let mut error = fault(error);
        let said = said.unwrap_or_else(|| error.message.clone());
        error.message = format!("migration {} failed, nothing was changed: {said}", migration.label());
        error
    };
    sqlx::raw_sql(migration.sql).execute(&mut *connection).await.map_err(failed)?;
    let (version, checksum) = (migration.version, migration.checksum());
    let record = format!("UPDATE gateway.migrations SET checksum = '{checksum}' WHERE version = {version}");
    sqlx::raw_sql(AssertSqlSafe(record)).execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

async fn recorded(connection: &mut PgConnection) -> Result<Vec<Recorded>, LedgerError> {
    let there: bool = sqlx::raw_sql("SELECT pg_catalog.to_regclass('gateway.migrations') IS NOT NULL AS there")
        .fetch_all(&mut *connection)
        .await
        .and_then(|rows| rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get("there"))
        .map_err(fault)?;
    if !there {
        return Ok(Vec::new());
    }
    let rows = sqlx::raw_sql("SELECT version, checksum FROM gateway.migrations ORDER BY version")
        .fetch_all(&mut *connection)
        .await
        .map_err(fault)?;
    let recorded =
        rows.iter().map(|row| Ok(Recorded { version: row.try_get("version")?, checksum: row.try_get("checksum")? }));
    recorded.collect::<Result<_, sqlx::Error>>().map_err(fault)
}

fn steps(recorded: &[Recorded]) -> Vec<Step> {
    let standing = |migration: &Migration| match recorded.iter().find(|row| row.version == migration.version) {
        None => Standing::Pending,
        Some(Recorded { checksum: None, .. }) => Standing::Applied,
        Some(Recorded { checksum: Some(checksum), .. }) if *checksum == migration.checksum() => Standing::Applied,
        Some(_) => Standing::Edited,
    };
    ALL.iter().map(|migration| Step { migration, standing: standing(migration) }).collect()
}

fn edited(migration: &Migration) -> LedgerError {
    LedgerError {
        ledger: LEDGER,
        kind: LedgerErrorKind::Schema,
        message: format!(
            "migration {} is not the one this database has: use the release that ran it or a later one",
            migration.label()
        ),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_and_each_file_records_itself() {
        assert!(ALL.windows(2).all(|pair| pair[0].version < pair[1].version));
        for migration in ALL {
            let record = format!("VALUES ({}, '{}')", migration.version, migration.name);
            assert!(migration.sql.contains(&record), "{} lacks: {record}", migration.label());
        }
    }

    #[test]
    fn a_record_without_a_checksum_counts_as_applied_and_another_checksum_as_edited() {
        let (first, second) = (&ALL[0], &ALL[1]);
        let recorded = [
            Recorded { version: first.version, checksum: None },
            Recorded { version: second.version, checksum: Some("00".to_owned()) },
        ];
        let standings: Vec<Standing> = steps(&recorded).iter().map(|step| step.standing).collect();
        assert_eq!(standings[..3], [Standing::Applied, Standing::Edited, Standing::Pending]);
    }

    #[test]
    fn missing_migrations_are_named() {
        let error = missing_error("postgres", &[ALL[0].version]).expect("most are missing");
        assert_eq!(error.kind, LedgerErrorKind::Schema);
        assert!(error.message.contains(&ALL[1].label()), "{}", error.message);
        assert!(!error.message.contains(&ALL[0].label()), "{}", error.message);
        let all: Vec<i64> = ALL.iter().map(|migration| migration.version).collect();
        assert!(missing_error("postgres", &all).is_none());
    }
}
