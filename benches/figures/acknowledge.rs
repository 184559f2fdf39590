//! Acknowledged webhooks a second, each one fsynced, and the CPU that they take.
//!
//! The ledger is down, so that all of the machine is there for the door; with the embedded ledger at work beside it, the
//! rate is shown too.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::load::{CONNECTIONS, Closed, closed};
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};

/// Posts before a measurement, so that connections, caches and buffers are as in use.
const WARM_UP: Duration = Duration::from_secs(1);

struct Sample {
    load: Closed,
    cpu: f64,
}

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let time = bench.sized(Duration::from_secs(8), Duration::from_secs(3));
    let alone = bench.in_turns(|_| gateway(bench, &Ledger::Down, time), |_| bare(bench, time))?;
    let working = bench.in_turns(|_| gateway(bench, &Ledger::Embedded, time), |_| bare(bench, time))?;
    let rate = |sample: &Sample| sample.load.rate();
    let cpu = |sample: &Sample| sample.load.a_myriad(sample.cpu);
    let row = |name: &str, unit, pairs: &[(Sample, Sample)], value: &dyn Fn(&Sample) -> f64, reach| Row {
        name: name.to_owned(),
        unit,
        ours: pairs.iter().map(|(ours, _)| value(ours)).collect(),
        theirs: Some(("HMAC only", pairs.iter().map(|(_, theirs)| value(theirs)).collect())),
        reach,
    };
    let name = format!("acknowledged webhooks, {CONNECTIONS} connections, every one fsynced");
    Ok(vec![
        row(&name, "1/s", &alone, &rate, Reach::RatioMin(0.7)),
        row("CPU of 10,000 acknowledged webhooks", "s", &alone, &cpu, Reach::RatioMax(2.5)),
        row("acknowledged while the embedded ledger works", "1/s", &working, &rate, Reach::Nothing),
    ])
}

fn gateway(bench: &Bench, ledger: &Ledger, time: Duration) -> anyhow::Result<Sample> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let path: &Path = directory.path();
    sample(bench, &Process::gateway(bench, path, ledger)?, time)
}

fn bare(bench: &Bench, time: Duration) -> anyhow::Result<Sample> {
    sample(bench, &Process::bare(&bench.clock)?, time)
}

fn sample(bench: &Bench, process: &Process, time: Duration) -> anyhow::Result<Sample> {
    closed(bench, process.webhooks, WARM_UP)?;
    let before = process.cpu_seconds()?;
    let load = closed(bench, process.webhooks, time)?;
    let cpu = process.cpu_seconds()? - before;
    eprintln!("  {:.0}/s, {:.3} s of CPU for 10,000", load.rate(), load.a_myriad(cpu));
    Ok(Sample { load, cpu })
}
