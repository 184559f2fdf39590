//! `reconcile`: compares with Stripe, through the running gateway or, while none runs, by itself. Counting again needs the
//! ledger alone.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::admin::{AdminClient, Reach, Refusal, reach};
use super::moment::Moment;
use super::{SOMETHING_LEFT, deeds};
use crate::admin::wire::{CommandAction, CommandDeed};
use crate::app::reconcile::{recount_once, run_once};
use crate::config::{Config, Sources};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::reconcile::{
    EventsReport, MendedRows, ReconcileOrder, ReconcileReport, ReconcileScope, ReconcileStatus, RecountReport,
    SubscriptionsReport,
};

pub const EXIT_CODES: &str = "Exit codes:
  0  no differences, or all were repaired
  1  the run ended early, and an error says why; the next run goes on where it stopped
  2  the command line or the configuration is refused
  3  the run completed, and differences remain (with --dry-run: there are some)

Needs STRIPE_SECRET_KEY, except for `counts`. If a gateway runs, the command asks it to do the run (GATEWAY_ADMIN_TOKEN), after any
run that is under way. Otherwise the command compares by itself, and missing events wait in the inbox until the gateway starts.
Stripe lists events for 30 days.

`counts` asks only the ledger. Run it with the gateway's settings, because tiers, fields and days of grace are rules too, and with
--dry-run first. It corrects rows of money, links, subscriptions and customers that older releases made by other rules, if their
events' payloads are still here. It does not change rows without a payload, rows that were fetched from Stripe, and decisions of
people. After an upgrade with other rules, the gateway does this once by itself.";

/// How often a running gateway is asked for its progress.
const ASK: Duration = Duration::from_millis(300);

/// Arguments of `reconcile`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ReconcileArgs {
    /// What to compare.
    #[arg(value_enum, default_value = "all")]
    pub what: WhatArg,

    /// Events made since then: a moment (2026-01-31T12:00:00Z) or an age (90m, 12h, 7d). Default: since the last run,
    /// or 30 days.
    #[arg(long, value_name = "TIME", value_parser = beginning)]
    pub since: Option<Moment>,

    /// Show the differences and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WhatArg {
    /// Events that Stripe lists and the gateway does not know.
    Events,
    /// Subscriptions that differ from what Stripe has.
    Subscriptions,
    /// Rows that older rules made from stored payloads. Does not ask Stripe.
    Counts,
    /// All of them.
    All,
}

/// A beginning of now would leave nothing to compare.
fn beginning(text: &str) -> Result<Moment, String> {
    match text.parse()? {
        Moment::Ago(Duration::ZERO) => Err("must be longer ago than nothing".to_owned()),
        moment => Ok(moment),
    }
}

/// Runs the command.
pub async fn run(args: ReconcileArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    // Counting again needs everything that `serve` needs: tiers, fields and days of grace are rules too. Without the
    // gateway's own settings, correct rows would be replaced by wrong ones.
    let config = Config::for_serve_tools(sources)?;
    crate::cli::tell_unusable(&config);
    let what = match args.what {
        WhatArg::Events => ReconcileScope::Events,
        WhatArg::Subscriptions => ReconcileScope::Subscriptions,
        WhatArg::Counts => ReconcileScope::Counts,
        WhatArg::All => ReconcileScope::All,
    };
    anyhow::ensure!(
        what != ReconcileScope::Counts || args.since.is_none(),
        "--since is about Stripe's list of events, and `counts` looks at all that is stored: leave it out"
    );
    let since = args.since.map(|since| since.before(clock.now()));
    let order = ReconcileOrder { what, since_ms: since.map(Timestamp::millis), dry_run: args.dry_run };
    let bar = bar();
    let (report, is_stopped) = if what == ReconcileScope::Counts {
        (recount_once(&config, args.dry_run, &clock, |report| show(&bar, report)).await?, false)
    } else {
        compare(&config, order, &bar, clock.clone()).await?
    };
    bar.finish_and_clear();
    // If a gateway did it, its audit already has it.
    if !args.dry_run && (is_stopped || what == ReconcileScope::Counts) {
        let verdict = if report.is_in_order() { "in order" } else { "not in order" };
        let told = CommandDeed {
            action: CommandAction::Reconcile,
            what: format!("{what:?}").to_lowercase(),
            result: Some(verdict.to_owned()),
            note: None,
        };
        deeds::keep(&config, sources, &clock, told).await;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print(&mut out, &report, is_stopped)?;
    }
    Ok(match report {
        _ if report.is_in_order() => ExitCode::SUCCESS,
        _ if report.ended_early() => ExitCode::FAILURE,
        _ => ExitCode::from(SOMETHING_LEFT),
    })
}

/// Compares with Stripe. Also returns whether no gateway runs.
async fn compare(
    config: &Config,
    order: ReconcileOrder,
    bar: &ProgressBar,
    clock: Clock,
) -> anyhow::Result<(ReconcileReport, bool)> {
    Ok(match reach(config, &clock).await? {
        Reach::Running(client) => (through_gateway(&client, &order, bar).await?, false),
        Reach::Stopped(inbox, threads) => {
            let done = run_once(config, inbox, order, clock, |report| show(bar, report)).await;
            tokio::task::spawn_blocking(move || threads.join()).await?;
            (
                done?.context(
                    "set STRIPE_SECRET_KEY to a restricted key with read access to events and subscriptions",
                )?,
                true,
            )
        }
    })
}

/// Orders the run. If another is in progress, such as one that the gateway began by itself after its start, this waits for
/// its end: it may have begun before the changes that the order is about.
async fn order_when_free(client: &AdminClient, order: &ReconcileOrder) -> anyhow::Result<ReconcileStatus> {
    let mut has_waited = false;
    loop {
        match client.post("/admin/reconcile", order).await {
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == "busy") => {
                if !has_waited {
                    eprintln!("another run is under way; this one begins when it ends");
                    has_waited = true;
                }
                tokio::time::sleep(ASK).await;
            }
            ordered => return ordered,
        }
    }
}

/// Orders the run and follows it to its end. Ending the command does not end the run.
async fn through_gateway(
    client: &AdminClient,
    order: &ReconcileOrder,
    bar: &ProgressBar,
) -> anyhow::Result<ReconcileReport> {
    let ordered = order_when_free(client, order).await?;
    loop {
        let status: ReconcileStatus = client.get("/admin/reconcile").await?;
        anyhow::ensure!(
            status.runs >= ordered.runs,
            "the gateway was restarted during the run; what was done is kept, start the run again"
        );
        if status.runs > ordered.runs {
            anyhow::bail!("the run has ended and another began; `GET /admin/reconcile` and the log show its result");
        }
        match status.report {
            Some(report) if !status.running => return Ok(report),
            Some(report) => show(bar, &report),
            None => {}
        }
        tokio::time::sleep(ASK).await;
    }
}

/// A bar on a terminal, and nothing elsewhere.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, report: &ReconcileReport) {
    if let Some(counts) = &report.counts {
        bar.set_length(0);
        let (events, rows) = (counted(counts.events, "event", "events"), counted(counts.rows, "row", "rows"));
        bar.set_message(format!("counts: {events}, {rows} compared, different: {}", counts.total()));
    } else if let Some(subscriptions) = &report.subscriptions {
        let differ = subscriptions.missing + subscriptions.different;
        bar.set_length(0);
        bar.set_message(format!("subscriptions: {} compared, different: {differ}", subscriptions.seen));
    } else if let Some(events) = &report.events {
        bar.set_length(events.span_seconds.0);
        bar.set_position(events.span_seconds.1);
        let pages = counted(events.pages, "page", "pages");
        bar.set_message(format!("events: {pages}, {} seen, {} missing", events.seen, events.missing));
    }
}

fn print(out: &mut impl std::io::Write, report: &ReconcileReport, is_stopped: bool) -> std::io::Result<()> {
    if let Some(events) = &report.events {
        print_events(out, events, report.dry_run, is_stopped)?;
    }
    if let Some(subscriptions) = &report.subscriptions {
        print_subscriptions(out, subscriptions)?;
    }
    if let Some(counts) = &report.counts {
        print_counts(out, counts, report.dry_run)?;
    }
    let verdict = if report.is_in_order() { "in order" } else { "NOT in order" };
    writeln!(out, "{verdict}{}", if report.dry_run { " (nothing was changed)" } else { "" })
}

fn print_events(
    out: &mut impl std::io::Write,
    events: &EventsReport,
    dry_run: bool,
    is_stopped: bool,
) -> std::io::Result<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    writeln!(out, "events from {} to {}", text(&events.from), text(&events.to))?;
    writeln!(
        out,
        "  {}, {} seen: {} known, {} in the inbox, {} of no mapped type, {} of no endpoint here, {} missing",
        counted(events.pages, "page", "pages"),
        events.seen,
        events.known,
        events.in_hand,
        events.unmapped,
        events.foreign,
        events.missing
    )?;
    if events.dropped > 0 {
        let dropped = counted(events.dropped, "was dropped by a person and stays", "were dropped by a person and stay");
        writeln!(out, "  {dropped} so")?;
    }
    if !dry_run {
        writeln!(out, "  {} taken in; cursor at {}", events.inserted, text(&events.cursor))?;
    }
    if is_stopped && events.inserted > 0 {
        writeln!(out, "  what was taken in waits in the inbox: start the gateway")?;
    }
    if let Some(before) = &events.lost_before {
        writeln!(
            out,
            "  events before {before} are no longer listed by Stripe: compare the payments of that time with an export \
             of the dashboard"
        )?;
    }
    if let Some(error) = &events.error {
        writeln!(out, "  ended early: {error}")?;
    }
    Ok(())
}

fn print_subscriptions(out: &mut impl std::io::Write, report: &SubscriptionsReport) -> std::io::Result<()> {
    writeln!(out, "subscriptions")?;
    writeln!(
        out,
        "  {}, {} seen: {} in order, {} missing, {} different; {} repaired, {} overtaken, {} failed; {} unknown at \
         Stripe",
        counted(report.pages, "page", "pages"),
        report.seen,
        report.in_order,
        report.missing,
        report.different,
        report.repaired,
        report.overtaken,
        report.failed,
        report.unknown_at_stripe
    )?;
    for example in &report.examples {
        let fields = example.fields.join(", ");
        writeln!(out, "  {:<30} {:<18} {:<12} {fields}", example.subscription, example.found, example.end)?;
    }
    let rest = report.missing + report.different + report.unknown_at_stripe;
    let shown = report.examples.len() as u64;
    if rest > shown {
        writeln!(out, "  and {} more", rest - shown)?;
    }
    if let Some(error) = &report.error {
        writeln!(out, "  ended early: {error}")?;
    }
    Ok(())
}

fn print_counts(out: &mut impl std::io::Write, report: &RecountReport, dry_run: bool) -> std::io::Result<()> {
    writeln!(out, "counts")?;
    writeln!(
        out,
        "  {}: {} counted again, {} without a payload, {} that Stripe was asked about, {} refused; {} of money compared",
        counted(report.events, "event", "events"),
        report.counted,
        report.without_payload,
        report.asked_of_stripe,
        report.refused,
        counted(report.rows, "row", "rows")
    )?;
    let end = if dry_run { "to be mended" } else { "mended" };
    writeln!(out, "  {} {end}, {} overtaken", report.total(), report.overtaken)?;
    for (kind, MendedRows { replaced, added, removed }) in &report.mended {
        writeln!(out, "  {kind:<14} {replaced} replaced, {added} added, {removed} removed")?;
    }
    if let Some(error) = &report.error {
        writeln!(out, "  ended early: {error}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_moment_or_an_age() {
        assert_eq!(beginning("7d"), Ok(Moment::Ago(Duration::from_hours(168))));
        assert_eq!(beginning("2026-01-31T12:00:00Z").map(|since| matches!(since, Moment::At(_))), Ok(true));
        for text in ["", "7", "d", "0h", "yesterday", "99999999999999999999d", "7 d"] {
            assert!(beginning(text).is_err(), "{text}");
        }
    }
}
