//! What it costs to ask the ledger before a process of a colony is believed: events a second into PostgreSQL, each batch
//! followed by the question which of its events the ledger knows, beside the same batches without the question.
//!
//! Nothing else is in it: no HTTP, no inbox, no Colonies server. So the ratio is the most that the question can cost; beside
//! the work on a process, which is many times that of the ledger, it costs less.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::Ledger as _;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::witness::Witness as _;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::stripe::simulator::SimulatedEvent;

use crate::Bench;
use crate::direct::migrate;
use crate::events;
use crate::postgres::{Database, Flavour};
use crate::process;
use crate::report::{Reach, Row};

/// Events of a process: a full one, and that of an idle site.
const PROCESSES: [(usize, &str); 2] = [(256, "256 events a process"), (1, "one event a process")];

/// The verdicts of a process, and the ids that are asked about.
type Batch = (Vec<Verdict>, Vec<String>);

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (size, name) in PROCESSES {
        let count = if size == 1 { bench.sized(2000, 500) } else { bench.sized(20_000, 5000) };
        let events = events::events(count, bench.clock.now());
        let batches = bench.runtime.block_on(batches(bench, &events, size));
        let pairs = bench.in_turns(|_| apply(bench, &batches, true), |_| apply(bench, &batches, false))?;
        rows.push(Row {
            name: format!("events into the ledger with its word about them, PostgreSQL, {name}"),
            unit: "1/s",
            ours: pairs.iter().map(|(with, _)| *with).collect(),
            theirs: Some(("without", pairs.iter().map(|(_, without)| *without).collect())),
            reach: Reach::Nothing,
        });
    }
    Ok(rows)
}

async fn batches(bench: &Bench, events: &[SimulatedEvent], size: usize) -> Vec<Batch> {
    let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), bench.clock.clone());
    let mut batches = Vec::new();
    for events in events.chunks(size) {
        let bodies: Vec<Bytes> = events.iter().map(|event| event.body.clone()).collect();
        let ids = events.iter().map(|event| event.id.as_str().to_owned()).collect();
        batches.push((validator.validate(&bodies).await, ids));
    }
    batches
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn apply(bench: &Bench, batches: &[Batch], asks: bool) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    migrate(bench, directory.path(), &process::Ledger::Postgres(database.url()))?;
    bench.runtime.block_on(async {
        let ledger = PostgresLedger::new(&PostgresConfig::new(Secret::new(database.url())))?;
        ledger.check().await?;
        let (mut events, begun) = (0, bench.clock.instant());
        for (verdicts, ids) in batches {
            events += ledger.apply(verdicts).await?.len();
            if asks {
                let known = ledger.witness(ids).await?.events.len();
                ensure!(known == ids.len(), "the ledger knows {known} of {}", ids.len());
            }
        }
        let rate = events as f64 / bench.clock.instant().duration_since(begun).as_secs_f64();
        eprintln!("  {}: {rate:.0}/s", if asks { "with" } else { "without" });
        ledger.close().await;
        Ok(rate)
    })
}
