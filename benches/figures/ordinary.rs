//! What an event costs, and how long it takes until it is recorded, at ordinary rates; beside a handler that checks the
//! signature and writes one `INSERT … ON CONFLICT` an event before it answers.
//!
//! CPU is that of gateway or handler, of PostgreSQL and, where the environment names their processes, of a real Colonies server and its
//! database. A row tells what the host of the machine took.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};

use crate::Bench;
use crate::colony::Server;
use crate::direct;
use crate::events::{self, Stories};
use crate::gateway::Options;
use crate::inserts::TABLE;
use crate::load::{Latencies, open};
use crate::postgres::{Database, Flavour};
use crate::process::{Ledger, Process, Spent};
use crate::report::{Reach, Row};
use crate::throughput;

/// Events a second.
const RATES: [u32; 4] = [50, 200, 400, 1500];

/// At the same rate before a measurement.
const WARM_UP: Duration = Duration::from_secs(2);

/// Who the peer is.
const PEER: &str = "a handler with an INSERT an event";

/// What one measurement came to.
struct Sample {
    /// Seconds of CPU for 10,000 events.
    cpu: f64,
    /// From receipt to record, in milliseconds.
    p99: f64,
    /// Hundredths of the cores that the host took.
    stolen: f64,
}

/// One measurement, told as it ends.
fn sample(
    bench: &Bench,
    what: &str,
    rate: u32,
    run: impl FnOnce(Duration) -> anyhow::Result<Latencies>,
) -> anyhow::Result<Sample> {
    let seconds = bench.sized(30, 8);
    let before = Spent::now()?;
    let latencies = run(Duration::from_secs(seconds.into()))?;
    let spent = Spent::now()?.since(before);
    let cpu = spent.busy * 10_000.0 / f64::from(rate * seconds);
    let sample = Sample { cpu, p99: latencies.permille(990), stolen: spent.stolen * 100.0 };
    eprintln!("  {what} at {rate}/s: {cpu:.1} s for 10,000, p99 {:.1} ms, {:.0} % stolen", sample.p99, sample.stolen);
    Ok(sample)
}

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let (mut at_400, mut stolen) = (Vec::new(), Vec::new());
    for rate in RATES {
        let pairs = bench.in_turns(|_| gateway(bench, rate), |_| handler(bench, rate))?;
        let (ours, theirs): (Vec<Sample>, Vec<Sample>) = pairs.into_iter().unzip();
        stolen.extend(ours.iter().chain(&theirs).map(|sample| sample.stolen));
        if rate == 400 {
            at_400 = ours.iter().map(|sample| sample.cpu).collect();
        }
        rows.extend(pair(&format!("direct route, {rate}/s"), &ours, Some(&theirs)));
    }
    let closed = (0..bench.rounds).map(|_| closed(bench)).collect::<anyhow::Result<_>>()?;
    rows.push(Row {
        name: "CPU of 10,000 events to PostgreSQL, direct route, 400/s".to_owned(),
        unit: "s",
        ours: at_400,
        theirs: Some(("all at once", closed)),
        reach: Reach::RatioMax(2.5),
    });
    if let Some(server) = Server::given(&bench.runtime)? {
        for rate in RATES {
            let ours = (0..bench.rounds).map(|_| colony(bench, &server, rate)).collect::<anyhow::Result<Vec<_>>>()?;
            stolen.extend(ours.iter().map(|sample| sample.stolen));
            rows.extend(pair(&format!("colony, {rate}/s"), &ours, None));
        }
    }
    let (name, reach) = ("of the cores that the host took meanwhile".to_owned(), Reach::Nothing);
    rows.push(Row { name, unit: "%", ours: stolen, theirs: None, reach });
    Ok(rows)
}

fn pair(what: &str, ours: &[Sample], theirs: Option<&[Sample]>) -> [Row; 2] {
    let row = |name: String, unit, value: fn(&Sample) -> f64| Row {
        name,
        unit,
        ours: ours.iter().map(value).collect(),
        theirs: theirs.map(|theirs| (PEER, theirs.iter().map(value).collect())),
        reach: Reach::Nothing,
    };
    [
        row(format!("CPU of 10,000 events to PostgreSQL, {what}"), "s", |sample| sample.cpu),
        row(format!("p99 from receipt to record, {what}"), "ms", |sample| sample.p99),
    ]
}

/// The gateway by the direct route.
fn gateway(bench: &Bench, rate: u32) -> anyhow::Result<Sample> {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let ledger = Ledger::Postgres(database.url());
    direct::migrate(bench, directory.path(), &ledger)?;
    let process = Process::gateway(bench, directory.path(), &ledger)?;
    let stories = Stories::new(bench);
    open(bench, &stories, process.webhooks, rate, WARM_UP)?;
    process.until_settled(stories.told(), &bench.clock)?;
    let first = stories.told();
    sample(bench, "direct", rate, |time| {
        open(bench, &stories, process.webhooks, rate, time)?;
        process.until_settled(stories.told(), &bench.clock)?;
        recorded(directory.path(), first)
    })
}

/// The gateway through a colony, with two bees of its own.
fn colony(bench: &Bench, server: &Server, rate: u32) -> anyhow::Result<Sample> {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    let directory = tempfile::tempdir().context("no temporary directory")?;
    direct::migrate(bench, directory.path(), &Ledger::Postgres(database.url()))?;
    let options = Options::new(directory.path()).with("DATABASE_URL", database.url());
    let gateway = throughput::gateway(&server.colony(&bench.runtime)?, options, &bench.clock)?;
    let stories = Stories::new(bench);
    let settled = |stories: &Stories| throughput::until_settled(&gateway, stories.told(), &bench.clock);
    open(bench, &stories, gateway.webhooks, rate, WARM_UP)?;
    settled(&stories)?;
    let first = stories.told();
    sample(bench, "colony", rate, |time| {
        open(bench, &stories, gateway.webhooks, rate, time)?;
        settled(&stories)?;
        recorded(directory.path(), first)
    })
}

/// How long entries after the first ones took to their end, by the inbox.
fn recorded(data: &Path, first: usize) -> anyhow::Result<Latencies> {
    let inbox = Connection::open_with_flags(data.join("inbox.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = inbox.prepare("SELECT ended_at - received_at FROM entries WHERE state = 3 AND id > ?1")?;
    let rows = statement.query_map([i64::try_from(first)?], |row| row.get::<_, i64>(0))?;
    let millis = rows.map(|row| Ok(Duration::from_millis(u64::try_from(row?)?))).collect::<anyhow::Result<_>>()?;
    Ok(Latencies::new(millis))
}

/// The peer. Its answer comes after its commit.
fn handler(bench: &Bench, rate: u32) -> anyhow::Result<Sample> {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    bench.runtime.block_on(database.run(TABLE));
    let process = Process::handler(&bench.clock, &database.url())?;
    let stories = Stories::new(bench);
    open(bench, &stories, process.webhooks, rate, WARM_UP)?;
    sample(bench, "handler", rate, |time| open(bench, &stories, process.webhooks, rate, time))
}

/// Seconds of CPU for 10,000 events that are posted as fast as they are acknowledged, direct route.
fn closed(bench: &Bench) -> anyhow::Result<f64> {
    let database = bench.runtime.block_on(Database::create(Flavour::Durable));
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let ledger = Ledger::Postgres(database.url());
    direct::migrate(bench, directory.path(), &ledger)?;
    let process = Process::gateway(bench, directory.path(), &ledger)?;
    let events = events::events(bench.sized(20_000, 5000), bench.clock.now());
    let before = Spent::now()?;
    events::post_all(process.webhooks, &events)?;
    process.until_settled(events.len(), &bench.clock)?;
    let spent = Spent::now()?.since(before);
    let count = u32::try_from(events.len())?;
    let cpu = spent.busy * 10_000.0 / f64::from(count);
    eprintln!("  direct, all at once: {cpu:.1} s for 10,000");
    Ok(cpu)
}
