//! The end of `dev`: what was delivered, the rows it became, and whether they are what the events add up to.

use std::io::Write as _;

use super::agreement::differences;
use super::colony::DevColony;
use crate::cli::revenue::tag;
use crate::cli::traffic::{Snapshot, Stats};
use crate::domain::counted::counted;
use crate::ledger::report::{REPORT_LINES_MAX, StateOfRecord, SubscriptionLine, Summary};
use stripe_events::simulator::Expected;

/// Subscriptions printed; the others are counted.
const ROWS_PRINTED: usize = 10;

/// What was sent to the gateway.
pub(super) struct Sent<'a> {
    pub(super) expected: &'a Expected,
    /// Events that were sent besides, as problems to solve.
    pub(super) beside: u64,
    /// Entries that were still on their way when the run was broken off.
    pub(super) unfinished: u64,
    /// Whether the run went on until it was stopped, so that a person may have sent events too.
    pub(super) endless: bool,
    pub(super) stats: Option<&'a Stats>,
}

/// Prints the summary and returns whether everything is right. A kept data directory may have entries of an earlier run, so
/// the totals are compared only for a temporary one.
pub(super) async fn print(ledger: &dyn StateOfRecord, sent: &Sent<'_>, fresh: bool) -> anyhow::Result<bool> {
    let Sent { expected, beside, unfinished, endless, stats } = *sent;
    let summary = ledger.summary(REPORT_LINES_MAX).await?;
    let subscriptions = ledger.subscriptions(REPORT_LINES_MAX).await?;
    let mut out = std::io::stdout().lock();
    let mut good = true;
    if let Some(stats) = stats {
        let sent = stats.snapshot();
        good &= deliveries(&mut out, &sent)?;
    }
    rows(&mut out, &summary, &subscriptions)?;
    if stats.is_some() && unfinished > 0 {
        writeln!(
            out,
            "\n{} way when you stopped it, so nothing is compared",
            counted(unfinished, "event was still on its", "events were still on their")
        )?;
    } else if stats.is_some() {
        let others = if endless { summary.counts.events.saturating_sub(expected.events() + beside) } else { 0 };
        let totals = (fresh && others == 0).then_some(beside);
        let differences = differences(&summary, &subscriptions, expected, totals);
        writeln!(out)?;
        if beside > 0 {
            writeln!(
                out,
                "{} of the sum",
                counted(
                    beside,
                    "more event was a problem to solve; it is not part",
                    "more events were problems to solve; they are not part"
                )
            )?;
        }
        if differences.is_empty() {
            writeln!(
                out,
                "{} applied once each: the state of record is what they add up to",
                counted(expected.events(), "event", "events")
            )?;
        } else {
            let events = counted(expected.events(), "event adds", "events add");
            writeln!(out, "the state of record is NOT what {events} up to:")?;
            differences.iter().try_for_each(|difference| writeln!(out, "  {difference}"))?;
            good = false;
        }
    }
    out.flush()?;
    Ok(good)
}

/// Prints which route the events took, and returns whether the colony did its part.
pub(super) async fn print_route(colony: Option<&DevColony>, events: u64) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let Some(colony) = colony else {
        writeln!(out, "route: direct, without a colony")?;
        return Ok(true);
    };
    let processes = colony.statistics().await?;
    let closed = processes.successfulprocesses;
    writeln!(
        out,
        "route: colony_os, {} closed by {}, {} failed",
        counted(closed, "process", "processes"),
        counted(colony.bees, "bee", "bees"),
        processes.failedprocesses
    )?;
    Ok(processes.failedprocesses == 0 && (closed > 0 || events == 0))
}

fn deliveries(out: &mut impl std::io::Write, sent: &Snapshot) -> std::io::Result<bool> {
    let p99 = sent.latencies.quantile(990).unwrap_or_default().as_secs_f64() * 1000.0;
    writeln!(out)?;
    writeln!(
        out,
        "delivered {}, {} of them twice, with {} refused; p99 {p99:.1} ms",
        counted(sent.genuine, "event", "events"),
        sent.duplicates,
        counted(sent.forged, "forgery", "forgeries")
    )?;
    for sample in &sent.samples {
        writeln!(out, "  unexpected: {sample}")?;
    }
    Ok(sent.unexpected == 0)
}

fn rows(out: &mut impl std::io::Write, summary: &Summary, subscriptions: &[SubscriptionLine]) -> std::io::Result<()> {
    let counts = &summary.counts;
    writeln!(
        out,
        "ledger: {}, {} ({} without a known user), {}, {}, {}",
        counted(counts.events, "event", "events"),
        counted(counts.subscriptions, "subscription", "subscriptions"),
        counts.orphans,
        counted(counts.customers, "customer", "customers"),
        counted(counts.revenue_entries, "amount", "amounts"),
        counted(counts.findings, "finding", "findings")
    )?;
    if !subscriptions.is_empty() {
        writeln!(out)?;
        writeln!(out, "{:<30} {:<38} {:<10} {:<8} {:>12}", "subscription", "user", "status", "tier", "monthly")?;
    }
    for line in subscriptions.iter().take(ROWS_PRINTED) {
        writeln!(
            out,
            "{:<30} {:<38} {:<10} {:<8} {:>12}",
            line.id,
            line.user_id.as_deref().unwrap_or("-"),
            line.status,
            line.tier.as_deref().unwrap_or("-"),
            tag(line.mrr_minor, line.currency.as_deref())
        )?;
    }
    if subscriptions.len() > ROWS_PRINTED {
        writeln!(out, "… and {} more", subscriptions.len() - ROWS_PRINTED)?;
    }
    if !summary.recurring.is_empty() {
        writeln!(out)?;
        writeln!(out, "{:<10} {:>14} {:>14}", "tier", "subscriptions", "monthly")?;
    }
    for line in summary.recurring.iter().filter(|line| line.account.is_none()) {
        let (tier, monthly) = (line.tier.as_deref().unwrap_or("-"), tag(line.mrr_minor, line.currency.as_deref()));
        writeln!(out, "{tier:<10} {:>14} {monthly:>14}", line.subscriptions)?;
    }
    Ok(())
}
