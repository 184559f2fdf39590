//! Events a second from the first webhook to the last closed process and settled entry: one event a job, and batched.
//!
//! The release binary runs as a child process with two bees, the embedded ledger and its default settings; the two ways
//! of putting events into jobs differ in one of them, and are measured in turns within one run, since machines differ and
//! are noisy: what counts is the ratio. The Colonies server is the embedded one, in this process, and besides, where
//! `COLONIES_TEST_URL` and `COLONIES_TEST_SERVER_PRVKEY` name one, a real one.
//!
//! A measurement counts only if every event was acknowledged and settled, and went through the colony. It does not
//! compare servers with each other, and says nothing about the latency of one event.

#[expect(dead_code, reason = "shared with the tests, which use more of it")]
#[path = "../tests/support/gateway.rs"]
mod gateway;

#[path = "throughput/colony.rs"]
mod colony;
#[path = "throughput/load.rs"]
mod load;
#[path = "throughput/measure.rs"]
mod measure;
#[path = "throughput/report.rs"]
mod report;

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::simulator::SimulatedEvent;

use crate::colony::Server;
use crate::report::{Report, Row, Run};

/// No round begins later than this after the first one of the same server, so that all of it ends within minutes.
const ROUNDS_TIME_MAX: Duration = Duration::from_mins(1);

/// A way of putting events into jobs.
#[derive(Clone, Copy, Debug)]
struct Variant {
    name: &'static str,
    /// Most events in a job; the gateway's default without.
    entries_max: Option<u32>,
    /// Events of one measurement.
    events: usize,
}

/// What `cargo bench --bench throughput -- …` takes.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Arguments {
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Rounds; each measures both ways once.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Events of one measurement with one event a job.
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    single_events: u32,
    /// Events of one measurement with batches.
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batched_events: u32,
    /// `cargo bench` says this; nothing is measured without it.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    // Test runners ask everything that they find for its tests, and take what it prints for their names.
    let is_bench = std::env::args().any(|argument| argument == "--bench" || argument == "--help");
    if !is_bench || std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return Ok(());
    }
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let (single, batched) = (arguments.single_events as usize, arguments.batched_events as usize);
    let variants = [
        Variant { name: "one event a job", entries_max: Some(1), events: single },
        Variant { name: "batched", entries_max: None, events: batched },
    ];
    let clock = Clock::system();
    let events = load::events(single.max(batched), clock.now());
    let mut report = Report::new();
    for server in Server::all(&runtime)? {
        report.runs.push(run(&server, variants, &events, arguments.rounds, &runtime, &clock)?);
    }
    report.finish();
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// All rounds on one server.
fn run(
    server: &Server,
    variants: [Variant; 2],
    events: &[SimulatedEvent],
    rounds: u32,
    runtime: &tokio::runtime::Runtime,
    clock: &Clock,
) -> anyhow::Result<Run> {
    let mut rows = variants.map(|variant| Row::new(variant.name, variant.events));
    let begun = clock.instant();
    for round in 0..rounds {
        if clock.instant().duration_since(begun) > ROUNDS_TIME_MAX {
            eprintln!("{}: time is up after {round} of {rounds} rounds", server.name());
            break;
        }
        // Whatever grows or slows down over a round favours neither.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for index in order {
            let variant = variants[index];
            let Some(events) = events.get(..variant.events) else { bail!("too few events were made") };
            let sample = measure::measure(server, variant.entries_max, events, runtime, clock)
                .with_context(|| format!("{}, {}, round {}", server.name(), variant.name, round + 1))?;
            eprintln!(
                "{}, round {}, {}: {:.0} events/s ({} processes, acknowledged after {:.2} of {:.2} s)",
                server.name(),
                round + 1,
                variant.name,
                sample.rate(),
                sample.processes,
                sample.acknowledged.as_secs_f64(),
                sample.settled.as_secs_f64(),
            );
            rows[index].samples.push(sample);
        }
    }
    Ok(Run { server: server.name().to_owned(), rows })
}
