//! `projections`: which public tables of the state of record are kept up to date, and working them out anew.

use std::io::Write as _;
use std::process::ExitCode;

use super::migrate::connect;
use super::{deeds, left_to_build};
use crate::admin::wire::{CommandAction, CommandDeed};
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::ledger::projections::{self, LatePayers, Mode, PublicTable};

/// Subcommands of `projections`.
#[derive(Clone, Copy, Debug, clap::Subcommand)]
pub enum ProjectionsCommand {
    /// Print each public table, whether it exists, and whether the gateway writes it.
    Show,
    /// Choose whether the gateway writes a public table, then bring it up to date.
    Set {
        /// `subscriptions`, `subscription_tiers` or `user_profiles`.
        table: PublicTable,
        /// auto (where a table of the expected shape is there and used for the platform), on or off.
        mode: Mode,
    },
    /// Choose the status that readers see for late payers who keep access, then bring the public tables up to date. The
    /// gateway's own tables keep Stripe's status either way.
    LatePayers {
        /// active (the default: readers ask for it) or `past_due`.
        told: LatePayers,
    },
    /// Compute again what every user has, and write it to the public tables. Use it after a public table was changed by hand.
    Refresh,
}

/// Runs one of them. All need `GATEWAY_LEDGER_OWNER_URL` or `DATABASE_URL` with a role that owns the schema `gateway`.
pub async fn run(command: ProjectionsCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_owner(sources)?;
    let mut connection = connect(&config).await?;
    let mut out = std::io::stdout().lock();
    match command {
        ProjectionsCommand::Show => {}
        ProjectionsCommand::Set { table, mode } => {
            projections::set(&mut connection, table, mode).await?;
            left_to_build::build(&mut out, &mut connection).await?;
        }
        ProjectionsCommand::LatePayers { told } => projections::set_late_payers(&mut connection, told).await?,
        ProjectionsCommand::Refresh => projections::refresh(&mut connection).await.map(|_| ())?,
    }
    let shown_anew = matches!(
        command,
        ProjectionsCommand::Set { mode: Mode::Auto | Mode::On, .. } | ProjectionsCommand::LatePayers { .. }
    );
    if shown_anew {
        projections::refresh(&mut connection).await?;
    }
    if let Some(what) = changed(command) {
        let told = CommandDeed { action: CommandAction::Projections, what, result: None, note: None };
        deeds::keep(&config, sources, clock, told).await;
    }
    for (projection, mode, written) in projections::read(&mut connection).await? {
        let state = match (mode, written) {
            (Mode::Off, _) => "not written",
            (_, true) => "written",
            (Mode::Auto, false) => {
                "not written: no table of the expected shape, or one that is not used for the platform"
            }
            (Mode::On, false) => "WAITING: no table of the expected shape; users wait in gateway.user_access",
        };
        writeln!(out, "public.{:<20} {mode:<5} {state}", projection.as_str())?;
    }
    let told = projections::late_payers(&mut connection).await?;
    writeln!(out, "late payers who keep access are shown as `{}`", told.as_str())?;
    Ok(ExitCode::SUCCESS)
}

/// What a command changes, for the audit.
fn changed(command: ProjectionsCommand) -> Option<String> {
    match command {
        ProjectionsCommand::Show => None,
        ProjectionsCommand::Set { table, mode } => Some(format!("public.{} {mode}", table.as_str())),
        ProjectionsCommand::LatePayers { told } => Some(format!("late payers {}", told.as_str())),
        ProjectionsCommand::Refresh => Some("all worked out anew".to_owned()),
    }
}
