//! How long an acknowledgement takes at a fixed rate, from the time at which its request was due.

use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::load::{Latencies, open};
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};

/// Requests a second of [`steady`].
const STEADY: u32 = 2000;

/// Requests a second of [`stalls`].
const FAST: u32 = 10_000;

/// At the same rate before a measurement.
const WARM_UP: Duration = Duration::from_secs(2);

/// Longest acknowledgement that is no stall, in milliseconds.
const STALL: f64 = 50.0;

/// At 2,000 a second.
pub(crate) fn steady(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let time = bench.sized(Duration::from_secs(15), Duration::from_secs(5));
    let measure = |process: &Process| sample(bench, process, STEADY, time);
    let alone =
        bench.in_turns(|_| gateway(bench, &Ledger::Down, measure), |_| measure(&Process::bare(&bench.clock)?))?;
    let working =
        bench.in_turns(|_| gateway(bench, &Ledger::Embedded, measure), |_| measure(&Process::bare(&bench.clock)?))?;
    Ok(vec![
        row("p99 at 2,000/s", &alone, |sample| sample.permille(990), Reach::RatioMax(1.5)),
        row("median at 2,000/s", &alone, |sample| sample.permille(500), Reach::Nothing),
        row("p99 at 2,000/s while the embedded ledger works", &working, |s| s.permille(990), Reach::Nothing),
    ])
}

/// At 10,000 a second, through many checkpoints.
pub(crate) fn stalls(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let time = bench.sized(Duration::from_mins(1), Duration::from_secs(15));
    let measure = |process: &Process| sample(bench, process, FAST, time);
    let pairs =
        bench.in_turns(|_| gateway(bench, &Ledger::Down, measure), |_| measure(&Process::bare(&bench.clock)?))?;
    let mut longest = row("longest at 10,000/s", &pairs, Latencies::longest, Reach::Below(STALL));
    longest.name = format!("{} for {} s", longest.name, time.as_secs());
    Ok(vec![row("p99.9 at 10,000/s", &pairs, |sample| sample.permille(999), Reach::RatioMax(3.0)), longest])
}

fn row(name: &str, pairs: &[(Latencies, Latencies)], value: impl Fn(&Latencies) -> f64, reach: Reach) -> Row {
    Row {
        name: name.to_owned(),
        unit: "ms",
        ours: pairs.iter().map(|(ours, _)| value(ours)).collect(),
        theirs: Some(("HMAC only", pairs.iter().map(|(_, theirs)| value(theirs)).collect())),
        reach,
    }
}

fn gateway(
    bench: &Bench,
    ledger: &Ledger,
    measure: impl Fn(&Process) -> anyhow::Result<Latencies>,
) -> anyhow::Result<Latencies> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    measure(&Process::gateway(bench, directory.path(), ledger)?)
}

fn sample(bench: &Bench, process: &Process, rate: u32, time: Duration) -> anyhow::Result<Latencies> {
    open(bench, process.webhooks, rate, WARM_UP)?;
    let latencies = open(bench, process.webhooks, rate, time)?;
    eprintln!(
        "  at {rate}/s: median {:.2}, p99 {:.2}, p99.9 {:.2}, longest {:.2} ms",
        latencies.permille(500),
        latencies.permille(990),
        latencies.permille(999),
        latencies.longest()
    );
    Ok(latencies)
}
