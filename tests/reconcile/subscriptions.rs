//! Subscriptions that differ from what Stripe has.

use std::time::Duration;

use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::reconcile::CONFIRMATIONS_MAX;
use colony_gateway::reconcile::{ReconcileOrder, ReconcileScope};
use colony_gateway::revenue::rows::Rank;
use colony_gateway::revenue::verdict::Verdict;
use colony_gateway::stripe::api::Fetched;
use serde_json::{Value, json};

use crate::stripe_api::StripeStandIn;
use crate::world::{KINDS, Kind, NOW, Site, Store, clock, event, list, subscription};

fn put(stripe: &StripeStandIn, object: &Value) {
    stripe.put(&format!("/v1/subscriptions/{}", object["id"].as_str().unwrap()), object.clone());
}

#[tokio::test]
async fn of_two_gateways_the_later_listing_wins_whatever_their_clocks_say() {
    let (slow, own) = (clock(), clock());
    let fast = Clock::manual(Timestamp::from_seconds(NOW + 100));
    let stripe = StripeStandIn::start().await;
    let store = Store::new(Kind::Sqlite, &slow).await;
    let (ahead, behind) = (Site::new(&stripe, &store.ledger, &fast), Site::new(&stripe, &store.ledger, &slow));
    stripe.keep_time(&own);
    let put = |status| stripe.put("/v1/subscriptions/sub_1", subscription("sub_1", status));
    put("active");
    assert_eq!(ahead.subscriptions().await.repaired, 1);
    own.advance(Duration::from_secs(10));
    put("unpaid");
    let report = behind.subscriptions().await;
    assert_eq!((report.repaired, report.overtaken, report.failed), (1, 0, 0), "{report:?}");
    let facts = store.ledger.subscription_facts(&["sub_1".to_owned()]).await.unwrap();
    assert_eq!(facts[0].values["status"], "unpaid");
}

#[tokio::test]
async fn what_differs_is_repaired_and_what_does_not_is_left_in_every_store() {
    for kind in KINDS {
        let (clock, stripe) = (clock(), StripeStandIn::start().await);
        let store = Store::new(kind, &clock).await;
        let site = Site::new(&stripe, &store.ledger, &clock);
        for number in 0..150 {
            let event = event(number, 4000);
            site.receive(&event).await;
            put(&stripe, &event["data"]["object"]);
        }
        site.work().await;
        clock.advance(Duration::from_secs(10));
        let report = site.subscriptions().await;
        assert_eq!((report.seen, report.in_order, report.pages), (150, 150, 2), "{kind:?}: {:?}", report.examples);

        // Changed at Stripe without any event, missing here, ended, another item, and one that Stripe does not know.
        let id = |number: usize| format!("sub_{number:05}");
        put(&stripe, &subscription(&id(1), "past_due"));
        put(&stripe, &subscription("sub_new", "active"));
        let mut ended = subscription(&id(2), "canceled");
        ended["canceled_at"] = json!(NOW);
        put(&stripe, &ended);
        let mut other = subscription(&id(3), "active");
        other["items"]["data"].as_array_mut().unwrap().push(json!({"quantity": 2, "price": {"id": "price_2"}}));
        put(&stripe, &other);
        stripe.remove(&format!("/v1/subscriptions/{}", id(4)));
        let dry = site.run(ReconcileOrder { what: ReconcileScope::Subscriptions, since_ms: None, dry_run: true }).await;
        let report = dry.subscriptions.unwrap();
        assert_eq!((report.missing, report.different, report.repaired), (1, 3, 0), "{kind:?}: {:?}", report.examples);

        let report = site.subscriptions().await;
        let counts = (report.missing, report.different, report.repaired, report.failed, report.unknown_at_stripe);
        assert_eq!(counts, (1, 3, 4, 0, 1), "{kind:?}: {:?}", report.examples);
        assert_eq!((report.fields["status"], report.fields["prices"]), (2, 1), "{kind:?}: {:?}", report.fields);
        let facts = store.ledger.subscription_facts(&[id(1), "sub_new".to_owned(), id(4)]).await.unwrap();
        let of = |id: &str| facts.iter().find(|facts| facts.id == id).unwrap();
        assert_eq!(of(&id(1)).values["status"], "past_due", "{kind:?}");
        assert_eq!(of("sub_new").user_id.as_deref(), Some("user_of_sub_new"), "{kind:?}: the binding came along");
        assert_eq!(of(&id(4)).values["status"], "active", "{kind:?}: not deleted");

        let report = site.subscriptions().await;
        assert_eq!((report.in_order, report.missing + report.different), (150, 0), "{kind:?}: {:?}", report.examples);
        assert!(!report.is_in_order(), "{kind:?}: one is still unknown to Stripe");
    }
}

#[tokio::test]
async fn a_repair_shows_in_the_public_tables() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Rest, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let of_user = |status: &str| {
        let mut object = subscription("sub_1", status);
        object["metadata"]["userId"] = json!("00000000-0000-4000-8000-000000000001");
        object
    };
    put(&stripe, &of_user("active"));
    assert_eq!(site.subscriptions().await.repaired, 1);
    let pool = store.database.as_ref().unwrap().sessions();
    let status = "SELECT user_id::text || ' ' || status FROM public.subscriptions";
    let shown: Vec<String> = pool.values(status).await.unwrap();
    assert_eq!(shown, ["00000000-0000-4000-8000-000000000001 active"]);
    clock.advance(Duration::from_secs(1));
    put(&stripe, &of_user("canceled"));
    assert_eq!(site.subscriptions().await.repaired, 1);
    let shown: Vec<String> = pool.values(status).await.unwrap();
    assert_eq!(shown, ["00000000-0000-4000-8000-000000000001 canceled"]);
}

#[tokio::test]
async fn a_later_fetch_is_never_overwritten() {
    for kind in KINDS {
        let (clock, stripe) = (clock(), StripeStandIn::start().await);
        let store = Store::new(kind, &clock).await;
        let site = Site::new(&stripe, &store.ledger, &clock);
        let began = Timestamp::from_seconds(NOW + 5);
        let newer = Fetched { object: subscription("sub_1", "past_due"), began };
        let verdict = site.validator.listed(&newer, None, None);
        let Verdict::Apply(plan) = &verdict else { panic!("{verdict:?}") };
        assert_eq!((plan.subscriptions[0].version.rank, plan.subscriptions[0].version.at), (Rank::Fetched, began));
        store.ledger.apply(&[verdict]).await.unwrap();
        // The listing begins before.
        put(&stripe, &subscription("sub_1", "active"));
        let report = site.subscriptions().await;
        assert_eq!((report.different, report.overtaken, report.repaired), (1, 1, 0), "{kind:?}: {:?}", report.examples);
        let facts = store.ledger.subscription_facts(&["sub_1".to_owned()]).await.unwrap();
        assert_eq!(facts[0].values["status"], "past_due", "{kind:?}");
    }
}

#[tokio::test]
async fn the_same_repair_of_the_same_row_is_one_event_and_no_event_of_stripes() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let fetched = Fetched { object: subscription("sub_1", "active"), began: clock.now() };
    let id = |replaces: Option<&str>| {
        let verdict = site.validator.listed(&fetched, None, replaces);
        verdict.event().unwrap().id.as_str().to_owned()
    };
    assert_eq!(id(None), id(None));
    assert_ne!(id(None), id(Some("1.0")));
    assert!(id(None).starts_with("gateway:"));
}

#[tokio::test]
async fn a_subscription_that_names_another_user_now_is_moved_and_in_order_from_then_on() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Postgres, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    put(&stripe, &subscription("sub_1", "active"));
    site.subscriptions().await;
    let mut other = subscription("sub_1", "past_due");
    other["metadata"]["userId"] = json!("user_of_another");
    put(&stripe, &other);
    for (different, in_order) in [(1, 0), (0, 1)] {
        clock.advance(Duration::from_secs(1));
        let report = site.subscriptions().await;
        assert_eq!(
            (report.different, report.repaired, report.failed, report.in_order),
            (different, different, 0, in_order),
            "{:?}",
            report.examples
        );
    }
    let facts = store.ledger.subscription_facts(&["sub_1".to_owned()]).await.unwrap();
    assert_eq!(facts[0].user_id.as_deref(), Some("user_of_another"));
}

#[tokio::test]
async fn what_a_rule_holds_is_written_by_a_listing_and_vouched_for_when_no_rule_does() {
    for kind in KINDS {
        let (clock, stripe) = (clock(), StripeStandIn::start().await);
        let store = Store::new(kind, &clock).await;
        let site = Site::new(&stripe, &store.ledger, &clock);
        put(&stripe, &subscription("sub_1", "active"));
        site.subscriptions().await;
        let hold = "[[rule]]\nid = 'held'\naction = 'quarantine'\n\
                    all = [{ path = 'data.object.metadata.note', equals = 'x' }]";
        site.validator.guardian().reload(hold).unwrap();
        let mut noted = subscription("sub_1", "past_due");
        noted["metadata"]["note"] = json!("x");
        put(&stripe, &noted);
        clock.advance(Duration::from_secs(1));
        let report = site.subscriptions().await;
        assert!(report.examples[0].end.contains("held withholds"), "{kind:?}: {:?}", report.examples);
        let line = store.ledger.subscriptions(10).await.unwrap().remove(0);
        assert_eq!((line.status.as_str(), line.entitles), ("past_due", true), "{kind:?}: both give it");
        let mut ended = noted.clone();
        ended["status"] = json!("canceled");
        put(&stripe, &ended);
        clock.advance(Duration::from_secs(1));
        site.subscriptions().await;
        let line = store.ledger.subscriptions(10).await.unwrap().remove(0);
        assert_eq!((line.status.as_str(), line.entitles), ("canceled", false), "{kind:?}");
        // No rule minds any more, and nothing else differs.
        site.validator.guardian().reload("").unwrap();
        clock.advance(Duration::from_secs(1));
        let report = site.subscriptions().await;
        assert_eq!((report.repaired, report.fields.get("vouched")), (1, Some(&1)), "{kind:?}: {:?}", report.examples);
        clock.advance(Duration::from_secs(1));
        assert!(site.subscriptions().await.different == 0, "{kind:?}");
    }
}

#[tokio::test]
async fn an_account_whose_events_and_subscriptions_agree_is_in_order() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    list(&stripe, &event(1, 500));
    put(&stripe, &event(1, 500)["data"]["object"]);
    let report = site.run(ReconcileOrder { what: ReconcileScope::All, since_ms: None, dry_run: false }).await;
    assert!(report.is_in_order(), "{report:?}");
    // Applied by the listing already, so the event that waits finds nothing to change.
    let ended = site.work().await;
    assert_eq!(ended.len(), 1);
}

#[tokio::test]
async fn what_the_list_lacks_is_asked_for_by_name_so_often_and_no_more() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let more = CONFIRMATIONS_MAX + 5;
    let began = clock.now();
    let verdicts: Vec<Verdict> = (0..more)
        .map(|number| {
            let object = subscription(&format!("sub_{number:05}"), "active");
            site.validator.listed(&Fetched { object, began }, None, None)
        })
        .collect();
    store.ledger.apply(&verdicts).await.unwrap();
    let report = site.subscriptions().await;
    assert_eq!((report.unknown_at_stripe, report.seen, report.error), (more as u64, 0, None));
    assert_eq!(stripe.asked().len(), 1 + CONFIRMATIONS_MAX);
}
