//! `revenue`: what recurs, what came in, and who has what, from the state of record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use crate::app;
use crate::config::Sources;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::ledger::report::{REPORT_LINES_MAX, SubscriptionLine, Summary};
use stripe_events::money::Currency;

const DAY_SECONDS: i64 = 86_400;

/// Arguments of `revenue`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RevenueArgs {
    /// Days of daily revenue, today (UTC) among them; at most 10000.
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u32).range(1..=i64::from(REPORT_LINES_MAX)))]
    pub days: u32,

    /// Print JSON, with every subscription under `access`; amounts are in minor units.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// One object a subscription, those that entitle first; at most [`REPORT_LINES_MAX`].
    access: Vec<Access<'a>>,
}

/// What one subscription gives, and to whom.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of its own for those who read it")]
struct Access<'a> {
    id: &'a str,
    livemode: bool,
    /// `null` as long as nothing names one.
    user: Option<&'a str>,
    customer: Option<&'a str>,
    status: &'a str,
    entitles: bool,
    tier: Option<&'a str>,
    currency: Option<&'a str>,
    mrr_minor: i64,
    will_cancel: bool,
    /// Goes on with another period unless something happens.
    will_renew: bool,
    /// Until when a late payer keeps access; `null`: without end, or not late.
    grace_ends_at: Option<Timestamp>,
    /// Number of items is greater than what is known of them: tier and monthly amount are incomplete.
    partial: bool,
    /// How many items it has, those that are not known included.
    items: i64,
    /// Connected account; `null` is one's own.
    account: Option<&'a str>,
}

impl<'a> Access<'a> {
    fn of(line: &'a SubscriptionLine) -> Self {
        Self {
            id: &line.id,
            livemode: line.livemode,
            user: line.user_id.as_deref(),
            customer: line.customer_id.as_deref(),
            status: &line.status,
            entitles: line.entitles,
            tier: line.tier.as_deref(),
            currency: line.currency.as_deref(),
            mrr_minor: line.mrr_minor,
            will_cancel: line.will_cancel,
            will_renew: line.will_renew,
            grace_ends_at: line.grace_ends_at_ms.map(Timestamp::from_millis),
            partial: line.partial,
            items: line.items,
            account: line.account.as_deref(),
        }
    }
}

/// Asks the ledger and prints its answer.
pub async fn run(args: RevenueArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let (first, today) = (first_day(clock.now(), args.days), first_day(clock.now(), 1));
    let mut asked = args.days;
    let mut summary = loop {
        // The ledger counts days that had money. Those of Stripe's test clocks may be in the future and come in addition.
        let summary = ledger.summary(asked).await?;
        let needed = args.days.saturating_add(days_after(&summary, &today)).min(REPORT_LINES_MAX);
        if needed <= asked {
            break summary;
        }
        asked = needed;
    };
    summary.daily.retain(|line| line.day >= first);
    let lines = ledger.subscriptions(REPORT_LINES_MAX).await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let document = Document { summary: &summary, access: lines.iter().map(Access::of).collect() };
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
    } else {
        print(&mut out, &summary, &lines, &first)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first of the last `days` days in UTC, including today, in the ledger's form.
fn first_day(now: Timestamp, days: u32) -> String {
    let first = Timestamp::from_seconds(now.seconds() - i64::from(days.saturating_sub(1)) * DAY_SECONDS);
    first.to_string().chars().take_while(|character| *character != 'T').collect()
}

/// How many days after `today` had money.
fn days_after(summary: &Summary, today: &str) -> u32 {
    let days: BTreeSet<&str> = summary.daily.iter().map(|line| &*line.day).filter(|day| *day > today).collect();
    u32::try_from(days.len()).unwrap_or(u32::MAX)
}

fn print(
    out: &mut impl std::io::Write,
    summary: &Summary,
    lines: &[SubscriptionLine],
    first: &str,
) -> std::io::Result<()> {
    let counts = &summary.counts;
    writeln!(
        out,
        "{}, {} ({} without a known user), {} quarantined, {}",
        counted(counts.events, "event", "events"),
        counted(counts.subscriptions, "subscription", "subscriptions"),
        counts.orphans,
        counts.quarantined,
        counted(counts.findings, "finding", "findings")
    )?;
    if counts.not_shown > 0 {
        let users = counted(counts.not_shown, "user", "users");
        writeln!(out, "{users} whom the public tables do not show yet: see gateway.user_access")?;
    }
    writeln!(out, "\n{:<5} {:<10} {:>14} {:>18}", "mode", "tier", "subscriptions", "monthly")?;
    for line in summary.recurring.iter().filter(|line| line.account.is_none()) {
        let (tier, monthly) = (line.tier.as_deref().unwrap_or("-"), tag(line.mrr_minor, line.currency.as_deref()));
        writeln!(out, "{:<5} {tier:<10} {:>14} {monthly:>18}", mode(line.livemode), line.subscriptions)?;
    }
    for ((livemode, currency), (subscriptions, mrr_minor)) in sums(summary) {
        let monthly = tag(mrr_minor, currency);
        writeln!(out, "{:<5} {:<10} {subscriptions:>14} {monthly:>18}", mode(livemode), "all tiers")?;
    }
    let mut theirs = summary.recurring.iter().filter_map(|line| Some((line.account.as_deref()?, line))).peekable();
    if theirs.peek().is_some() {
        writeln!(out, "\nRecurring revenue of connected accounts, which is not your money:")?;
        for (account, line) in theirs {
            let (tier, monthly) = (line.tier.as_deref().unwrap_or("-"), tag(line.mrr_minor, line.currency.as_deref()));
            writeln!(
                out,
                "{:<5} {account:<24} {tier:<10} {:>14} {monthly:>18}",
                mode(line.livemode),
                line.subscriptions
            )?;
        }
    }
    writeln!(out, "{}", left_out(summary, lines))?;
    daily(out, summary, first)?;
    Ok(())
}

/// Subscriptions and recurring revenue in minor units, by mode and currency, where several tiers contribute. Nothing is
/// added up over modes or currencies.
fn sums(summary: &Summary) -> BTreeMap<(bool, Option<&str>), (u64, i64)> {
    let mut sums = BTreeMap::new();
    for line in summary.recurring.iter().filter(|line| line.account.is_none()) {
        let sum: &mut (usize, u64, i64) = sums.entry((line.livemode, line.currency.as_deref())).or_default();
        *sum = (sum.0 + 1, sum.1 + line.subscriptions, sum.2.saturating_add(line.mrr_minor));
    }
    sums.retain(|_, (tiers, ..)| *tiers > 1);
    sums.into_iter().map(|(place, (_, subscriptions, mrr_minor))| (place, (subscriptions, mrr_minor))).collect()
}

/// The operator's own money. The JSON also has that of connected accounts, by account.
fn daily(out: &mut impl std::io::Write, summary: &Summary, first: &str) -> std::io::Result<()> {
    let outside = "not Stripe's";
    writeln!(out, "\n{:<5} {:<10} {:>18} {:>18} {:>18} {outside:>18}", "mode", "day", "in", "out", "net")?;
    for line in summary.daily.iter().filter(|line| line.account.is_none()) {
        let tag = |minor| tag(minor, Some(&line.currency));
        let (gross, returned, net) = (tag(line.gross_minor), tag(line.returned_minor), tag(line.net_minor));
        let outside = tag(line.outside_minor);
        writeln!(
            out,
            "{:<5} {:<10} {gross:>18} {returned:>18} {net:>18} {outside:>18}",
            mode(line.livemode),
            line.day
        )?;
    }
    writeln!(out, "since {first}, UTC; a day without a line had no money")?;
    let accounts: BTreeSet<&str> = summary.daily.iter().filter_map(|line| line.account.as_deref()).collect();
    if !accounts.is_empty() {
        let theirs = counted(accounts.len(), "connected account", "connected accounts");
        writeln!(out, "without the money of {theirs}, which --json lists")?;
    }
    Ok(())
}

/// Why the table of recurring revenue has fewer subscriptions than there are. It lists the statuses of those left out, if
/// `lines` is complete.
fn left_out(summary: &Summary, lines: &[SubscriptionLine]) -> String {
    let shown: u64 = summary.recurring.iter().map(|line| line.subscriptions).sum();
    let others = summary.counts.subscriptions.saturating_sub(shown);
    let giving = counted(shown, "subscription gives", "subscriptions give");
    let mut said = format!("{giving} access now, including trials, which bring no money yet");
    let complete = u64::try_from(lines.len()) == Ok(summary.counts.subscriptions);
    let without_user = lines.iter().filter(|line| line.entitles && line.user_id.is_none()).count();
    if without_user > 0 {
        // Writing to a String does not fail.
        let _ = write!(
            said,
            ". {}{} no user, so no user has that access: see `colony-gateway inbox problems`",
            if complete { "" } else { "At least " },
            counted(without_user, "of them has", "of them have")
        );
    }
    if others == 0 {
        return said;
    }
    let without_access = lines.iter().filter(|line| !line.entitles);
    let (recurring, left): (Vec<_>, Vec<_>) = without_access.partition(|line| line.mrr_minor != 0);
    if !complete || u64::try_from(recurring.len() + left.len()) != Ok(others) {
        let _ = write!(said, ". {} none", counted(others, "more gives", "more give"));
        return said;
    }
    if !recurring.is_empty() {
        let (number, statuses) = (recurring.len(), statuses(&recurring));
        let _ = write!(
            said,
            ". {} none now (held by a rule, late, or of a connected account): {statuses}",
            counted(number, "more recurs and gives", "more recur and give")
        );
    }
    if !left.is_empty() {
        let _ = write!(said, ". {} left out: {}", counted(left.len(), "more is", "more are"), statuses(&left));
    }
    said
}

/// How many there are of each of Stripe's statuses.
fn statuses(lines: &[&SubscriptionLine]) -> String {
    let mut by_status: BTreeMap<&str, u64> = BTreeMap::new();
    for line in lines {
        *by_status.entry(&line.status).or_default() += 1;
    }
    let named: Vec<String> = by_status.iter().map(|(status, number)| format!("{number} {status}")).collect();
    named.join(", ")
}

const fn mode(livemode: bool) -> &'static str {
    if livemode { "live" } else { "test" }
}

/// An amount as on a price tag; without a currency, only the number.
pub(super) fn tag(minor: i64, currency: Option<&str>) -> String {
    currency.and_then(Currency::parse).map_or_else(|| minor.to_string(), |currency| currency.tag(minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::report::{Counts, RecurringLine};

    fn line(id: &str, status: &str, entitles: bool) -> SubscriptionLine {
        SubscriptionLine {
            id: id.to_owned(),
            livemode: true,
            user_id: None,
            customer_id: None,
            status: status.to_owned(),
            projected_status: None,
            entitles,
            tier: None,
            currency: None,
            mrr_minor: 0,
            current_period_end_ms: None,
            source: "payload".to_owned(),
            will_cancel: false,
            will_renew: false,
            grace_ends_at_ms: None,
            partial: false,
            items: 1,
            account: None,
        }
    }

    #[test]
    fn the_last_days_are_days_of_the_calendar_with_today_among_them() {
        let now = Timestamp::from_seconds(1_795_737_600 + 3600);
        let firsts = [1, 2, 28].map(|days| first_day(now, days));
        assert_eq!(firsts, ["2026-11-27", "2026-11-26", "2026-10-31"]);
    }

    /// A day in UTC has 86,400 seconds all year, even where daylight saving time begins or ends.
    #[test]
    fn no_day_is_left_out_and_none_comes_twice_when_zones_change_their_clocks() {
        // In Europe and America, daylight saving time begins or ends within these days.
        let now = Timestamp::parse_rfc3339("2026-11-02T00:30:00Z").unwrap();
        let days: Vec<String> = (1..=400).map(|days| first_day(now, days)).collect();
        for (one, before) in days.iter().zip(&days[1..]) {
            let noon = |day: &str| Timestamp::parse_rfc3339(&format!("{day}T12:00:00Z")).unwrap();
            assert_eq!(noon(one).since(noon(before)).as_secs(), 86_400, "{before}, {one}");
        }
        for day in ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"] {
            assert_eq!(days.iter().filter(|one| *one == day).count(), 1, "{day}");
        }
    }

    /// So many subscriptions, of which one gives access.
    fn summary(subscriptions: u64, mrr_minor: i64) -> Summary {
        let counts = Counts { subscriptions, ..Counts::default() };
        let recurring = vec![RecurringLine {
            livemode: true,
            account: None,
            tier: None,
            currency: None,
            subscriptions: 1,
            mrr_minor,
        }];
        Summary { counts, recurring, daily: Vec::new() }
    }

    #[test]
    fn tiers_are_added_up_and_neither_modes_nor_currencies_are() {
        let line = |livemode, tier: &str, currency: &str, account: Option<&str>, mrr_minor| RecurringLine {
            livemode,
            account: account.map(str::to_owned),
            tier: Some(tier.to_owned()),
            currency: Some(currency.to_owned()),
            subscriptions: 2,
            mrr_minor,
        };
        let summary = Summary {
            recurring: vec![
                line(true, "gold", "cad", None, 4000),
                line(true, "silver", "cad", None, 1500),
                line(true, "gold", "usd", None, 700),
                line(false, "gold", "cad", None, 90),
                line(true, "bronze", "cad", Some("acct_1"), 5),
            ],
            ..summary(9, 0)
        };
        assert_eq!(sums(&summary), BTreeMap::from([((true, Some("cad")), (4, 5500))]));
    }

    #[test]
    fn the_table_says_which_subscriptions_it_leaves_out() {
        let summary = summary(4, 0);
        let lines = [
            line("a", "trialing", true),
            line("b", "canceled", false),
            line("c", "incomplete", false),
            line("d", "canceled", false),
        ];
        let text = left_out(&summary, &lines);
        assert!(text.ends_with("3 more are left out: 2 canceled, 1 incomplete"), "{text}");
        assert!(text.contains("including trials"), "{text}");
        // With only some of the lines, no status is counted.
        assert!(left_out(&summary, &lines[..3]).ends_with("3 more give none"));
    }

    #[test]
    fn what_is_in_the_amounts_and_gives_no_access_is_not_said_to_be_left_out() {
        let summary = summary(2, 251_500);
        let held = SubscriptionLine { mrr_minor: 250_000, ..line("b", "active", false) };
        let text = left_out(&summary, &[line("a", "active", true), held]);
        assert!(text.contains("1 more recurs and gives none now") && !text.contains("left out"), "{text}");
    }

    #[test]
    fn access_names_what_readers_ask_for() {
        let line = line("sub_1", "active", true);
        let value = serde_json::to_value(Access::of(&line)).unwrap();
        let names = ["id", "user", "status", "entitles", "tier", "mrr_minor", "will_cancel", "account"];
        let names = names.into_iter().chain(["will_renew", "grace_ends_at", "partial"]).collect::<Vec<_>>();
        assert!(names.iter().all(|name| value.get(name).is_some()), "{value}");
    }
}
