//! Events that Stripe could not make: what the objects that were fetched in their place mean.

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
    assert_eq!(contexts[..2], [("/v2/core/events/evt_1", None), (path, Some("acct_7"))]);
}
