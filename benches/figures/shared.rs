//! The inbox in PostgreSQL: the store alone beside one INSERT an event, whole gateways beside a handler that does that INSERT, what a whole life costs
//! the database, and what a large inbox changes.
//!
//! PostgreSQL fsyncs each commit. "1 ms" is a commit that takes so long, as on network disks: `commit_delay`. PostgreSQL's CPU
//! is that of its own processes.

use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::inserts::TABLE;
use crate::load::{closed_by, open};
use crate::postgres::{Database, Flavour};
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};
use crate::shared_store::{Life, Size, Store, insert_each};

/// Clients of closed loops.
const CLIENTS: [usize; 2] = [64, 512];

/// Requests a second of the open loop.
const ORDINARY: u32 = 500;

/// At the same rate before a measurement.
const WARM_UP: Duration = Duration::from_secs(1);

/// Who the peers are.
const INSERT: &str = "one INSERT an event, pool of 20";
const HANDLER: &str = "a handler with that INSERT";

/// Commits as they are, and slow ones.
const COMMITS: [(&str, bool); 2] = [("commits as they are", false), ("commits of 1 ms", true)];

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (commits, is_slow) in COMMITS {
        for clients in [CLIENTS[0], 256, CLIENTS[1]] {
            rows.extend(store(bench, clients, (commits, is_slow))?);
        }
        for clients in CLIENTS {
            rows.extend(gateways(bench, clients, (commits, is_slow))?);
        }
    }
    rows.push(ordinary(bench)?);
    Ok(rows)
}

/// What events cost the database from their append to their end, and in a large inbox.
pub(crate) fn whole_lives(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::from(lives(bench)?);
    rows.extend(sizes(bench)?);
    Ok(rows)
}

/// A database whose commits take their time, or a millisecond.
pub(crate) fn database(bench: &Bench, is_slow: bool) -> Database {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    if is_slow {
        let delayed = "DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET commit_delay = 1000', current_database());
            EXECUTE format('ALTER DATABASE %I SET commit_siblings = 0', current_database());
        END $$";
        bench.runtime.block_on(database.run(delayed));
    }
    database
}

fn time(bench: &Bench) -> Duration {
    bench.sized(Duration::from_secs(8), Duration::from_secs(2))
}

/// Appends a second and what they cost the database, without HTTP.
fn store(bench: &Bench, clients: usize, (commits, is_slow): (&str, bool)) -> anyhow::Result<[Row; 2]> {
    let pairs = bench.in_turns(
        |_| Store::open(bench, &database(bench, is_slow))?.append(bench, clients, time(bench)),
        |_| {
            let database = database(bench, is_slow);
            bench.runtime.block_on(database.run(TABLE));
            insert_each(bench, &database, clients, time(bench))
        },
    )?;
    let row = |name: &str, unit, value: fn(&Life) -> f64, reach| Row {
        name: format!("{name}, inbox in PostgreSQL, {clients} at once, {commits}"),
        unit,
        ours: pairs.iter().map(|(ours, _)| value(ours)).collect(),
        theirs: Some((INSERT, pairs.iter().map(|(_, theirs)| value(theirs)).collect())),
        reach,
    };
    let rate = match (clients, is_slow) {
        (64, true) => Reach::RatioMin(2.0),
        (64 | 256, _) => Reach::RatioMin(4.0),
        _ => Reach::Nothing,
    };
    let cpu = if clients == 256 { Reach::RatioMax(1.0 / 6.0) } else { Reach::Nothing };
    Ok([row("appends", "1/s", Life::rate, rate), row("PostgreSQL's CPU of an append", "µs", Life::database_cpu, cpu)])
}

/// Acknowledged webhooks of one gateway beside the handler, and of two beside one.
fn gateways(bench: &Bench, clients: usize, (commits, is_slow): (&str, bool)) -> anyhow::Result<[Row; 2]> {
    let over_handler = bench.in_turns(
        |_| gateway(bench, 1, clients, is_slow),
        |_| {
            let database = database(bench, is_slow);
            bench.runtime.block_on(database.run(TABLE));
            let process = Process::handler(&bench.clock, &database.url())?;
            Ok(told("handler", closed_by(bench, &[process.webhooks], clients, time(bench))?.rate()))
        },
    )?;
    let two = bench.in_turns(|_| gateway(bench, 2, clients, is_slow), |_| gateway(bench, 1, clients, is_slow))?;
    let row = |name: &str, pairs: &[(f64, f64)], peer, reach| Row {
        name: format!("{name}, inbox in PostgreSQL, {clients} connections, {commits}"),
        unit: "1/s",
        ours: pairs.iter().map(|(ours, _)| *ours).collect(),
        theirs: Some((peer, pairs.iter().map(|(_, theirs)| *theirs).collect())),
        reach,
    };
    Ok([
        row("acknowledged webhooks", &over_handler, HANDLER, Reach::RatioMin(2.0)),
        row("acknowledged by two gateways", &two, "one gateway", Reach::RatioMin(1.5)),
    ])
}

/// Acknowledged a second by so many gateways on one inbox, whose ledger is down.
fn gateway(bench: &Bench, count: usize, clients: usize, is_slow: bool) -> anyhow::Result<f64> {
    let database = database(bench, is_slow);
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let mut processes = Vec::with_capacity(count);
    for number in 0..count {
        let data = directory.path().join(number.to_string());
        std::fs::create_dir(&data)?;
        processes.push(start(bench, &data, &database)?);
    }
    let addresses: Vec<_> = processes.iter().map(|process| process.webhooks).collect();
    closed_by(bench, &addresses, clients, WARM_UP)?;
    Ok(told("gateways", closed_by(bench, &addresses, clients, time(bench))?.rate()))
}

fn start(bench: &Bench, data: &std::path::Path, database: &Database) -> anyhow::Result<Process> {
    Process::gateway_with(bench, data, &Ledger::Down, &[("GATEWAY_INBOX_URL", &database.url())])
}

fn told(who: &str, rate: f64) -> f64 {
    eprintln!("  {who}: {rate:.0}/s");
    rate
}

/// What an event costs the database from its append to its end.
fn lives(bench: &Bench) -> anyhow::Result<[Row; 2]> {
    let (mut backlog, mut ordinary) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let store = Store::open(bench, &database(bench, false))?;
        backlog.push(store.live_in_backlog(bench, bench.sized(100_000, 10_000))?.database_cpu());
        let store = Store::open(bench, &database(bench, false))?;
        ordinary.push(store.live_at(bench, ORDINARY, time(bench))?.database_cpu());
    }
    let row = |name: &str, ours, most| Row {
        name: format!("PostgreSQL's CPU of an event's whole life, {name}"),
        unit: "µs",
        ours,
        theirs: None,
        reach: Reach::Below(most),
    };
    Ok([row("backlog", backlog, 40.0), row("500/s", ordinary, 200.0)])
}

/// The same with many entries in the inbox.
fn sizes(bench: &Bench) -> anyhow::Result<[Row; 2]> {
    let (settled, waiting) = bench.sized((5_000_000, 1_000_000), (200_000, 50_000));
    let size = Size { settled, waiting };
    let entries = bench.sized(100_000, 10_000);
    let pairs = bench.in_turns(
        |_| {
            let store = Store::open(bench, &database(bench, false))?;
            store.fill(bench, size)?;
            Ok((store.append(bench, 256, time(bench))?, store.live_in_backlog(bench, entries)?))
        },
        |_| {
            let store = Store::open(bench, &database(bench, false))?;
            Ok((store.append(bench, 256, time(bench))?, store.live_in_backlog(bench, entries)?))
        },
    )?;
    let row = |name: &str, unit, value: fn(&(Life, Life)) -> f64, reach| Row {
        name: format!("{name} with {settled} settled and {waiting} waiting, inbox in PostgreSQL"),
        unit,
        ours: pairs.iter().map(|(large, _)| value(large)).collect(),
        theirs: Some(("an empty inbox", pairs.iter().map(|(_, small)| value(small)).collect())),
        reach,
    };
    Ok([
        row("appends", "1/s", |(append, _)| append.rate(), Reach::RatioMin(0.9)),
        row("PostgreSQL's CPU of a whole life", "µs", |(_, life)| life.database_cpu(), Reach::RatioMax(1.1)),
    ])
}

/// How long acknowledgements take at an ordinary rate.
fn ordinary(bench: &Bench) -> anyhow::Result<Row> {
    let seconds = bench.sized(Duration::from_secs(20), Duration::from_secs(4));
    let p99 = |process: &Process| {
        open(bench, &*bench.requests, process.webhooks, ORDINARY, WARM_UP)?;
        let latencies = open(bench, &*bench.requests, process.webhooks, ORDINARY, seconds)?;
        anyhow::Ok(latencies.permille(990))
    };
    let pairs = bench.in_turns(
        |_| {
            let (database, directory) = (database(bench, false), tempfile::tempdir()?);
            p99(&start(bench, directory.path(), &database)?)
        },
        |_| {
            let database = database(bench, false);
            bench.runtime.block_on(database.run(TABLE));
            p99(&Process::handler(&bench.clock, &database.url())?)
        },
    )?;
    Ok(Row {
        name: "p99 at 500/s, inbox in PostgreSQL".to_owned(),
        unit: "ms",
        ours: pairs.iter().map(|(ours, _)| *ours).collect(),
        theirs: Some((HANDLER, pairs.iter().map(|(_, theirs)| *theirs).collect())),
        reach: Reach::Below(10.0),
    })
}
