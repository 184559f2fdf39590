//! `migrate`: brings the database of the state of record up to date.

mod export;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use export::Exported;

use super::{SOMETHING_LEFT, left_to_build};
use crate::config::{Config, ConfigError, Fault, Sources};
use crate::domain::clock::Clock;
use crate::ledger::migrations::{self, Plan, RoleName, Standing, Touch, Wanted};
use crate::ledger::postgres::PostgresConfig;
use crate::ledger::projections;
use crate::postgres::Link;

pub const EXIT_CODES: &str = "Exit codes:
  0  done; with --plan: nothing would run
  1  not done: an error says why
  2  the command line or the configuration is refused
  3  with --plan: something would run";

/// Arguments of `migrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    /// Say which tables, functions and views would change, and change nothing. The exit code is 3 if something would.
    #[arg(long)]
    pub plan: bool,
    /// Print all migrations as one file for psql or Supabase's tool, and change nothing. Needs no database.
    #[arg(long, conflicts_with = "plan")]
    pub print: bool,
    /// Write it all as one file into this directory of migrations, named as Supabase's tool has them, and change nothing else. Where the
    /// newest export says the same, nothing is written. Needs no database.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["plan", "print"])]
    pub export: Option<PathBuf>,
    /// Let this role of the database call what `serve` and `bee` call, and nothing else. The role must exist. Roles that you
    /// named before keep their rights. Also `GATEWAY_LEDGER_RUNTIME_ROLE`.
    #[arg(long, value_name = "ROLE")]
    pub runtime_role: Option<RoleName>,
}

/// Runs the pending files, or reports what would run.
pub async fn run(args: MigrateArgs, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_owner(sources)?;
    let shadow = config.shadow.is_some();
    let wanted = Wanted { shadow, runtime_role: runtime_role(args.runtime_role, &config)? };
    let mut out = std::io::stdout().lock();
    if args.print {
        write!(out, "{}", migrations::print(&wanted))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(directory) = &args.export {
        match export::export(directory, &migrations::print(&wanted), clock)? {
            Exported::Written(file) => writeln!(out, "wrote {}: `supabase db push` runs it", file.display())?,
            Exported::Unchanged(file) => writeln!(out, "nothing to do: {} is of this release", file.display())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut connection = connect(&config).await?;
    if args.plan {
        return show(&mut out, &migrations::plan(&mut connection, shadow).await?);
    }
    let ran = migrations::migrate_to(&mut connection, &wanted).await?;
    for label in &ran {
        writeln!(out, "{label:<48} ran")?;
    }
    if ran.is_empty() {
        writeln!(out, "nothing to do: all {} files are applied", migrations::ALL.len())?;
    }
    writeln!(out, "identity of this ledger: {}", migrations::identity(&mut connection).await?)?;
    if let Some(role) = &wanted.runtime_role {
        writeln!(out, "the role {role} may call what `serve` and `bee` call: give them its URL")?;
    }
    left_to_build::build(&mut out, &mut connection).await?;
    for weak in projections::weak_policies(&mut connection).await? {
        writeln!(out, "note: {weak}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The role that the argument or the setting names.
fn runtime_role(named: Option<RoleName>, config: &Config) -> Result<Option<RoleName>, ConfigError> {
    let Some(text) = config.ledger_expectation.runtime_role.as_ref().filter(|_| named.is_none()) else {
        return Ok(named);
    };
    let fault =
        |message: &str| Fault { setting: "GATEWAY_LEDGER_RUNTIME_ROLE".to_owned(), message: message.to_owned() };
    text.parse().map(Some).map_err(|message| ConfigError(vec![fault(message)]))
}

/// Prints the files with a problem, and the number of the others.
fn show(out: &mut impl std::io::Write, plan: &Plan) -> anyhow::Result<ExitCode> {
    let mut applied = 0;
    let mut waits = false;
    for step in &plan.steps {
        let standing = match step.standing {
            Standing::Applied => {
                applied += 1;
                continue;
            }
            Standing::Edited => "EDITED after it ran",
            Standing::Pending => "would run",
            Standing::Changed => "would be replaced",
            Standing::Gone => "would be removed",
        };
        waits |= step.standing != Standing::Edited;
        writeln!(out, "{:<48} {standing}", step.label)?;
    }
    match plan.public_table {
        Touch::None => writeln!(out, "no public table would be touched")?,
        Touch::Made => writeln!(out, "{:<48} would be made", "table public.subscriptions")?,
        Touch::Completed => writeln!(
            out,
            "{:<48} would get missing columns, indexes (built beside its writers if it is large), policies and a \
             trigger; a table for fans of creators gets only the trigger",
            "table public.subscriptions"
        )?,
    }
    for left in &plan.left {
        waits = true;
        writeln!(out, "{:<48} would be built beside the writers of public.subscriptions", left.what)?;
    }
    writeln!(out, "{applied} of {} files are applied", migrations::ALL.len())?;
    Ok(if waits { ExitCode::from(SOMETHING_LEFT) } else { ExitCode::SUCCESS })
}

/// A connection to the database that is the state of record, with the settings of [`Config::for_owner`].
pub(super) async fn connect(config: &Config) -> anyhow::Result<Link> {
    let Some(url) = config.ledger.database() else {
        anyhow::bail!(
            "set DATABASE_URL to the database of the state of record (Supabase: its direct or session connection \
             string). The embedded ledger needs no migrations and has no public tables"
        );
    };
    let setting = match config.ledger_expectation.owner_url {
        Some(_) => "GATEWAY_LEDGER_OWNER_URL",
        None => "DATABASE_URL",
    };
    let linked = PostgresConfig::new(url.clone()).connect().await;
    linked.with_context(|| format!("cannot connect to the database of {setting}"))
}
