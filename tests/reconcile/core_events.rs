//! Thin events that Stripe lists, in a list of their own, and nobody here knows.

use colony_gateway::stripe::endpoint::{Endpoint, Mode};
use colony_gateway::stripe::envelope::PayloadKind;
use serde_json::{Value, json};

use crate::stripe_api::StripeStandIn;
use crate::world::{Kind, NOW, Site, Store, clock, endpoint, event, list};

/// A thin event about a customer, made so many seconds ago.
fn thin(number: i64, ago: i64) -> Value {
    let created = colony_gateway::domain::clock::Timestamp::from_seconds(NOW - ago).to_string();
    json!({"id": format!("evt_thin_{number:05}"), "object": "v2.core.event", "type": "v1.customer.updated",
        "created": created, "livemode": false,
        "related_object": {"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}})
}

fn list_thin(stripe: &StripeStandIn, event: &Value) {
    stripe.put(&format!("/v2/core/events/{}", event["id"].as_str().unwrap()), event.clone());
}

fn thin_endpoint() -> Endpoint {
    Endpoint { payload: PayloadKind::Thin, ..endpoint("thin", Mode::Any, None) }
}

#[tokio::test]
async fn a_thin_only_installation_finds_its_missing_events() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::with(&stripe, &store.ledger, &clock, vec![thin_endpoint()], Vec::new());
    for number in 0..250 {
        list_thin(&stripe, &thin(number, 86_400 * 20 - number * 600));
    }
    // Of a style that no endpoint takes, and so in a list that is not read.
    list(&stripe, &event(1, 3000));
    let mut other = thin(900, 3000);
    other["related_object"]["type"] = json!("payout");
    list_thin(&stripe, &other);

    let report = site.events().await;
    assert_eq!((report.seen, report.missing, report.inserted), (251, 250, 250), "{report:?}");
    assert_eq!((report.unmapped, &report.error), (1, &None), "{report:?}");
    assert_eq!(site.inbox.mark("reconcile.core_events").await.unwrap(), Some(NOW * 1000));
    assert_eq!(site.cursor().await, None, "the list of snapshot events was not read");

    let report = site.events().await;
    assert_eq!((report.missing, report.inserted), (0, 0), "{report:?}");
}

#[tokio::test]
async fn a_change_whose_snapshot_event_is_recorded_is_not_missing() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let endpoints = vec![endpoint("stripe", Mode::Any, None), thin_endpoint()];
    let site = Site::with(&stripe, &store.ledger, &clock, endpoints, Vec::new());
    let snapshot = event(1, 3000);
    site.receive(&snapshot).await;
    site.work().await;
    let mut same = thin(1, 3000);
    same["snapshot_event"] = snapshot["id"].clone();
    list_thin(&stripe, &same);
    let mut unseen = thin(2, 3000);
    unseen["snapshot_event"] = json!("evt_never_seen");
    list_thin(&stripe, &unseen);

    let report = site.events().await;
    assert_eq!((report.seen, report.known, report.inserted), (2, 1, 1), "{report:?}");
}
