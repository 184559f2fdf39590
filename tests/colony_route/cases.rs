//! Cases of real life by the colony route: sealed into jobs, worked on by bees, they end as they do on the direct one.

use std::collections::BTreeMap;
use std::path::Path;

use colony_gateway::ledger::report::{Reports as _, SubscriptionLine};
use serde_json::Value;

use crate::world::World;

/// The events of a file of `tests/fixtures/cases` by name; a text `"@-3600"` is that many seconds from `now`.
fn events(name: &str, now: i64) -> BTreeMap<String, Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases").join(format!("{name}.json"));
    let mut case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    fill(&mut case, now);
    serde_json::from_value(case["events"].take()).unwrap()
}

fn fill(value: &mut Value, now: i64) {
    match value {
        Value::String(text) => {
            if let Some(seconds) = text.strip_prefix('@').and_then(|text| text.parse::<i64>().ok()) {
                *value = (now + seconds).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, now)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, now)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Plays a case forwards and backwards, each in a world of its own. The net by currency, and the subscriptions.
async fn is_right(name: &str, right: impl Fn(&BTreeMap<String, i64>, &[SubscriptionLine]) -> bool) {
    for backwards in [false, true] {
        let world = World::new().await;
        let (plan, completions) = world.gateway().told();
        let gateway = plan.start();
        let bees = world.bees(Some(completions));
        let mut bodies: Vec<String> =
            events(name, world.clock.now().seconds()).values().map(ToString::to_string).collect();
        if backwards {
            bodies.reverse();
        }
        for body in &bodies {
            world.made(body);
            gateway.receive(body).await;
        }
        gateway.until_settled().await;
        let applied = world.statistics().await.successfulprocesses;
        assert!(applied > 0, "{name} went by the colony");
        bees.stop().await;
        gateway.stop().await;
        let summary = world.ledger.inner.summary(10_000).await.unwrap();
        let mut net = BTreeMap::new();
        for day in summary.daily {
            *net.entry(day.currency).or_default() += day.net_minor;
        }
        let lines = world.ledger.inner.subscriptions(10).await.unwrap();
        assert!(right(&net, &lines), "{name}, backwards {backwards}: {net:?} {lines:?}");
        world.assert_one_effect_each();
    }
}

#[tokio::test]
async fn one_payment_for_two_invoices_counts_once_by_the_colony_route() {
    is_right("23-one-payment-two-invoices", |net, _| net.get("usd") == Some(&30_000)).await;
}

#[tokio::test]
async fn a_subscription_that_was_moved_and_cancelled_gives_nothing_by_the_colony_route() {
    is_right(
        "36-moved-to-another-user-then-cancelled",
        |_, lines| matches!(lines, [line] if line.status == "canceled" && !line.entitles && line.mrr_minor == 0),
    )
    .await;
}

#[tokio::test]
async fn a_dispute_of_a_partly_refunded_charge_takes_what_the_bank_took_by_the_colony_route() {
    is_right("04-dispute-of-partly-refunded-charge", |net, _| net.get("eur").copied().unwrap_or(0) == 0).await;
}
