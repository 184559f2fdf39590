//! `revenue`: what recurs and what came in, from the state of record.

use std::io::Write as _;
use std::process::ExitCode;

use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::ledger::report::Summary;
use crate::stripe::money::Currency;

/// Arguments of `revenue`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RevenueArgs {
    /// Days of daily revenue, at most 10000.
    #[arg(long, default_value = "30")]
    pub days: u32,

    /// Print JSON; amounts are in minor units.
    #[arg(long)]
    pub json: bool,
}

/// Asks the ledger and prints what it says.
pub async fn run(args: RevenueArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = Config::for_tools(sources)?;
    let summary = app::open_ledger(&config, &clock).await?.summary(args.days).await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        print(&mut out, &summary)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl std::io::Write, summary: &Summary) -> std::io::Result<()> {
    let counts = &summary.counts;
    writeln!(
        out,
        "{} events, {} subscriptions ({} without a known user), {} quarantined, {} findings",
        counts.events, counts.subscriptions, counts.orphans, counts.quarantined, counts.findings
    )?;
    if counts.not_shown > 0 {
        writeln!(out, "{} users whom the public tables do not show yet: see gateway.user_access", counts.not_shown)?;
    }
    writeln!(out, "\n{:<5} {:<10} {:>14} {:>18}", "mode", "tier", "subscriptions", "monthly")?;
    for line in &summary.recurring {
        let (tier, monthly) = (line.tier.as_deref().unwrap_or("-"), tag(line.mrr_minor, line.currency.as_deref()));
        writeln!(out, "{:<5} {tier:<10} {:>14} {monthly:>18}", mode(line.livemode), line.subscriptions)?;
    }
    writeln!(out, "\n{:<5} {:<10} {:>18} {:>18} {:>18}", "mode", "day", "in", "out", "net")?;
    for line in &summary.daily {
        let tag = |minor| tag(minor, Some(&line.currency));
        let (gross, returned, net) = (tag(line.gross_minor), tag(line.returned_minor), tag(line.net_minor));
        writeln!(out, "{:<5} {:<10} {gross:>18} {returned:>18} {net:>18}", mode(line.livemode), line.day)?;
    }
    Ok(())
}

const fn mode(livemode: bool) -> &'static str {
    if livemode { "live" } else { "test" }
}

/// An amount as on a price tag; without a currency, the bare number.
pub(super) fn tag(minor: i64, currency: Option<&str>) -> String {
    currency.and_then(Currency::parse).map_or_else(|| minor.to_string(), |currency| currency.tag(minor))
}
