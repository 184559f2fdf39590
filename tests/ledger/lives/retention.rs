//! Lives of which payloads are reduced in between: what comes later, in any order, ends in the rows in which it ends without
//! that.

use std::collections::BTreeSet;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::report::SubscriptionLine;
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::{Suspicion, Verdict};
use proptest::prelude::*;
use serde_json::Value;

use super::changes::story;
use super::{Run, deliveries, run, runner};
use crate::contract::apply;
use crate::expiry::expire;
use crate::plans::at;
use crate::postgres::Flavour;
use crate::stores::{Contents, Postgres, Sqlite, Store};

/// Lives that a store is led through, without a word of whoever runs it.
const LIVES: u32 = 48;
/// As [`LIVES`], over a connection.
const LIVES_AFAR: u32 = 16;

fn validator() -> Validator {
    let prices = [("price_bronze", "bronze"), ("price_silver", "silver"), ("price_gold", "gold")];
    let tiers = Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap();
    let settings = Settings { tiers, grace: "*=14".parse().unwrap(), ..Settings::default() };
    Validator::new(settings, std::sync::Arc::new(Guardian::default()), Clock::manual(at(10_000)))
}

/// The verdicts of batches; a rule holds the events whose ids are `held`.
async fn verdicts(batches: &[Vec<Bytes>], held: &BTreeSet<String>) -> Vec<Vec<Verdict>> {
    let validator = validator();
    let mut all = Vec::new();
    for batch in batches {
        let mut verdicts = validator.validate(batch).await;
        for verdict in &mut verdicts {
            if let Verdict::Apply(plan) = verdict
                && held.contains(&plan.event.id.to_string())
            {
                plan.suspicion = Some(Suspicion { rule: "odd".to_owned(), reason: "odd".to_owned() });
                plan.claims.clear();
            }
        }
        all.push(verdicts);
    }
    all
}

fn id_and_second(event: &Bytes) -> (String, i64) {
    let event: Value = serde_json::from_slice(event).unwrap();
    (event["id"].as_str().unwrap().to_owned(), event["created"].as_i64().unwrap())
}

/// All that a store holds but for the events, and what its subscriptions give.
async fn end(store: &dyn Store) -> (Contents, Vec<SubscriptionLine>) {
    let mut contents = store.contents().await;
    contents.0.remove("events");
    (contents, store.ledger().subscriptions(10).await.unwrap())
}

/// Leads a store through the first part of a life and then through the rest, twice: once payloads of the first part are
/// reduced in between. How many were.
async fn forget(store: &dyn Store, run: &Run) -> Result<u64, TestCaseError> {
    let mut random = fastrand::Rng::with_seed(run.seed);
    let story = story(&run.changes, &mut random);
    let seconds: BTreeSet<i64> = story.events.iter().map(|event| id_and_second(event).1).collect();
    let until = *seconds.iter().nth(random.usize(..seconds.len())).unwrap();
    let (early, late): (Vec<Bytes>, Vec<Bytes>) =
        story.events.iter().cloned().partition(|event| id_and_second(event).1 <= until);
    let held: BTreeSet<String> = if random.bool() {
        story.events.iter().map(|event| id_and_second(event).0).filter(|_| random.u8(..3) == 0).collect()
    } else {
        BTreeSet::new()
    };
    let early = verdicts(&deliveries(&early, &mut random), &held).await;
    let late = if late.is_empty() { Vec::new() } else { verdicts(&deliveries(&late, &mut random), &held).await };
    store.clear().await;
    apply(store, &early).await;
    apply(store, &late).await;
    let without = end(store).await;
    store.clear().await;
    apply(store, &early).await;
    let before = end(store).await;
    let cutoff = at(until - crate::plans::EPOCH_SECONDS);
    let reduced = expire(store, cutoff).await;
    prop_assert_eq!(&end(store).await, &before, "reducing payloads changes rows");
    prop_assert_eq!(expire(store, cutoff).await, 0, "once is enough");
    apply(store, &late).await;
    prop_assert_eq!(
        &end(store).await,
        &without,
        "{}: without payloads of before {}: {:#?}",
        store.ledger().name(),
        until,
        story.events
    );
    Ok(reduced)
}

fn lead(stores: &[&dyn Store], lives: u32) {
    let (mut runner, seed) = runner(lives);
    let handle = tokio::runtime::Handle::current();
    let reduced = std::cell::Cell::new(0);
    let result = tokio::task::block_in_place(|| {
        runner.run(&run(), |run| {
            for store in stores {
                reduced.set(reduced.get() + handle.block_on(forget(*store, &run))?);
            }
            Ok(())
        })
    });
    assert!(result.is_ok(), "seed {seed}: {}", result.unwrap_err());
    assert!(reduced.get() > 0, "nothing was reduced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn payloads_that_were_reduced_are_missed_by_no_later_event_in_a_file() {
    lead(&[&Sqlite::hasty()], LIVES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_were_reduced_are_missed_by_no_later_event_in_postgresql() {
    lead(&[&Postgres::direct(Flavour::Plain).await, &Postgres::rest().await], LIVES_AFAR);
}
