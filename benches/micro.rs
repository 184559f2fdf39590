//! Microseconds of single steps: signature check, envelope, inbox append, signing for a Colonies server, batch encoding,
//! projection.
//!
//! A step runs again and again in samples of about 20 ms; shown are the median of the samples and their spread. Figures
//! of two machines are not comparable; those of two builds on one quiet machine are.

#[path = "figures/profile.rs"]
mod profile;

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use colonies::identity::PrivateKey;
use colonies::messages::{RequestEnvelope, SubmitFunctionSpec};
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::domain::ids::EndpointName;
use colony_gateway::domain::ledger_id::LedgerId;
use colony_gateway::domain::secret::Secret;
use colony_gateway::inbox::{Door, Inbox, InboxOptions, NewEntry};
use colony_gateway::job::attestation::Signer;
use colony_gateway::job::batch;
use colony_gateway::job::{self, Sender, Terms};
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::StateOfRecord;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::{Settings, UserIds};
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::stripe::envelope::Envelope;
use colony_gateway::stripe::signature::{SigningSecret, TOLERANCE_DEFAULT, check_header};
use colony_gateway::stripe::simulator::{Options, SPAN, SimulatedEvent, Simulator, Tier, sign};
use serde_json::json;

/// Time of one sample.
const SAMPLE: Duration = Duration::from_millis(20);

/// Samples of a step.
const SAMPLES: usize = 25;

/// Events in a batch.
const BATCH: usize = 256;

/// Appends that wait at once.
const AT_ONCE: usize = 64;

/// Signing secret of all deliveries.
const SECRET: &str = "whsec_micro";

/// What `cargo bench --bench micro -- …` takes.
#[derive(Debug, Parser)]
#[command(name = "micro")]
struct Arguments {
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Measures only the steps whose names contain this.
    filter: Option<String>,
    /// `cargo bench` says this; nothing is measured without it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A step that was measured.
struct Step {
    name: &'static str,
    /// Microseconds, sorted.
    samples: Vec<f64>,
}

struct Bench {
    clock: Clock,
    arguments: Arguments,
    profile: String,
    steps: Vec<Step>,
}

impl Bench {
    /// Measures a step; `run` takes the number of repetitions.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
    #[expect(clippy::cast_sign_loss, reason = "a time is not negative")]
    fn step(&mut self, name: &'static str, mut run: impl FnMut(u64)) {
        if self.arguments.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        let mut seconds = |count: u64| {
            let begun = self.clock.instant();
            run(count);
            self.clock.instant().duration_since(begun).as_secs_f64()
        };
        let mut count = 1;
        while seconds(count) < SAMPLE.as_secs_f64() / 4.0 {
            count *= 2;
        }
        let once = seconds(count) / count as f64;
        let count = ((SAMPLE.as_secs_f64() / once) as u64).max(1);
        let mut samples: Vec<f64> = (0..SAMPLES).map(|_| seconds(count) / count as f64 * 1e6).collect();
        samples.sort_by(f64::total_cmp);
        self.steps.push(Step { name, samples });
    }

    fn print(&self) {
        let middle = |step: &Step| step.samples[step.samples.len() / 2];
        let ends = |step: &Step| (step.samples[0], step.samples[step.samples.len() - 1]);
        if self.arguments.json {
            let step = |step: &Step| json!({"name": step.name, "median_us": middle(step), "samples_us": step.samples});
            let steps: Vec<_> = self.steps.iter().map(step).collect();
            println!("{}", json!({"profile": self.profile, "steps": steps}));
            return;
        }
        println!("Profile {}.\n", self.profile);
        println!("| step | median, µs | least to greatest |\n|---|--:|--:|");
        for step in &self.steps {
            let (least, greatest) = ends(step);
            println!("| {} | {:.2} | {least:.2} to {greatest:.2} |", step.name, middle(step));
        }
    }
}

fn main() -> anyhow::Result<()> {
    let said = |what: &str| std::env::args().any(|argument| argument == what);
    // Test runners ask everything that they find for its tests, and take what it prints for their names.
    if !(said("--bench") || said("--help")) || said("--test") || said("--list") {
        return Ok(());
    }
    let clock = Clock::system();
    let profile = profile::of(&std::env::current_exe().context("this program's own path is not known")?);
    let mut bench = Bench { clock: clock.clone(), arguments: Arguments::parse(), profile, steps: Vec::new() };
    let events = events(20_000, clock.now());
    door(&mut bench, &events)?;
    append(&mut bench, &events)?;
    colony(&mut bench, &events[..BATCH])?;
    projection(&mut bench, &events[..BATCH])?;
    word(&mut bench, &events[..BATCH])?;
    bench.print();
    Ok(())
}

fn events(count: usize, now: Timestamp) -> Vec<SimulatedEvent> {
    let users = NonZeroU32::new(200).expect("it is not zero");
    let start = now.minus(SPAN);
    let options = Options { seed: 7, users, api_version: None, start, livemode: false, account: None };
    Simulator::new(options).take(count).collect()
}

/// What the request path does before the inbox.
fn door(bench: &mut Bench, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let (secret, _) = SigningSecret::parse(SECRET)?;
    let secrets = [secret];
    let clock = bench.clock.clone();
    let signed: Vec<(String, Bytes)> =
        events[..BATCH].iter().map(|event| (sign(SECRET, clock.now(), &event.body), event.body.clone())).collect();
    let mut turn = signed.iter().cycle();
    bench.step("signature check of a body of about 2 KiB", |count| {
        for (header, body) in turn.by_ref().take(usize::try_from(count).unwrap_or(0)) {
            let header = check_header([header.as_bytes()]);
            let verified = header.map(|header| header.verify(body.clone(), &secrets, clock.now(), TOLERANCE_DEFAULT));
            let _ = black_box(verified);
        }
    });
    let mut turn = signed.iter().cycle();
    bench.step("reading an event's envelope", |count| {
        for (_, body) in turn.by_ref().take(usize::try_from(count).unwrap_or(0)) {
            let _ = black_box(Envelope::read(body));
        }
    });
    Ok(())
}

/// One append among 64 that wait at once, with its share of the fsync.
fn append(bench: &mut Bench, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), bench.clock.clone())?;
    let (secret, _) = SigningSecret::parse(SECRET)?;
    let (secrets, clock) = ([secret], bench.clock.clone());
    let mut number = 0_usize;
    let mut entry = || {
        let event = &events[number % events.len()];
        number += 1;
        let signature = sign(SECRET, clock.now(), &event.body);
        let header = check_header([signature.as_bytes()]).ok()?;
        let delivery = header.verify(event.body.clone(), &secrets, clock.now(), TOLERANCE_DEFAULT).ok()?;
        let mut envelope = Envelope::read(delivery.body()).ok()?;
        envelope.id = colony_gateway::domain::ids::EventId::new(format!("evt_1Micro{number:018}"));
        Some(NewEntry::event(EndpointName::new("default"), envelope, Door::Open, delivery))
    };
    bench.step("inbox append, fsynced, 64 at once (with signing and checking)", |count| {
        runtime.block_on(async {
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..count {
                if waiting.len() == AT_ONCE {
                    waiting.join_next().await;
                }
                if let Some(entry) = entry() {
                    let inbox = inbox.clone();
                    waiting.spawn(async move { inbox.append(entry).await.map(|_| ()) });
                }
            }
            while waiting.join_next().await.is_some() {}
        });
    });
    drop(inbox);
    threads.join();
    Ok(())
}

/// What the pump does for the colony.
fn colony(bench: &mut Bench, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let texts: Vec<&str> =
        events.iter().map(|event| std::str::from_utf8(&event.body)).collect::<Result<_, _>>().context("UTF-8")?;
    bench.step("encoding a batch of 256 events", |count| {
        for _ in 0..count {
            let _ = black_box(batch::encode(&texts));
        }
    });
    let signer = Signer::generate().context("no randomness")?;
    let (terms, now) = (Terms::new("micro", "bee"), bench.clock.now());
    let ledger = LedgerId::draw().context("no randomness")?;
    let sender = Sender { terms: &terms, signer: &signer, ledger: &ledger, submitter: "micro", recipients: None };
    bench.step("sealing a job of 256 events", |count| {
        for _ in 0..count {
            let _ = black_box(job::seal(&sender, &texts, now));
        }
    });
    let key = PrivateKey::generate().context("no randomness")?;
    let spec = job::seal(&sender, &texts, now)?;
    let message = SubmitFunctionSpec { spec };
    bench.step("signing the envelope of a job of 256 events", |count| {
        for _ in 0..count {
            let _ = black_box(RequestEnvelope::seal(&key, &message));
        }
    });
    let one = job::seal(&sender, &texts[..1], now)?;
    let message = SubmitFunctionSpec { spec: one };
    bench.step("signing the envelope of a job of one event", |count| {
        for _ in 0..count {
            let _ = black_box(RequestEnvelope::seal(&key, &message));
        }
    });
    Ok(())
}

/// From the body of an event to the verdict about it.
fn projection(bench: &mut Bench, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let (validator, bodies) = validator(bench, events)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    bench.step("projection of 256 events, with the Guardian", |count| {
        for _ in 0..count {
            black_box(runtime.block_on(validator.validate(&bodies)));
        }
    });
    Ok(())
}

/// What asking the ledger adds to a process of the colony, beside what applying it costs: one question a process. On SQLite, and
/// on the PostgreSQL of `MICRO_DATABASE_URL` where that is set (an empty database, which is migrated).
fn word(bench: &mut Bench, events: &[SimulatedEvent]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let directory = tempfile::tempdir().context("no temporary directory")?;
    let sqlite = SqliteLedger::open(&directory.path().join("ledger.db"), bench.clock.clone())?;
    ask(bench, events, &runtime, ["the ledger's word about one event, SQLite", "the same, about 256"], &sqlite)?;
    #[expect(clippy::disallowed_methods, reason = "a benchmark takes its targets from the environment")]
    if let Ok(url) = std::env::var("MICRO_DATABASE_URL") {
        let config = PostgresConfig::new(Secret::new(url));
        let postgres = runtime.block_on(async {
            let mut connection = config.connect().await?;
            migrate(&mut connection).await?;
            anyhow::Ok(PostgresLedger::new(&config)?)
        })?;
        let names = ["the ledger's word about one event, PostgreSQL", "the same of PostgreSQL, about 256"];
        ask(bench, events, &runtime, names, &postgres)?;
        runtime.block_on(postgres.close());
    }
    Ok(())
}

fn ask(
    bench: &mut Bench,
    events: &[SimulatedEvent],
    runtime: &tokio::runtime::Runtime,
    names: [&'static str; 2],
    ledger: &dyn StateOfRecord,
) -> anyhow::Result<()> {
    let (validator, bodies) = validator(bench, events)?;
    runtime.block_on(async { ledger.apply(&validator.validate(&bodies).await).await })?;
    let ids: Vec<String> = events.iter().map(|event| event.id.as_str().to_owned()).collect();
    for (name, ids) in names.into_iter().zip([&ids[..1], &ids[..]]) {
        bench.step(name, |count| {
            for _ in 0..count {
                let _ = black_box(runtime.block_on(ledger.witness(ids)));
            }
        });
    }
    Ok(())
}

fn validator(bench: &Bench, events: &[SimulatedEvent]) -> anyhow::Result<(Validator, Vec<Bytes>)> {
    let prices =
        [(Tier::Bronze.price_id(), "bronze"), (Tier::Silver.price_id(), "silver"), (Tier::Gold.price_id(), "gold")];
    let settings = Settings {
        tiers: Tiers::new(["bronze", "silver", "gold"], prices, None)?,
        unpaid_entitles: false,
        connect_entitles: false,
        user_ids: UserIds::Any,
        ..Settings::default()
    };
    let validator = Validator::new(settings, Arc::new(Guardian::default()), bench.clock.clone());
    Ok((validator, events.iter().map(|event| event.body.clone()).collect()))
}
