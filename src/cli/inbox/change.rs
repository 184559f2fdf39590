//! `inbox replay`, `inbox release`, `inbox drop` and `inbox refetch`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::ChangeArgs;
use super::desk::Desk;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox::{Action, Order, OrderedEntry, Refusal, Selection};

/// Pause between two steps, so that a running gateway takes webhooks first.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// Refused entries that are listed; all are counted.
const REFUSED_LISTED_MAX: usize = 20;

#[derive(Serialize)]
struct ChangeReport {
    action: &'static str,
    dry_run: bool,
    matched: usize,
    changed: usize,
    refused: BTreeMap<Refusal, usize>,
    /// All of a dry run; else those that were refused.
    entries: Vec<OrderedEntry>,
}

pub(super) async fn run(
    desk: &Desk,
    action: Action,
    args: ChangeArgs,
    by: Option<String>,
    clock: &Clock,
) -> anyhow::Result<ExitCode> {
    let ChangeArgs { filter, all, dry_run, note, json, .. } = args;
    let selection = filter.selection(clock)?;
    anyhow::ensure!(
        !selection.is_empty() || all,
        "nothing is selected: name entries, or give --all (with --dry-run to see which entries that means)"
    );
    let blank = note.as_deref().is_some_and(|note| note.trim().is_empty());
    anyhow::ensure!(action != Action::Drop || !blank, "--reason must say why");
    let order = Order { action, by, note };
    let mut report = ChangeReport {
        action: action.as_str(),
        dry_run,
        matched: 0,
        changed: 0,
        refused: BTreeMap::new(),
        entries: Vec::new(),
    };
    let (mut after, mut found) = (None, BTreeSet::new());
    loop {
        let step = desk.operate(&selection, &order, dry_run, after).await?;
        for entry in step.entries {
            report.matched += 1;
            if selection.is_by_id() {
                found.extend([entry.event_id.clone(), entry.entry.0.to_string()]);
            }
            match entry.refused {
                Some(refusal) => *report.refused.entry(refusal).or_default() += 1,
                None => report.changed += usize::from(!dry_run),
            }
            if dry_run && !json {
                would(action, &entry)?;
            } else if dry_run || entry.refused.is_some() && (json || report.entries.len() < REFUSED_LISTED_MAX) {
                report.entries.push(entry);
            }
        }
        after = step.next;
        if after.is_none() {
            break;
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
    if action == Action::Drop && report.changed > 0 {
        desk.tell_drops().await?;
    }
    let missing = missing(&selection, &found);
    if report.matched == 0 && !missing.is_empty() && !json {
        anyhow::bail!("the inbox holds no {}", missing.join(", "));
    }
    say(&report, json)?;
    if !missing.is_empty() {
        eprintln!("the inbox holds no {}", missing.join(", "));
    }
    // Dropped entries that were not named do not count.
    let done = report.matched > 0 && report.refused.keys().all(|refusal| *refusal == Refusal::Dropped);
    Ok(if done || (report.matched == 0 && !selection.is_by_id()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Named entries and events that do not exist. With another filter they may exist and only fail to match it.
fn missing(selection: &Selection, found: &BTreeSet<String>) -> Vec<String> {
    let named_alone =
        Selection { entries: selection.entries.clone(), events: selection.events.clone(), ..Selection::default() };
    if *selection != named_alone {
        return Vec::new();
    }
    let entries = selection.entries.iter().map(|entry| ("entry", entry.0.to_string()));
    let events = selection.events.iter().map(|event| ("event", event.clone()));
    let named = entries.chain(events).filter(|(_, name)| !found.contains(name));
    named.map(|(what, name)| format!("{what} {name}")).collect()
}

/// One line of a dry run, printed as soon as it is found, because there may be very many.
fn would(action: Action, entry: &OrderedEntry) -> std::io::Result<()> {
    let OrderedEntry { entry: id, event_id, event_type, state, code, refused } = entry;
    let what = match refused {
        None => format!("would {}", action.as_str()),
        Some(refusal) => format!("left: {}", refusal.explain()),
    };
    let code = code.as_deref().unwrap_or("-");
    writeln!(
        std::io::stdout(),
        "{:>8}  {:<11}  {code:<18}  {event_type:<34}  {event_id:<30}  {what}",
        id.0,
        state.as_str()
    )
}

fn say(report: &ChangeReport, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
        return Ok(());
    }
    let ChangeReport { action, dry_run, matched, changed, refused, entries } = report;
    let entries_matched = counted(*matched, "entry", "entries");
    if *dry_run {
        let possible = matched - refused.values().sum::<usize>();
        writeln!(out, "{action}: {possible} of {entries_matched} would change; nothing was changed")?;
    } else {
        writeln!(out, "{action}: {changed} of {entries_matched} changed")?;
    }
    for (refusal, count) in refused {
        writeln!(out, "{}: {}", counted(*count, "left as it is", "left as they are"), refusal.explain())?;
    }
    for entry in entries {
        writeln!(out, "  entry {} ({}, {})", entry.entry, entry.event_id, entry.state.as_str())?;
    }
    Ok(())
}
