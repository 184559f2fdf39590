//! Start to ready with a large backlog, beside a start with an empty inbox.

use anyhow::Context as _;

use crate::Bench;
use crate::inboxes::{Standing, make};
use crate::process::{Ledger, Process};
use crate::report::{Reach, Row};

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let entries: u64 = bench.sized(1_000_000, 100_000);
    let full = tempfile::tempdir().context("no temporary directory")?;
    let empty = tempfile::tempdir().context("no temporary directory")?;
    make(bench, full.path(), entries, Standing::Waiting)?;
    // The first start makes the ledger's file; both are killed when they are ready, as after a crash.
    let start = |directory: &tempfile::TempDir| {
        Process::gateway(bench, directory.path(), &Ledger::Embedded)
            .map(|process| process.ready_after.as_secs_f64() * 1000.0)
    };
    start(&full)?;
    start(&empty)?;
    let pairs = bench.in_turns(|_| start(&full), |_| start(&empty))?;
    Ok(vec![Row {
        name: format!("start to ready with {entries} entries waiting"),
        unit: "ms",
        ours: pairs.iter().map(|(full, _)| *full).collect(),
        theirs: Some(("an empty inbox", pairs.iter().map(|(_, empty)| *empty).collect())),
        reach: Reach::RatioMax(3.0),
    }])
}
