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
use sqlx::postgres::{PgPool, PgPoolOptions};
use tokio::task::JoinSet;

use crate::Bench;
use crate::events::{self, post_all};
use crate::postgres::{Database, Flavour};
use crate::process::{Ledger, Process, environment};
use crate::report::{Reach, Row};

/// Connections of the peer's pool.
pub(crate) const POOL: u32 = 20;

/// The peer's table and statement: what a handler that keeps every event once cannot do without.
pub(crate) const TABLE: &str = "CREATE TABLE events (
    id text PRIMARY KEY, type text NOT NULL, created timestamptz NOT NULL, payload jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now())";
pub(crate) const INSERT: &str = "INSERT INTO events (id, type, created, payload)
    VALUES ($1, $2, to_timestamp($3), $4::jsonb) ON CONFLICT (id) DO NOTHING";

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
        let pool =
            PgPoolOptions::new().max_connections(POOL).min_connections(POOL).connect_with(database.options()).await?;
        let next = Arc::new(AtomicUsize::new(0));
        let begun = bench.clock.instant();
        let mut writers = JoinSet::new();
        for _ in 0..POOL {
            writers.spawn(insert(pool.clone(), Arc::clone(events), Arc::clone(&next)));
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        let rate = rate(bench, events, begun, "inserts");
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&pool).await?;
        ensure!(usize::try_from(stored) == Ok(events.len()), "{stored} events were stored");
        pool.close().await;
        Ok(rate)
    })
}

async fn insert(pool: PgPool, events: Arc<[SimulatedEvent]>, next: Arc<AtomicUsize>) -> anyhow::Result<()> {
    while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
        sqlx::query(INSERT)
            .bind(event.id.as_str())
            .bind(event.kind)
            .bind(event.created.seconds())
            .bind(std::str::from_utf8(&event.body)?)
            .execute(&pool)
            .await?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn rate(bench: &Bench, events: &[SimulatedEvent], begun: std::time::Instant, who: &str) -> f64 {
    let rate = events.len() as f64 / bench.clock.instant().duration_since(begun).as_secs_f64();
    eprintln!("  {who}: {rate:.0}/s");
    rate
}
