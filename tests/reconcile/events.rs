//! Events that Stripe lists and nobody here knows.

use std::sync::Arc;
use std::time::Duration;

use colony_gateway::config::{Config, Sources};
use colony_gateway::domain::clock::Timestamp;
use colony_gateway::inbox::{self, Action, Conclusion, LeaseRequest, Refusal, Selection};
use colony_gateway::ledger::audit::Audit as _;
use colony_gateway::ledger::sqlite::SqliteLedger;
use colony_gateway::ledger::{Ledger as _, Outcome};
use colony_gateway::reconcile::{ReconcileOrder, ReconcileScope, Refetcher};
use colony_gateway::reconcile::{SECOND_PAGES_MAX, WINDOW_PAGES_MAX};
use colony_gateway::stripe::api::PAGE_MAX;
use colony_gateway::stripe::endpoint::{Endpoint, Mode};
use colony_gateway::stripe::envelope::PayloadKind;
use serde_json::json;

use crate::stripe_api::{Fault, StripeStandIn};
use crate::world::{KINDS, Kind, NOW, Site, Store, clock, endpoint, event, list};

const DAY: i64 = 86_400;

#[tokio::test]
async fn missing_events_are_found_and_applied_once_in_every_store() {
    for kind in KINDS {
        let (clock, stripe) = (clock(), StripeStandIn::start().await);
        let store = Store::new(kind, &clock).await;
        let site = Site::new(&stripe, &store.ledger, &clock);
        let events: Vec<_> = (0..250).map(|number| event(number, 20 * DAY - number * 600)).collect();
        for event in &events {
            list(&stripe, event);
        }
        for event in &events[..100] {
            site.receive(event).await;
        }
        assert_eq!(site.work().await.len(), 100, "{kind:?}");
        for event in &events[100..150] {
            site.receive(event).await;
        }

        let report = site.events().await;
        assert_eq!((report.seen, report.known, report.in_hand), (250, 100, 50), "{kind:?}: {report:?}");
        assert_eq!((report.missing, report.inserted, &report.error), (100, 100, &None), "{kind:?}");
        assert_eq!(site.cursor().await, Some(NOW), "{kind:?}");
        let ended = site.work().await;
        assert!(ended.iter().all(|(_, outcome)| *outcome == Outcome::Applied), "{kind:?}: {ended:?}");
        let expected: Vec<&str> = events[100..].iter().map(|event| event["id"].as_str().unwrap()).collect();
        let order: Vec<&str> = ended.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(order, expected, "{kind:?}: the oldest first");
        assert_eq!(site.recorded().await, 250, "{kind:?}");

        // The webhook of one that was taken in comes after all, and the next run finds nothing.
        assert!(site.receive(&events[200]).await.is_duplicate(), "{kind:?}");
        let report = site.events().await;
        assert_eq!((report.missing, report.inserted), (0, 0), "{kind:?}: {report:?}");
    }
}

#[tokio::test]
async fn the_next_run_reads_an_hour_before_the_cursor_again_and_no_more() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    site.events().await;
    // Listed late: older than the cursor, younger than what is read again.
    list(&stripe, &event(1, 3000));
    clock.advance(Duration::from_mins(1));
    let asked = stripe.asked().len();
    let report = site.events().await;
    assert_eq!((report.missing, report.inserted), (1, 1), "{report:?}");
    let query = &stripe.asked()[asked].query;
    assert!(query.contains(&("created[gte]".to_owned(), (NOW - 3600).to_string())), "{query:?}");
    assert!(!query.iter().any(|(key, _)| key == "delivery_success"), "{query:?}");
}

#[tokio::test]
async fn a_page_that_fails_leaves_the_cursor_and_the_next_run_loses_nothing() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    (0..1500).for_each(|number| list(&stripe, &event(number, 10 * DAY - number * 500)));
    // Three pages of a later window: what went before stays done.
    stripe.fail_at(9, Fault::Status(400, &[]));
    let report = site.events().await;
    assert!(report.error.as_ref().is_some_and(|error| error.contains("status 400")), "{report:?}");
    let (stopped, inserted) = (site.cursor().await, report.inserted);
    assert!(inserted < 1500, "{report:?}");
    assert!(stopped.is_none_or(|cursor| cursor < NOW), "{stopped:?}");
    let held = site.inbox.counts().await.unwrap().waiting;
    assert_eq!(held, inserted);

    let report = site.events().await;
    assert_eq!((report.error, report.in_hand + report.inserted >= 1500 - inserted), (None, true));
    assert_eq!((site.inbox.counts().await.unwrap().waiting, site.cursor().await), (1500, Some(NOW)));
}

#[tokio::test]
async fn faults_that_pass_cost_nothing_but_time() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    (0..250).for_each(|number| list(&stripe, &event(number, 10 * DAY - number * 500)));
    stripe.fail_at(1, Fault::Status(429, &[("stripe-should-retry", "true"), ("retry-after", "0")]));
    stripe.fail_at(3, Fault::Cut);
    stripe.fail_at(5, Fault::Status(500, &[]));
    stripe.fail_at(6, Fault::Status(409, &[("stripe-should-retry", "true")]));
    let report = site.events().await;
    assert_eq!((report.missing, report.inserted, report.error), (250, 250, None));
}

#[tokio::test]
async fn a_fault_that_stays_ends_the_run_after_so_many_attempts() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    list(&stripe, &event(1, 500));
    (0..200).for_each(|_| stripe.fail_next(Fault::Status(409, &[])));
    let report = site.events().await;
    assert!(report.error.is_some_and(|error| error.contains("status 409")));
    let each = colony_gateway::stripe::api::ATTEMPTS_MAX * colony_gateway::reconcile::ATTEMPTS_MAX;
    assert_eq!((stripe.asked().len(), site.cursor().await), (each as usize, None));
}

#[tokio::test]
async fn windows_hold_few_pages_and_begin_with_the_oldest() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    // Sparse at first, then dense.
    (0..50).for_each(|number| list(&stripe, &event(number, 20 * DAY - number * 20_000)));
    (50..3000).for_each(|number| list(&stripe, &event(number, 4000 - number)));
    let report = site.events().await;
    assert_eq!((report.inserted, report.error), (3000, None));
    assert!(report.pages < 80, "{} pages for 30 full ones", report.pages);
    // Between two windows no more pages are read than one may have.
    let mut in_window = 0;
    for asked in stripe.asked() {
        let continues = asked.query.iter().any(|(key, _)| key == "starting_after");
        in_window = if continues { in_window + 1 } else { 1 };
        assert!(in_window <= WINDOW_PAGES_MAX, "{in_window}");
    }
    let order: Vec<String> = site.work().await.into_iter().map(|(id, _)| id).collect();
    assert!(order.is_sorted(), "the oldest first");
}

#[tokio::test]
async fn one_second_may_hold_so_many_pages_and_more_is_an_error() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let most = SECOND_PAGES_MAX * PAGE_MAX;
    let small = |number: usize| {
        json!({"id": format!("evt_{number:05}"), "object": "event", "type": "product.created", "created": NOW - 100,
            "livemode": false})
    };
    (0..most).for_each(|number| list(&stripe, &small(number)));
    let order = ReconcileOrder { what: ReconcileScope::Events, since_ms: Some((NOW - 100) * 1000), dry_run: true };
    let report = site.run(order).await.events.unwrap();
    assert_eq!((report.seen, report.unmapped, report.error), (most as u64, most as u64, None));
    list(&stripe, &small(most));
    let report = site.run(order).await.events.unwrap();
    assert!(report.error.is_some_and(|error| error.contains("of one second")));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    list(&stripe, &event(1, 500));
    let report = site.run(ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: true }).await;
    assert!(!report.is_in_order());
    let events = report.events.unwrap();
    assert_eq!((events.missing, events.inserted), (1, 0));
    assert_eq!((site.inbox.counts().await.unwrap().waiting, site.cursor().await), (0, None));
}

#[tokio::test]
async fn a_run_over_a_later_time_does_not_move_the_cursor_over_a_gap() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let since =
        |seconds: i64| ReconcileOrder { what: ReconcileScope::Events, since_ms: Some(seconds * 1000), dry_run: false };
    site.run(since(NOW - 7 * DAY)).await;
    assert_eq!(site.cursor().await, None);
    site.events().await;
    clock.advance(Duration::from_hours(7 * 24));
    site.run(since(NOW + 6 * DAY)).await;
    assert_eq!(site.cursor().await, Some(NOW));
    site.run(since(NOW - DAY)).await;
    assert_eq!(site.cursor().await, Some(NOW + 7 * DAY));
}

#[tokio::test]
async fn an_event_that_was_settled_and_that_the_ledger_has_lost_is_worked_on_again() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let (before, after) = (Store::new(Kind::Sqlite, &clock).await, Store::new(Kind::Sqlite, &clock).await);
    let site = Site::new(&stripe, &before.ledger, &clock);
    let lost = event(1, 500);
    list(&stripe, &lost);
    site.receive(&lost).await;
    site.work().await;
    assert_eq!(site.events().await.known, 1);
    // A backup of the database was restored that is older than the event.
    let reconciler = colony_gateway::reconcile::Reconciler {
        ledger: std::sync::Arc::clone(&after.ledger),
        api: std::sync::Arc::clone(&site.reconciler.api),
        inbox: site.inbox.clone(),
        validator: std::sync::Arc::clone(&site.validator),
        endpoints: site.reconciler.endpoints.clone(),
        accounts: Vec::new(),
        scratch: site.directory.path().to_owned(),
        backoff: site.reconciler.backoff,
        clock: clock.clone(),
    };
    let order = ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: false };
    let report = reconciler.run(colony_gateway::reconcile::RunTerms::ordered(order), |_| {}).await.events.unwrap();
    assert_eq!((report.missing, report.inserted), (1, 1), "{report:?}");
    let counts = site.inbox.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.settled), (1, 0));
}

#[tokio::test]
async fn a_damaged_body_is_fetched_again_by_an_order_of_its_own() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let damaged = event(1, 500);
    list(&stripe, &damaged);
    site.receive(&damaged).await;
    let file = rusqlite::Connection::open(site.directory.path().join("inbox.db")).unwrap();
    file.execute("UPDATE bodies SET body = substr(body, 1, length(body) - 1)", []).unwrap();
    let request = LeaseRequest { entries_max: 1, bytes_max: 4 << 20, duration: Duration::from_mins(1) };
    let leased = site.inbox.lease(request).await.unwrap().entries.remove(0);
    let verdicts = site.validator.validate(std::slice::from_ref(&leased.body)).await;
    assert_ne!(site.reconciler.ledger.apply(&verdicts).await.unwrap(), [Outcome::Applied], "it holds no event");
    let dead = Conclusion::Dead { code: "malformed_json".into(), reason: "no text".into() };
    site.inbox.conclude(vec![(leased.lease, dead)]).await.unwrap();
    let report = site.events().await;
    assert_eq!((report.in_hand, report.inserted), (1, 0), "a person has not decided yet: {report:?}");
    let refetcher = Refetcher { api: Arc::clone(&site.reconciler.api), inbox: site.inbox.clone() };
    let refetch = inbox::Order { action: Action::Refetch, by: None, note: Some("damaged".to_owned()) };
    stripe.fail_next(Fault::Status(404, &[]));
    let step = refetcher.operate(&Selection::default(), &refetch, false, None).await.unwrap();
    assert_eq!(step.entries[0].refused, Some(Refusal::NotAtStripe), "neither list has it");
    let step = refetcher.operate(&Selection::default(), &refetch, false, None).await.unwrap();
    assert_eq!((step.changed(), step.next), (1, None));
    assert_eq!(site.work().await, [("evt_00001".to_owned(), Outcome::Applied)]);
}

#[tokio::test]
async fn what_was_dropped_stays_so_also_when_the_ledger_has_lost_it() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    let forged = event(1, 500);
    list(&stripe, &forged);
    site.receive(&forged).await;
    let request = LeaseRequest { entries_max: 1, bytes_max: 4 << 20, duration: Duration::from_mins(1) };
    let leased = site.inbox.lease(request).await.unwrap().entries.remove(0);
    let dead = Conclusion::Dead { code: "leases_lost".into(), reason: "no bee ended it".into() };
    site.inbox.conclude(vec![(leased.lease, dead)]).await.unwrap();
    let drop = inbox::Order { action: Action::Drop, by: Some("ana".to_owned()), note: Some("forged".to_owned()) };
    site.inbox.operate(&Selection::default(), &drop, false, None).await.unwrap();
    assert_eq!(site.inbox.untold_drops().await.unwrap().len(), 1);
    let directory = site.directory.path().display().to_string();
    let environment = [("GATEWAY_DATA_DIR".to_owned(), directory)].into();
    let config = Config::for_tools(&Sources { environment, file: None }).unwrap();
    assert!(colony_gateway::app::tell_drops(&config, &site.inbox).await.is_err(), "a command makes no ledger");
    let _made = SqliteLedger::open(&site.directory.path().join("ledger.db"), clock.clone()).unwrap();
    colony_gateway::app::tell_drops(&config, &site.inbox).await.unwrap();
    assert_eq!(site.inbox.untold_drops().await.unwrap(), []);
    // A process of the colony that still had it ends now.
    let ledger = SqliteLedger::open(&site.directory.path().join("ledger.db"), clock.clone()).unwrap();
    let late = site.validator.validate(&[forged.to_string().into()]).await;
    assert_eq!(ledger.apply(&late).await.unwrap(), [Outcome::Duplicate]);
    assert_eq!(ledger.subscription_facts(&["sub_00001".to_owned()]).await.unwrap(), []);

    // This ledger does not know it, as after a backup of before was restored.
    for _ in 0..2 {
        let report = site.events().await;
        assert_eq!((report.dropped, report.missing, report.inserted), (1, 0, 0), "{report:?}");
    }
    assert_eq!(site.inbox.untold_drops().await.unwrap().len(), 1, "the ledger is to be told again");
    assert_eq!(site.work().await, []);
    let story = site.inbox.story(leased_entry(&site).await, false).await.unwrap().unwrap();
    assert_eq!(story.entry.outcome.as_deref(), Some("dropped"));
    assert_eq!(story.orders[0].note.as_deref(), Some("forged"));
}

async fn leased_entry(site: &Site) -> colony_gateway::domain::ids::EntryId {
    site.inbox.entries_of_event("evt_00001".to_owned()).await.unwrap()[0]
}

#[tokio::test]
async fn an_event_goes_to_the_endpoint_of_its_mode_and_account() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let endpoints = vec![
        endpoint("live", Mode::Live, Some(false)),
        endpoint("connect", Mode::Test, Some(true)),
        endpoint("test", Mode::Test, Some(false)),
    ];
    let site = Site::with(&stripe, &store.ledger, &clock, endpoints, vec!["acct_1".to_owned()]);
    let (own, mut foreign) = (event(1, 500), event(2, 500));
    let connected = event(3, 500);
    list(&stripe, &own);
    foreign["livemode"] = json!(true);
    foreign["account"] = json!("acct_9");
    list(&stripe, &foreign);
    // As Stripe lists it: without the account.
    stripe.put("/acct_1/v1/events/evt_00003", connected);
    let report = site.events().await;
    assert_eq!((report.seen, report.foreign, report.inserted), (3, 1, 2), "{report:?}");
    let newest = site.inbox.newest(10).await.unwrap();
    let of = |id: &str| newest.iter().find(|entry| entry.event_id.as_str() == id).unwrap().endpoint.as_str().to_owned();
    assert_eq!((of("evt_00001"), of("evt_00003")), ("test".to_owned(), "connect".to_owned()));
    assert!(site.inbox.mark("reconcile.events:acct_1").await.unwrap().is_some());
    site.work().await;
    let facts = store.ledger.subscription_facts(&["sub_00003".to_owned()]).await.unwrap();
    assert_eq!(facts[0].values["account"], "acct_1");
}

#[tokio::test]
async fn events_that_fell_off_the_list_are_said_to_be_lost_once_and_loudly() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    site.events().await;
    clock.advance(Duration::from_hours(40 * 24));
    let report = site.run(ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: false }).await;
    assert!(!report.is_in_order());
    let expected = Timestamp::from_seconds(NOW + 10 * DAY).to_string();
    assert_eq!(report.events.unwrap().lost_before, Some(expected));
    let report = site.run(ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: false }).await;
    assert!(report.is_in_order(), "{report:?}");
}

/// A machine whose clock is hours ahead until it is set, such as after a start without a time server.
#[tokio::test]
async fn a_clock_that_was_ahead_leaves_no_time_uncompared() {
    let (own, stripes, stripe) = (clock(), clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &own).await;
    let thin = Endpoint { payload: PayloadKind::Thin, ..endpoint("thin", Mode::Any, None) };
    let endpoints = vec![endpoint("stripe", Mode::Any, None), thin];
    let site = Site::with(&stripe, &store.ledger, &own, endpoints, Vec::new());
    stripe.keep_time(&stripes);
    own.advance(Duration::from_hours(3));
    assert_eq!(site.events().await.error, None);
    let cursor = site.reconciler.cursor().await.unwrap().unwrap();
    assert!((NOW - 60..=NOW).contains(&cursor.seconds()), "{cursor} is not beyond Stripe's own time");
    // Its webhook is lost.
    list(&stripe, &event(1, -600));
    stripes.advance(Duration::from_mins(30));
    own.set(stripes.now());
    let mut report = site.events().await;
    // Dates of answers that differ this much are believed once most of them agree.
    while report.error.is_some() {
        report = site.events().await;
    }
    assert_eq!(report.inserted, 1, "{report:?}");
    assert_eq!(site.cursor().await, Some(NOW + 1800));
}

#[tokio::test]
async fn a_cursor_that_is_ahead_of_time_counts_for_nothing() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    list(&stripe, &event(1, 5 * DAY));
    site.inbox.set_mark("reconcile.events".to_owned(), (NOW + 7200) * 1000).await.unwrap();
    let report = site.events().await;
    assert_eq!((report.inserted, report.lost_before, report.error), (1, None, None));
    assert_eq!(site.cursor().await, Some(NOW));
}
