//! Cases of real life about owners and doubts, each in every order of its events, on every store: files of
//! `tests/fixtures/cases`, in which a text `"@-3600"` is that many seconds from the moment that the tests take for now.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::report::SubscriptionLine;
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use serde_json::Value;

use crate::contract::permutations;
use crate::plans::{EPOCH_SECONDS, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

const USER: &str = "6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10";

/// The events of a case.
fn events(name: &str) -> Vec<Bytes> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases").join(format!("{name}.json"));
    let mut case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    fill(&mut case);
    case["events"].as_object().unwrap().values().map(|event| Bytes::from(event.to_string())).collect()
}

fn fill(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(seconds) = text.strip_prefix('@').and_then(|text| text.parse::<i64>().ok()) {
                *value = (EPOCH_SECONDS + seconds).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(fill),
        Value::Object(fields) => fields.values_mut().for_each(fill),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn validator(rules: &str) -> Validator {
    let tiers = Tiers::new(["bronze", "silver", "gold"], [("price_gold", "gold")], None).unwrap();
    let guardian = Guardian::new(Rules::parse(rules).unwrap());
    Validator::new(Settings { tiers, ..Settings::default() }, Arc::new(guardian), Clock::manual(at(0)))
}

/// Plays every order, event by event, and looks at the one subscription and at what waits for a person.
async fn every_order(
    store: &dyn Store,
    name: &str,
    rules: &str,
    is_right: impl Fn(&SubscriptionLine, u64, i64) -> bool,
) {
    let (events, validator) = (events(name), validator(rules));
    for order in permutations(events.len()) {
        store.clear().await;
        for place in &order {
            let verdicts = validator.validate(std::slice::from_ref(&events[*place])).await;
            store.ledger().apply(&verdicts).await.unwrap();
        }
        let summary = store.ledger().summary(100).await.unwrap();
        let lines = store.ledger().subscriptions(10).await.unwrap();
        let net: i64 = summary.daily.iter().map(|line| line.net_minor).sum();
        let [line] = &lines[..] else { panic!("{name}: {lines:?}") };
        let told = format!("{name} on {} in the order {order:?}", store.ledger().name());
        assert!(is_right(line, summary.counts.quarantined, net), "{told}: {line:?} {:?} {net}", summary.counts);
    }
}

async fn all(store: &dyn Store) {
    every_order(store, "32-affiliate-reference", "", |line, held, net| {
        let state = (line.user_id.as_deref(), line.status.as_str(), line.tier.as_deref());
        state == (Some(USER), "past_due", Some("gold")) && held == 0 && net == 2000
    })
    .await;
    let ended =
        |line: &SubscriptionLine| (line.status.as_str(), line.entitles, line.mrr_minor) == ("canceled", false, 0);
    every_order(store, "36-moved-to-another-user-then-cancelled", "", |line, held, _| ended(line) && held == 0).await;
    every_order(store, "37-held-back-cancellation", "", |line, held, _| ended(line) && held == 0).await;
    // An operator who wants such texts held has them held, and the cancellation takes effect all the same.
    let strict = "[builtin.injection_sql]\naction = 'quarantine'";
    every_order(store, "37-held-back-cancellation", strict, |line, held, _| ended(line) && held == 2).await;
}

#[tokio::test]
async fn cases_about_owners_end_right_in_every_order_on_sqlite() {
    all(&Sqlite::new()).await;
}

#[tokio::test]
async fn cases_about_owners_end_right_in_every_order_on_postgres() {
    all(&Postgres::direct(Flavour::Plain).await).await;
}

#[tokio::test]
async fn cases_about_owners_end_right_in_every_order_through_the_rest_layer() {
    all(&Postgres::rest().await).await;
}
