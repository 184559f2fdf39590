//! Cases of real life: small inputs written after public reports, with the end state that is right.
//!
//! A case is a file in `tests/fixtures/cases`: `{"events": {name: event}, "orders": [[name, …], …]}`; a text `"@-3600"` is
//! that many seconds from the moment that the tests take for now. Every case is played through validator and ledger, on
//! every store, in the orders of its file, and in others that duplicate events and cut them into batches. A new case is a
//! file and a line in [`expected`].

mod expected;
pub(crate) mod kinds;
mod lives;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::report::{SubscriptionLine, Summary};
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::Value;

use self::expected::{CASES, Expected};
use crate::plans::{EPOCH_SECONDS, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// Other orders that each case is played in, besides those of its file.
const SHUFFLES: usize = 5;

/// A file of `tests/fixtures/cases`.
pub(crate) struct Case {
    events: BTreeMap<String, Bytes>,
    pub(crate) orders: Vec<Vec<String>>,
}

impl Case {
    pub(crate) fn read(name: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases").join(format!("{name}.json"));
        let mut value: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        fill(&mut value);
        let events: BTreeMap<String, Bytes> = value["events"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, event)| (name.clone(), Bytes::from(event.to_string())))
            .collect();
        let orders = value["orders"].as_array().map_or_else(
            || vec![events.keys().cloned().collect()],
            |orders| orders.iter().map(|order| serde_json::from_value(order.clone()).unwrap()).collect(),
        );
        Self { events, orders }
    }

    pub(crate) fn bodies<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Vec<Bytes> {
        names.into_iter().map(|name| self.events[name].clone()).collect()
    }
}

/// Replaces times that are relative to now.
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

/// The gateway's own judgement, with the settings that cases are written for.
pub(crate) fn validator() -> Validator {
    let prices = [("price_gold_monthly", "gold"), ("price_silver_monthly", "silver")];
    let tiers = Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap();
    let settings = Settings { tiers, ..Settings::default() };
    Validator::new(settings, Arc::new(Guardian::new(Rules::default())), Clock::manual(at(0)))
}

/// What a case has come to.
pub(crate) struct End {
    pub(crate) summary: Summary,
    pub(crate) lines: Vec<SubscriptionLine>,
}

impl End {
    /// One's own money, by currency, without those that add up to nothing.
    pub(crate) fn money(&self, of: impl Fn(&colony_gateway::ledger::report::DayLine) -> i64) -> BTreeMap<&str, i64> {
        let mut sums = BTreeMap::new();
        for line in self.summary.daily.iter().filter(|line| line.account.is_none()) {
            *sums.entry(line.currency.as_str()).or_default() += of(line);
        }
        sums.retain(|_, sum| *sum != 0);
        sums
    }
}

/// Plays batches of events on an emptied store.
pub(crate) async fn play(store: &dyn Store, validator: &Validator, batches: &[Vec<Bytes>]) -> End {
    store.clear().await;
    for batch in batches {
        let verdicts: Vec<Verdict> = validator.validate(batch).await;
        store.ledger().apply(&verdicts).await.unwrap();
    }
    let summary = store.ledger().summary(10_000).await.unwrap();
    let lines = store.ledger().subscriptions(100).await.unwrap();
    End { summary, lines }
}

/// The events in another order, some twice, cut into batches.
pub(crate) fn shuffled(bodies: &[Bytes], random: &mut fastrand::Rng) -> Vec<Vec<Bytes>> {
    let mut bodies: Vec<Bytes> = bodies.to_vec();
    for _ in 0..random.usize(0..3) {
        bodies.push(bodies[random.usize(..bodies.len())].clone());
    }
    random.shuffle(&mut bodies);
    let mut batches = vec![Vec::new()];
    for body in bodies {
        if random.bool() {
            batches.push(Vec::new());
        }
        batches.last_mut().unwrap().push(body);
    }
    batches
}

async fn is_right_on(store: &dyn Store) {
    let validator = validator();
    let mut random = fastrand::Rng::with_seed(5);
    for (name, expected) in CASES {
        let case = Case::read(name);
        let told = format!("{name} on {}", store.ledger().name());
        for (number, order) in case.orders.iter().enumerate() {
            let batches: Vec<Vec<Bytes>> = case.bodies(order).into_iter().map(|body| vec![body]).collect();
            let end = play(store, &validator, &batches).await;
            expected.of_order(number).meets(&end, &format!("{told}, order {number}"));
        }
        let all = case.bodies(case.events.keys());
        for _ in 0..SHUFFLES {
            let batches = shuffled(&all, &mut random);
            let end = play(store, &validator, &batches).await;
            expected.meets(&end, &format!("{told}, {batches:?}"));
        }
    }
}

impl Expected {
    fn meets(&self, end: &End, told: &str) {
        let sums = |amounts: &[(&'static str, i64)]| -> BTreeMap<&'static str, i64> {
            amounts.iter().copied().filter(|(_, amount)| *amount != 0).collect()
        };
        assert_eq!(end.money(|line| line.net_minor), sums(self.net), "net of {told}");
        assert_eq!(end.money(|line| line.outside_minor), sums(self.outside), "around Stripe: {told}");
        if self.no_findings {
            assert_eq!(end.summary.counts.findings, 0, "findings of {told}");
        }
        for (id, is_right) in self.subscriptions {
            let line = end.lines.iter().find(|line| line.id == *id);
            assert!(line.is_some_and(is_right), "{told}: {line:?}");
        }
    }
}

#[tokio::test]
async fn cases_of_real_life_end_right_on_sqlite() {
    is_right_on(&Sqlite::hasty()).await;
}

#[tokio::test]
async fn cases_of_real_life_end_right_on_postgres() {
    is_right_on(&Postgres::direct(Flavour::Plain).await).await;
}

#[tokio::test]
async fn cases_of_real_life_end_right_through_the_rest_layer() {
    is_right_on(&Postgres::rest().await).await;
}
