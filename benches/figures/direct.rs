//! Events a second from the first webhook to the last settled entry, direct route, PostgreSQL; beside a program that
//! writes one `INSERT … ON CONFLICT` an event, without HTTP, signatures or an inbox, from a pool of 20 connections.
//!
//! PostgreSQL runs with its default durability: each commit of either is fsynced.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use colony_gateway::stripe::simulator::SimulatedEvent;
use tokio::task::JoinSet;

use crate::Bench;
use crate::events::{self, post_all};
use crate::inserts::{CONNECTIONS, Inserts, TABLE};
use crate::postgres::{Database, Flavour};
use crate::process::{Ledger, Process, environment};
use crate::report::{Reach, Row};

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let events: Arc<[SimulatedEvent]> = events::events(bench.sized(20_000, 5000), bench.clock.now()).into();
    let pairs = bench.in_turns(|_| gateway(bench, &events), |_| inserts(bench, &events))?;
    Ok(vec![Row {
        name: "events from webhook to ledger, direct route, PostgreSQL".to_owned(),
        unit: "1/s",
        ours: pairs.iter().map(|(ours, _)| *ours).collect(),
        theirs: Some(("an INSERT an event", pairs.iter().map(|(_, theirs)| *theirs).collect())),
        reach: Reach::RatioMin(3.0),
    }])
}

fn gateway(bench: &Bench, events: &[SimulatedEvent]) -> anyhow::Result<f64> {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let ledger = Ledger::Postgres(database.url());
    migrate(bench, directory.path(), &ledger)?;
    let process = Process::gateway(bench, directory.path(), &ledger)?;
    let begun = bench.clock.instant();
    post_all(process.webhooks, events)?;
    process.until_settled(events.len(), &bench.clock)?;
    Ok(rate(bench, events, begun, "gateway"))
}

pub(crate) fn migrate(bench: &Bench, data: &Path, ledger: &Ledger) -> anyhow::Result<()> {
    let output = Command::new(&bench.binary).arg("migrate").env_clear().envs(environment(data, ledger)).output()?;
    ensure!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn inserts(bench: &Bench, events: &Arc<[SimulatedEvent]>) -> anyhow::Result<f64> {
    bench.runtime.block_on(async {
        let database = Database::create(Flavour::Durable).await;
        database.run(TABLE).await;
        let inserts = Arc::new(Inserts::open(&database.url()).await?);
        let next = Arc::new(AtomicUsize::new(0));
        let begun = bench.clock.instant();
        let mut writers = JoinSet::new();
        for _ in 0..CONNECTIONS {
            writers.spawn(insert(Arc::clone(&inserts), Arc::clone(events), Arc::clone(&next)));
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        let rate = rate(bench, events, begun, "inserts");
        let stored: i64 = database.sessions().value("SELECT count(*) FROM events").await?;
        ensure!(usize::try_from(stored) == Ok(events.len()), "{stored} events were stored");
        Ok(rate)
    })
}

async fn insert(inserts: Arc<Inserts>, events: Arc<[SimulatedEvent]>, next: Arc<AtomicUsize>) -> anyhow::Result<()> {
    while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
        let body = std::str::from_utf8(&event.body)?;
        inserts.insert(event.id.as_str(), event.kind, event.created.seconds(), body).await?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn rate(bench: &Bench, events: &[SimulatedEvent], begun: std::time::Instant, who: &str) -> f64 {
    let rate = events.len() as f64 / bench.clock.instant().duration_since(begun).as_secs_f64();
    eprintln!("  {who}: {rate:.0}/s");
    rate
}
