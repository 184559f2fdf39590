//! Doubts: claims that contradict each other, events that a rule holds, and their releases. Whatever the order, access is
//! what a model in a few lines says, and no held event ever gives any.

use std::collections::{BTreeMap, BTreeSet};

use colony_gateway::revenue::owners::{Owner, owner};
use colony_gateway::revenue::rows::{ClaimRank, SubscriptionRow};
use colony_gateway::revenue::verdict::Verdict;

use super::{cut, permutations};
use crate::plans::{Planned, preference};
use crate::stores::Store;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Passed,
    Held,
    Released,
}

/// An event and how it comes.
#[derive(Clone, Debug)]
struct Told {
    planned: Planned,
    fate: Fate,
}

/// One delivery of an event of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivery {
    event: usize,
    released: bool,
}

/// User, whether it entitles, tier and status of each subscription.
type Access = BTreeMap<String, (Option<String>, bool, Option<String>, String)>;

const USERS: [&str; 3] = ["user_a", "user_b", "user_c"];

/// A few events about two subscriptions of one customer, each of another second.
fn story(random: &mut fastrand::Rng, length: i64) -> Vec<Told> {
    let mut seconds: Vec<i64> = (0..length).collect();
    random.shuffle(&mut seconds);
    let told = seconds.into_iter().enumerate().map(|(number, second)| {
        let sub = ["sub_1", "sub_2"][random.usize(..2)];
        let customer = if random.u8(0..6) == 0 { "cus_2" } else { "cus_1" };
        let mut planned = Planned::new(&format!("evt_{number}"), "customer.subscription.updated", second);
        if random.u8(0..4) > 0 {
            let status = ["active", "active", "past_due", "unpaid", "canceled"][random.usize(..5)];
            let tier = ["bronze", "silver", "gold"][random.usize(..3)];
            planned = planned.subscription(sub, customer, status, |row| {
                row.tier = Some(tier.to_owned());
                row.preference = preference(row.entitles, tier, sub);
            });
        }
        let user = USERS[random.usize(..3)];
        planned = match random.u8(0..7) {
            0 | 1 => planned.claim(ClaimRank::Subscription, sub, user),
            2 => planned.claim(ClaimRank::Session, sub, user).claim(ClaimRank::Purchase, customer, user),
            3 => planned.claim(ClaimRank::Customer, customer, user),
            4 => planned.claim(ClaimRank::Reference, sub, user).claim(ClaimRank::ReferenceOfCustomer, customer, user),
            5 => planned.claim(ClaimRank::OperatorOfCustomer, customer, user),
            _ => planned,
        };
        let fate = [Fate::Passed, Fate::Passed, Fate::Held, Fate::Released][random.usize(..4)];
        Told { planned, fate }
    });
    told.collect()
}

/// All deliveries of a story, in the order of their events.
fn deliveries(story: &[Told]) -> Vec<Delivery> {
    let each = story.iter().enumerate().flat_map(|(event, told)| {
        let again = (told.fate == Fate::Released).then_some(Delivery { event, released: true });
        [Some(Delivery { event, released: false }), again].into_iter().flatten()
    });
    each.collect()
}

fn verdict(story: &[Told], delivery: Delivery) -> Verdict {
    let Told { planned, fate } = &story[delivery.event];
    if delivery.released {
        return planned.clone().with(|plan| plan.released = true).verdict();
    }
    if *fate == Fate::Passed { planned.clone().verdict() } else { planned.clone().suspect().verdict() }
}

/// What these deliveries lead to.
fn model(story: &[Told], delivered: &[Delivery]) -> Access {
    let known: BTreeSet<usize> = delivered.iter().map(|delivery| delivery.event).collect();
    let vouched: BTreeSet<usize> = known
        .iter()
        .copied()
        .filter(|event| {
            story[*event].fate == Fate::Passed || delivered.contains(&Delivery { event: *event, released: true })
        })
        .collect();
    let newest = |events: &BTreeSet<usize>| {
        let mut rows: BTreeMap<String, SubscriptionRow> = BTreeMap::new();
        for row in events.iter().flat_map(|event| story[*event].planned.plan.subscriptions.clone()) {
            if rows.get(&row.id).is_none_or(|known| known.version < row.version) {
                rows.insert(row.id.clone(), row);
            }
        }
        rows
    };
    let claims: Vec<_> = vouched.iter().flat_map(|event| &story[*event].planned.plan.claims).collect();
    let (truth, vouched) = (newest(&known), newest(&vouched));
    let access = truth.into_iter().map(|(id, row)| {
        let sure = vouched.get(&id);
        let payer =
            sure.and_then(|sure| sure.customer_id.as_deref()).filter(|id| Some(*id) == row.customer_id.as_deref());
        let user = match owner(claims.iter().copied(), &id, payer, None) {
            Owner::User(user) => Some(user.to_owned()),
            Owner::Unnamed | Owner::Contested => None,
        };
        let lesser = sure.filter(|sure| sure.preference < row.preference).unwrap_or(&row);
        let tier = sure.and(lesser.tier.clone());
        (id, (user, row.entitles && sure.is_some_and(|sure| sure.entitles), tier, row.status.clone()))
    });
    access.collect()
}

async fn access(store: &dyn Store) -> Access {
    let lines = store.ledger().subscriptions(100).await.unwrap();
    lines.into_iter().map(|line| (line.id, (line.user_id, line.entitles, line.tier, line.status))).collect()
}

/// Delivers in one order, cut into batches, and compares after each of them.
async fn play(store: &dyn Store, story: &[Told], order: &[Delivery], random: &mut fastrand::Rng) {
    store.clear().await;
    let mut delivered = Vec::new();
    let mut open = order.to_vec();
    let sizes = cut(order.iter().map(|delivery| verdict(story, *delivery)).collect(), random);
    for batch in sizes {
        delivered.extend(open.drain(..batch.len()));
        store.ledger().apply(&batch).await.unwrap();
        let (found, expected) = (access(store).await, model(story, &delivered));
        assert_eq!(found, expected, "{} after {delivered:?} of {story:#?}", store.ledger().name());
    }
}

/// Every order of stories of a few events.
pub(crate) async fn every_order_of_doubtful_events_gives_what_the_model_gives(store: &dyn Store, seeds: u64) {
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        eprintln!("doubts, seed {seed}");
        let story = story(&mut random, 4);
        let all = deliveries(&story);
        let orders = if all.len() <= 5 { permutations(all.len()) } else { Vec::new() };
        for order in orders {
            let order: Vec<Delivery> = order.into_iter().map(|place| all[place]).collect();
            play(store, &story, &order, &mut random).await;
        }
    }
}

/// Random orders of longer stories, in which some deliveries come again.
pub(crate) async fn random_orders_of_doubtful_events_give_what_the_model_gives(store: &dyn Store, seeds: u64) {
    for seed in 1000..1000 + seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        eprintln!("doubts, seed {seed}");
        let length = random.i64(5..14);
        let story = story(&mut random, length);
        let mut order = deliveries(&story);
        for _ in 0..order.len() / 3 {
            order.push(order[random.usize(..order.len())]);
        }
        random.shuffle(&mut order);
        play(store, &story, &order, &mut random).await;
    }
}

/// What is released ends as if it had never been held.
pub(crate) async fn a_release_leads_to_where_nothing_was_held(store: &dyn Store, seeds: u64) {
    for seed in 5000..5000 + seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut story = story(&mut random, 7);
        for told in &mut story {
            told.fate = if told.fate == Fate::Held { Fate::Released } else { told.fate };
        }
        let (mut held, mut free) = (deliveries(&story), story.clone());
        random.shuffle(&mut held);
        play(store, &story, &held, &mut random).await;
        let after = access(store).await;
        for told in &mut free {
            told.fate = Fate::Passed;
        }
        play(store, &free, &deliveries(&free), &mut random).await;
        assert_eq!(access(store).await, after, "seed {seed}");
    }
}
