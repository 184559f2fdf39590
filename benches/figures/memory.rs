//! Resident memory: idle, and its peak under full load with a backlog.

use std::time::Duration;

use anyhow::Context as _;

use crate::Bench;
use crate::inboxes::{Standing, make};
use crate::load::closed;
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};

/// Until a gateway that started has nothing left to do.
const SETTLE: Duration = Duration::from_secs(3);

/// Entries that wait when the load begins.
const BACKLOG: u64 = 100_000;

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (mut idle, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds.min(3) {
        idle.push(idle_mebibytes(bench)?);
        loaded.push(loaded_mebibytes(bench)?);
    }
    Ok(vec![
        Row {
            name: "resident memory, idle".to_owned(),
            unit: "MiB",
            ours: idle,
            theirs: None,
            reach: Reach::Below(20.0),
        },
        Row {
            name: format!("peak resident memory, {BACKLOG} entries of backlog, full load"),
            unit: "MiB",
            ours: loaded,
            theirs: None,
            reach: Reach::Below(64.0),
        },
    ])
}

fn idle_mebibytes(bench: &Bench) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let process = Process::gateway(bench, directory.path(), &Ledger::Embedded)?;
    Bench::sleep(SETTLE);
    process.mebibytes("VmRSS")
}

fn loaded_mebibytes(bench: &Bench) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    make(bench, directory.path(), BACKLOG, Standing::Waiting)?;
    let process = Process::gateway(bench, directory.path(), &Ledger::Embedded)?;
    let load = closed(bench, process.webhooks, bench.sized(Duration::from_secs(15), Duration::from_secs(5)))?;
    let peak = process.mebibytes("VmHWM")?;
    eprintln!("  {peak:.1} MiB at {:.0}/s", load.rate());
    Ok(peak)
}
