//! `person`: what a user has and why, or why not, from the state of record; and which events about the user the inbox still has.
//!
//! The ledger does not know an event that waits or is held. If the inbox cannot be asked, the command says so and gives the
//! ledger's answer: a support desk's machine may reach only the database.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::inbox::Connection;
use super::inbox::desk::Desk;
use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::inbox::{PAGE_ENTRIES_MAX, Selection, StateName};
use crate::ledger::desk::{PERSON_ROWS_MAX, PersonReport, Whom};
use crate::ledger::explain::{Explanation, explain};
use stripe_events::money::Currency;

/// States of entries that are not at their end, or ended without being applied.
const NOT_APPLIED: [StateName; 5] =
    [StateName::Waiting, StateName::Leased, StateName::Submitted, StateName::Dead, StateName::Quarantined];

/// Most pages of the inbox that are counted. Each has its own bound.
const PAGES_MAX: usize = 20;

/// Amounts of money that are printed, the latest.
const MONEY_MAX: usize = 10;

/// Arguments of `person`.
#[derive(Clone, Debug, clap::Args)]
pub struct PersonArgs {
    /// A customer or a subscription of Stripe's, or the app's own id of a user.
    #[arg(value_name = "cus_…|sub_…|USER")]
    pub who: String,

    /// Print JSON: all that the ledger holds of the person, and counts of the inbox.
    #[arg(long)]
    pub json: bool,
}

/// Asks the ledger and prints its answer.
pub async fn run(args: PersonArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let report = ledger.person(&Whom::named(&args.who)).await?;
    let told = explain(&report, clock.now());
    let ids = ids(&args.who, &report);
    let inbox = not_applied(&config, &clock, &ids).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        if let Err(error) = &inbox {
            eprintln!("note: {}", unasked(error));
        }
        serde_json::to_writer_pretty(&mut out, &Answer { report: &report, inbox: inbox.ok() })?;
        writeln!(out)?;
    } else {
        print(&mut out, &report, &told)?;
        match &inbox {
            Ok(counts) => print_inbox(&mut out, counts, &ids)?,
            Err(error) => writeln!(out, "inbox      {}", unasked(error))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    report: &'a PersonReport,
    /// `None` if the inbox could not be asked.
    inbox: Option<NotApplied>,
}

/// How many events about the person the inbox has that are not applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct NotApplied {
    /// On their way.
    waiting: u64,
    /// In quarantine.
    held: u64,
    /// Dead.
    given_up: u64,
    /// Whether there may be more, because the count stopped at its bound.
    more: bool,
}

/// The ids by which events lead to the person: the one that was asked for, and those that the ledger knows.
fn ids(who: &str, report: &PersonReport) -> Vec<String> {
    let customers = report.customers.iter().map(|customer| &customer.id);
    let subscriptions = report.subscriptions.iter().map(|subscription| &subscription.id);
    let mut ids = vec![who.to_owned()];
    for id in report.users.iter().chain(customers).chain(subscriptions) {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

/// Counts the events in the inbox that refer to one of these ids and are not applied.
async fn not_applied(config: &Config, clock: &Clock, ids: &[String]) -> anyhow::Result<NotApplied> {
    let selection = Selection { refs: ids.to_vec(), states: NOT_APPLIED.to_vec(), ..Selection::default() };
    selection.check()?;
    let desk = Desk::open(&Connection::default(), config, clock).await?;
    let counts = count(&desk, &selection).await;
    desk.close().await;
    counts
}

async fn count(desk: &Desk, selection: &Selection) -> anyhow::Result<NotApplied> {
    let (mut counts, mut after) = (NotApplied::default(), None);
    for _ in 0..PAGES_MAX {
        let page = desk.list(selection, after, PAGE_ENTRIES_MAX, false).await?;
        for listed in &page.entries {
            match listed.entry.state {
                StateName::Waiting | StateName::Leased | StateName::Submitted => counts.waiting += 1,
                StateName::Quarantined => counts.held += 1,
                StateName::Dead => counts.given_up += 1,
                StateName::Settled => {}
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(counts);
        }
    }
    counts.more = true;
    Ok(counts)
}

/// One line: causes go on where their effect ends.
fn unasked(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string().replace('\n', " ")).collect();
    format!("could not be asked, so events that wait or are held are not known: {}", causes.join(": "))
}

fn print_inbox(out: &mut impl std::io::Write, counts: &NotApplied, ids: &[String]) -> std::io::Result<()> {
    let NotApplied { waiting, held, given_up, more } = *counts;
    let all = waiting + held + given_up;
    if all == 0 {
        let known = if more { "the search stopped at its bound before it found one" } else { "none" };
        return writeln!(out, "inbox      events about the person that are not applied: {known}");
    }
    let at_least = if more { "at least " } else { "" };
    let events = counted(all, "event about the person is", "events about the person are");
    let kinds = [(waiting, "on the way"), (held, "held"), (given_up, "given up")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    writeln!(out, "inbox      {at_least}{events} not applied: {}", kinds.join(", "))?;
    let states: Vec<&str> = NOT_APPLIED.iter().map(|state| state.as_str()).collect();
    let refs: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
    writeln!(out, "      to see: colony-gateway inbox list --state {} --ref {}", states.join(","), refs.join(","))
}

/// An id as a shell takes it for one word. Ids of users are the app's and may have any characters.
fn quoted(id: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@/+".contains(&byte);
    if !id.is_empty() && id.bytes().all(is_plain) { id.to_owned() } else { format!("'{}'", id.replace('\'', "'\\''")) }
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
    for line in report.money.iter().take(MONEY_MAX) {
        let at = Timestamp::from_millis(line.occurred_at_ms);
        let amount =
            Currency::parse(&line.currency).map_or_else(|| line.amount_minor.to_string(), |c| c.tag(line.amount_minor));
        writeln!(out, "money      {at}  {} {} {amount}", line.kind, line.key)?;
    }
    let rest = report.money.len().saturating_sub(MONEY_MAX);
    if rest > 0 {
        let least =
            if u32::try_from(report.money.len()).is_ok_and(|all| all >= PERSON_ROWS_MAX) { "at least " } else { "" };
        writeln!(out, "money      {least}{rest} more before that: --json lists up to {PERSON_ROWS_MAX}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(counts: NotApplied, ids: &[&str]) -> String {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let mut out = Vec::new();
        print_inbox(&mut out, &counts, &ids).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_inbox_is_one_line_and_the_command_that_shows_it() {
        let none = printed(NotApplied::default(), &["ada"]);
        assert_eq!(none, "inbox      events about the person that are not applied: none\n");
        let some = printed(NotApplied { waiting: 1, held: 2, given_up: 0, more: false }, &["ada", "o'neil smith"]);
        assert!(
            some.starts_with("inbox      3 events about the person are not applied: 1 on the way, 2 held\n"),
            "{some}"
        );
        assert!(some.ends_with("--ref ada,'o'\\''neil smith'\n"), "{some}");
        let more = printed(NotApplied { given_up: 1, more: true, ..NotApplied::default() }, &["cus_1"]);
        assert!(more.contains("at least 1 event about the person is not applied: 1 given up"), "{more}");
    }

    #[test]
    fn an_inbox_that_cannot_be_asked_is_told_in_one_line() {
        let error = anyhow::anyhow!("no\nway").context("cannot open the inbox");
        assert!(unasked(&error).ends_with("not known: cannot open the inbox: no way"), "{}", unasked(&error));
    }
}
