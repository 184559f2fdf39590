//! `migrate`: brings the database of the state of record up to date.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use sqlx::Connection as _;

use crate::config::{Config, Sources};
use crate::ledger::migrations::{self, Standing};
use crate::ledger::postgres::PostgresConfig;

/// Arguments of `migrate`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct MigrateArgs {
    /// Say what would run and change nothing. The exit code is 1 when something would.
    #[arg(long)]
    pub plan: bool,
}

/// Runs what is pending, or says what would run.
pub async fn run(args: MigrateArgs, sources: &Sources) -> anyhow::Result<ExitCode> {
    let config = Config::for_tools(sources)?;
    let mut connection = connect(&config).await?;
    let mut out = std::io::stdout().lock();
    if args.plan {
        let mut pending = 0;
        for step in migrations::plan(&mut connection).await? {
            let standing = match step.standing {
                Standing::Applied => "applied",
                Standing::Edited => "EDITED after it ran",
                Standing::Pending => {
                    pending += 1;
                    "would run"
                }
            };
            writeln!(out, "{:<48} {standing}", step.migration.label())?;
        }
        return Ok(if pending == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let ran = match config.shadow {
        Some(_) => migrations::migrate_in_shadow(&mut connection).await?,
        None => migrations::migrate(&mut connection).await?,
    };
    for migration in &ran {
        writeln!(out, "{:<48} ran", migration.label())?;
    }
    if ran.is_empty() {
        writeln!(out, "nothing to do: all {} migrations are applied", migrations::ALL.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A connection to the database that is the state of record, as its owner.
pub(super) async fn connect(config: &Config) -> anyhow::Result<sqlx::PgConnection> {
    let Some(url) = config.ledger.database() else {
        anyhow::bail!(
            "set DATABASE_URL to the database of the state of record (Supabase: its direct or session connection \
             string). The embedded ledger needs no migrations and has no public tables"
        );
    };
    let options = PostgresConfig::new(url.clone()).options()?;
    sqlx::PgConnection::connect_with(&options).await.context("cannot connect to the database of DATABASE_URL")
}
