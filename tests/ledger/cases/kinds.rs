//! The kinds of faults that cases of real life showed, each with its siblings.
//!
//! A file of `tests/fixtures/cases/kinds` is a kind: `{name: {"events": {name: event}, "right": {…}}}`. What is right holds in
//! every order of the events, with doubles and in any batches: `net` (one's own money by currency, minor units), `outside` (of
//! it, what came around Stripe), `subs` (fields of subscriptions by id), `no_findings`. A new case is a few lines in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::report::SubscriptionLine;
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{End, fill, play, shuffled};
use crate::contract::permutations;
use crate::plans::at;
use crate::postgres::Flavour;
use crate::stores::{Contents, Postgres, Sqlite, Store, TABLES};

/// Events of which all orders are played.
const ALL_ORDERS: usize = 4;

/// Orders with doubles and batches that a case is played in besides.
const SHUFFLES: usize = 6;

#[derive(Deserialize)]
struct Case {
    events: BTreeMap<String, Value>,
    right: Right,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Right {
    net: Option<BTreeMap<String, i64>>,
    outside: Option<BTreeMap<String, i64>>,
    #[serde(default)]
    subs: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    no_findings: bool,
}

/// All cases, named by kind and name.
fn cases() -> BTreeMap<String, Case> {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases/kinds");
    let mut all = BTreeMap::new();
    for file in std::fs::read_dir(kinds).unwrap().map(|entry| entry.unwrap().path()) {
        let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        fill(&mut value);
        let kind = file.file_stem().unwrap().to_string_lossy().into_owned();
        let cases: BTreeMap<String, Case> = serde_json::from_value(value).unwrap();
        all.extend(cases.into_iter().map(|(name, case)| (format!("{kind}: {name}"), case)));
    }
    assert!(all.len() > 90, "{} cases", all.len());
    all
}

/// The events of every case, in the order of their names.
pub(crate) fn histories() -> Vec<Vec<Bytes>> {
    cases()
        .into_values()
        .map(|case| case.events.values().map(|event| Bytes::from(event.to_string())).collect())
        .collect()
}

fn validator() -> Validator {
    let prices = ["bronze", "silver", "gold"].map(|tier| (format!("price_{tier}"), tier));
    let prices = prices.iter().map(|(price, tier)| (price.as_str(), *tier));
    let tiers = Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap();
    let guardian = Guardian::new(Rules::default());
    Validator::new(Settings { tiers, ..Settings::default() }, guardian.into(), Clock::manual(at(0)))
}

fn fields(line: &SubscriptionLine) -> Value {
    json!({
        "status": line.status, "entitles": line.entitles, "tier": line.tier, "user": line.user_id, "items": line.items,
        "mrr_minor": line.mrr_minor, "currency": line.currency, "will_cancel": line.will_cancel, "account": line.account,
    })
}

/// What is wrong about an end.
fn wrong(right: &Right, end: &End) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, sums: &BTreeMap<&str, i64>, wanted: &Option<BTreeMap<String, i64>>| {
        for (currency, amount) in wanted.iter().flatten() {
            let found = sums.get(currency.as_str()).copied().unwrap_or(0);
            if found != *amount {
                wrong.push(format!("{what} {found} {currency}, right {amount}"));
            }
        }
    };
    compare("net", &end.money(|line| line.net_minor), &right.net);
    compare("around Stripe", &end.money(|line| line.outside_minor), &right.outside);
    for (id, wanted) in &right.subs {
        let found = end.lines.iter().find(|line| line.id == *id).map_or(Value::Null, fields);
        for (field, value) in wanted.iter().filter(|(field, value)| found[field.as_str()] != **value) {
            wrong.push(format!("{id}.{field} {}, right {value}", found[field.as_str()]));
        }
    }
    if right.no_findings && end.summary.counts.findings > 0 {
        wrong.push(format!("{} findings", end.summary.counts.findings));
    }
    wrong
}

/// The orders, cut into batches, in which a case is played: `most` of them, or all that there are of few events and some more.
fn orders(case: &Case, most: Option<usize>, random: &mut fastrand::Rng) -> Vec<Vec<Vec<Bytes>>> {
    let bodies: Vec<Bytes> = case.events.values().map(|event| Bytes::from(event.to_string())).collect();
    let singly =
        |order: &[usize]| -> Vec<Vec<Bytes>> { order.iter().map(|place| vec![bodies[*place].clone()]).collect() };
    let mut orders = if bodies.len() > ALL_ORDERS {
        let forth: Vec<usize> = (0..bodies.len()).collect();
        let back: Vec<usize> = forth.iter().rev().copied().collect();
        vec![singly(&forth), singly(&back)]
    } else {
        permutations(bodies.len()).iter().map(|order| singly(order)).collect()
    };
    orders.extend((0..most.unwrap_or(SHUFFLES)).map(|_| shuffled(&bodies, random)));
    if let Some(most) = most {
        random.shuffle(&mut orders);
        orders.truncate(most);
    }
    orders
}

/// Plays every case; all rows are the same whatever the order.
async fn siblings_end_right_on(store: &dyn Store, most: Option<usize>) {
    let (validator, mut random) = (validator(), fastrand::Rng::with_seed(9));
    let mut faults: BTreeMap<String, (Vec<String>, usize)> = BTreeMap::new();
    for (name, case) in cases() {
        let mut first: Option<Contents> = None;
        for batches in orders(&case, most, &mut random) {
            let end = play(store, &validator, &batches).await;
            let mut wrong = wrong(&case.right, &end);
            let mut contents = store.contents().await;
            // A user who had something between two events is shown as one who had.
            contents.0.retain(|table, _| TABLES.contains(table));
            if first.as_ref().is_some_and(|first| *first != contents) {
                wrong.push(format!(
                    "another order ends in other rows: {:#?}",
                    difference(first.as_ref().unwrap(), &contents)
                ));
            }
            first.get_or_insert(contents);
            if !wrong.is_empty() {
                faults.entry(name.clone()).or_insert((wrong, 0)).1 += 1;
            }
        }
    }
    let told: Vec<String> = faults
        .iter()
        .map(|(name, (wrong, orders))| format!("{name}: {} ({orders} orders)", wrong.join(", ")))
        .collect();
    assert!(told.is_empty(), "on {}:\n{}", store.ledger().name(), told.join("\n"));
}

/// The rows that only one of them has.
fn difference(one: &Contents, other: &Contents) -> Vec<String> {
    let rows = |contents: &Contents| -> BTreeSet<String> {
        contents.0.iter().flat_map(|(table, rows)| rows.iter().map(move |row| format!("{table} {row}"))).collect()
    };
    rows(one).symmetric_difference(&rows(other)).cloned().collect()
}

/// How many orders of each case a store plays: so many, or all of them and more where a longer run is asked for.
fn played(usual: usize) -> Option<usize> {
    std::env::var_os("GATEWAY_LIVES").is_none().then_some(usual)
}

#[tokio::test]
async fn the_siblings_of_cases_end_right_on_sqlite() {
    siblings_end_right_on(&Sqlite::hasty(), played(4)).await;
}

#[tokio::test]
async fn the_siblings_of_cases_end_right_on_postgres() {
    siblings_end_right_on(&Postgres::direct(Flavour::Plain).await, played(2)).await;
}

#[tokio::test]
async fn the_siblings_of_cases_end_right_through_the_rest_layer() {
    siblings_end_right_on(&Postgres::rest().await, played(1)).await;
}
