//! What a rule holds, beside what it does not: the vouched state of a subscription is the newest of what vouched events tell, by
//! the same rule as the truth, within a second and as time goes on. Every order, on every store.

use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::desk::{Chosen, SubscriptionsWanted, Whom};
use colony_gateway::ledger::explain::explain;
use colony_gateway::ledger::report::{Reason, SubscriptionLine};
use colony_gateway::revenue::guardian::{Guardian, Rules};
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::contract::permutations;
use crate::plans::{EPOCH_SECONDS, Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// What a rule of the operator holds.
const ATTACK: &str = "'; DROP TABLE users; --";

fn validator() -> Validator {
    let tiers = Tiers::new(["silver", "gold"], [("price_silver", "silver"), ("price_gold", "gold")], None).unwrap();
    let settings = Settings { tiers, grace: "*=14".parse().unwrap(), ..Settings::default() };
    let rules = Rules::parse("[builtin.injection_sql]\naction = 'quarantine'").unwrap();
    Validator::new(settings, Arc::new(Guardian::new(rules)), Clock::manual(at(0)))
}

/// An event about the one subscription, `seconds` after the beginning.
#[expect(clippy::needless_pass_by_value, reason = "a test reads better so")]
fn told(id: &str, seconds: i64, status: &str, price: &str, end: i64, note: &str, previous: Value) -> Bytes {
    let item = json!({"id": "si_1", "quantity": 1, "price": {"id": price, "unit_amount": 1000, "currency": "eur",
        "recurring": {"interval": "month", "interval_count": 1}}});
    let event = json!({
        "id": id, "object": "event", "type": "customer.subscription.updated", "created": EPOCH_SECONDS + seconds,
        "livemode": true, "api_version": "2024-11-20.acacia",
        "data": {"previous_attributes": previous, "object": {
            "id": "sub_1", "object": "subscription", "status": status, "customer": "cus_1", "livemode": true,
            "created": EPOCH_SECONDS, "metadata": {"userId": "user_1", "note": note}, "current_period_end": end,
            "items": {"object": "list", "data": [item], "has_more": false}}},
    });
    Bytes::from(event.to_string())
}

fn items(price: &str) -> Value {
    json!({"data": [{"id": "si_1", "quantity": 1, "price": {"id": price, "unit_amount": 1000, "currency": "eur",
        "recurring": {"interval": "month", "interval_count": 1}}}]})
}

/// Plays every order, event by event, and afterwards releases what was held.
async fn every_order(
    store: &dyn Store,
    events: &[Bytes],
    held: impl Fn(&SubscriptionLine) -> bool,
    released: impl Fn(&SubscriptionLine) -> bool,
) {
    let validator = validator();
    for order in permutations(events.len()) {
        store.clear().await;
        for place in &order {
            let verdicts = validator.validate(std::slice::from_ref(&events[*place])).await;
            store.ledger().apply(&verdicts).await.unwrap();
        }
        let name = store.ledger().name();
        let lines = store.ledger().subscriptions(10).await.unwrap();
        assert!(held(&lines[0]), "on {name} in the order {order:?}: {:?}", lines[0]);
        assert_eq!(store.ledger().summary(1).await.unwrap().counts.quarantined, 1);
        store.ledger().apply(&validator.release(events).await).await.unwrap();
        let lines = store.ledger().subscriptions(10).await.unwrap();
        assert!(released(&lines[0]), "on {name}, released, in the order {order:?}: {:?}", lines[0]);
    }
}

async fn all(store: &dyn Store) {
    // From a yearly gold to a monthly silver plan within one second, whatever the ids and periods say; then gold once more, with
    // a text that a rule holds.
    let year = EPOCH_SECONDS + 30_000_000;
    let month = EPOCH_SECONDS + 2_000_000;
    for (first, second) in [("evt_a", "evt_b"), ("evt_b", "evt_a")] {
        let events = [
            told(first, 5, "active", "price_gold", year, "", json!({"metadata": {"note": null}})),
            told(
                second,
                5,
                "active",
                "price_silver",
                month,
                "",
                json!({"items": items("price_gold"), "current_period_end": year}),
            ),
            told("evt_c", 9, "active", "price_gold", month, ATTACK, json!({"items": items("price_silver")})),
        ];
        let tier =
            |tier: &'static str| move |line: &SubscriptionLine| line.tier.as_deref() == Some(tier) && line.entitles;
        every_order(store, &events, tier("silver"), tier("gold")).await;
    }
    // Late, and the days of grace are long over; that it was paid is told by what a rule holds alone.
    let late = [
        told("evt_a", 1, "active", "price_gold", month, "", Value::Null),
        told("evt_b", 5, "past_due", "price_gold", month, "", json!({"status": "active"})),
        told("evt_c", 9, "active", "price_gold", month, ATTACK, json!({"status": "past_due"})),
    ];
    every_order(store, &late, |line| !line.entitles && line.status == "active", |line| line.entitles).await;
}

/// How often the order of what no rule holds is said to be unknown.
async fn undecided(store: &dyn Store) -> usize {
    let found = |row: &&String| row.contains("vouched_order_undecided") && row.contains("sub_1");
    store.contents().await.0["findings"].iter().filter(found).count()
}

/// Two changes of one second that do not tell which came first are said so where access depends on it, until something newer
/// comes that no rule holds.
async fn what_access_follows_is_said_where_it_is_not_known(store: &dyn Store) {
    let validator = validator();
    let month = EPOCH_SECONDS + 2_000_000;
    let note = |text: &str| json!({"metadata": {"note": text}});
    for (other, said) in [("price_gold", 1), ("price_silver", 0)] {
        let events = [
            told("evt_a", 5, "active", other, month, "a", note("x")),
            told("evt_b", 5, "active", "price_silver", month, "b", note("y")),
            told("evt_c", 9, "active", "price_gold", month, ATTACK, json!({"items": items("price_silver")})),
        ];
        for order in permutations(events.len()) {
            store.clear().await;
            for place in &order {
                let verdicts = validator.validate(std::slice::from_ref(&events[*place])).await;
                store.ledger().apply(&verdicts).await.unwrap();
            }
            assert_eq!(undecided(store).await, said, "{other} in the order {order:?}");
            let later = told("evt_d", 12, "active", "price_silver", month, "d", note("b"));
            let verdicts = validator.validate(std::slice::from_ref(&later)).await;
            store.ledger().apply(&verdicts).await.unwrap();
            assert_eq!(undecided(store).await, 0, "{other}, later, in the order {order:?}");
        }
    }
}

/// How many subscriptions a rule keeps from giving access and a person has not decided about. Every list says the same.
async fn withheld(store: &dyn Store) -> u64 {
    let ledger = store.ledger();
    let alert = ledger.attention(10).await.unwrap().reasons.get(&Reason::Withheld).copied().unwrap_or(0);
    let idle = ledger.business(1000).await.unwrap().idle;
    let tile: u64 = idle.iter().filter(|line| line.reason == Reason::Withheld).map(|line| line.subscriptions).sum();
    let page = async |chosen| {
        let wanted = SubscriptionsWanted { chosen, before: None, most: 10 };
        let rows = ledger.subscription_page(&wanted).await.unwrap().subscriptions;
        rows.into_iter().filter(|row| row.reason == Some(Reason::Withheld)).map(|row| row.id).collect::<Vec<_>>()
    };
    let (listed, all) = (page(Chosen::Idle).await, page(Chosen::All).await);
    assert_eq!((tile, listed.len() as u64, &listed), (alert, alert, &all), "on {}", ledger.name());
    for row in
        ledger.subscription_page(&SubscriptionsWanted { most: 10, ..Default::default() }).await.unwrap().subscriptions
    {
        let report = ledger.person(&Whom::Subscription(row.id.clone())).await.unwrap();
        let told = explain(&report, at(86_400));
        assert_eq!(told.lines[0].why.contains("A rule holds"), all.contains(&row.id), "{told:?}");
    }
    alert
}

/// What a rule holds is a problem until a person decides, and again when something else of the subscription is held.
async fn what_a_person_dropped_is_no_problem_any_more(store: &dyn Store) {
    let validator = validator();
    let month = EPOCH_SECONDS + 2_000_000;
    store.clear().await;
    for (id, seconds) in [("evt_a", 1), ("evt_b", 5)] {
        let event = told(id, seconds, "active", "price_gold", month, ATTACK, Value::Null);
        let held = validator.validate(&[event]).await;
        store.ledger().apply(&held).await.unwrap();
        assert_eq!(withheld(store).await, 1, "{id}");
        // The inbox knows no more of an event than this.
        let mut event = held[0].event().cloned().unwrap();
        event.object_id = None;
        store.ledger().apply(&[Verdict::Drop { event, reason: "dropped by ana".to_owned() }]).await.unwrap();
        let attention = store.ledger().attention(10).await.unwrap();
        assert!(attention.reasons.is_empty() && attention.unowned.is_empty(), "{id}: {attention:?}");
        assert_eq!(withheld(store).await, 0, "{id}");
        let lines = store.ledger().subscriptions(10).await.unwrap();
        assert!(!lines[0].entitles, "it gives nothing all the same");
    }
}

/// What was dropped once hides nothing of what is held for another reason later.
async fn a_drop_hides_no_later_hold(store: &dyn Store) {
    store.clear().await;
    let held = |id: &str, at: i64, status: &str, object: &str| {
        Planned::new(id, "customer.subscription.updated", at)
            .subscription("sub_1", "cus_1", status, |_| {})
            .with(|plan| plan.event.object_id = Some(object.to_owned()))
            .suspect()
            .verdict()
    };
    let drop = |id: &str| {
        let event = crate::plans::event(id, "customer.subscription.updated", 0);
        Verdict::Drop { event, reason: "dropped by ana".to_owned() }
    };
    store.ledger().apply(&[held("evt_a", 1, "incomplete", "sub_1")]).await.unwrap();
    store.ledger().apply(&[drop("evt_a")]).await.unwrap();
    // An invoice was paid, and what was fetched says that the subscription is active.
    store.ledger().apply(&[held("evt_b", 5, "active", "in_1")]).await.unwrap();
    assert_eq!(withheld(store).await, 1);
    store.ledger().apply(&[drop("evt_b")]).await.unwrap();
    assert_eq!(withheld(store).await, 0, "this was decided, too");
}

/// The first held event copies what a content that listed a part said, not what the row had from the whole of before.
async fn what_a_part_lacked_is_what_the_newest_whole_says(store: &dyn Store) {
    let told = |id: &str, at: i64, tier: &'static str, rank: i64, partial: bool| {
        Planned::new(id, "customer.subscription.updated", at).subscription("sub_1", "cus_1", "active", |row| {
            (row.tier, row.tier_rank, row.partial) = (Some(tier.to_owned()), rank, partial);
            row.preference = format!("1.1.{rank:02}.07.001767323045.sub_1");
        })
    };
    let events = [
        told("evt_a", 1, "gold", 3, false).verdict(),
        told("evt_b", 3, "silver", 2, false).verdict(),
        told("evt_c", 5, "bronze", 1, true).verdict(),
        told("evt_d", 9, "gold", 3, false).suspect().verdict(),
    ];
    for order in permutations(events.len()) {
        store.clear().await;
        for place in &order {
            store.ledger().apply(std::slice::from_ref(&events[*place])).await.unwrap();
        }
        let lines = store.ledger().subscriptions(10).await.unwrap();
        assert_eq!(lines[0].tier.as_deref(), Some("silver"), "on {} in the order {order:?}", store.ledger().name());
    }
}

#[tokio::test]
async fn what_a_part_lacked_is_what_the_newest_whole_says_on_every_store() {
    for store in [&Sqlite::hasty() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        what_a_part_lacked_is_what_the_newest_whole_says(store).await;
    }
}

#[tokio::test]
async fn what_a_person_dropped_is_no_problem_any_more_on_every_store() {
    for store in [&Sqlite::hasty() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        a_drop_hides_no_later_hold(store).await;
    }
    what_a_person_dropped_is_no_problem_any_more(&Sqlite::hasty()).await;
    what_a_person_dropped_is_no_problem_any_more(&Postgres::direct(Flavour::Plain).await).await;
    what_a_person_dropped_is_no_problem_any_more(&Postgres::rest().await).await;
}

#[tokio::test]
async fn what_access_follows_is_said_where_it_is_not_known_on_every_store() {
    what_access_follows_is_said_where_it_is_not_known(&Sqlite::hasty()).await;
    what_access_follows_is_said_where_it_is_not_known(&Postgres::direct(Flavour::Plain).await).await;
    what_access_follows_is_said_where_it_is_not_known(&Postgres::rest().await).await;
}

#[tokio::test]
async fn the_vouched_state_is_the_newest_of_what_vouched_events_tell_in_a_file() {
    all(&Sqlite::hasty()).await;
}

#[tokio::test]
async fn the_vouched_state_is_the_newest_of_what_vouched_events_tell_on_postgres() {
    all(&Postgres::direct(Flavour::Plain).await).await;
}

#[tokio::test]
async fn the_vouched_state_is_the_newest_of_what_vouched_events_tell_through_the_rest_layer() {
    all(&Postgres::rest().await).await;
}
