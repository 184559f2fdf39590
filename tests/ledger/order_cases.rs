//! Cases of real life about the order of events, lists of which a part is shown, and accounts, in every order on all stores.

use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::ledger::report::{RecurringLine, SubscriptionLine};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::tiers::Tiers;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::contract::{apply, permutations};
use crate::plans::Planned;
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// Now, in seconds: times in cases count from it, and reports look at the time of day.
fn now() -> i64 {
    Clock::system().now().seconds()
}

fn filled(value: &Value, now: i64) -> Value {
    match value {
        Value::String(text) => text
            .strip_prefix('@')
            .and_then(|offset| offset.parse::<i64>().ok())
            .map_or(value.clone(), |offset| json!(now + offset)),
        Value::Array(values) => values.iter().map(|value| filled(value, now)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), filled(value, now))).collect())
        }
        other => other.clone(),
    }
}

fn case(text: &str) -> Vec<Value> {
    let case: Value = serde_json::from_str(text).unwrap();
    case["events"].as_object().unwrap().values().map(|event| filled(event, now())).collect()
}

fn settings() -> Settings {
    let prices = [("price_bronze", "bronze"), ("price_silver", "silver"), ("price_gold", "gold")];
    Settings { tiers: Tiers::new(["bronze", "silver", "gold"], prices, None).unwrap(), ..Settings::default() }
}

/// What a store says at the end of a case.
#[derive(Clone, Debug, PartialEq)]
struct End {
    lines: Vec<SubscriptionLine>,
    recurring: Vec<RecurringLine>,
    findings: Vec<String>,
    items: Option<i64>,
}

async fn stores() -> (Sqlite, Postgres, Postgres) {
    (Sqlite::new(), Postgres::direct(Flavour::Plain).await, Postgres::rest().await)
}

/// Plays events in every order, one by one and all at once; every end is the same, and given to `right`.
async fn play(store: &dyn Store, settings: &Settings, events: &[Value], right: impl Fn(&End)) {
    let validator =
        Validator::new(settings.clone(), Arc::new(Guardian::default()), Clock::manual(Timestamp::from_seconds(now())));
    let bodies: Vec<Bytes> = events.iter().map(|event| Bytes::from(event.to_string())).collect();
    let verdicts = validator.validate(&bodies).await;
    let mut first: Option<End> = None;
    for order in permutations(events.len()) {
        let ordered: Vec<Verdict> = order.iter().map(|&place| verdicts[place].clone()).collect();
        let alone: Vec<Vec<Verdict>> = ordered.iter().map(|verdict| vec![verdict.clone()]).collect();
        for batches in [alone, vec![ordered]] {
            store.clear().await;
            apply(store, &batches).await;
            let contents = store.contents().await;
            let field = |row: &str, name: &str| serde_json::from_str::<Value>(row).unwrap()[name].clone();
            let end = End {
                lines: store.ledger().subscriptions(100).await.unwrap(),
                recurring: store.ledger().summary(100).await.unwrap().recurring,
                findings: contents.0["findings"]
                    .iter()
                    .map(|row| field(row, "code").as_str().unwrap().to_owned())
                    .collect(),
                items: contents.0["stripe_subscriptions"].first().and_then(|row| field(row, "items").as_i64()),
            };
            right(&end);
            assert_eq!(first.get_or_insert_with(|| end.clone()), &end, "{order:?}");
        }
    }
}

#[tokio::test]
async fn a_plan_that_becomes_a_shorter_one_within_a_second_is_the_shorter_one() {
    let mut events = case(include_str!("../fixtures/cases/07-year-to-month-same-second.json"));
    let (sqlite, direct, rest) = stores().await;
    for _ in 0..2 {
        for store in [&sqlite as &dyn Store, &direct, &rest] {
            play(store, &settings(), &events, |end| {
                assert_eq!((end.lines[0].tier.as_deref(), end.lines[0].mrr_minor), (Some("silver"), 1000), "{end:?}");
                assert_eq!(end.findings, Vec::<String>::new());
            })
            .await;
        }
        // Whatever the ids say.
        let (one, other) = (events[0]["id"].clone(), events[1]["id"].clone());
        (events[0]["id"], events[1]["id"]) = (other, one);
    }
}

#[tokio::test]
async fn of_items_of_which_ten_are_listed_all_count_and_a_tier_known_before_stays() {
    let partial = case(include_str!("../fixtures/cases/09-more-items-than-listed.json"));
    let mut whole = partial[0].clone();
    whole["id"] = json!("evt_I0");
    whole["created"] = json!(whole["created"].as_i64().unwrap() - 1000);
    let items = &mut whole["data"]["object"]["items"];
    let mut gold = items["data"][0].clone();
    gold["id"] = json!("si_gold");
    gold["price"]["id"] = json!("price_gold");
    gold["price"]["unit_amount"] = json!(5000);
    gold["price"]["unit_amount_decimal"] = json!("5000");
    items["data"].as_array_mut().unwrap().push(gold);
    items["has_more"] = json!(false);
    items["total_count"] = json!(11);
    let (sqlite, direct, rest) = stores().await;
    for store in [&sqlite as &dyn Store, &direct, &rest] {
        play(store, &settings(), &partial, |end| {
            assert_eq!(
                (end.items, end.lines[0].partial, end.lines[0].tier.as_deref()),
                (Some(12), true, None),
                "{end:?}"
            );
            assert_eq!(end.findings, ["items_partial"]);
        })
        .await;
        play(store, &settings(), &[partial[0].clone(), whole.clone()], |end| {
            let line = &end.lines[0];
            assert_eq!((end.items, line.partial, line.tier.as_deref()), (Some(12), true, Some("gold")), "{end:?}");
            assert_eq!(line.mrr_minor, 6000, "what was known: ten at 100 and one at 5000");
        })
        .await;
    }
}

#[tokio::test]
async fn what_recurs_on_a_connected_account_is_kept_apart() {
    let mut events = case(include_str!("../fixtures/cases/12-connected-account-money.json"));
    events.retain(|event| event["type"] == "customer.subscription.created");
    let mut own = events[0].clone();
    own["id"] = json!("evt_own");
    own["data"]["object"]["id"] = json!("sub_own");
    own.as_object_mut().unwrap().remove("account");
    events.push(own);
    let (sqlite, direct, rest) = stores().await;
    for store in [&sqlite as &dyn Store, &direct, &rest] {
        play(store, &settings(), &events, |end| {
            let lines: Vec<(Option<&str>, u64, i64)> = end
                .recurring
                .iter()
                .map(|line| (line.account.as_deref(), line.subscriptions, line.mrr_minor))
                .collect();
            assert_eq!(lines, [(None, 1, 50000), (Some("acct_Seller1"), 0, 50000)]);
        })
        .await;
    }
}

/// An update of a subscription that was `before` and is `status` now, made so many days ago.
fn told(id: &str, status: &str, before: Option<&str>, days_ago: i64) -> Value {
    let mut event = json!({"id": id, "object": "event", "type": "customer.subscription.updated", "livemode": true,
        "created": now() - days_ago * 86_400, "data": {"object": {"id": "sub_1", "object": "subscription",
            "customer": "cus_1", "status": status, "currency": "cad", "metadata": {"userId": "user_1"},
            "collection_method": "charge_automatically", "items": {"object": "list", "has_more": false, "data": [
                {"id": "si_1", "quantity": 1, "price": {"id": "price_gold", "unit_amount": 1000, "currency": "cad",
                    "recurring": {"interval": "month", "interval_count": 1}}}]}}}});
    if let Some(before) = before {
        event["data"]["previous_attributes"] = json!({"status": before});
    }
    event
}

#[tokio::test]
async fn a_late_payer_keeps_access_for_days_counted_from_the_first_event_of_being_late() {
    let events = [
        told("evt_1", "past_due", Some("active"), 55),
        told("evt_2", "active", Some("past_due"), 50),
        told("evt_3", "past_due", Some("active"), 10),
        told("evt_4", "past_due", None, 7),
    ];
    let (sqlite, direct, rest) = stores().await;
    for (policy, days, entitles) in [("none", None, true), ("gold=11", Some(1), true), ("gold=9", Some(-1), false)] {
        let settings = Settings { grace: policy.parse().unwrap(), ..settings() };
        for store in [&sqlite as &dyn Store, &direct, &rest] {
            play(store, &settings, &events, |end| {
                let line = &end.lines[0];
                assert_eq!(
                    (line.status.as_str(), line.entitles, line.will_renew),
                    ("past_due", entitles, true),
                    "{policy}"
                );
                let ends = line.grace_ends_at_ms.map(|ends| (ends - now() * 1000 + 43_200_000).div_euclid(86_400_000));
                assert_eq!(ends, days, "{policy}: counted from the first event of being late");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn grace_starts_anew_where_only_the_next_late_event_tells_that_the_payer_was_not_late() {
    // The event of the payment in between never came.
    let events = [told("evt_1", "past_due", Some("active"), 55), told("evt_2", "past_due", Some("active"), 10)];
    let settings = Settings { grace: "gold=11".parse().unwrap(), ..settings() };
    let (sqlite, direct, rest) = stores().await;
    for store in [&sqlite as &dyn Store, &direct, &rest] {
        play(store, &settings, &events, |end| assert!(end.lines[0].entitles, "{:?}", end.lines)).await;
    }
}

#[tokio::test]
async fn grace_by_the_way_of_collecting_knows_the_name_that_the_field_had_until_2019() {
    let mut event = told("evt_1", "past_due", Some("active"), 20);
    event["api_version"] = json!("2018-11-08");
    let subscription = event["data"]["object"].as_object_mut().unwrap();
    subscription.remove("collection_method");
    subscription.insert("billing".to_owned(), json!("send_invoice"));
    let settings = Settings { grace: "*=14, */send_invoice=45".parse().unwrap(), ..settings() };
    let (sqlite, direct, rest) = stores().await;
    for store in [&sqlite as &dyn Store, &direct, &rest] {
        play(store, &settings, std::slice::from_ref(&event), |end| assert!(end.lines[0].entitles, "{:?}", end.lines))
            .await;
    }
}

#[tokio::test]
async fn access_that_time_ends_is_taken_without_another_event() {
    let store = Postgres::direct(Flavour::Plain).await;
    let settings = Settings { grace: "gold=30".parse().unwrap(), ..settings() };
    let validator =
        Validator::new(settings, Arc::new(Guardian::default()), Clock::manual(Timestamp::from_seconds(now())));
    let event = told("evt_1", "past_due", Some("active"), 10);
    let verdicts = validator.validate(&[Bytes::from(event.to_string())]).await;
    store.ledger().apply(&verdicts).await.unwrap();
    let shown = || async {
        let row = "SELECT tier || ' ' || status FROM public.subscriptions";
        store.pool.values::<String>(row).await.unwrap()
    };
    assert_eq!(shown().await, ["gold active"]);
    // Three weeks pass.
    let passed = "UPDATE gateway.stripe_subscriptions SET late_since = late_since - interval '21 days', \
                  grace_ends_at = grace_ends_at - interval '21 days', recheck_at = recheck_at - interval '21 days'";
    store.pool.execute(passed).await.unwrap();
    store.ledger().upkeep().await.unwrap();
    assert_eq!(shown().await, ["free past_due"]);
    assert!(!store.ledger().upkeep().await.unwrap());
    let left = "SELECT count(*) FROM gateway.stripe_subscriptions WHERE recheck_at IS NOT NULL";
    assert_eq!(store.pool.value::<i64>(left).await.unwrap(), 0);
}

#[tokio::test]
async fn access_of_many_that_ends_at_one_time_is_taken_from_all() {
    const USERS: usize = 150;
    let store = Postgres::direct(Flavour::Plain).await;
    let settings = Settings { grace: "gold=30".parse().unwrap(), ..settings() };
    let validator =
        Validator::new(settings, Arc::new(Guardian::default()), Clock::manual(Timestamp::from_seconds(now())));
    let of_user = |number: usize| {
        let event = told(&format!("evt_{number}"), "past_due", Some("active"), 10).to_string();
        let own = [
            ("sub_1", format!("sub_x{number}")),
            ("cus_1", format!("cus_x{number}")),
            ("user_1", format!("user_x{number}")),
        ];
        Bytes::from(
            own.iter().fold(event, |event, (all, one)| event.replace(&format!("\"{all}\""), &format!("\"{one}\""))),
        )
    };
    let verdicts = validator.validate(&(0..USERS).map(of_user).collect::<Vec<_>>()).await;
    store.ledger().apply(&verdicts).await.unwrap();
    let shown = async |tier: &str| {
        let question = format!("SELECT count(*) FROM public.subscriptions WHERE tier = '{tier}'");
        store.pool.value::<i64>(question).await.unwrap()
    };
    assert_eq!(shown("gold").await, i64::try_from(USERS).unwrap());
    let passed = "UPDATE gateway.stripe_subscriptions SET late_since = late_since - interval '21 days', \
                  grace_ends_at = grace_ends_at - interval '21 days', recheck_at = recheck_at - interval '21 days'";
    store.pool.execute(passed).await.unwrap();
    assert!(store.ledger().upkeep().await.unwrap(), "more is due than one call takes");
    while store.ledger().upkeep().await.unwrap() {}
    assert_eq!(shown("free").await, i64::try_from(USERS).unwrap());
}

#[tokio::test]
async fn a_pause_can_withhold_access_until_it_ends() {
    let paused = |resumes: Option<i64>| {
        let mut event = told("evt_1", "active", None, 5);
        event["data"]["object"]["pause_collection"] =
            json!({"behavior": "void", "resumes_at": resumes.map(|days| now() + days * 86_400)});
        event
    };
    let (sqlite, direct, rest) = stores().await;
    for (resumes, withheld, monthly) in
        [(None, true, 0), (Some(3), true, 0), (Some(-1), false, 1000), (Some(-9), false, 1000)]
    {
        for pause_withholds in [false, true] {
            let settings = Settings { pause_withholds, ..settings() };
            for store in [&sqlite as &dyn Store, &direct, &rest] {
                play(store, &settings, &[paused(resumes)], |end| {
                    let line = &end.lines[0];
                    let expected = (!(withheld && pause_withholds), monthly);
                    assert_eq!((line.entitles, line.mrr_minor), expected, "{resumes:?} {pause_withholds}");
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn of_lists_that_were_never_whole_only_the_newest_is_kept() {
    let (sqlite, direct, rest) = stores().await;
    let told = |number: i64| {
        let planned = Planned::new(&format!("evt_{number}"), "customer.subscription.updated", number);
        planned.subscription("sub_1", "cus_1", "active", |row| row.partial = true).verdict()
    };
    let events = [told(1), told(2), told(3)];
    for store in [&sqlite as &dyn Store, &direct, &rest] {
        for order in permutations(events.len()) {
            store.clear().await;
            for place in &order {
                apply(store, &[vec![events[*place].clone()]]).await;
            }
            let kept = store.contents().await.0["kept_subscriptions"].clone();
            let told = format!("on {} in the order {order:?}: {kept:?}", store.ledger().name());
            assert!(kept.len() == 1 && kept[0].contains("evt_3"), "{told}");
        }
    }
}
