//! The contract of every store, as tests that take a store.

mod clauses;
mod doubts;
mod history;

use std::collections::HashSet;

use colony_gateway::ledger::Outcome;
use colony_gateway::revenue::rows::RevenueKind;
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::Planned;
use crate::stores::{Contents, Store, TABLES};

pub(crate) use self::clauses::holds;
pub(crate) use self::doubts::{
    a_release_leads_to_where_nothing_was_held, every_order_of_doubtful_events_gives_what_the_model_gives,
    random_orders_of_doubtful_events_give_what_the_model_gives,
};
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
pub(crate) fn cut(events: Vec<Verdict>, random: &mut fastrand::Rng) -> Vec<Vec<Verdict>> {
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

/// Few keys, many events of each: claims that contradict each other, events that a rule holds, doubles, releases and replays among them.
fn quarrel(random: &mut fastrand::Rng) -> [Vec<Verdict>; 2] {
    let mut events = Vec::new();
    for number in 0..24 {
        let (sub, cus) = (format!("sub_{}", random.u8(0..3)), format!("cus_{}", random.u8(0..3)));
        let user = format!("user_{}", random.u8(0..3));
        let mut planned = Planned::new(&format!("evt_{number:02}"), "x", random.i64(0..9));
        if random.bool() {
            let status = ["active", "past_due", "canceled"][random.usize(..3)];
            planned = planned.subscription(&sub, &cus, status, |_| {});
        }
        match random.u8(0..4) {
            0 => planned = planned.customer_user(&cus, &user),
            1 => planned = planned.subscription_user(&sub, &user),
            2 => planned = planned.customer(&cus, random.bool()).money(RevenueKind::Invoice, "in_1", 100, |_| {}),
            _ => planned = planned.link("pi_1", if random.bool() { "in_1" } else { "in_2" }),
        }
        let (released, replayed) = (random.u8(0..9) == 0, random.u8(0..6) == 0);
        let held = random.u8(0..4) == 0;
        events.push(if held { planned.clone().suspect().verdict() } else { planned.clone().verdict() });
        if random.u8(0..4) == 0 || released || replayed {
            let again = planned.with(|plan| (plan.released, plan.replayed) = (released, replayed));
            events.push(again.verdict());
        }
    }
    random.shuffle(&mut events);
    // Each event once, and then those that come again: of several verdicts about one event in a batch one is chosen.
    let mut known = HashSet::new();
    let is_first = |verdict: &Verdict| known.insert(verdict.event().map(|event| event.id.clone()));
    let (first, again): (Vec<_>, Vec<_>) = events.into_iter().partition(is_first);
    [first, again]
}

/// What the store holds but for what it shows: a user who had something between two batches is shown as one who had.
async fn truth(store: &dyn Store) -> Contents {
    let mut contents = store.contents().await;
    contents.0.retain(|table, _| TABLES.contains(table));
    contents
}

/// One batch says and leaves what its events say and leave one by one.
pub(crate) async fn a_batch_is_as_its_events_one_by_one(store: &dyn Store, rounds: u64) {
    for seed in 0..rounds {
        let mut random = fastrand::Rng::with_seed(seed);
        let batches = quarrel(&mut random);
        store.clear().await;
        let together = apply(store, &batches).await;
        let after = truth(store).await;
        store.clear().await;
        let alone: Vec<Vec<Verdict>> = batches.concat().into_iter().map(|event| vec![event]).collect();
        assert_eq!(apply(store, &alone).await, together, "seed {seed}");
        assert_eq!(truth(store).await, after, "seed {seed}");
    }
}

/// All orders of `0..length`.
pub(crate) fn permutations(length: usize) -> Vec<Vec<usize>> {
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
