//! `tail`: entries of a running gateway in the terminal, as they come in and as they end.
//!
//! The admin listener is asked again and again. An entry is shown when it is first seen and whenever its state became another
//! one; what happens to it between two looks is not seen.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::admin::{AdminClient, Reach, Refusal, reach};
use super::inbox::{Connection, Filter, entry_line};
use crate::admin::wire::ListQuery;
use crate::config::Sources;
use crate::domain::clock::Clock;
use crate::domain::ids::EntryId;
use crate::inbox::{Listed, ListedPage, PAGE_ENTRIES_MAX, Selection, StateName};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Time between two looks at a gateway that does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How many of the newest entries a look covers and remembers with their states.
const WATCHED_MAX: usize = 500;

/// Most pages of one look. If there are more entries between two looks, the others are counted and not shown.
const PAGES_MAX: usize = 5;

#[derive(Clone, Debug, clap::Args)]
pub struct TailArgs {
    /// Entries to begin with.
    #[arg(long, short = 'n', default_value = "10", value_parser = clap::value_parser!(u16).range(0..=500))]
    lines: u16,
    /// Print JSON, one entry per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    filter: Filter,
}

/// Shows entries until it is interrupted, which counts as success.
pub async fn run(args: TailArgs, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let selection = args.filter.selection(clock)?;
    let client = match &args.connection.admin {
        Some(url) => AdminClient::at(url, &config)?,
        None => match reach(&config, clock).await? {
            Reach::Running(client) => client,
            Reach::Stopped(inbox, threads) => {
                drop(inbox);
                let _ = tokio::task::spawn_blocking(move || threads.join()).await;
                anyhow::bail!("no gateway runs on this inbox, so nothing comes in: start it, or use `inbox list`");
            }
        },
    };
    let mut tail = Tail { client, selection, json: args.json, seen: None };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for interrupts")?;
            Ok(ExitCode::SUCCESS)
        }
        failed = tail.follow(usize::from(args.lines)) => failed.map(|never| match never {}),
    }
}

struct Tail {
    client: AdminClient,
    selection: Selection,
    json: bool,
    /// States of the newest entries; nothing before the first look.
    seen: Option<BTreeMap<EntryId, StateName>>,
}

impl Tail {
    async fn follow(&mut self, lines: usize) -> anyhow::Result<std::convert::Infallible> {
        let mut is_away = false;
        loop {
            let wait = match self.look(lines).await {
                Ok(()) => {
                    is_away = false;
                    LOOK
                }
                // A refusal is final, but a gateway that restarts comes back.
                Err(error) if error.is::<Refusal>() || self.seen.is_none() || error.is::<std::io::Error>() => {
                    return Err(error);
                }
                Err(error) => {
                    if !is_away {
                        eprintln!("{error}; waiting for it");
                    }
                    is_away = true;
                    LOOK_AGAIN
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Shows what is new since the last look.
    async fn look(&mut self, lines: usize) -> anyhow::Result<()> {
        let first = self.seen.is_none();
        let known = self.seen.as_ref().and_then(|seen| seen.keys().next_back().copied());
        let (mut entries, mut after) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let limit = WATCHED_MAX.min(PAGE_ENTRIES_MAX);
            let query = ListQuery { selection: self.selection.clone(), after, limit, reveal: false };
            let page: ListedPage = self.client.get(&format!("/admin/entries?{query}")).await?;
            entries.extend(page.entries);
            after = page.next;
            let reaches_back = known.is_none() || entries.last().is_none_or(|last| Some(last.entry.entry) <= known);
            if after.is_none() || reaches_back {
                break;
            }
        }
        let changes = changes(self.seen.get_or_insert_default(), &entries);
        let begin = if first { changes.len().saturating_sub(lines) } else { 0 };
        let mut out = std::io::stdout().lock();
        for listed in &changes[begin..] {
            if self.json {
                serde_json::to_writer(&mut out, listed)?;
                writeln!(out)?;
            } else {
                writeln!(out, "{}", entry_line(&listed.entry))?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Entries that are new or have another state than before, the oldest first. Updates what is remembered.
fn changes<'a>(seen: &mut BTreeMap<EntryId, StateName>, newest_first: &'a [Listed]) -> Vec<&'a Listed> {
    // Entries older than all remembered ones were shown before, or arrived before the beginning.
    let oldest = (seen.len() >= WATCHED_MAX).then(|| seen.keys().next().copied()).flatten();
    let mut changed = Vec::new();
    for listed in newest_first.iter().rev() {
        let (entry, state) = (listed.entry.entry, listed.entry.state);
        if oldest.is_some_and(|oldest| entry < oldest) {
            continue;
        }
        // That an entry is being worked on is no news.
        let told = if matches!(state, StateName::Leased | StateName::Submitted) { StateName::Waiting } else { state };
        if seen.insert(entry, told) != Some(told) {
            changed.push(listed);
        }
    }
    while seen.len() > WATCHED_MAX {
        seen.pop_first();
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entries(states: &[(i64, &str)]) -> Vec<Listed> {
        let listed = states.iter().rev().map(|(entry, state)| {
            let value = json!({
                "entry": entry, "endpoint": "stripe", "event_id": format!("evt_{entry}"), "event_type": "x", "account": null,
                "livemode": false, "source": "webhook", "secret": "", "received": "2026-01-02T03:04:05Z", "state": state,
                "due": null, "attempts": 0, "crashes": 0, "process": null, "ended": null, "outcome": null, "code": null,
                "reason": null, "released": null, "replayed": null, "intervention": null
            });
            serde_json::from_value(value).unwrap()
        });
        listed.collect()
    }

    fn shown(seen: &mut BTreeMap<EntryId, StateName>, states: &[(i64, &str)]) -> Vec<i64> {
        changes(seen, &entries(states)).iter().map(|listed| listed.entry.entry.0).collect()
    }

    #[test]
    fn an_entry_is_shown_when_it_comes_and_when_it_ends_and_not_in_between() {
        let mut seen = BTreeMap::new();
        assert_eq!(shown(&mut seen, &[(1, "settled"), (2, "waiting")]), [1, 2]);
        assert_eq!(shown(&mut seen, &[(1, "settled"), (2, "leased"), (3, "waiting")]), [3]);
        assert_eq!(shown(&mut seen, &[(1, "settled"), (2, "settled"), (3, "dead")]), [2, 3]);
        assert_eq!(shown(&mut seen, &[(1, "settled"), (2, "settled"), (3, "waiting")]), [3], "it was replayed");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_fell_out_is_not_shown_again() {
        let mut seen = BTreeMap::new();
        let count = i64::try_from(WATCHED_MAX).unwrap() + 10;
        let all: Vec<(i64, &str)> = (1..=count).map(|entry| (entry, "settled")).collect();
        assert_eq!(shown(&mut seen, &all).len(), all.len());
        assert_eq!(seen.len(), WATCHED_MAX);
        assert_eq!(shown(&mut seen, &all), Vec::<i64>::new());
    }
}
