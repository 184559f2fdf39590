//! `person`: what a user has and why, or why not, from the state of record.

use std::io::Write as _;
use std::process::ExitCode;

use crate::app;
use crate::config::Sources;
use crate::domain::clock::{Clock, Timestamp};
use crate::ledger::desk::{PersonReport, Whom};
use crate::ledger::explain::{Explanation, explain};
use stripe_events::money::Currency;

/// Arguments of `person`.
#[derive(Clone, Debug, clap::Args)]
pub struct PersonArgs {
    /// A customer or a subscription of Stripe's, or the app's own id of a user.
    #[arg(value_name = "cus_…|sub_…|USER")]
    pub who: String,

    /// Print JSON: all that the ledger holds of the person.
    #[arg(long)]
    pub json: bool,
}

/// Asks the ledger and prints its answer.
pub async fn run(args: PersonArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let report = ledger.person(&Whom::named(&args.who)).await?;
    let told = explain(&report, clock.now());
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print(&mut out, &report, &told)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl std::io::Write, report: &PersonReport, told: &Explanation) -> std::io::Result<()> {
    writeln!(out, "{}", told.words)?;
    for line in &told.lines {
        let subject = if line.subject.is_empty() { String::new() } else { format!("{}: ", line.subject) };
        writeln!(out, "  {} {subject}{}", if line.gives { "+" } else { "-" }, line.why)?;
        if !line.advice.is_empty() {
            let to_copy = if line.subject.is_empty() { "SUBSCRIPTION" } else { &line.subject };
            writeln!(out, "      to do: {}", line.advice.replace("SUBSCRIPTION", to_copy))?;
        }
    }
    let customers: Vec<&str> = report.customers.iter().map(|customer| customer.id.as_str()).collect();
    let list = |ids: &[&str]| if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
    writeln!(out, "\nusers      {}", list(&report.users.iter().map(String::as_str).collect::<Vec<_>>()))?;
    writeln!(out, "customers  {}", list(&customers))?;
    for claim in &report.claims {
        writeln!(out, "claim      {} belongs to {} ({})", claim.subject, claim.user_id, claim.evidence)?;
    }
    for line in report.money.iter().take(10) {
        let at = Timestamp::from_millis(line.occurred_at_ms);
        let amount =
            Currency::parse(&line.currency).map_or_else(|| line.amount_minor.to_string(), |c| c.tag(line.amount_minor));
        writeln!(out, "money      {at}  {} {} {amount}", line.kind, line.key)?;
    }
    Ok(())
}
