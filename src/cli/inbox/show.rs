//! `inbox list`, `inbox problems` and `inbox show`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;

use super::desk::Desk;
use super::{ListArgs, ShowArgs};
use crate::admin::wire::{ShownEntry, Waiting};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;
use crate::domain::ids::EntryId;
use crate::inbox::{BodyReport, EntryReport, ListedPage, PAGE_ENTRIES_MAX, ProblemGroup, Selection};
use crate::ledger::desk::EventReport;
use crate::ledger::report::{Attention, NotShown};

/// How many characters of a reason a list shows.
const REASON_CHARS: usize = 60;

/// Lists entries up to the limit, over as many pages as needed.
pub(super) async fn list(desk: &Desk, args: &ListArgs, clock: &Clock) -> anyhow::Result<ExitCode> {
    let selection = args.filter.selection(clock)?;
    let limit = args.limit as usize;
    let mut listed = ListedPage { entries: Vec::new(), next: args.after.map(EntryId) };
    loop {
        // One more than is shown, to find out whether there are more.
        let left = (limit + 1 - listed.entries.len()).min(PAGE_ENTRIES_MAX);
        let page = desk.list(&selection, listed.next, left, args.reveal).await?;
        listed.entries.extend(page.entries);
        listed.next = page.next;
        if listed.next.is_none() || listed.entries.len() > limit {
            break;
        }
    }
    if listed.entries.len() > limit {
        listed.entries.truncate(limit);
        listed.next = listed.entries.last().map(|last| last.entry.entry);
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &listed)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if listed.entries.is_empty() {
        writeln!(out, "no such entries")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{:>8}  {:<11}  {:<20}  {:<34}  {:<30}  why", "entry", "state", "received", "type", "event")?;
    for listed in &listed.entries {
        writeln!(out, "{}", line(&listed.entry))?;
    }
    if let Some(next) = listed.next {
        writeln!(out, "there is more: --after {next}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// To the second, which is what people compare.
pub(super) fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_seconds(at.seconds())
}

pub(in crate::cli) fn line(entry: &EntryReport) -> String {
    let why = match (&entry.code, &entry.outcome) {
        (Some(code), _) => format!("{code}: {}", entry.reason.as_deref().unwrap_or_default()),
        (None, Some(outcome)) => outcome.clone(),
        (None, None) => entry.reason.clone().unwrap_or_default(),
    };
    let short: String = why.chars().take(REASON_CHARS).collect();
    let more = if short.len() < why.len() { "…" } else { "" };
    format!(
        "{:>8}  {:<11}  {:<20}  {:<34}  {:<30}  {short}{more}",
        entry.entry.0,
        entry.state.as_str(),
        seconds(entry.received).to_string(),
        entry.event_type,
        entry.event_id,
    )
}

/// Lists everything that waits for a person.
pub(super) async fn problems(desk: &Desk, json: bool) -> anyhow::Result<ExitCode> {
    let waiting = desk.problems().await?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &waiting)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Waiting { problems, access } = waiting;
    match &access {
        Some(access) if access.unowned.is_empty() && access.waiting.is_empty() && problems.groups.is_empty() => {
            writeln!(out, "nothing waits for a person")?;
        }
        Some(access) => access_lines(&mut out, access)?,
        None if problems.groups.is_empty() => writeln!(
            out,
            "no entry waits for a person; the ledger does not answer, so payers without access are not known"
        )?,
        None => writeln!(out, "the ledger does not answer, so payers without access are not known\n")?,
    }
    for group in &problems.groups {
        group_lines(&mut out, group)?;
    }
    let told: u64 = problems.groups.iter().map(|group| group.count).sum();
    if told < problems.entries {
        let others = counted(problems.entries - told, "entry", "entries");
        writeln!(out, "and {others} of other kinds")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Lists subscriptions that entitle but give no user access, with advice.
fn access_lines(out: &mut impl Write, access: &Attention) -> std::io::Result<()> {
    for (reason, count) in &access.reasons {
        let which = counted(*count, "subscription is paid for and gives", "subscriptions are paid for and give");
        writeln!(out, "{which} no user access ({reason})")?;
        for one in access.unowned.iter().filter(|one| one.reason == *reason) {
            let customer = one.customer_id.as_deref().unwrap_or("no customer");
            let user = one.user_id.as_deref().map(|user| format!(", user {user}")).unwrap_or_default();
            let tier = one.tier.as_deref().map(|tier| format!(", {tier}")).unwrap_or_default();
            let account = one.account.as_deref().map(|id| format!(", on {id}")).unwrap_or_default();
            let mode = if one.livemode { "" } else { ", test mode" };
            writeln!(out, "  {} of {customer}: {}{tier}{user}{account}{mode}", one.id, one.status)?;
        }
        writeln!(out, "  to do: {}\n", reason.advice())?;
    }
    let NotShown { entitled, others } = access.not_shown;
    if entitled + others > 0 {
        writeln!(out, "{}", access.not_shown)?;
        for one in &access.waiting {
            let what = one.subscription_id.as_deref().unwrap_or("no subscription");
            writeln!(out, "  {} ({what}): {}", one.user_id, one.fault)?;
        }
        writeln!(
            out,
            "  to do: remove the cause (make the profile, let the column take the word); the gateway tries again by \
             itself, or at once with `colony-gateway projections refresh`\n"
        )?;
    }
    Ok(())
}

fn group_lines(out: &mut impl Write, group: &ProblemGroup) -> std::io::Result<()> {
    let ProblemGroup { state, code, event_type, count, oldest, newest, .. } = group;
    writeln!(out, "{count} {} as {code}: {event_type}", state.as_str())?;
    writeln!(out, "  first {}, last {}", seconds(*oldest), seconds(*newest))?;
    if let (Some(entry), Some(reason)) = (group.sample_entry, &group.sample_reason) {
        writeln!(out, "  such as entry {entry}: {reason}")?;
    }
    writeln!(out, "  to do: {}\n", group.advice)
}

/// Shows one entry, or those of one event.
pub(super) async fn one(desk: &Desk, args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let entries = if let Ok(entry) = args.which.parse() {
        vec![EntryId(entry)]
    } else {
        let selection = Selection { events: vec![args.which.clone()], ..Selection::default() };
        selection.check()?;
        let page = desk.list(&selection, None, PAGE_ENTRIES_MAX, false).await?;
        page.entries.into_iter().map(|listed| listed.entry.entry).collect()
    };
    anyhow::ensure!(!entries.is_empty(), "the inbox holds no event {}", args.which);
    for entry in entries {
        let shown = desk.story(entry, args.reveal).await?.with_context(|| format!("there is no entry {entry}"))?;
        let mut out = std::io::stdout().lock();
        if args.json {
            serde_json::to_writer_pretty(&mut out, &shown)?;
            writeln!(out)?;
        } else {
            tell(&mut out, &shown)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(out: &mut impl Write, shown: &ShownEntry) -> std::io::Result<()> {
    let ShownEntry { story, ledger, ledger_fault } = shown;
    let entry = &story.entry;
    let mut row = |name: &str, value: &str| writeln!(out, "{name:<12} {value}");
    row("entry", &entry.entry.to_string())?;
    row("event", &format!("{} ({})", entry.event_id, entry.event_type))?;
    let mode = entry.livemode.map_or("mode unknown", |live| if live { "live mode" } else { "test mode" });
    let account = entry.account.as_ref().map(|account| format!(", account {account}")).unwrap_or_default();
    row(
        "received",
        &format!("{} by {} at endpoint {}, {mode}{account}", entry.received, entry.source, entry.endpoint),
    )?;
    row("signed with", &entry.secret)?;
    let ended = entry.ended.map(|at| format!(" since {at}")).unwrap_or_default();
    let outcome = entry.outcome.as_ref().map(|outcome| format!(": {outcome}")).unwrap_or_default();
    row("state", &format!("{}{ended}{outcome}", entry.state.as_str()))?;
    if let Some(due) = entry.due {
        row("due", &due.to_string())?;
    }
    if let Some(code) = &entry.code {
        row("code", code)?;
    }
    if let Some(reason) = &entry.reason {
        row("reason", reason)?;
    }
    row("attempts", &format!("{} failed, {}", entry.attempts, counted(entry.crashes, "crash", "crashes")))?;
    if let Some(process) = &entry.process {
        row("process", process)?;
    }
    if let Some(released) = entry.released {
        row("released", &released.to_string())?;
    }
    if let Some(replayed) = entry.replayed {
        row("replayed", &replayed.to_string())?;
    }
    for order in &story.orders {
        let by = order.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let note = order.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        row("order", &format!("{} at {}{by}{note} ({})", order.action, order.at, order.was))?;
    }
    for step in &story.steps {
        let code = step.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
        let again = if step.times > 1 { format!(", {} times until {}", step.times, step.last) } else { String::new() };
        row("step", &format!("{}{code} at {}{again}: {}", step.kind, step.at, step.reason))?;
    }
    match (ledger, ledger_fault) {
        (Some(report), _) => ledger_rows(&mut row, report)?,
        (None, Some(fault)) => row("ledger", &format!("gave no answer: {fault}"))?,
        (None, None) => {}
    }
    match &story.body {
        Some(body) => body_lines(out, body),
        None => match story.erased {
            Some(at) => row("body", &format!("removed: its person was erased on {}", day(at))),
            None => row("body", "removed: it was older than the retention"),
        },
    }
}

/// The day of a moment, in UTC.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take_while(|character| *character != 'T').collect()
}

/// What the ledger recorded, and what the event's subscriptions give now.
fn ledger_rows(row: &mut impl FnMut(&str, &str) -> std::io::Result<()>, report: &EventReport) -> std::io::Result<()> {
    match &report.event {
        None => row("ledger", "has not recorded the event")?,
        Some(event) => {
            let rule = event.rule.as_ref().map(|rule| format!(", rule {rule}")).unwrap_or_default();
            let reason = event.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let at = Timestamp::from_millis(event.recorded_at_ms);
            row("ledger", &format!("{} at {at}{rule}{reason}", event.outcome))?;
        }
    }
    for subscription in &report.subscriptions {
        let line = &subscription.line;
        let gives = match &line.given_tier {
            Some(tier) if line.gives => format!("gives {tier}"),
            _ if line.gives => "gives access".to_owned(),
            _ => format!("gives nothing, `colony-gateway person {}` says why", line.id),
        };
        row("access", &format!("{} ({}) {gives}", line.id, line.status))?;
    }
    Ok(())
}

fn body_lines(out: &mut impl Write, body: &BodyReport) -> std::io::Result<()> {
    let subject = &body.subject;
    writeln!(out, "{:<12} {} bytes", "body", body.bytes)?;
    let known = [
        ("object", &subject.object),
        ("id", &subject.object_id),
        ("status", &subject.status),
        ("customer", &subject.customer),
        ("subscription", &subject.subscription),
        ("API version", &subject.api_version),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            writeln!(out, "  {name:<12} {value}")?;
        }
    }
    for user in &subject.users {
        writeln!(out, "  {:<12} {user}", "user")?;
    }
    match &body.content {
        Some(content) => writeln!(out, "{content}"),
        None => writeln!(out, "  the rest is not shown: --reveal shows it"),
    }
}
