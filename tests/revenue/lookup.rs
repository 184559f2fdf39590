//! What the validator asks of Stripe, and what it does with the answers and without them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::rows::{Rank, Source};
use colony_gateway::revenue::validator::{LOOKUPS_IN_FLIGHT_MAX, Look, OBJECT_UNKNOWN, Occasion, OtherKeys, Validator};
use colony_gateway::revenue::verdict::{Plan, Verdict};
use serde_json::{Value, json};

use crate::api::client;
use crate::merge::Record;
use crate::story::{START, USER, settings};
use crate::stripe_api::{Fault, StripeStandIn};

pub(crate) struct World {
    pub(crate) stand_in: StripeStandIn,
    pub(crate) validator: Validator,
    clock: Clock,
}

pub(crate) async fn world() -> World {
    let stand_in = StripeStandIn::start().await;
    let clock = Clock::manual(Timestamp::from_seconds(START));
    stand_in.keep_time(&clock);
    let api = Arc::new(client(&stand_in, &clock));
    clock.advance(Duration::from_mins(1));
    let validator = Validator::new(settings(), Arc::new(Guardian::default()), clock.clone()).with_stripe(api);
    World { stand_in, validator, clock }
}

fn event(id: &str, kind: &str, object: &Value) -> Bytes {
    let event = json!({"id": id, "object": "event", "type": kind, "livemode": false, "created": START,
        "data": {"object": object}});
    Bytes::from(event.to_string())
}

fn subscription(id: &str, status: &str) -> Value {
    json!({"id": id, "object": "subscription", "status": status, "customer": "cus_1", "metadata": {}, "created": START,
        "items": {"object": "list", "data": [{"price": {"id": "price_gold_monthly"}}]}})
}

pub(crate) fn applied(verdicts: Vec<Verdict>) -> Vec<Plan> {
    let plans = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Apply(plan) => *plan,
        other => panic!("not applied: {other:?}"),
    });
    plans.collect()
}

#[tokio::test]
async fn a_batch_asks_for_each_subscription_once_and_writes_what_it_is_now() {
    let World { stand_in, validator, clock } = world().await;
    let mut now = subscription("sub_1", "past_due");
    now["customer"] = json!({"id": "cus_1", "object": "customer", "currency": "cad", "metadata": {"userId": USER}});
    now["latest_invoice"] = json!({"id": "in_1", "object": "invoice", "status": "open"});
    stand_in.put("/v1/subscriptions/sub_1", now);
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "open", "customer": "cus_1",
        "parent": {"subscription_details": {"subscription": "sub_1"}}});
    let batch = [
        event("evt_1", "customer.subscription.updated", &subscription("sub_1", "active")),
        event("evt_2", "customer.subscription.updated", &subscription("sub_1", "trialing")),
        event("evt_3", "invoice.payment_failed", &invoice),
    ];
    let plans = applied(validator.validate(&batch).await);
    assert_eq!(stand_in.asked().len(), 1);
    for plan in &plans {
        let row = &plan.subscriptions[0];
        assert_eq!((row.status.as_str(), row.source, row.version.rank), ("past_due", Source::Fetch, Rank::Fetched));
        // The date of the answer less the time that the call took.
        assert!(clock.now().since(row.version.at) < Duration::from_secs(10) && row.version.at <= clock.now());
        let raw: Value = serde_json::from_str(row.raw.as_str()).unwrap();
        assert_eq!((&raw["customer"], &raw["latest_invoice"]), (&json!("cus_1"), &json!("in_1")));
    }
    // The customer came along, and with it the user that the subscription did not name.
    let record = Record::of(&plans);
    assert_eq!(record.owner("sub_1", "cus_1"), Some(USER));
    assert_eq!(record.customers["cus_1"].currency.as_deref(), Some("cad"));
    assert_eq!((validator.lookup_counts().asked, validator.lookup_counts().answered), (1, 1));
}

#[tokio::test]
async fn a_later_fetch_stands_above_an_earlier_one_and_above_payloads() {
    let World { stand_in, validator, clock } = world().await;
    let updated = [event("evt_1", "customer.subscription.updated", &subscription("sub_1", "active"))];
    let mut plans = Vec::new();
    for status in ["past_due", "active", "unpaid"] {
        stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", status));
        clock.advance(Duration::from_millis(1));
        plans.extend(applied(validator.validate(&updated).await));
    }
    let without = Validator::new(settings(), Arc::new(Guardian::default()), clock.clone());
    plans.extend(applied(without.validate(&updated).await));
    plans.reverse();
    assert_eq!(Record::of(&plans).subscriptions["sub_1"].status, "unpaid");
}

#[tokio::test]
async fn a_fetch_is_no_older_than_the_event_even_by_a_slow_clock() {
    let World { stand_in, validator, clock } = world().await;
    clock.set(Timestamp::from_seconds(START - 100));
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "active"));
    let batch = [event("evt_1", "customer.subscription.updated", &subscription("sub_1", "past_due"))];
    let plans = applied(validator.validate(&batch).await);
    assert_eq!(plans[0].subscriptions[0].version.at, Timestamp::from_seconds(START));
}

#[tokio::test]
async fn payloads_are_applied_when_stripe_does_not_answer() {
    let World { stand_in, validator, .. } = world().await;
    stand_in.put("/v1/subscriptions/sub_2", subscription("sub_2", "active"));
    stand_in.fail_next(Fault::Status(400, &[]));
    let batch = [
        event("evt_1", "customer.subscription.updated", &subscription("sub_1", "past_due")),
        event("evt_2", "customer.subscription.updated", &subscription("sub_none", "past_due")),
    ];
    let plans = applied(validator.validate(&batch).await);
    for plan in &plans {
        assert_eq!(
            (plan.subscriptions[0].source, plan.subscriptions[0].status.as_str()),
            (Source::Payload, "past_due")
        );
    }
    assert_eq!((validator.lookup_counts().asked, validator.lookup_counts().answered), (2, 0));
}

#[tokio::test]
async fn what_has_ended_and_what_is_of_the_other_mode_is_not_asked_for() {
    let World { stand_in, validator, .. } = world().await;
    let mut live: Value =
        serde_json::from_slice(&event("evt_2", "customer.subscription.updated", &subscription("sub_2", "active")))
            .unwrap();
    live["livemode"] = json!(true);
    let batch = [
        event("evt_1", "customer.subscription.deleted", &subscription("sub_1", "canceled")),
        Bytes::from(live.to_string()),
    ];
    assert_eq!(applied(validator.validate(&batch).await).len(), 2);
    assert!(stand_in.asked().is_empty());
}

#[tokio::test]
async fn what_cannot_be_understood_is_not_asked_for() {
    let World { stand_in, validator, .. } = world().await;
    let mut hostile = subscription("sub_1", "active");
    hostile["object"] = json!("charge");
    let verdicts = validator.validate(&[event("evt_1", "customer.subscription.updated", &hostile)]).await;
    assert!(matches!(verdicts[..], [Verdict::Quarantine { .. }]));
    assert!(stand_in.asked().is_empty());
}

#[tokio::test]
async fn an_answer_of_stripes_vouches_for_nothing_that_a_rule_holds() {
    let World { stand_in, validator, .. } = world().await;
    let hold = "[[rule]]\nid = 'held'\naction = 'quarantine'\ntypes = ['customer.subscription.*']\n\
                all = [{ path = 'data.object.metadata.note', equals = 'x' }]";
    validator.guardian().reload(hold).unwrap();
    let mut noted = subscription("sub_1", "active");
    noted["metadata"] = json!({"note": "x", "userId": USER});
    stand_in.put("/v1/subscriptions/sub_1", noted);
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "open", "customer": "cus_1",
        "parent": {"subscription_details": {"subscription": "sub_1"}}});
    let plans = applied(validator.validate(&[event("evt_1", "invoice.payment_failed", &invoice)]).await);
    let [plan] = &plans[..] else { panic!("{plans:?}") };
    assert_eq!(plan.suspicion.as_ref().map(|suspicion| suspicion.rule.as_str()), Some("held"));
    assert_eq!((plan.subscriptions.len(), plan.claims.len()), (1, 0), "the fact is written, and nothing granted");
}

#[tokio::test]
async fn only_so_many_questions_are_under_way_at_once() {
    let World { stand_in, validator, .. } = world().await;
    let batch: Vec<Bytes> = (0..LOOKUPS_IN_FLIGHT_MAX + 2)
        .map(|number| {
            let id = format!("sub_{number}");
            stand_in.put(&format!("/v1/subscriptions/{id}"), subscription(&id, "active"));
            event(&format!("evt_{number}"), "customer.subscription.updated", &subscription(&id, "past_due"))
        })
        .collect();
    let plans = applied(validator.validate(&batch).await);
    assert!(plans.iter().all(|plan| plan.subscriptions[0].source == Source::Fetch));
    assert!(stand_in.most_at_once() <= LOOKUPS_IN_FLIGHT_MAX, "{}", stand_in.most_at_once());
}

#[tokio::test]
async fn stripe_tells_which_invoice_a_payment_paid() {
    let World { stand_in, validator, .. } = world().await;
    stand_in.put("/v1/invoice_payments/pi_1", json!({"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1"}));
    let payment = |id: &str| {
        json!({"id": id, "object": "payment_intent", "customer": "cus_1", "amount": 100, "amount_received": 100,
            "currency": "eur", "status": "succeeded"})
    };
    // Paid at another time, so that nothing but the link can tell.
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 100, "amount_due": 100,
        "currency": "eur", "customer": "cus_1", "status_transitions": {"paid_at": START - 90_000}});
    let batch = [
        event("evt_1", "payment_intent.succeeded", &payment("pi_1")),
        event("evt_2", "payment_intent.succeeded", &payment("pi_2")),
        event("evt_3", "invoice.paid", &invoice),
    ];
    let plans = applied(validator.validate(&batch).await);
    let links: Vec<_> = plans.iter().flat_map(|plan| &plan.links).map(|link| link.invoice_id.as_str()).collect();
    assert_eq!(links, ["in_1"]);
    assert_eq!(Record::of(&plans).net(), 200);
}

#[tokio::test]
async fn stripe_tells_every_invoice_that_a_payment_paid_and_what_it_gave_to_each() {
    let World { stand_in, validator, .. } = world().await;
    let given = |number: u8, amount: i64| {
        json!({"id": format!("inpay_{number}"), "object": "invoice_payment", "invoice": format!("in_{number}"),
            "status": "paid", "amount_paid": amount, "currency": "eur",
            "payment": {"type": "payment_intent", "payment_intent": "pi_1"}})
    };
    stand_in.put("/v1/invoice_payments/pi_1", json!([given(1, 100), given(2, 150)]));
    let payment = json!({"id": "pi_1", "object": "payment_intent", "customer": "cus_1", "amount": 300,
        "amount_received": 300, "currency": "eur", "status": "succeeded"});
    let invoice = |number: u8, amount: i64| {
        json!({"id": format!("in_{number}"), "object": "invoice", "status": "paid", "amount_paid": amount,
            "currency": "eur", "customer": "cus_1", "payments": {"data": []},
            "status_transitions": {"paid_at": START - 90_000}})
    };
    let batch = [
        event("evt_1", "payment_intent.succeeded", &payment),
        event("evt_2", "invoice.paid", &invoice(1, 100)),
        event("evt_3", "invoice.paid", &invoice(2, 150)),
    ];
    assert_eq!(Record::of(&applied(validator.validate(&batch).await)).net(), 300);
}

#[tokio::test]
async fn with_a_key_money_around_stripe_is_told_apart_also_where_the_invoice_does_not_say_so() {
    let World { stand_in, validator, .. } = world().await;
    let record = json!({"id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid",
        "amount_paid": 70, "currency": "eur", "payment": {"type": "payment_record", "payment_record": "pr_1"}});
    stand_in.put("/v1/invoice_payments/in_1", json!([record]));
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 70, "amount_remaining": 0,
        "currency": "eur", "customer": "cus_1"});
    let plans = applied(validator.validate(&[event("evt_1", "invoice.paid", &invoice)]).await);
    let row = plans[0].revenue.iter().find(|row| row.key == "in_1").unwrap();
    assert_eq!((row.amount_minor, row.outside_minor), (70, 70));
}

#[tokio::test]
async fn the_object_of_a_thin_event_is_fetched_and_projected() {
    let World { stand_in, validator, .. } = world().await;
    let thin = |id: &str, url: &str| {
        let event = json!({"id": id, "object": "v2.core.event", "type": "v1.customer.updated", "livemode": false,
            "created": "2026-01-01T00:00:00.123Z", "context": "acct_7",
            "related_object": {"id": "cus_1", "type": "customer", "url": url}});
        Bytes::from(event.to_string())
    };
    stand_in.put("/v1/customers/cus_1", json!({"id": "cus_1", "object": "customer", "metadata": {"userId": USER}}));
    let batch = [thin("evt_1", "/v1/customers/cus_1"), thin("evt_2", "https://evil.test/v1/customers/cus_1")];
    let verdicts = validator.validate(&batch).await;
    let [Verdict::Apply(plan), Verdict::Quarantine { rule, .. }] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((plan.customers[0].id.as_str(), plan.customers[0].source), ("cus_1", Source::Fetch));
    assert_eq!(plan.claims[0].user_id, USER);
    assert_eq!(rule, OBJECT_UNKNOWN);
    assert_eq!(stand_in.asked()[0].header("stripe-context"), Some("acct_7"));
}

fn thin(id: &str, kind: &str, object: &str, url: &str) -> Bytes {
    let related = url.rsplit('/').next().unwrap();
    let event = json!({"id": id, "object": "v2.core.event", "type": kind, "livemode": false,
        "created": "2026-10-01T00:00:00.123Z", "related_object": {"id": related, "type": object, "url": url}});
    Bytes::from(event.to_string())
}

#[tokio::test]
async fn a_thin_event_is_about_the_object_that_it_names_whatever_its_type() {
    let World { stand_in, validator, .. } = world().await;
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "past_due"));
    let batch = [
        thin("evt_1", "v1.customer.subscription.item_price_changed", "subscription", "/v1/subscriptions/sub_1"),
        thin("evt_2", "v1.billing.something_of_tomorrow", "subscription", "/v1/subscriptions/sub_1"),
    ];
    let plans = applied(validator.validate(&batch).await);
    assert!(plans.iter().all(|plan| plan.subscriptions[0].status == "past_due"), "{plans:?}");
    assert_eq!(stand_in.asked().len(), 1, "both events are answered by one question");
}

#[tokio::test]
async fn an_object_is_not_written_beside_an_event_that_holds_it() {
    let World { stand_in, validator, .. } = world().await;
    let customer = |id: &str| json!({"id": id, "object": "customer", "livemode": false});
    stand_in.put("/v1/customers/cus_2", customer("cus_2"));
    let batch = [
        event("evt_1", "customer.updated", &customer("cus_1")),
        thin("evt_2", "v1.customer.updated", "customer", "/v1/customers/cus_2"),
    ];
    let plans = applied(validator.validate(&batch).await);
    let raw = |plan: &Plan| serde_json::to_value(&plan.customers[0]).unwrap().get("raw").cloned();
    assert_eq!(plans.iter().map(raw).collect::<Vec<_>>(), [None, Some(customer("cus_2"))]);
    assert!(plans[0].customers[0].raw.as_str().contains("cus_1"), "stores that have no document take it from the row");
}

/// Whether each event of a batch is decided, by its verdict's name, or waits.
async fn looked_at(validator: &Validator, batch: &[Bytes]) -> Vec<&'static str> {
    let events: Vec<_> = batch.iter().map(|body| (body.clone(), Occasion::default())).collect();
    let looks = validator.look(&events, OtherKeys::None).await.into_iter().map(|look| match look {
        Look::Decided(Verdict::Apply(_)) => "applied",
        Look::Decided(Verdict::Quarantine { .. }) => "held",
        Look::Decided(other) => panic!("{other:?}"),
        Look::Unanswered { after, .. } => {
            assert!(after >= Duration::from_secs(1), "{after:?}");
            "waits"
        }
    });
    looks.collect()
}

#[tokio::test]
async fn a_thin_event_waits_for_an_answer_and_only_stripes_no_is_a_verdict() {
    let World { stand_in, validator, .. } = world().await;
    let batch = ["cus_1", "cus_none", "cus_2"].map(|id| {
        let url = format!("/v1/customers/{id}");
        if id != "cus_none" {
            stand_in.put(&url, json!({"id": id, "object": "customer", "metadata": {"userId": USER}}));
        }
        thin(&format!("evt_{id}"), "v1.customer.updated", "customer", &url)
    });
    let faults =
        [Fault::Status(503, &[]), Fault::Status(429, &[]), Fault::Status(403, &[]), Fault::Cut, Fault::Garbage];
    for fault in faults {
        let World { stand_in, validator, .. } = world().await;
        (0..10).for_each(|_| stand_in.fail_next(fault.clone()));
        assert_eq!(looked_at(&validator, &batch[..1]).await, ["waits"], "{fault:?}");
        assert_eq!(validator.guardian().counts().total, 0, "it is counted when it is decided");
    }
    // One of three questions gets no answer: the others do not wait with it.
    stand_in.fail_next(Fault::Status(400, &[("stripe-should-retry", "true")]));
    (0..2).for_each(|_| stand_in.fail_next(Fault::Status(403, &[])));
    let looks = looked_at(&validator, &batch).await;
    assert_eq!(looks.iter().filter(|look| **look == "waits").count(), 2, "{looks:?}");
    stand_in.recover();
    assert_eq!(looked_at(&validator, &batch).await, ["applied", "held", "applied"]);
}

#[tokio::test]
async fn objects_of_thin_events_are_asked_for_before_all_else() {
    let World { stand_in, validator, .. } = world().await;
    let mut batch: Vec<Bytes> = (0..LOOKUPS_IN_FLIGHT_MAX * 2)
        .map(|number| {
            let object = subscription(&format!("sub_{number}"), "active");
            event(&format!("evt_{number}"), "customer.subscription.updated", &object)
        })
        .collect();
    stand_in.put("/v1/customers/cus_1", json!({"id": "cus_1", "object": "customer"}));
    batch.push(thin("evt_thin", "v1.customer.updated", "customer", "/v1/customers/cus_1"));
    assert_eq!(looked_at(&validator, &batch).await.last(), Some(&"applied"));
    let first: Vec<String> = stand_in.asked().into_iter().take(LOOKUPS_IN_FLIGHT_MAX).map(|asked| asked.path).collect();
    assert!(first.contains(&"/v1/customers/cus_1".to_owned()), "{first:?}");
}

#[tokio::test]
async fn a_fetch_whose_date_is_far_from_what_the_others_say_is_not_used() {
    let (stripe, odd) = (Clock::manual(Timestamp::from_seconds(START)), Clock::manual(Timestamp::from_seconds(START)));
    let stand_in = StripeStandIn::start().await;
    stand_in.keep_time(&stripe);
    let clock = Clock::manual(Timestamp::from_seconds(START));
    let api = Arc::new(client(&stand_in, &clock));
    let validator = Validator::new(settings(), Arc::new(Guardian::default()), clock).with_stripe(api);
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "unpaid"));
    let told = |id: &str| event(id, "customer.subscription.updated", &subscription("sub_1", "active"));
    let source = |plans: Vec<Plan>| plans[0].subscriptions[0].source;
    for id in ["evt_1", "evt_2", "evt_3"] {
        assert_eq!(source(applied(validator.validate(&[told(id)]).await)), Source::Fetch);
    }
    // A cache or a proxy on the way answers with a date of its own.
    odd.set(Timestamp::from_seconds(START + 86_400));
    stand_in.keep_time(&odd);
    assert_eq!(source(applied(validator.validate(&[told("evt_4")]).await)), Source::Payload);
    stand_in.keep_time(&stripe);
    assert_eq!(source(applied(validator.validate(&[told("evt_5")]).await)), Source::Fetch);
}

#[tokio::test]
async fn an_object_of_another_type_or_without_a_status_becomes_no_row() {
    let World { stand_in, validator, .. } = world().await;
    let mut bare = subscription("sub_2", "active");
    bare.as_object_mut().unwrap().remove("status");
    stand_in.put("/v1/subscriptions/sub_1", json!({"id": "sub_1", "object": "customer", "status": "active"}));
    stand_in.put("/v1/subscriptions/sub_2", bare);
    let batch = ["sub_1", "sub_2"].map(|id| {
        let url = format!("/v1/subscriptions/{id}");
        thin(&format!("evt_{id}"), "v1.customer.subscription.updated", "subscription", &url)
    });
    for verdict in validator.validate(&batch).await {
        let Verdict::Quarantine { rule, .. } = &verdict else { panic!("{verdict:?}") };
        assert_eq!(rule, OBJECT_UNKNOWN);
    }
}

#[tokio::test]
async fn what_a_lost_event_was_about_is_asked_for_and_fetched() {
    let World { stand_in, validator, .. } = world().await;
    let failure = |id: &str| {
        let event = json!({"id": id, "object": "v2.core.event", "livemode": false, "related_object": null,
            "type": "v2.core.health.event_generation_failure.resolved", "created": "2026-10-01T00:00:00.123Z"});
        (Bytes::from(event.to_string()), event)
    };
    let (about_ours, mut whole) = failure("evt_1");
    whole["data"] = json!({"impact": {"event_type": "customer.subscription.deleted", "related_object":
        {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"}}});
    stand_in.put("/v2/core/events/evt_1", whole);
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "canceled"));
    let (about_other, mut whole) = failure("evt_2");
    whole["data"] = json!({"impact": {"related_object": {"id": "po_1", "type": "payout", "url": "/v1/payouts/po_1"}}});
    stand_in.put("/v2/core/events/evt_2", whole);
    let (unknown, _) = failure("evt_3");
    let verdicts = validator.validate(&[about_ours, about_other, unknown]).await;
    let [Verdict::Apply(plan), Verdict::Ignore { .. }, Verdict::Quarantine { rule, .. }] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert_eq!((plan.subscriptions[0].status.as_str(), rule.as_str()), ("canceled", OBJECT_UNKNOWN));
}

#[tokio::test]
async fn a_fetched_subscription_is_checked_against_the_invoice() {
    let World { stand_in, validator, .. } = world().await;
    let mut now = subscription("sub_1", "past_due");
    now["customer"] = json!({"id": "cus_1", "object": "customer", "currency": "usd"});
    now["currency"] = json!("cad");
    now["latest_invoice"] = json!({"id": "in_1", "object": "invoice", "status": "paid"});
    stand_in.put("/v1/subscriptions/sub_1", now);
    let plans = applied(
        validator.validate(&[event("evt_1", "customer.subscription.updated", &subscription("sub_1", "active"))]).await,
    );
    let codes: Vec<&str> = plans[0].findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["currency", "status_invoice"]);
}

#[tokio::test]
async fn of_two_gateways_the_later_fetch_wins_whatever_their_clocks_say() {
    let stripe = Clock::manual(Timestamp::from_seconds(START + 50));
    let stand_in = StripeStandIn::start().await;
    stand_in.keep_time(&stripe);
    let gateway = |ahead: i64| {
        let clock = Clock::manual(Timestamp::from_seconds(START + 50 + ahead));
        let api = Arc::new(client(&stand_in, &clock));
        Validator::new(settings(), Arc::new(Guardian::default()), clock).with_stripe(api)
    };
    let (fast, slow) = (gateway(100), gateway(0));
    let told = |id: &str| event(id, "customer.subscription.updated", &subscription("sub_1", "active"));
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "active"));
    let mut plans = applied(fast.validate(&[told("evt_2")]).await);
    stripe.advance(Duration::from_secs(10));
    stand_in.put("/v1/subscriptions/sub_1", subscription("sub_1", "unpaid"));
    plans.extend(applied(slow.validate(&[told("evt_1")]).await));
    let record = Record::of(&plans);
    assert_eq!(record.subscriptions["sub_1"].status, "unpaid");
    let at = plans[1].subscriptions[0].version.at;
    assert!(at <= stripe.now() && stripe.now().since(at) < Duration::from_secs(10), "{at:?}");
}

#[tokio::test]
async fn with_a_key_the_rest_of_a_partial_list_is_asked_for() {
    let World { stand_in, validator, .. } = world().await;
    let item = |number: usize| {
        json!({"id": format!("si_{number}"), "quantity": 1, "price": {"id": if number == 149 { "price_gold_monthly" }
            else { "price_addon" }, "unit_amount": 100, "currency": "cad",
            "recurring": {"interval": "month", "interval_count": 1}}})
    };
    let all: Vec<Value> = (0..150).map(item).collect();
    let mut shown = subscription("sub_1", "active");
    shown["items"] = json!({"object": "list", "data": all[..10], "has_more": true, "total_count": 150});
    stand_in.put("/v1/subscriptions/sub_1", shown.clone());
    stand_in.put("/v1/subscription_items/sub_1", json!(all));
    let plans = applied(validator.validate(&[event("evt_1", "customer.subscription.updated", &shown)]).await);
    let row = &plans[0].subscriptions[0];
    assert_eq!((row.items, row.partial, row.tier.as_deref(), row.mrr_minor), (150, false, Some("gold"), 15_000));
    assert!(plans[0].findings.iter().all(|finding| finding.code != "items_partial"), "{:?}", plans[0].findings);

    let line = |number: usize| json!({"id": format!("il_{number}"), "amount": 5});
    let lines: Vec<Value> = (0..12).map(line).collect();
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "open", "subtotal": 55, "total": 55,
        "customer": "cus_1", "currency": "cad",
        "lines": {"object": "list", "data": lines[..10], "has_more": true, "total_count": 12}});
    stand_in.put("/v1/invoices/in_1/lines", json!({"object": "list", "data": lines[10..], "has_more": false}));
    let plans = applied(validator.validate(&[event("evt_2", "invoice.finalized", &invoice)]).await);
    let codes: Vec<&str> = plans[0].findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(!codes.contains(&"lines_partial"), "{codes:?}");
    // Stripe does not answer: what is shown is taken, and said to be a part.
    stand_in.put("/v1/invoices/in_1/lines", json!(null));
    let plans = applied(validator.validate(&[event("evt_3", "invoice.finalized", &invoice)]).await);
    let codes: Vec<&str> = plans[0].findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(codes.contains(&"lines_partial"), "{codes:?}");
}
