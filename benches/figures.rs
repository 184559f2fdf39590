//! Every figure that the gateway is held to, each against a peer in the same run.
//!
//! The gateway's binary and its peers run as child processes on loopback; the load comes from this process, signed request
//! by request. Machines differ and are noisy, so what counts is the ratio: a pair is measured in turns, each round in the
//! other order, and the ratio is the median of those of the rounds. `--help` tells how to choose rows.
//!
//! A measurement counts only if every request was acknowledged; those that follow events to the ledger count only if
//! every event arrived. The load takes a share of the same cores, so that ratios of rates understate a difference; the
//! row of CPU seconds does not.

#[path = "figures/acknowledge.rs"]
mod acknowledge;
#[path = "figures/append.rs"]
mod append;
#[path = "figures/bare.rs"]
mod bare;
#[path = "figures/colony.rs"]
mod colony;
#[path = "figures/direct.rs"]
mod direct;
#[path = "figures/disk.rs"]
mod disk;
#[path = "figures/events.rs"]
mod events;
#[path = "figures/inboxes.rs"]
mod inboxes;
#[path = "figures/inserts.rs"]
mod inserts;
#[path = "figures/latency.rs"]
mod latency;
#[path = "figures/load.rs"]
mod load;
#[path = "figures/memory.rs"]
mod memory;
#[path = "figures/ordinary.rs"]
mod ordinary;
#[path = "figures/process.rs"]
mod process;
#[path = "figures/profile.rs"]
mod profile;
#[path = "figures/report.rs"]
mod report;
#[path = "figures/requests.rs"]
mod requests;
#[path = "figures/shared.rs"]
mod shared;
#[path = "figures/shared_store.rs"]
mod shared_store;
#[path = "figures/start.rs"]
mod start;
#[path = "figures/throughput.rs"]
mod throughput;
#[path = "figures/word.rs"]
mod word;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use colony_gateway::domain::clock::Clock;
use testkit::{gateway, postgres};

use crate::report::Report;

/// A row of the table, or several that come from the same measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rows {
    /// Acknowledged webhooks a second, and CPU seconds of 10,000.
    Acknowledge,
    /// Acknowledgement times at a fixed 2,000 a second.
    Steady,
    /// Acknowledgement times at a fixed 10,000 a second.
    Stalls,
    /// Events a second, direct route, to PostgreSQL.
    Direct,
    /// CPU and time to the record at 50 to 1,500 events a second.
    Ordinary,
    /// Events a second through a colony.
    Colony,
    /// Events a second into PostgreSQL, with and without the ledger's word about them.
    Word,
    /// Appends a second to a large inbox.
    Append,
    /// Start to ready with a large backlog.
    Start,
    /// Resident memory.
    Memory,
    /// The inbox in PostgreSQL: appends, and webhooks acknowledged.
    Shared,
    /// PostgreSQL's CPU of events in an inbox there, from their append to their end, and in a large one.
    Lives,
}

/// What `cargo bench --bench figures -- …` takes.
#[derive(Debug, Parser)]
#[command(name = "figures")]
struct Arguments {
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Fewer rounds, shorter loads, smaller inboxes: a few minutes instead of about a quarter of an hour. The rows are
    /// the same; those of large inboxes say how large they were.
    #[arg(long)]
    quick: bool,
    /// Measures this alone; may be given several times.
    #[arg(long, value_enum)]
    row: Vec<Rows>,
    /// Rounds of each pair.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Another gateway's binary for all rows but `colony`, to compare two builds.
    #[arg(long)]
    binary: Option<std::path::PathBuf>,
    /// `cargo bench` says this; nothing is measured without it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every row needs.
struct Bench {
    clock: Clock,
    runtime: tokio::runtime::Runtime,
    requests: Arc<requests::Requests>,
    rounds: u32,
    quick: bool,
    binary: std::path::PathBuf,
}

impl Bench {
    /// A duration or a number, by the mode.
    fn sized<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Measures a pair in turns. Whatever grows or slows down over a round favours neither.
    fn in_turns<T>(
        &self,
        mut ours: impl FnMut(u32) -> anyhow::Result<T>,
        mut theirs: impl FnMut(u32) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<(T, T)>> {
        let mut pairs = Vec::new();
        for round in 0..self.rounds {
            pairs.push(if round % 2 == 0 {
                let first = ours(round)?;
                (first, theirs(round)?)
            } else {
                let first = theirs(round)?;
                (ours(round)?, first)
            });
        }
        Ok(pairs)
    }

    fn sleep(time: Duration) {
        std::thread::sleep(time);
    }
}

fn main() -> anyhow::Result<()> {
    let said = |what: &str| std::env::args().any(|argument| argument == what);
    // The peers: one checks signatures and does nothing else, the other writes each event into a database.
    if said("--serve-bare") {
        return bare::serve(None);
    }
    if said("--serve-handler") {
        return bare::serve(std::env::args().nth(2).as_deref());
    }
    // Test runners ask everything that they find for its tests, and take what it prints for their names.
    if !(said("--bench") || said("--help")) || said("--test") || said("--list") {
        return Ok(());
    }
    let arguments = Arguments::parse();
    let clock = Clock::system();
    let bench = Bench {
        requests: Arc::new(requests::Requests::new(&clock)),
        runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?,
        clock,
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 5 }),
        quick: arguments.quick,
        binary: arguments.binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_colony-gateway").into()),
    };
    let mut report = Report::new(profile::of(&bench.binary));
    for rows in Rows::value_variants() {
        if !arguments.row.is_empty() && !arguments.row.contains(rows) {
            continue;
        }
        let measured = match rows {
            Rows::Acknowledge => acknowledge::rows(&bench),
            Rows::Steady => latency::steady(&bench),
            Rows::Stalls => latency::stalls(&bench),
            Rows::Direct => direct::rows(&bench),
            Rows::Ordinary => ordinary::rows(&bench),
            Rows::Colony => throughput::rows(&bench),
            Rows::Word => word::rows(&bench),
            Rows::Append => append::rows(&bench),
            Rows::Start => start::rows(&bench),
            Rows::Memory => memory::rows(&bench),
            Rows::Shared => shared::rows(&bench),
            Rows::Lives => shared::whole_lives(&bench),
        };
        for row in measured.with_context(|| format!("{rows:?}"))? {
            eprintln!("{}", row.line());
            report.rows.push(row);
        }
    }
    report.finish();
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
