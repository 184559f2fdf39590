//! Subscriptions and customers that evolve as Stripe allows, several changes a second, with the `previous_attributes` that
//! Stripe gives: whatever the order of arrival, doubles and batches, every store ends with Stripe's own last state.
//!
//! A run is bounded, and leads the same lives each time, so that what fails is what was changed. `GATEWAY_LIVES` asks for so
//! many others a store, to find what nobody thought of; `GATEWAY_LIVES_SEED` for those of an earlier run.

mod changes;
mod retention;

use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

use self::changes::{CUSTOMER, Change, SUBSCRIPTION, story};
use crate::contract::{apply, permutations};
use crate::plans::at;
use crate::postgres::Flavour;
use crate::recount::recount_by;
use crate::stores::{Contents, Postgres, Sqlite, Store};

/// Lives that a store is led through, without a word of whoever runs it.
const LIVES: u32 = 48;

/// Seed of the usual lives.
const SEED: u64 = 20_261_127;

/// One run: what happens, which events are lost, and in which order the others come.
#[derive(Clone, Debug)]
struct Run {
    changes: Vec<Change>,
    /// Draws identifiers, order, doubles and batches.
    seed: u64,
    /// Bits of the events that never come.
    lost: u32,
}

fn run() -> impl Strategy<Value = Run> {
    let lost = prop_oneof![2 => Just(0), 1 => any::<u32>()];
    (prop::collection::vec(changes::change(), 1..12), any::<u64>(), lost).prop_map(|(changes, seed, lost)| Run {
        changes,
        seed,
        lost,
    })
}

fn validator() -> Validator {
    let prices = [("price_bronze", "bronze"), ("price_silver", "silver"), ("price_gold", "gold")];
    let settings =
        Settings { tiers: Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap(), ..Settings::default() };
    Validator::new(settings, Arc::new(Guardian::default()), Clock::manual(at(10_000)))
}

/// Cuts events into batches, some of them with doubles, in an order of chance.
fn deliveries(events: &[Bytes], random: &mut fastrand::Rng) -> Vec<Vec<Bytes>> {
    let mut all: Vec<Bytes> = events.to_vec();
    for _ in 0..events.len() / 3 {
        all.push(events[random.usize(..events.len())].clone());
    }
    random.shuffle(&mut all);
    let mut batches = vec![Vec::new()];
    for event in all {
        if random.u8(..3) == 0 {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(event);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

async fn contents_after(store: &dyn Store, batches: &[Vec<Bytes>]) -> Contents {
    store.clear().await;
    let validator = validator();
    let mut verdicts: Vec<Vec<Verdict>> = Vec::new();
    for batch in batches {
        verdicts.push(validator.validate(batch).await);
    }
    apply(store, &verdicts).await;
    store.contents().await
}

/// The stored object of a table with a single row.
fn stored(contents: &Contents, table: &str) -> Value {
    let rows: Vec<Value> = contents.0[table].iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(rows.len(), 1, "{table}: {rows:?}");
    rows[0]["raw"].clone()
}

fn undecided(contents: &Contents, subject: &str) -> bool {
    let found = |row: &String| row.contains("order_undecided") && row.contains(subject);
    contents.0["findings"].iter().any(found)
}

/// Leads the stores through a life. The first words of an error say what went wrong.
async fn live(stores: &[&dyn Store], run: &Run) -> Result<(), TestCaseError> {
    let mut random = fastrand::Rng::with_seed(run.seed);
    let story = story(&run.changes, &mut random);
    let lost = |place: usize| run.lost & (1 << (place % 32)) != 0 && !story.lasts.contains(&place);
    let kept: Vec<Bytes> =
        story.events.iter().enumerate().filter(|(place, _)| !lost(*place)).map(|(_, body)| body.clone()).collect();
    let mut ends: Vec<Contents> = Vec::new();
    for store in stores {
        let mut first: Option<Contents> = None;
        for _ in 0..4 {
            let contents = contents_after(*store, &deliveries(&kept, &mut random)).await;
            for (table, id, last) in [
                ("stripe_subscriptions", SUBSCRIPTION, &story.subscription),
                ("stripe_customers", CUSTOMER, &story.customer),
            ] {
                let right = stored(&contents, table) == *last;
                let said = run.lost != 0 && undecided(&contents, id);
                prop_assert!(
                    right || said,
                    "{}: {table} is not Stripe's last state: {} instead of {last}\n{:#?}",
                    store.ledger().name(),
                    stored(&contents, table),
                    kept
                );
            }
            if let Some(first) = &first {
                prop_assert_eq!(first, &contents, "another order ends otherwise: {:#?}", kept);
            }
            first.get_or_insert(contents);
        }
        let recounted = recount_by(&validator(), *store, true).await;
        prop_assert_eq!((recounted.total(), recounted.overtaken), (0, 0), "{:?}: {:#?}", recounted, kept);
        ends.extend(first);
    }
    for end in &ends[1..] {
        for table in ["stripe_subscriptions", "kept_subscriptions", "stripe_customers", "kept_customers", "findings"] {
            prop_assert_eq!(&ends[0].0[table], &end.0[table], "the stores differ: {:#?}", kept);
        }
    }
    Ok(())
}

/// Short lives that are led in every order of every subset of their events in which the last of each object is.
const SHORT_LIVES: usize = 4;

/// Events of a short life, at most: 120 orders of the whole.
const SHORT_EVENTS: usize = 5;

/// Plays every order of every subset of a life's events. The end depends on the subset alone; it is Stripe's own last state, or a
/// finding says that the order is not known; of all events it always is.
async fn every_order_of_every_subset(store: &dyn Store, story: &changes::Story) {
    let validator = validator();
    let verdicts = validator.validate(&story.events).await;
    let subsets =
        (0..1_usize << verdicts.len()).filter(|subset| story.lasts.iter().all(|last| subset & (1 << last) != 0));
    for subset in subsets {
        let places: Vec<usize> = (0..verdicts.len()).filter(|place| subset & (1 << place) != 0).collect();
        let mut first: Option<Contents> = None;
        for order in permutations(places.len()) {
            store.clear().await;
            for place in &order {
                apply(store, &[vec![verdicts[places[*place]].clone()]]).await;
            }
            let contents = store.contents().await;
            let told = || format!("events {places:?} of {:#?} in the order {order:?}", story.events);
            for (table, id, last) in [
                ("stripe_subscriptions", SUBSCRIPTION, &story.subscription),
                ("stripe_customers", CUSTOMER, &story.customer),
            ] {
                let said = places.len() < verdicts.len() && undecided(&contents, id);
                assert!(stored(&contents, table) == *last || said, "{table}: {}", told());
            }
            assert!(first.as_ref().is_none_or(|first| *first == contents), "another order ends otherwise: {}", told());
            first.get_or_insert(contents);
        }
    }
}

#[tokio::test]
async fn every_order_of_every_subset_of_a_short_life_ends_as_the_subset_says() {
    let store = Sqlite::hasty();
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut random = fastrand::Rng::with_seed(3);
    let mut led = 0;
    while led < SHORT_LIVES {
        let changes = prop::collection::vec(changes::change(), 1..4).new_tree(&mut runner).unwrap().current();
        let story = story(&changes, &mut random);
        if story.events.len() == SHORT_EVENTS {
            every_order_of_every_subset(&store, &story).await;
            led += 1;
        }
    }
}

#[tokio::test]
async fn a_trial_that_is_ended_early_between_a_cancellation_and_its_undoing_ends_in_every_order_of_every_subset() {
    let store = Sqlite::hasty();
    every_order_of_every_subset(&store, &changes::trial_ended_between_two_changes()).await;
}

/// Leads so many lives, without a word of whoever runs it the `usual` ones. It prints the seed, by which the same lives are led
/// again.
#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by the environment")]
pub(crate) fn runner(usual: u32) -> (TestRunner, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let asked = number("GATEWAY_LIVES").and_then(|lives| u32::try_from(lives).ok());
    let others = || asked.map_or(SEED, |_| fastrand::u64(..));
    let (seed, lives) = (number("GATEWAY_LIVES_SEED").unwrap_or_else(others), asked.unwrap_or(usual));
    println!("GATEWAY_LIVES_SEED={seed} GATEWAY_LIVES={lives}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: lives, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    (TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)), seed)
}

fn lead(stores: &[&dyn Store]) {
    let (mut runner, seed) = runner(LIVES);
    let handle = tokio::runtime::Handle::current();
    let result = tokio::task::block_in_place(|| runner.run(&run(), |run| handle.block_on(live(stores, &run))));
    assert!(result.is_ok(), "seed {seed}: {}", result.unwrap_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_life_ends_in_stripes_last_state_in_every_order_in_a_file() {
    lead(&[&Sqlite::new()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_ends_in_stripes_last_state_in_every_order_on_all_stores() {
    let (sqlite, direct, rest) = (Sqlite::new(), Postgres::direct(Flavour::Plain).await, Postgres::rest().await);
    lead(&[&sqlite, &direct, &rest]);
}
