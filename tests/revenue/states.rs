//! What each state of a subscription gives its user, and how users are found.

use std::sync::Arc;

use bytes::Bytes;
use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::{Settings, UserIds};
use colony_gateway::revenue::rows::{BindingKind, ProjectedStatus, Standing, SubscriptionRow};
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::merge::Record;
use crate::money::projected;
use crate::story::{START, USER, settings};

fn subscription(id: &str, status: &str, items: &Value) -> Value {
    json!({"id": id, "object": "subscription", "customer": "cus_1", "status": status, "created": 1000, "currency": "cad",
        "metadata": {}, "items": {"object": "list", "data": items}})
}

fn item(price: &str, amount: i64, quantity: i64) -> Value {
    json!({"price": {"id": price, "unit_amount": amount, "currency": "cad", "product": "prod_1",
        "recurring": {"interval": "month", "interval_count": 1}}, "quantity": quantity})
}

async fn row(object: Value) -> SubscriptionRow {
    projected(&[("customer.subscription.updated", 0, object)]).await.remove(0).subscriptions.remove(0)
}

#[tokio::test]
async fn each_of_the_eight_states_means_what_it_says() {
    use ProjectedStatus::{Active, Canceled, Expired, PastDue, Paused};
    for (status, projected, entitles, standing) in [
        ("incomplete", None, false, Standing::Provisional),
        ("incomplete_expired", Some(Expired), false, Standing::Final),
        ("trialing", Some(Active), true, Standing::Current),
        ("active", Some(Active), true, Standing::Current),
        ("past_due", Some(PastDue), true, Standing::Current),
        ("canceled", Some(Canceled), false, Standing::Final),
        ("unpaid", Some(PastDue), false, Standing::Current),
        ("paused", Some(Paused), false, Standing::Current),
    ] {
        let row = row(subscription("sub_1", status, &json!([item("price_gold_monthly", 2000, 1)]))).await;
        assert_eq!(
            (row.projected_status, row.entitles, row.version.standing),
            (projected, entitles, standing),
            "{status}"
        );
        assert_eq!((row.status.as_str(), row.tier.as_deref()), (status, Some("gold")));
    }
}

#[tokio::test]
async fn a_state_that_stripe_adds_is_kept_and_shown() {
    let plan =
        projected(&[("customer.subscription.updated", 0, subscription("sub_1", "hibernating", &json!([])))]).await;
    let row = &plan[0].subscriptions[0];
    assert_eq!((row.status.as_str(), row.projected_status, row.entitles), ("hibernating", None, false));
    assert!(plan[0].findings.iter().any(|finding| finding.code == "status_unknown"));
}

#[tokio::test]
async fn the_best_item_gives_the_tier_and_all_items_the_revenue() {
    let items = json!([item("price_seat", 500, 4), item("price_gold_monthly", 2000, 1)]);
    let row = row(subscription("sub_1", "active", &items)).await;
    assert_eq!(
        (row.tier.as_deref(), row.price_id.as_deref(), row.items),
        (Some("gold"), Some("price_gold_monthly"), 2)
    );
    assert_eq!(row.mrr_minor, 4000);
}

#[tokio::test]
async fn a_pause_of_collection_keeps_access_and_counts_no_revenue() {
    let mut object = subscription("sub_1", "active", &json!([item("price_gold_monthly", 2000, 1)]));
    object["pause_collection"] = json!({"behavior": "void", "resumes_at": 2_000_000_000});
    let row = row(object).await;
    assert_eq!((row.entitles, row.mrr_minor, row.pause_behavior.as_deref()), (true, 0, Some("void")));
    assert!(row.pause_resumes_at.is_some());
}

#[tokio::test]
async fn french_metadata_names_the_tier_where_no_price_does() {
    for (key, name, tier) in [("tier", "Argent", "silver"), ("tier_name", "or", "gold"), ("tier", "bronze", "bronze")] {
        let mut object = subscription("sub_1", "active", &json!([item("price_other", 100, 1)]));
        object["metadata"] = json!({key: name});
        assert_eq!(row(object).await.tier.as_deref(), Some(tier));
    }
}

#[tokio::test]
async fn an_entitled_subscription_is_preferred_and_the_better_tier_among_those() {
    let gold = json!([item("price_gold_monthly", 2000, 1)]);
    let mut trial_silver = subscription("sub_silver", "trialing", &json!([]));
    trial_silver["metadata"] = json!({"tier": "silver"});
    let mut order = Vec::new();
    for object in [
        subscription("sub_gone", "canceled", &gold),
        subscription("sub_late", "unpaid", &gold),
        trial_silver,
        subscription("sub_due", "past_due", &gold),
        subscription("sub_live", "active", &gold),
        subscription("sub_live2", "active", &gold),
    ] {
        order.push(row(object).await.preference);
    }
    assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
}

#[tokio::test]
async fn a_subscription_of_test_mode_never_speaks_over_a_live_one() {
    let gold = json!([item("price_gold_monthly", 2000, 1)]);
    let mut live = subscription("sub_live", "canceled", &gold);
    live["livemode"] = json!(true);
    let mut events = Vec::new();
    for (livemode, object) in [(false, subscription("sub_test", "active", &gold)), (true, live)] {
        let event = json!({"id": "evt_1", "object": "event", "type": "customer.subscription.updated",
            "created": START, "livemode": livemode, "data": {"object": object}});
        events.push(Bytes::from(event.to_string()));
    }
    let plans = crate::story::plans(&events).await;
    let (test, live) = (&plans[0].subscriptions[0], &plans[1].subscriptions[0]);
    assert!(test.entitles && !live.entitles && test.preference < live.preference, "{test:?} {live:?}");
}

#[tokio::test]
async fn a_subscription_on_a_connected_account_gives_nothing_on_the_platform_unless_configured() {
    let object = subscription("sub_1", "active", &json!([item("price_gold_monthly", 2000, 1)]));
    let event = json!({"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "account": "acct_1",
        "created": START, "livemode": false, "data": {"object": object}});
    for connect_entitles in [false, true] {
        let settings = Settings { connect_entitles, ..settings() };
        let clock = Clock::manual(Timestamp::from_seconds(START));
        let validator = Validator::new(settings, Arc::new(Guardian::default()), clock);
        let verdicts = validator.validate(&[Bytes::from(event.to_string())]).await;
        let [Verdict::Apply(plan)] = &verdicts[..] else { panic!("{verdicts:?}") };
        let row = &plan.subscriptions[0];
        assert_eq!((row.entitles, row.projected_status.is_some()), (connect_entitles, connect_entitles));
        assert_eq!((row.status.as_str(), row.mrr_minor), ("active", 2000), "it is recorded all the same");
    }
}

#[tokio::test]
async fn what_ended_stays_ended_and_what_began_never_returns_to_its_beginning() {
    let state = |status: &str| subscription("sub_1", status, &json!([]));
    let plans = projected(&[
        ("customer.subscription.created", 50, state("incomplete")),
        ("customer.subscription.updated", 10, state("active")),
    ])
    .await;
    assert_eq!(Record::of(&plans).subscriptions["sub_1"].status, "active");
    let plans = projected(&[
        ("customer.subscription.deleted", 10, state("canceled")),
        ("customer.subscription.updated", 50, state("active")),
    ])
    .await;
    assert_eq!(Record::of(&plans).subscriptions["sub_1"].status, "canceled");
}

#[tokio::test]
async fn a_user_is_found_wherever_the_sellers_code_wrote_it() {
    let named = json!({"userId": USER});
    let session = |reference: Value, metadata: &Value| {
        json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1",
            "client_reference_id": reference, "metadata": metadata, "payment_status": "unpaid"})
    };
    let mut subscribed = subscription("sub_1", "active", &json!([]));
    subscribed["metadata"] = json!({"user_id": USER});
    let invoice = |place: &str| {
        let details = json!({"subscription": "sub_1", "metadata": named});
        let mut invoice =
            json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "subscription": "sub_1", "status": "open"});
        match place {
            "parent" => invoice["parent"] = json!({"subscription_details": details}),
            _ => invoice[place] = details,
        }
        invoice
    };
    for (kind, object) in [
        ("checkout.session.completed", session(json!(USER), &json!({}))),
        ("checkout.session.completed", session(json!(null), &named)),
        ("checkout.session.completed", session(json!("ref_partner"), &named)),
        ("customer.subscription.updated", subscribed),
        ("invoice.finalized", invoice("parent")),
        ("invoice.finalized", invoice("subscription_details")),
    ] {
        let record = Record::of(&projected(&[(kind, 0, object.clone())]).await);
        assert_eq!(record.owner("sub_1", "cus_1"), Some(USER), "{object}");
    }
}

#[tokio::test]
async fn a_partners_reference_is_no_user_where_users_are_uuids() {
    let settings = Settings { user_ids: UserIds::Uuid, ..settings() };
    let validator =
        Validator::new(settings, Arc::new(Guardian::default()), Clock::manual(Timestamp::from_seconds(START)));
    let session = |reference: &str| {
        let object = json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1",
            "client_reference_id": reference, "payment_status": "unpaid"});
        let event = json!({"id": "evt_1", "object": "event", "type": "checkout.session.completed", "created": START,
            "livemode": false, "data": {"object": object}});
        Bytes::from(event.to_string())
    };
    let verdicts = validator.validate(&[session("partner-7"), session(USER)]).await;
    let [Verdict::Apply(partner), Verdict::Apply(user)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!(Record::of([&**partner]).owner("sub_1", "cus_1"), None);
    assert_eq!(partner.findings[0].code, "user_unusable");
    assert_eq!(Record::of([&**user]).owner("sub_1", "cus_1"), Some(USER));
    // A later subscription of the customer that names nobody.
    assert_eq!(Record::of([&**user]).owner("sub_2", "cus_1"), Some(USER));
}

#[tokio::test]
async fn nobody_and_abandoned_carts_bind_no_one() {
    let session = json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1",
        "client_reference_id": "null", "metadata": {"userId": "undefined"}, "payment_status": "unpaid"});
    let plans = projected(&[("checkout.session.completed", 0, session)]).await;
    assert_eq!(Record::of(&plans).owner("sub_1", "cus_1"), None);
    assert!(plans[0].findings.iter().any(|finding| finding.code == "user_unusable"));
    assert!(plans[0].decisions.iter().any(|decision| decision.rule == "user_form"));
    let expired = json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "client_reference_id": USER});
    let plans = projected(&[("checkout.session.expired", 0, expired)]).await;
    assert!(plans[0].claims.is_empty() && plans[0].bindings.is_empty());
}

#[tokio::test]
async fn an_orphan_is_recorded_and_its_session_lends_it_user_and_tier() {
    let session = json!({"id": "cs_1", "object": "checkout.session", "customer": "cus_1", "subscription": "sub_1",
        "metadata": {"userId": USER, "tier": "argent"}, "payment_status": "unpaid"});
    let plans = projected(&[
        ("customer.subscription.created", 0, subscription("sub_1", "active", &json!([item("price_x", 1, 1)]))),
        ("checkout.session.completed", 1, session),
    ])
    .await;
    let orphan = Record::of(&plans[..1]);
    assert_eq!((orphan.subscriptions.len(), orphan.claims.len()), (1, 0));
    let record = Record::of(&plans);
    assert_eq!(record.owner("sub_1", "cus_1"), Some(USER));
    assert_eq!(record.bound(BindingKind::SubscriptionTier, "sub_1"), Some("silver"));
}

#[tokio::test]
async fn a_deleted_customer_stays_deleted() {
    let customer = json!({"id": "cus_1", "object": "customer", "currency": "CAD", "metadata": {"userId": USER}});
    let plans = projected(&[("customer.deleted", 0, customer.clone()), ("customer.updated", 9, customer)]).await;
    let record = Record::of(&plans);
    let row = &record.customers["cus_1"];
    assert_eq!((row.deleted, row.currency.as_deref()), (true, Some("cad")));
    assert_eq!(record.owner("sub_1", "cus_1"), Some(USER));
}
