//! Tests of the validator as a whole.

use serde_json::{Value, json};

use super::*;
use crate::revenue::rows::{ClaimRank, ProjectedStatus, Rank};

const NOW: i64 = 1_767_225_600;

fn validator() -> Validator {
    let clock = Clock::manual(Timestamp::from_seconds(NOW));
    Validator::new(Settings::default(), Arc::new(Guardian::default()), clock)
}

/// Holds events that look like script.
fn strict() -> Validator {
    let validator = validator();
    validator.guardian().reload("[builtin.injection_script]\naction = 'quarantine'").unwrap();
    validator
}

fn event(id: &str, kind: &str, object: &Value) -> Bytes {
    let event = json!({"id": id, "object": "event", "type": kind, "created": NOW, "livemode": false,
        "data": {"object": object}});
    Bytes::from(event.to_string())
}

#[tokio::test]
async fn every_event_gets_its_own_verdict_in_order() {
    let subscription = json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "status": "trialing",
        "metadata": {"userId": "u1", "tier": "or"}, "items": {"data": []}});
    let spoilt = json!({"id": "in_1", "object": "invoice", "amount_paid": -5});
    let batch = [
        event("evt_1", "customer.subscription.created", &subscription),
        Bytes::from_static(b"no json"),
        event("evt_2", "invoice.paid", &spoilt),
        event("evt_3", "payout.paid", &json!({"id": "po_1", "object": "payout"})),
    ];
    let validator = validator();
    let verdicts = validator.validate(&batch).await;
    let [Verdict::Apply(plan), Verdict::Reject { code, .. }, Verdict::Quarantine { rule, .. }, Verdict::Ignore { .. }] =
        &verdicts[..]
    else {
        panic!("{verdicts:?}")
    };
    assert_eq!((*code, rule.as_str()), ("malformed_json", "amount_form"));
    let row = &plan.subscriptions[0];
    assert_eq!(
        (row.status.as_str(), row.projected_status, row.entitles),
        ("trialing", Some(ProjectedStatus::Active), true)
    );
    assert_eq!(row.tier.as_deref(), Some("gold"));
    assert_eq!(plan.claims.len(), 1, "of the subscription, not of its customer");
    let counts = validator.guardian().counts();
    assert_eq!((counts.total, counts.approved, counts.blocked), (3, 2, 1));
}

#[tokio::test]
async fn a_released_event_is_applied_and_says_so() {
    let held = event(
        "evt_1",
        "invoice.paid",
        &json!({"id": "in_1", "object": "invoice", "amount_paid": 5,
        "currency": "eur", "status": "paid", "customer": "cus_1", "metadata": {"userId": "u1", "q": "<script>"}}),
    );
    let validator = strict();
    let verdicts = validator.validate(std::slice::from_ref(&held)).await;
    let [Verdict::Apply(plan)] = &verdicts[..] else { panic!("{verdicts:?}") };
    let rule = plan.suspicion.as_ref().map(|suspicion| suspicion.rule.as_str());
    assert_eq!((rule, plan.revenue.len(), plan.claims.len()), (Some("injection_script"), 1, 0));
    let verdicts = validator.release(&[held]).await;
    let [Verdict::Apply(plan)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert!(plan.released && plan.suspicion.is_none());
    assert_eq!(plan.decisions[0].action, Action::Flag);
    // The event's own claim, and the operator's word for it.
    let claims: Vec<_> = plan.claims.iter().map(|claim| (claim.rank, claim.version.rank)).collect();
    let expected = [(ClaimRank::Purchase, Rank::Updated), (ClaimRank::OperatorOfCustomer, Rank::Released)];
    assert_eq!(claims, expected);
    assert_eq!(validator.guardian().counts().total, 1);
}

#[tokio::test]
async fn a_thin_event_that_cannot_be_fetched_is_held_back_not_lost() {
    let thin = json!({"id": "evt_1", "object": "v2.core.event", "type": "v1.customer.updated", "livemode": false,
        "created": "2026-01-01T00:00:00.000Z",
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}});
    let validator = validator();
    let verdicts = validator.validate(&[Bytes::from(thin.to_string())]).await;
    let [Verdict::Quarantine { rule, event, .. }] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((rule.as_str(), event.object_id.as_deref()), (OBJECT_UNKNOWN, Some("cus_1")));
    assert_eq!(validator.guardian().counts().blocked, 1);
}

#[tokio::test]
async fn each_event_of_a_batch_is_looked_at_for_its_own_reason() {
    let invoice = json!({"id": "in_1", "object": "invoice", "amount_paid": 5, "currency": "eur", "status": "paid",
        "customer": "cus_1", "metadata": {"userId": "u1", "q": "<script>"}});
    let held = event("evt_1", "invoice.paid", &invoice);
    let other = event("evt_2", "payout.paid", &json!({"id": "po_1", "object": "payout"}));
    let validator = strict();
    let at = crate::domain::clock::Timestamp::from_seconds(1_700_000_000);
    let released = Occasion { released_at: Some(at), replayed: true };
    let replayed = Occasion { released_at: None, replayed: true };
    let verdicts = validator.decide(&[(held.clone(), released), (held, replayed), (other, replayed)]).await;
    let [Verdict::Apply(plan), Verdict::Apply(held), Verdict::Ignore { reopen, .. }] = &verdicts[..] else {
        panic!("{verdicts:?}")
    };
    assert!(plan.released && plan.replayed && *reopen);
    assert!(held.suspicion.is_some() && held.replayed);
    // The same release says the same, however often it is asked for.
    let words = plan.claims.iter().filter(|claim| claim.rank == ClaimRank::OperatorOfCustomer);
    assert_eq!(words.map(|claim| claim.version.at).collect::<Vec<_>>(), [at]);
    assert_eq!(validator.guardian().counts().total, 0, "what a person asks for again is not counted again");
}
