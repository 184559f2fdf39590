//! The contract of every store, as tests that take a store.

mod clauses;
mod history;

use colony_gateway::ledger::Outcome;
use colony_gateway::revenue::verdict::Verdict;

use crate::stores::{Contents, Store};

pub(crate) use self::clauses::holds;
pub(crate) use self::history::large as large_history;

/// Applies the batches one after the other.
pub(crate) async fn apply(store: &dyn Store, batches: &[Vec<Verdict>]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for batch in batches {
        let answers = store.ledger().apply(batch).await.unwrap();
        assert_eq!(answers.len(), batch.len(), "one outcome an event");
        outcomes.extend(answers);
    }
    outcomes
}

/// What an emptied store holds after the batches.
async fn contents_after(store: &dyn Store, batches: &[Vec<Verdict>]) -> Contents {
    store.clear().await;
    apply(store, batches).await;
    store.contents().await
}

/// Cuts the events into batches of random sizes.
fn cut(events: Vec<Verdict>, random: &mut fastrand::Rng) -> Vec<Vec<Verdict>> {
    let mut batches = vec![Vec::new()];
    for event in events {
        if random.u8(0..3) == 0 {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(event);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

pub(crate) async fn every_order_of_each_small_family_ends_in_the_same_rows(store: &dyn Store) {
    let mut random = fastrand::Rng::with_seed(1);
    for (name, family) in history::small_families() {
        let expected = contents_after(store, std::slice::from_ref(&family)).await;
        for order in permutations(family.len()) {
            let events: Vec<Verdict> = order.iter().map(|index| family[*index].clone()).collect();
            let found = contents_after(store, &cut(events, &mut random)).await;
            assert_eq!(found, expected, "{name} in the order {order:?}");
        }
    }
}

pub(crate) async fn random_orders_of_a_large_history_end_in_the_same_rows(store: &dyn Store, rounds: u64) {
    let history = history::large(7, 120);
    let batches: Vec<Vec<Verdict>> = history.chunks(64).map(<[Verdict]>::to_vec).collect();
    let expected = contents_after(store, &batches).await;
    for seed in 0..rounds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = history.clone();
        // Some events come again, some of them in the same batch.
        for _ in 0..history.len() / 5 {
            events.push(history[random.usize(..history.len())].clone());
        }
        random.shuffle(&mut events);
        let found = contents_after(store, &cut(events, &mut random)).await;
        assert_eq!(found, expected, "seed {seed}");
    }
}

/// All orders of `0..length`.
fn permutations(length: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for item in 0..length {
        orders = orders
            .into_iter()
            .flat_map(|order| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, item);
                    longer
                })
            })
            .collect();
    }
    orders
}
