//! Events a second from the first webhook to the last closed process and settled entry: batched, beside one event a job.
//!
//! One measurement is a fresh colony, a fresh gateway with two bees and the embedded ledger, so many events, and proof that
//! all of them went through the colony. The Colonies server is the embedded one, in this process, and besides, where
//! `COLONIES_TEST_URL` and `COLONIES_TEST_SERVER_PRVKEY` name one, a real one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use colony_gateway::domain::clock::Clock;
use colony_gateway::stripe::simulator::{SimulatedEvent, Tier};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::Bench;
use crate::colony::{Colony, Server};
use crate::events;
use crate::gateway::{Gateway, Options};
use crate::report::{Reach, Row};

/// Bees of the gateway.
const BEES: usize = 2;

/// Longest wait for the bees, and for the last entry.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// How often the gateway is asked whether it is done. The end is known to this much.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Outcomes of events that a bee brought to their end.
const DECIDED: [&str; 6] = ["applied", "stale", "duplicate", "ignored", "quarantined", "failed"];

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Events posted, acknowledged and settled.
    events: usize,
    /// From the first webhook to the last acknowledgement.
    acknowledged: Duration,
    /// From the first webhook to the last settled entry.
    settled: Duration,
    /// Processes that carried the events.
    processes: u64,
}

impl Sample {
    /// Events a second.
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    fn rate(&self) -> f64 {
        self.events as f64 / self.settled.as_secs_f64()
    }
}

pub(crate) fn rows(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (single, batched) = (300, bench.sized(10_000, 5000));
    let events = events::events(batched, bench.clock.now());
    let mut rows = Vec::new();
    for (index, server) in Server::all(&bench.runtime)?.into_iter().enumerate() {
        let measure = |entries_max, events: &[SimulatedEvent]| -> anyhow::Result<f64> {
            let sample = measure(&server, entries_max, events, &bench.runtime, &bench.clock)?;
            eprintln!(
                "  {}: {:.0} events/s ({} processes, acknowledged after {:.2} of {:.2} s)",
                server.name(),
                sample.rate(),
                sample.processes,
                sample.acknowledged.as_secs_f64(),
                sample.settled.as_secs_f64(),
            );
            Ok(sample.rate())
        };
        let pairs = bench.in_turns(|_| measure(None, &events), |_| measure(Some(1), &events[..single]))?;
        rows.push(Row {
            name: format!("events from webhook to closed process, Colonies server: {}", server.name()),
            unit: "1/s",
            ours: pairs.iter().map(|(ours, _)| *ours).collect(),
            theirs: Some(("one event a job", pairs.iter().map(|(_, theirs)| *theirs).collect())),
            reach: Reach::RatioMin(if index == 0 { 10.0 } else { 30.0 }),
        });
    }
    Ok(rows)
}

/// Measures once. `entries_max` is the most events in a job, the gateway's default without.
///
/// # Errors
/// When an event is not acknowledged, not settled, or did not go through the colony.
fn measure(
    server: &Server,
    entries_max: Option<u32>,
    events: &[SimulatedEvent],
    runtime: &Runtime,
    clock: &Clock,
) -> anyhow::Result<Sample> {
    let colony = server.colony(runtime)?;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let mut options = Options::new(directory.path()).with("GATEWAY_LEDGER", "sqlite");
    if let Some(entries_max) = entries_max {
        options = options.with("GATEWAY_BATCH_ENTRIES_MAX", entries_max);
    }
    let gateway = gateway(&colony, options, clock)?;
    let begun = clock.instant();
    events::post_all(gateway.webhooks, events)?;
    let acknowledged = clock.instant().duration_since(begun);
    until_settled(&gateway, events.len(), clock)?;
    let settled = clock.instant().duration_since(begun);

    let processes = check(&gateway, &colony, events.len(), runtime)?;
    Ok(Sample { events: events.len(), acknowledged, settled, processes })
}

/// A gateway whose bees ask the colony for work.
///
/// # Errors
/// When they do not become members.
pub(crate) fn gateway(colony: &Colony, options: Options, clock: &Clock) -> anyhow::Result<Gateway> {
    let options = colony
        .settings(options)
        .with("BEE_COUNT", BEES)
        .with("STRIPE_PRICE_BRONZE", Tier::Bronze.price_id())
        .with("STRIPE_PRICE_SILVER", Tier::Silver.price_id())
        .with("STRIPE_PRICE_GOLD", Tier::Gold.price_id());
    let gateway = options.serve();
    until("the bees are members of the colony", clock, clock.instant(), || {
        Ok(gateway.metric("colony_gateway_bee_registrations_total") == BEES as u64)
    })?;
    Ok(gateway)
}

/// Waits until every one of so many events is settled.
///
/// # Errors
/// When some are given up or held back, or it takes too long.
pub(crate) fn until_settled(gateway: &Gateway, events: usize, clock: &Clock) -> anyhow::Result<()> {
    until("every event is settled", clock, clock.instant(), || is_settled(&gateway.health(), events))
}

/// Asks until it is so.
fn until(
    what: &str,
    clock: &Clock,
    since: Instant,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    while !is_so()? {
        ensure!(clock.instant().duration_since(since) < WAIT_MAX, "not within {WAIT_MAX:?}: {what}");
        std::thread::sleep(ASK_EVERY);
    }
    Ok(())
}

fn is_settled(health: &Value, events: usize) -> anyhow::Result<bool> {
    let inbox = &health["inbox"];
    let count = |state: &str| inbox[state].as_u64().with_context(|| format!("health tells no {state}: {health}"));
    if count("dead")? + count("quarantined")? > 0 {
        bail!("events were given up or held back: {inbox}");
    }
    let open = count("waiting")? + count("leased")? + count("submitted")?;
    Ok(open == 0 && count("settled")? == events as u64)
}

/// Holds what the gateway and the server say against what must be. Gives the number of processes.
fn check(gateway: &Gateway, colony: &Colony, events: usize, runtime: &Runtime) -> anyhow::Result<u64> {
    let outcome = |outcome: &&str| gateway.metric(&format!("colony_gateway_bee_events_total{{outcome=\"{outcome}\"}}"));
    let by_bees: u64 = DECIDED.iter().map(outcome).sum();
    ensure!(
        by_bees == events as u64,
        "bees worked on {by_bees} of {events} events: some took another way or came twice"
    );
    let processes = gateway.metric("colony_gateway_submissions_total{result=\"ok\"}");
    let statistics = colony.statistics(runtime)?;
    let is_all_closed = i64::try_from(processes) == Ok(statistics.successfulprocesses)
        && statistics.waitingprocesses + statistics.runningprocesses + statistics.failedprocesses == 0;
    ensure!(is_all_closed, "{processes} processes were submitted, and the colony says {statistics:?}");
    Ok(processes)
}
