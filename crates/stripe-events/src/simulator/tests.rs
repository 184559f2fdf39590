//! What consumers of simulated events rely on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;

const START: Timestamp = Timestamp::from_seconds(1_750_000_000);

fn options(seed: u64, users: u32, api_version: Option<ApiVersion>) -> Options {
    let users = NonZeroU32::new(users).expect("tests simulate somebody");
    Options { seed, users, api_version, start: START, livemode: false, account: None }
}

fn json(event: &SimulatedEvent) -> Value {
    serde_json::from_slice(&event.body).expect("bodies are JSON")
}

fn objects(version: ApiVersion, kind: &'static str, count: usize) -> impl Iterator<Item = Value> {
    Simulator::new(options(3, 60, Some(version)))
        .take(1500)
        .filter(move |event| event.kind == kind)
        .take(count)
        .map(|event| json(&event)["data"]["object"].clone())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {pointer} of {value}"))
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let bodies =
        |seed| -> Vec<Bytes> { Simulator::new(options(seed, 10, None)).take(500).map(|event| event.body).collect() };
    assert_eq!(bodies(7), bodies(7));
    assert_ne!(bodies(7), bodies(8));
}

#[test]
fn every_envelope_is_stripes() {
    let mut ids = BTreeSet::new();
    for event in Simulator::new(Options { account: Some("acct_1Sim".to_owned()), ..options(1, 30, None) }).take(1000) {
        let value = json(&event);
        assert_eq!(value["id"], event.id.as_str());
        assert_eq!(value["type"], event.kind);
        assert_eq!(value["created"], event.created.seconds());
        assert_eq!(value["object"], "event");
        assert_eq!(value["account"], "acct_1Sim");
        assert_eq!(value["livemode"], false);
        assert_ne!(value["data"]["object"]["livemode"], true);
        assert!(value["data"]["object"]["object"].is_string(), "{value}");
        assert!(ids.insert(event.id), "an event identifier came twice");
    }
}

#[test]
fn times_never_run_back_within_a_span_and_end_before_its_end() {
    let last = START.plus(SPAN);
    let mut before = START;
    let mut turns_back = 0;
    for event in Simulator::new(options(5, 5, None)).take(4000) {
        assert!(event.created >= START && event.created <= last, "{:?}", event.created);
        turns_back += u32::from(event.created < before);
        before = event.created;
    }
    assert!(turns_back > 0, "five users fill a span with fewer than 4,000 events");
    assert!(turns_back < 30, "time runs back only where a span begins again: {turns_back}");
}

#[test]
fn every_mapped_type_and_status_occurs() {
    let mut expected = Expected::default();
    let mut statuses = BTreeSet::new();
    for event in Simulator::new(options(11, 200, Some(ApiVersion::NEWEST))).take(6_000) {
        if event.kind.starts_with("customer.subscription.") {
            statuses.insert(text(&json(&event), "/data/object/status").to_owned());
        }
        expected.learn(&event);
    }
    let kinds: Vec<&str> = expected.kinds().keys().copied().collect();
    for kind in [
        "customer.created",
        "customer.updated",
        "checkout.session.completed",
        "checkout.session.expired",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.upcoming",
        "invoice_payment.paid",
        "charge.succeeded",
        "charge.captured",
        "charge.failed",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
        "refund.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_method.attached",
        "something.not_invented_yet",
    ] {
        assert!(kinds.contains(&kind), "{kind} is missing from {kinds:?}");
    }
    let wanted = ["active", "canceled", "incomplete", "past_due", "paused", "trialing", "unpaid"];
    assert_eq!(statuses.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn bodies_have_the_size_of_real_ones() {
    let sizes: Vec<usize> = Simulator::new(options(2, 50, None)).take(1500).map(|event| event.body.len()).collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((2_000..4_500).contains(&mean), "mean {mean}");
    assert!(sizes.iter().all(|size| *size < 10_000), "largest {:?}", sizes.iter().max());
}

#[test]
fn periods_move_to_the_items_with_basil() {
    for version in ApiVersion::ALL {
        for subscription in objects(version, "customer.subscription.created", 5) {
            let on_top = subscription.get("current_period_end").is_some();
            let on_item = subscription.pointer("/items/data/0/current_period_end").is_some();
            assert_eq!((on_top, on_item), if version < ApiVersion::Basil { (true, false) } else { (false, true) });
        }
    }
}

#[test]
fn the_oldest_version_sells_plans_and_later_ones_prices() {
    for version in ApiVersion::ALL {
        for subscription in objects(version, "customer.subscription.created", 5) {
            let item = subscription.pointer("/items/data/0").expect("one item");
            assert_eq!(item.get("price").is_some(), version > ApiVersion::V2020);
            let sold = if version > ApiVersion::V2020 { text(item, "/price/id") } else { text(item, "/plan/id") };
            assert!(Tier::ALL.iter().any(|tier| tier.price_id() == sold), "{sold}");
        }
    }
}

#[test]
fn invoices_name_their_subscription_where_the_version_keeps_it() {
    for version in ApiVersion::ALL {
        for invoice in objects(version, "invoice.paid", 5) {
            let basil = version >= ApiVersion::Basil;
            assert_eq!(invoice["status"], "paid");
            let around = invoice["paid_out_of_band"] == true;
            assert_eq!(invoice["amount_remaining"], if around { invoice["amount_due"].clone() } else { 0.into() });
            for old in ["subscription", "paid", "charge", "payment_intent", "tax"] {
                assert_eq!(invoice.get(old).is_none(), basil, "{old} in {version}");
            }
            let (owner, price) = if basil {
                ("/parent/subscription_details/subscription", "/lines/data/0/pricing/price_details/price")
            } else {
                ("/subscription", "/lines/data/0/plan/id")
            };
            assert!(text(&invoice, owner).starts_with("sub_1"));
            assert!(text(&invoice, price).starts_with("price_"));
        }
    }
}

#[test]
fn cancelling_at_the_end_of_a_period_follows_the_version() {
    for version in ApiVersion::ALL {
        let scheduled = objects(version, "customer.subscription.updated", 500)
            .find(|subscription| !subscription["cancel_at"].is_null() && subscription["ended_at"].is_null())
            .unwrap_or_else(|| panic!("nobody cancels in {version}"));
        assert_eq!(scheduled["cancel_at_period_end"], version < ApiVersion::Clover, "{version}");
    }
}

#[test]
fn decimals_become_text_with_dahlia() {
    for version in ApiVersion::ALL {
        let fees: Vec<Value> = objects(version, "customer.subscription.created", 25)
            .map(|subscription| subscription["application_fee_percent"].clone())
            .filter(|fee| !fee.is_null())
            .collect();
        assert!(!fees.is_empty());
        assert!(fees.iter().all(|fee| fee.is_string() == (version >= ApiVersion::Dahlia)), "{version}: {fees:?}");
    }
}

#[test]
fn an_upcoming_invoice_has_no_identifier() {
    for invoice in objects(ApiVersion::NEWEST, "invoice.upcoming", 5) {
        assert!(invoice.get("id").is_none());
        assert_eq!(invoice["status"], "draft");
    }
}

#[test]
fn money_counts_from_the_first_event_that_tells_of_it() {
    let kinds = ["charge.succeeded", "payment_intent.succeeded", "invoice.paid", "invoice.payment_succeeded"];
    let events: Vec<SimulatedEvent> = Simulator::new(options(61, 10, Some(ApiVersion::NEWEST))).take(400).collect();
    let user = events.iter().find(|event| event.kind == "charge.succeeded").expect("somebody pays").user_id();
    for kind in kinds {
        let first = events.iter().find(|event| {
            event.user_id() == user && event.kind == kind && {
                let object = &json(event)["data"]["object"];
                let fields = ["amount_captured", "amount_received", "amount_paid"];
                fields.into_iter().find_map(|field| object[field].as_i64()) > Some(0)
            }
        });
        let mut expected = Expected::default();
        expected.learn(first.expect("each payment is told of in several ways"));
        assert!(expected.user(user).is_some_and(|user| user.paid > 0), "{kind}");
    }
}

/// Reads the payloads as a consumer would, and compares the result with what the stories say.
#[test]
fn the_oracle_agrees_with_the_payloads() {
    for version in [ApiVersion::V2020, ApiVersion::Acacia, ApiVersion::Dahlia] {
        let mut expected = Expected::default();
        let mut paid: BTreeMap<String, i64> = BTreeMap::new();
        let mut refunded: BTreeMap<String, i64> = BTreeMap::new();
        let mut statuses: HashMap<String, ((bool, i64, u8), String)> = HashMap::new();
        for event in Simulator::new(options(21, 60, Some(version))).take(1500) {
            expected.learn(&event);
            let value = json(&event);
            let object = &value["data"]["object"];
            let currency = object["currency"].as_str().unwrap_or("").to_owned();
            match event.kind {
                "charge.succeeded" | "charge.captured" => {
                    *paid.entry(currency).or_default() += object["amount_captured"].as_i64().unwrap_or(0);
                }
                // What no charge reports: money around Stripe and, in this count, all of a payment for two
                // invoices.
                "invoice.paid" if object["paid_out_of_band"] == true || object["billing_reason"] == "manual" => {
                    *paid.entry(currency).or_default() += object["amount_due"].as_i64().unwrap_or(0);
                }
                "invoice_payment.paid" if object["payment"]["payment_record"].is_string() => {
                    *paid.entry(currency).or_default() += object["amount_paid"].as_i64().unwrap_or(0);
                }
                "charge.dispute.created" => {
                    *refunded.entry(currency).or_default() += object["amount"].as_i64().unwrap_or(0);
                }
                "charge.dispute.closed" if object["status"] == "won" => {
                    *refunded.entry(currency).or_default() -= object["amount"].as_i64().unwrap_or(0);
                }
                "refund.created" => *refunded.entry(currency).or_default() += object["amount"].as_i64().unwrap_or(0),
                kind if kind.starts_with("customer.subscription.") => {
                    let rank = u8::from(kind != "customer.subscription.created");
                    let status = text(object, "/status").to_owned();
                    let version = (status == "canceled", event.created.seconds(), rank);
                    let known = statuses.entry(text(object, "/id").to_owned()).or_insert((version, status.clone()));
                    if version >= known.0 {
                        *known = (version, status);
                    }
                }
                _ => {}
            }
        }
        let revenue = expected.revenue();
        assert!(revenue.len() >= 3, "several currencies occur: {revenue:?}");
        for (currency, total) in &revenue {
            assert_eq!(total.paid, paid[*currency], "{currency} {version}");
            assert_eq!(total.refunded, refunded.get(*currency).copied().unwrap_or(0), "{currency}");
        }
        let subscriptions: Vec<_> = expected.users().flat_map(|user| &user.subscriptions).collect();
        assert_eq!(subscriptions.len(), statuses.len());
        for subscription in subscriptions {
            assert_eq!(subscription.status.as_str(), statuses[&subscription.id].1, "{}", subscription.id);
        }
    }
}

/// Whether a value contains everything that was replaced.
fn holds(value: &Value, before: &Value) -> bool {
    match before {
        Value::Object(fields) => fields.iter().all(|(key, before)| holds(&value[key], before)),
        before => value == before,
    }
}

#[test]
fn of_several_updates_in_one_second_each_replaces_what_the_one_before_said() {
    let mut seen: HashMap<String, (i64, Value)> = HashMap::new();
    let mut replaced = 0;
    for event in Simulator::new(options(31, 60, None)).take(3000) {
        if event.kind != "customer.subscription.updated" {
            continue;
        }
        let value = json(&event);
        let object = &value["data"]["object"];
        let known = seen.insert(text(object, "/id").to_owned(), (event.created.seconds(), object.clone()));
        let Some((_, other)) = known.filter(|(second, _)| *second == event.created.seconds()) else { continue };
        let previous = value["data"]["previous_attributes"].as_object().expect("what it replaced");
        for (key, before) in previous {
            assert!(holds(&other[key], before), "{key}: {before} replaced, {} was there", other[key]);
        }
        let changed = object.as_object().expect("an object").iter().filter(|(key, now)| other[*key] != **now);
        for (key, _) in changed {
            assert!(previous.contains_key(key), "{key} was changed and is not said to be");
        }
        replaced += 1;
    }
    assert!(replaced > 20, "{replaced}");
}

#[test]
fn every_paying_user_is_bound_by_some_event() {
    let mut expected = Expected::default();
    let mut named: BTreeSet<String> = BTreeSet::new();
    let events: Vec<SimulatedEvent> = Simulator::new(options(41, 50, None)).take(1500).collect();
    for event in &events {
        expected.learn(event);
        let body = std::str::from_utf8(&event.body).expect("bodies are UTF-8");
        if body.contains(event.user_id()) {
            named.insert(event.user_id().to_owned());
        }
    }
    for user in expected.users() {
        assert_eq!(user.bound, named.contains(&user.user_id), "{user:?}");
    }
    let bound = expected.users().filter(|user| user.bound).count();
    assert!(bound * 10 > expected.users().count() * 8, "most users are bound");
}

#[test]
fn the_oracle_depends_neither_on_the_order_nor_on_repetition() {
    let events: Vec<SimulatedEvent> = Simulator::new(options(51, 30, None)).take(1000).collect();
    let mut shuffled = events.clone();
    fastrand::Rng::with_seed(9).shuffle(&mut shuffled);
    let (mut one, mut other) = (Expected::default(), Expected::default());
    for (event, moved) in events.iter().zip(&shuffled) {
        one.learn(event);
        other.learn(moved);
    }
    other.learn(&shuffled[0]);
    assert_eq!(one.users().collect::<Vec<_>>(), other.users().collect::<Vec<_>>());
    assert_eq!(one.revenue(), other.revenue());
    assert_eq!(one.statuses(), other.statuses());
}

#[test]
fn a_thin_event_names_its_object_and_what_changed_and_holds_neither() {
    let mut named = 0;
    for event in Simulator::thin(Options { account: Some("acct_1Sim".to_owned()), ..options(7, 20, None) }).take(600) {
        let value = json(&event);
        assert_eq!((&value["object"], &value["context"]), (&"v2.core.event".into(), &"acct_1Sim".into()));
        assert_eq!(value["type"], format!("v1.{}", event.kind));
        assert_eq!(Timestamp::parse_rfc3339(text(&value, "/created")), Some(event.created));
        assert!(value.get("data").is_none() && value.get("api_version").is_none());
        let Some(held) = event.held else {
            assert!(value["related_object"].is_null(), "{value}");
            continue;
        };
        named += 1;
        assert_eq!(value["related_object"]["url"], held.path);
        assert_eq!(value["related_object"]["id"], held.content["id"]);
        assert_eq!(value["related_object"]["type"], held.content["object"]);
        for (key, before) in value["changes"]["before"].as_object().into_iter().flatten() {
            assert_ne!(*before, value["changes"]["after"][key], "{key}");
        }
    }
    assert!(named > 500, "{named}");
}
