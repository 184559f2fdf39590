//! Events that Stripe could not make, and thin events about payments: what the objects that were fetched in their place
//! mean.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::lookup::{World, applied, world};
use crate::merge::Record;
use crate::story::{START, USER};
use crate::stripe_api::StripeStandIn;

/// The report of a lost event of this type, as Stripe delivers it, and as it tells more of it on request.
fn lost(stand_in: &StripeStandIn, id: &str, kind: &str, context: Option<&str>, path: &str, object: &Value) -> Bytes {
    let report = json!({"id": id, "object": "v2.core.event", "livemode": false, "related_object": null,
        "type": "v2.core.health.event_generation_failure.resolved", "created": "2026-10-01T00:00:00.123Z"});
    let mut whole = report.clone();
    let related = json!({"id": object["id"], "type": object["object"], "url": path});
    whole["data"] = json!({"impact": {"event_type": kind, "context": context, "related_object": related}});
    stand_in.put(&format!("/v2/core/events/{id}"), whole);
    stand_in.put(path, object.clone());
    Bytes::from(report.to_string())
}

fn payment(object: &str, id: &str, amount: i64) -> Value {
    json!({"id": id, "object": object, "status": "succeeded", "amount": amount, "amount_received": amount,
        "amount_captured": amount, "captured": true, "currency": "eur", "customer": "cus_1", "created": START})
}

#[tokio::test]
async fn an_object_means_what_the_lost_event_would_have_told_of_it() {
    let World { stand_in, validator, .. } = world().await;
    let intent = payment("payment_intent", "pi_1", 4200);
    let mut unpaid = payment("payment_intent", "pi_2", 700);
    unpaid["status"] = json!("requires_payment_method");
    let mut captured = payment("charge", "ch_3", 900);
    captured["amount_captured"] = json!(400);
    let mut authorised = captured.clone();
    (authorised["captured"], authorised["amount_captured"]) = (json!(false), json!(0));
    let session = json!({"id": "cs_1", "object": "checkout.session", "status": "expired", "payment_status": "unpaid",
        "customer": "cus_1", "metadata": {"userId": USER}});
    let before = json!({"id": "evt_0", "object": "event", "type": "charge.succeeded", "livemode": false,
        "created": START, "data": {"object": authorised}});
    let batch = [
        Bytes::from(before.to_string()),
        lost(&stand_in, "evt_1", "payment_intent.succeeded", None, "/v1/payment_intents/pi_1", &intent),
        lost(&stand_in, "evt_2", "payment_intent.payment_failed", None, "/v1/payment_intents/pi_2", &unpaid),
        lost(&stand_in, "evt_3", "charge.captured", None, "/v1/charges/ch_3", &captured),
        lost(&stand_in, "evt_4", "checkout.session.expired", None, "/v1/checkout/sessions/cs_1", &session),
    ];
    let plans = applied(validator.validate(&batch).await);
    assert_eq!(Record::of(&plans).net(), 4200 + 400);
    assert_eq!(plans.iter().flat_map(|plan| &plan.claims).count(), 0, "a session that expired bought nothing");
}

#[tokio::test]
async fn a_lost_event_is_of_the_account_that_its_report_names() {
    let World { stand_in, validator, .. } = world().await;
    let theirs = payment("payment_intent", "pi_1", 4200);
    let path = "/v1/payment_intents/pi_1";
    let batch = [lost(&stand_in, "evt_1", "payment_intent.succeeded", Some("acct_7"), path, &theirs)];
    let plans = applied(validator.validate(&batch).await);
    let accounts = [plans[0].event.account.as_deref(), plans[0].revenue[0].account.as_deref()];
    assert_eq!(accounts, [Some("acct_7"); 2]);
    let asked = stand_in.asked();
    let contexts: Vec<_> = asked.iter().map(|asked| (asked.path.as_str(), asked.header("stripe-context"))).collect();
    assert_eq!(
        contexts,
        [("/v2/core/events/evt_1", None), (path, Some("acct_7")), ("/v1/invoice_payments", Some("acct_7"))]
    );
}

#[tokio::test]
async fn stripe_tells_which_invoices_the_payment_of_a_thin_event_paid() {
    let World { stand_in, validator, .. } = world().await;
    let given = |number: u8, amount: i64| {
        json!({"id": format!("inpay_{number}"), "object": "invoice_payment", "invoice": format!("in_{number}"),
            "status": "paid", "amount_paid": amount, "currency": "eur",
            "payment": {"type": "payment_intent", "payment_intent": "pi_1"}})
    };
    stand_in.put("/v1/invoice_payments/pi_1", json!([given(1, 3000), given(2, 2000)]));
    let (intent, mut charge) = (payment("payment_intent", "pi_1", 5000), payment("charge", "ch_1", 5000));
    charge["payment_intent"] = json!("pi_1");
    stand_in.put("/v1/payment_intents/pi_1", intent);
    stand_in.put("/v1/charges/ch_1", charge);
    // Paid at another time, with a list that lacks its payments, so that nothing but the payment can tell.
    let invoice = json!({"id": "evt_3", "object": "event", "type": "invoice.paid", "livemode": false, "created": START,
        "data": {"object": {"id": "in_1", "object": "invoice", "status": "paid", "amount_paid": 3000,
            "amount_due": 3000, "currency": "eur", "customer": "cus_1", "paid_out_of_band": false,
            "status_transitions": {"paid_at": START - 90_000}}}});
    let batch = [
        thin("evt_1", "v1.payment_intent.succeeded", "payment_intent", "pi_1", "/v1/payment_intents/pi_1"),
        thin("evt_2", "v1.charge.succeeded", "charge", "ch_1", "/v1/charges/ch_1"),
        Bytes::from(invoice.to_string()),
    ];
    let plans = applied(validator.validate(&batch).await);
    assert_eq!(Record::of(&plans).net(), 5000);
    let lists = stand_in.asked().into_iter().filter(|asked| asked.path == "/v1/invoice_payments").count();
    assert_eq!(lists, 1, "both events are about one payment");
}

fn thin(id: &str, kind: &str, object: &str, of: &str, path: &str) -> Bytes {
    let event = json!({"id": id, "object": "v2.core.event", "type": kind, "livemode": false,
        "created": "2026-10-01T00:00:00.123Z", "changes": {"before": {"status": "active"}},
        "related_object": {"id": of, "type": object, "url": path}});
    Bytes::from(event.to_string())
}

#[tokio::test]
async fn a_thin_event_tells_as_much_of_the_subscription_as_another_one() {
    let World { stand_in, validator, .. } = world().await;
    let subscription = json!({"id": "sub_1", "object": "subscription", "status": "past_due", "metadata": {},
        "customer": {"id": "cus_1", "object": "customer", "metadata": {"userId": USER}}, "created": START,
        "current_period_start": START - 90 * 86_400, "items": {"data": [{"price": {"id": "price_gold_monthly"}}]}});
    stand_in.put("/v1/subscriptions/sub_1", subscription);
    let invoice = json!({"id": "in_1", "object": "invoice", "status": "open", "amount_paid": 0, "currency": "eur",
        "customer": "cus_1", "parent": {"subscription_details": {"subscription": "sub_1"}}});
    stand_in.put("/v1/invoices/in_1", invoice);
    for (kind, object, of, path) in [
        ("v1.customer.subscription.updated", "subscription", "sub_1", "/v1/subscriptions/sub_1"),
        ("v1.invoice.payment_failed", "invoice", "in_1", "/v1/invoices/in_1"),
    ] {
        let plans = applied(validator.validate(&[thin("evt_1", kind, object, of, path)]).await);
        let record = Record::of(&plans);
        assert_eq!(record.subscriptions["sub_1"].status, "past_due", "{kind}");
        assert_eq!(record.owner("sub_1", "cus_1"), Some(USER), "its customer came along: {kind}");
        if object == "subscription" {
            assert_eq!(plans[0].subscriptions[0].late_hint, Some(plans[0].event.created), "it became late then");
        }
    }
}
