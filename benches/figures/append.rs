//! Appends a second to an inbox with millions of entries, beside one with ten thousand. In this process, without HTTP.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use colony_gateway::inbox::{Inbox, InboxOptions};
use tokio::task::JoinSet;

use crate::Bench;
use crate::inboxes::{Deliveries, Standing, make};
use crate::process::until_no_thread;
use crate::report::{Reach, Row};

/// Appends that wait at once, as many as there are connections of a busy gateway.
const AT_ONCE: usize = 256;

/// Entries of the small inbox.
const SMALL: u64 = 10_000;

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let large_entries: u64 = bench.sized(5_000_000, 500_000);
    let large = tempfile::tempdir().context("no temporary directory")?;
    make(bench, large.path(), large_entries, Standing::Settled)?;
    let mut rows = Vec::new();
    for scattered in [false, true] {
        let pairs = bench.in_turns(
            |_| measure(bench, large.path(), scattered),
            |_| {
                let small = tempfile::tempdir().context("no temporary directory")?;
                make(bench, small.path(), SMALL, Standing::Settled)?;
                measure(bench, small.path(), scattered)
            },
        )?;
        let ids = if scattered { "ids that come in any order" } else { "ids as Stripe's" };
        rows.push(Row {
            name: format!("appends with {large_entries} entries in the inbox, {ids}"),
            unit: "1/s",
            ours: pairs.iter().map(|(large, _)| *large).collect(),
            theirs: Some(("10,000 entries", pairs.iter().map(|(_, small)| *small).collect())),
            reach: if scattered { Reach::Nothing } else { Reach::RatioMin(0.8) },
        });
    }
    Ok(rows)
}

/// Appends a second.
#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn measure(bench: &Bench, directory: &Path, scattered: bool) -> anyhow::Result<f64> {
    let appends: u64 = bench.sized(100_000, 40_000);
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory), bench.clock.clone())?;
    // A large file is read through after the start.
    until_no_thread("self", "inbox-check", &bench.clock)?;
    let left = Arc::new(AtomicU64::new(appends));
    let deliveries = Arc::new(Deliveries::new(&bench.clock)?);
    let begun = bench.clock.instant();
    bench.runtime.block_on(async {
        let mut appenders = JoinSet::new();
        for _ in 0..AT_ONCE {
            appenders.spawn(append(
                inbox.clone(),
                Arc::clone(&bench.requests),
                Arc::clone(&deliveries),
                Arc::clone(&left),
                scattered,
            ));
        }
        while let Some(appender) = appenders.join_next().await {
            appender??;
        }
        anyhow::Ok(())
    })?;
    let rate = appends as f64 / bench.clock.instant().duration_since(begun).as_secs_f64();
    drop(inbox);
    threads.join();
    eprintln!("  {rate:.0}/s");
    Ok(rate)
}

async fn append(
    inbox: Inbox,
    requests: Arc<crate::requests::Requests>,
    deliveries: Arc<Deliveries>,
    left: Arc<AtomicU64>,
    scattered: bool,
) -> anyhow::Result<()> {
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        inbox.append(deliveries.next(&requests, scattered)?).await?;
    }
    Ok(())
}
