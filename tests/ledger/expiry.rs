//! Payloads that are older than the operator keeps them, on every store: what goes and what stays.

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::expiry::EXPIRE_EVENTS_MAX;
use colony_gateway::revenue::rows::{RawJson, RevenueKind};
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::plans::{Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// Reduces payloads of events made at or before `before`, in as many steps as it takes. How many were reduced.
pub(crate) async fn expire(store: &dyn Store, before: Timestamp) -> u64 {
    let (mut reduced, mut after) = (0, None);
    loop {
        let step = store.ledger().expire_payloads(before, after.as_ref()).await.unwrap();
        assert!(step.reduced <= u64::from(EXPIRE_EVENTS_MAX), "a step is bounded");
        reduced += step.reduced;
        let Some(last) = step.last else { return reduced };
        assert!(after.replace(last.clone()) != Some(last), "a step leads on");
    }
}

/// An invoice of somebody, paid at that second.
fn paid(number: i64) -> Verdict {
    let id = format!("in_{number:04}");
    Planned::new(&format!("evt_{number:04}"), "invoice.paid", number)
        .money(RevenueKind::Invoice, &id, 999, |_| {})
        .with(|plan| {
            plan.event.object_id = Some(id.clone());
            plan.event.payload = RawJson::from_value(&json!({"id": plan.event.id, "object": "event",
                "type": "invoice.paid", "created": number, "data": {"object": {"id": id, "object": "invoice",
                "status": "paid", "customer_email": "ann@mail.example"}}}));
        })
        .verdict()
}

/// What happened to a customer at that second.
fn known(number: i64, name: &str) -> Verdict {
    Planned::new(&format!("evt_c{number:04}"), "customer.updated", number)
        .customer("cus_1", false)
        .with(|plan| {
            plan.event.object_id = Some("cus_1".to_owned());
            plan.event.payload = RawJson::from_value(&json!({"id": plan.event.id, "object": "event",
                "type": "customer.updated", "data": {"object": {"id": "cus_1", "object": "customer", "name": name}}}));
        })
        .verdict()
}

async fn payloads(store: &dyn Store) -> Vec<(String, Value)> {
    let rows = store.contents().await.0["events"].clone();
    let rows = rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap());
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), row["payload"].clone())).collect()
}

async fn what_goes_and_what_stays(store: &dyn Store) {
    let batch = [paid(1), paid(2), paid(50), known(3, "Ann"), known(4, "Anna"), known(60, "Annabel")];
    store.ledger().apply(&batch).await.unwrap();
    let before = store.contents().await;
    assert_eq!(expire(store, at(40)).await, 3, "two invoices, and what the customer was before the last of that time");
    let after = store.contents().await;
    for table in before.0.keys().filter(|table| **table != "events") {
        assert_eq!(before.0[table], after.0[table], "{table}");
    }
    for (id, payload) in payloads(store).await {
        let reduced = ["evt_0001", "evt_0002", "evt_c0003"].contains(&id.as_str());
        assert_eq!(payload.get("expired").is_some(), reduced, "{id}: {payload}");
        assert!(
            !reduced || !payload.to_string().contains("ann@mail") && !payload.to_string().contains("Ann"),
            "{payload}"
        );
        assert!(payload["data"]["object"]["id"].is_string() && payload["id"] == json!(id), "{payload}");
    }
    // The id is what makes a second delivery harmless; a replay changes nothing either.
    let replayed = Planned::new("evt_0001", "invoice.paid", 1).money(RevenueKind::Invoice, "in_0001", 999, |_| {});
    let replayed = replayed.with(|plan| plan.replayed = true).verdict();
    let outcomes = store.ledger().apply(&[paid(2), replayed]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Duplicate, Outcome::Duplicate]);
    assert_eq!(store.contents().await, after);
    let witness = store.ledger().witness(&["evt_0001".to_owned()]).await.unwrap();
    assert_eq!(witness.events[0].outcome.as_str(), "applied");
    assert_eq!(expire(store, at(70)).await, 2, "once the customer changed again, what it was before is not needed");
}

async fn a_long_history_goes_in_steps(store: &dyn Store) {
    let many = i64::from(EXPIRE_EVENTS_MAX) * 2 + 1;
    let events: Vec<Verdict> = (0..many).map(paid).collect();
    for batch in events.chunks(256) {
        store.ledger().apply(batch).await.unwrap();
    }
    let first = store.ledger().expire_payloads(at(many), None).await.unwrap();
    assert_eq!(first.reduced, u64::from(EXPIRE_EVENTS_MAX));
    // Whoever begins anew finds what is left.
    assert_eq!(expire(store, at(many)).await, u64::from(EXPIRE_EVENTS_MAX) + 1);
    assert_eq!(expire(store, at(many)).await, 0);
}

/// The cursor goes by moment and id, and several events share a moment.
async fn a_step_ends_within_a_moment(store: &dyn Store) {
    let one = |number: i64| {
        let Verdict::Apply(mut plan) = paid(number) else { unreachable!("it is applied") };
        plan.event.created = at(0);
        Verdict::Apply(plan)
    };
    let many = i64::from(EXPIRE_EVENTS_MAX) + 7;
    let events: Vec<Verdict> = (0..many).map(one).collect();
    for batch in events.chunks(256) {
        store.ledger().apply(batch).await.unwrap();
    }
    assert_eq!(expire(store, at(0)).await, u64::try_from(many).unwrap());
}

async fn all(store: &dyn Store) {
    what_goes_and_what_stays(store).await;
    store.clear().await;
    a_long_history_goes_in_steps(store).await;
    store.clear().await;
    a_step_ends_within_a_moment(store).await;
}

#[tokio::test]
async fn payloads_go_and_what_they_said_stays_in_a_file() {
    all(&Sqlite::hasty()).await;
}

#[tokio::test]
async fn payloads_go_and_what_they_said_stays_in_postgresql() {
    all(&Postgres::direct(Flavour::Supabase).await).await;
}

#[tokio::test]
async fn payloads_go_and_what_they_said_stays_through_the_rest_layer() {
    all(&Postgres::rest().await).await;
}
