//! `shadow begin|report|end`: running beside another system, and taking over from it.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::ledger::shadow::{GivenBack, ShadowReport};

/// What to do.
///
/// In shadow mode the gateway (`GATEWAY_MODE=shadow`) stores, checks and records every event and writes no public table.
/// A database that `migrate` makes under `GATEWAY_MODE=shadow` is in shadow mode from the first; another is switched.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ShadowCommand {
    /// Switch the database to shadow mode: no public table is written any more. After a takeover, the rows that the gateway made are
    /// removed and those that it replaced are restored; what is not undone is listed. Gateways must be started again with
    /// `GATEWAY_MODE=shadow`; until then the database takes nothing from them, and what they receive waits.
    Begin,
    /// Compare what would be written with what stands in the public tables. The exit code is 1 when something differs.
    Report(ReportArgs),
    /// Switch the database to live and write what users have to the public tables. Start the gateways with
    /// `GATEWAY_MODE=live` afterwards; until then what they receive waits. Can be repeated.
    End,
}

/// Arguments of `shadow report`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ReportArgs {
    /// Differences shown one by one, at most 10000; all are counted.
    #[arg(long, default_value = "50")]
    pub most: u32,

    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(command: ShadowCommand, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_tools(sources)?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let Some(is_shadow) = ledger.is_shadow().await? else {
        anyhow::bail!("the embedded ledger has no public tables: set DATABASE_URL, or SUPABASE_URL and its key");
    };
    let mut out = std::io::stdout().lock();
    match command {
        ShadowCommand::Begin => {
            let switched = ledger.set_shadow(true).await?;
            let was = if is_shadow { "was already" } else { "is now" };
            writeln!(out, "the database {was} in shadow mode: start the gateways with GATEWAY_MODE=shadow")?;
            match switched.given_back {
                Some(given_back) => print_given_back(&mut out, &given_back)?,
                None if !is_shadow => writeln!(out, "nothing was taken over here, so that nothing is given back")?,
                None => {}
            }
        }
        ShadowCommand::End => {
            let transactions = app::shadow::end(&*ledger, |_| {}).await?;
            let waiting = ledger.summary(0).await?.counts.not_shown;
            writeln!(out, "the database is live; what users have was written in {transactions} transactions")?;
            if waiting > 0 {
                writeln!(out, "{waiting} users cannot be shown yet: gateway.user_access says why")?;
            }
            writeln!(out, "start the gateways with GATEWAY_MODE=live")?;
        }
        ShadowCommand::Report(args) => {
            let report = ledger.shadow_report(args.most).await?;
            if args.json {
                serde_json::to_writer_pretty(&mut out, &report)?;
                writeln!(out)?;
            } else {
                print(&mut out, &report)?;
            }
            return Ok(if report.total() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is as it was before the takeover, and what is not.
fn print_given_back(out: &mut impl std::io::Write, given_back: &GivenBack) -> std::io::Result<()> {
    let GivenBack { removed, restored, kept, kept_users, left } = given_back;
    writeln!(
        out,
        "{restored} rows of the public tables say again what they said before the takeover, {removed} are gone"
    )?;
    if *kept > 0 {
        let named = kept_users.len() as u64;
        let more = if *kept > named { format!(" and {} more", kept - named) } else { String::new() };
        writeln!(out, "{kept} users have bought, changed or ended something since; their rows stay as they are:")?;
        writeln!(out, "  {}{more}", kept_users.join(", "))?;
    }
    for thing in left {
        writeln!(out, "not undone: {thing}")?;
    }
    Ok(())
}

fn print(out: &mut impl std::io::Write, report: &ShadowReport) -> std::io::Result<()> {
    let mode = if report.shadow { "shadow" } else { "live" };
    let compared = report.compared;
    writeln!(
        out,
        "mode {mode}; compared with {} rows of subscriptions, {} of subscription_tiers, {} of user_profiles",
        compared.subscriptions, compared.subscription_tiers, compared.user_profiles
    )?;
    if report.total() == 0 {
        return writeln!(out, "no differences");
    }
    writeln!(out, "\n{:<20} {:<14} {:<14} {:>8}", "table", "found", "field", "rows")?;
    for count in &report.counts {
        let field = count.field.as_deref().unwrap_or("-");
        writeln!(out, "{:<20} {:<14} {field:<14} {:>8}", count.relation, count.kind, count.count)?;
    }
    writeln!(out, "\n{:<20} {:<14} {:<38} {:<14} {:<12} there", "table", "found", "id", "field", "here")?;
    for line in &report.differences {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (field, here, there) = (text(&line.field), text(&line.here_says), text(&line.there_says));
        writeln!(out, "{:<20} {:<14} {:<38} {field:<14} {here:<12} {there}", line.relation, line.kind, line.subject)?;
    }
    let (total, shown) = (report.total(), report.differences.len() as u64);
    if total > shown {
        writeln!(out, "and {} more: --most shows more", total - shown)?;
    }
    Ok(())
}
