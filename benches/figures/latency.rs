//! How long an acknowledgement takes at a fixed rate, from the time at which its request was due.

use std::time::Duration;

use anyhow::Context as _;

use crate::load::{Latencies, open};
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};
use crate::{Bench, disk};

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
    let alone = Rounds::of(bench, &Ledger::Down, STEADY, time)?;
    let working = Rounds::of(bench, &Ledger::Embedded, STEADY, time)?;
    let p99 = |sample: &Latencies| sample.permille(990);
    Ok(vec![
        alone.row("p99 at 2,000/s", p99, Reach::RatioMax(1.5)),
        alone.row_of_disk("p99 at 2,000/s of writing and fdatasync alone", p99),
        alone.row("median at 2,000/s", |sample| sample.permille(500), Reach::Nothing),
        working.row("p99 at 2,000/s while the embedded ledger works", p99, Reach::Nothing),
    ])
}

/// At 10,000 a second, through many checkpoints.
pub(crate) fn stalls(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let time = bench.sized(Duration::from_mins(1), Duration::from_secs(15));
    let rounds = Rounds::of(bench, &Ledger::Down, FAST, time)?;
    let p999 = |sample: &Latencies| sample.permille(999);
    let seconds = time.as_secs();
    Ok(vec![
        rounds.row("p99.9 at 10,000/s", p999, Reach::RatioMax(3.0)),
        rounds.row_of_disk("p99.9 at 10,000/s of writing and fdatasync alone", p999),
        rounds.row(&format!("longest at 10,000/s for {seconds} s"), Latencies::longest, Reach::Below(STALL)),
        rounds.row_of_disk(
            &format!("longest at 10,000/s for {seconds} s of writing and fdatasync alone"),
            Latencies::longest,
        ),
    ])
}

/// What was measured in turns, a value a round.
#[derive(Default)]
struct Rounds {
    gateway: Vec<Latencies>,
    /// The disk without any server.
    disk: Vec<Latencies>,
    bare: Vec<Latencies>,
}

impl Rounds {
    fn of(bench: &Bench, ledger: &Ledger, rate: u32, time: Duration) -> anyhow::Result<Self> {
        let mut rounds = Self::default();
        let pairs = bench.in_turns(
            |_| {
                let directory = tempfile::tempdir().context("no temporary directory")?;
                sample(bench, &Process::gateway(bench, directory.path(), ledger)?, rate, time)
            },
            |_| {
                rounds.disk.push(told("the disk alone", rate, disk::sync(bench, rate, time)?));
                sample(bench, &Process::bare(&bench.clock)?, rate, time)
            },
        )?;
        (rounds.gateway, rounds.bare) = pairs.into_iter().unzip();
        Ok(rounds)
    }

    fn row(&self, name: &str, value: impl Fn(&Latencies) -> f64, reach: Reach) -> Row {
        let values = |of: &[Latencies]| of.iter().map(&value).collect();
        let theirs = Some(("HMAC only", values(&self.bare)));
        Row { name: name.to_owned(), unit: "ms", ours: values(&self.gateway), theirs, reach }
    }

    /// The disk in the gateway's place.
    fn row_of_disk(&self, name: &str, value: impl Fn(&Latencies) -> f64) -> Row {
        let row = self.row(name, &value, Reach::Nothing);
        Row { ours: self.disk.iter().map(value).collect(), ..row }
    }
}

fn sample(bench: &Bench, process: &Process, rate: u32, time: Duration) -> anyhow::Result<Latencies> {
    open(bench, &*bench.requests, process.webhooks, rate, WARM_UP)?;
    Ok(told("a server", rate, open(bench, &*bench.requests, process.webhooks, rate, time)?))
}

fn told(what: &str, rate: u32, latencies: Latencies) -> Latencies {
    eprintln!(
        "  {what} at {rate}/s: median {:.2}, p99 {:.2}, p99.9 {:.2}, longest {:.2} ms",
        latencies.permille(500),
        latencies.permille(990),
        latencies.permille(999),
        latencies.longest()
    );
    latencies
}
