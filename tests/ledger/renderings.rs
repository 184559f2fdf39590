//! Events that endpoints of several API versions deliver in several renderings, some of which a rule holds: whatever comes first,
//! the end is that of the set. All renderings tell facts; those that pass vouch for the event.

mod made;

use colony_gateway::ledger::report::{Attention, NotShown, SubscriptionLine, Summary};
use colony_gateway::revenue::rows::{ClaimRank, RevenueKind, Standing};
use colony_gateway::revenue::verdict::Verdict;

use self::made::{NEW, OLD, event, held, rendered};
use crate::contract::{apply, cut, permutations};
use crate::plans::{Planned, preference};
use crate::postgres::Flavour;
use crate::stores::{Contents, Money, Postgres, Sqlite, Store, TABLES};

/// All that people are told, and all rows that do not depend on the order.
#[derive(Clone, Debug, PartialEq)]
struct End {
    contents: Contents,
    lines: Vec<SubscriptionLine>,
    money: Vec<Money>,
    summary: Summary,
    attention: Attention,
}

async fn end(store: &dyn Store) -> End {
    let mut summary = store.ledger().summary(1000).await.unwrap();
    summary.counts.not_shown = 0;
    let mut attention = store.ledger().attention(100).await.unwrap();
    attention.not_shown = NotShown::default();
    attention.waiting.clear();
    attention.policies.clear();
    attention.left.clear();
    End {
        contents: store.contents().await,
        lines: store.ledger().subscriptions(100).await.unwrap(),
        money: store.counted().await,
        summary,
        attention,
    }
}

/// The rows that every store has.
fn common(mut end: End) -> End {
    end.contents.0.retain(|table, _| TABLES.contains(table));
    end
}

/// One event about a subscription, in both renderings, the old one with a rule's word and the new one without, or the other way
/// round; after an event that everything passes.
fn family(held_version: &str) -> [Verdict; 3] {
    let told = |id: &str, seconds: i64, tier: &'static str| {
        Planned::new(id, "customer.subscription.updated", seconds)
            .subscription("sub_1", "cus_1", "active", |row| {
                row.tier = Some(tier.to_owned());
                row.preference = preference(true, tier, "sub_1");
            })
            .claim(ClaimRank::Subscription, "sub_1", if seconds == 0 { "user_a" } else { "user_b" })
    };
    let passing = if held_version == OLD { NEW } else { OLD };
    let both = || told("evt_b", 5, "gold").money(RevenueKind::Invoice, "in_1", 500, |_| {});
    [
        rendered(told("evt_a", 0, "silver"), NEW).verdict(),
        held(rendered(both(), held_version), "odd", "an odd one").verdict(),
        rendered(both(), passing).verdict(),
    ]
}

/// A rendering that passes vouches for the event: access does not hang on which of the two comes first.
async fn one_that_passes_vouches(store: &dyn Store) {
    for held_version in [OLD, NEW] {
        let family = family(held_version);
        let mut first: Option<End> = None;
        for order in permutations(family.len()) {
            store.clear().await;
            let events: Vec<Vec<Verdict>> = order.iter().map(|place| vec![family[*place].clone()]).collect();
            apply(store, &events).await;
            let end = end(store).await;
            let told = format!("{held_version} is held on {} in the order {order:?}", store.ledger().name());
            let line = &end.lines[0];
            let access = (line.user_id.as_deref(), line.entitles, line.tier.as_deref());
            assert_eq!(access, (Some("user_b"), true, Some("gold")), "{told}");
            assert_eq!(end.summary.counts.quarantined, 0, "{told}");
            assert_eq!(end.summary.counts.decisions, 1, "what the rule said is kept: {told}");
            // A user who had something in between is shown as one who had.
            let end = common(end);
            assert_eq!(first.get_or_insert_with(|| end.clone()), &end, "{told}");
        }
    }
}

/// A rendering that a rule holds tells facts all the same, also after one that passed.
async fn one_that_is_held_tells_facts(store: &dyn Store) {
    let passed =
        Planned::new("evt_1", "customer.subscription.updated", 0).subscription("sub_1", "cus_1", "active", |_| {});
    let ended = Planned::new("evt_1", "customer.subscription.updated", 0)
        .subscription("sub_1", "cus_1", "canceled", |row| row.version.standing = Standing::Current)
        .money(RevenueKind::Refund, "re_1", -500, |row| row.payment_id = Some("pi_1".to_owned()))
        .money(RevenueKind::Payment, "pi_1", 500, |_| {});
    let family = [rendered(passed, OLD).verdict(), held(rendered(ended, NEW), "odd", "odd").verdict()];
    for order in [[0, 1], [1, 0]] {
        store.clear().await;
        apply(store, &order.map(|place| vec![family[place].clone()])).await;
        let lines = store.ledger().subscriptions(10).await.unwrap();
        let told = format!("on {} in the order {order:?}", store.ledger().name());
        assert_eq!((lines[0].status.as_str(), lines[0].entitles), ("canceled", false), "{told}");
        assert_eq!(store.counted().await.len(), 2, "{told}");
    }
}

fn batches(verdicts: &[Verdict], random: &mut fastrand::Rng) -> Vec<Vec<Verdict>> {
    let mut all = verdicts.to_vec();
    for _ in 0..verdicts.len() / 4 {
        all.push(verdicts[random.usize(..verdicts.len())].clone());
    }
    random.shuffle(&mut all);
    let mut batches = vec![Vec::new()];
    for verdict in all {
        if random.u8(0..3) == 0 {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(verdict);
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Random families in random orders and batches: every order ends alike, on every store.
async fn every_order_ends_alike(stores: &[&dyn Store], seeds: std::ops::Range<u64>, length: usize) {
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let length = random.usize(1..=length);
        let told: Vec<_> = (0..length).map(|number| event(number, &mut random)).collect();
        let story: Vec<Verdict> = told.iter().flat_map(|(verdicts, _)| verdicts.clone()).collect();
        let mut decisions: Vec<Verdict> = told.into_iter().filter_map(|(_, decision)| decision).collect();
        let mut ends: Vec<End> = Vec::new();
        for store in stores {
            let mut first: Option<End> = None;
            for _ in 0..4 {
                let order = batches(&story, &mut random);
                store.clear().await;
                apply(*store, &order).await;
                random.shuffle(&mut decisions);
                apply(*store, &cut(decisions.clone(), &mut random)).await;
                let end = common(end(*store).await);
                let first = first.get_or_insert_with(|| end.clone());
                assert!(
                    *first == end,
                    "seed {seed} on {}: another order ends otherwise: {}\n{}",
                    store.ledger().name(),
                    differences(first, &end),
                    names(&order)
                );
            }
            ends.extend(first);
        }
        for other in &ends[1..] {
            assert!(ends[0] == *other, "seed {seed}: the stores differ: {}", differences(&ends[0], other));
        }
    }
}

fn names(batches: &[Vec<Verdict>]) -> String {
    let name = |verdict: &Verdict| {
        let event = verdict.event().unwrap();
        let kind = match verdict {
            Verdict::Apply(plan) if plan.suspicion.is_some() => "held",
            Verdict::Apply(_) => "passes",
            Verdict::Ignore { .. } => "ignored",
            _ => "refused",
        };
        format!("{} {} {kind}", event.id, event.api_version.as_deref().unwrap_or_default())
    };
    let lines = batches.iter().map(|batch| batch.iter().map(name).collect::<Vec<_>>().join(", "));
    lines.collect::<Vec<_>>().join("\n")
}

fn differences(one: &End, other: &End) -> String {
    let mut told = String::new();
    let mut differ = |name: &str, one: String, other: String| {
        if one != other {
            told.push_str(&["\n", name, ":\n  ", &one, "\n  ", &other].concat());
        }
    };
    for (table, rows) in &one.contents.0 {
        let others = other.contents.0.get(table).cloned().unwrap_or_default();
        let only = |rows: &[String], others: &[String]| {
            rows.iter().filter(|row| !others.contains(row)).cloned().collect::<Vec<_>>().join("\n    ")
        };
        differ(table, only(rows, &others), only(&others, rows));
    }
    for (one, other) in one.lines.iter().zip(&other.lines) {
        differ("line", format!("{one:?}"), format!("{other:?}"));
    }
    differ("lines", one.lines.len().to_string(), other.lines.len().to_string());
    differ("money", format!("{:?}", one.money), format!("{:?}", other.money));
    differ("summary", format!("{:?}", one.summary), format!("{:?}", other.summary));
    differ("attention", format!("{:?}", one.attention), format!("{:?}", other.attention));
    told
}

#[expect(clippy::disallowed_methods, reason = "a longer run is asked for by the environment")]
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("GATEWAY_LIVES").ok().and_then(|text| text.parse().ok());
    let first = asked.map_or(0, |_: u64| fastrand::u64(..1 << 40));
    first..first + asked.unwrap_or(usual)
}

#[tokio::test]
async fn a_rendering_that_passes_vouches_for_the_event_whichever_comes_first() {
    for store in [&Sqlite::hasty() as &dyn Store, &Postgres::direct(Flavour::Plain).await, &Postgres::rest().await] {
        one_that_passes_vouches(store).await;
    }
}

#[tokio::test]
async fn a_rendering_that_is_held_tells_facts_whichever_comes_first() {
    for store in [&Sqlite::hasty() as &dyn Store, &Postgres::direct(Flavour::Plain).await, &Postgres::rest().await] {
        one_that_is_held_tells_facts(store).await;
    }
}

#[tokio::test]
async fn every_order_of_renderings_ends_alike_in_a_file() {
    every_order_ends_alike(&[&Sqlite::hasty()], seeds(80), 6).await;
}

#[tokio::test]
async fn every_order_of_renderings_ends_alike_on_all_stores() {
    let (sqlite, direct) = (Sqlite::hasty(), Postgres::direct(Flavour::Plain).await);
    every_order_ends_alike(&[&sqlite, &direct], seeds(20), 6).await;
}
