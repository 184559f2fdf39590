//! Reconciling by itself: one gateway of several, and what health says.

use std::sync::Arc;
use std::time::Duration;

use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::audit::LeaseAsk;
use colony_gateway::lifecycle::Shutdown;
use colony_gateway::reconcile::{Handle, OrderRefused, Runner, Schedule, handle};
use colony_gateway::reconcile::{ReconcileOrder, ReconcileScope};
use colony_gateway::telemetry::health::{Board, Level};
use colony_gateway::telemetry::metrics::Metrics;
use tokio::task::JoinSet;

use crate::gateway::PATIENCE;
use crate::postgres::{Database, Flavour};
use crate::stripe_api::{Fault, StripeStandIn};
use crate::world::{KINDS, Kind, Site, Store, clock, event, list};

struct Running {
    handle: Handle,
    shutdown: Shutdown,
    board: Board,
    metrics: Arc<Metrics>,
    tasks: JoinSet<()>,
}

fn start(site: &Site, events: Option<Duration>) -> Running {
    let (handle, orders) = handle();
    let (metrics, board, shutdown) = (Metrics::new(), Board::default(), Shutdown::default());
    let runner = Runner {
        reconciler: Arc::clone(&site.reconciler),
        schedule: Schedule { events, subscriptions: None, grace: Duration::ZERO },
        handle: handle.clone(),
        orders,
        metrics: Arc::clone(&metrics),
        board: board.clone(),
    };
    let mut tasks = JoinSet::new();
    let stop = shutdown.clone();
    tasks.spawn(async move {
        let _ = runner.run(stop).await;
    });
    Running { handle, shutdown, board, metrics, tasks }
}

/// Lets the others work until something holds.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Clock::system();
    let started = clock.instant();
    while !done() {
        assert!(clock.instant().duration_since(started) < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_two_gateways_one_reconciles_and_the_other_takes_over() {
    for kind in KINDS {
        let (clock, stripe) = (clock(), StripeStandIn::start().await);
        let store = Store::new(kind, &clock).await;
        let (one, two) = (Site::new(&stripe, &store.ledger, &clock), Site::new(&stripe, &store.ledger, &clock));
        list(&stripe, &event(1, 500));
        let interval = Some(Duration::from_millis(200));
        let mut both = [start(&one, interval), start(&two, interval)];
        until("both know whose turn it is", || both.iter().all(|it| it.handle.status().leads.is_some())).await;
        let leads: Vec<bool> = both.iter().map(|it| it.handle.status().leads == Some(true)).collect();
        assert_ne!(leads[0], leads[1], "{kind:?}");
        let (leader, other) = if leads[0] { (0, 1) } else { (1, 0) };
        until("the leader ran", || both[leader].handle.status().ended.is_some()).await;
        assert_eq!(both[other].handle.status().runs, 0, "{kind:?}");
        assert!(both[leader].metrics.render().contains("colony_gateway_reconcile_leads 1"), "{kind:?}");

        both[leader].shutdown.drain();
        while both[leader].tasks.join_next().await.is_some() {}
        until("the other took over", || both[other].handle.status().ended.is_some()).await;
        assert_eq!(both[other].handle.status().leads, Some(true), "{kind:?}");
        both[other].shutdown.drain();
        while both[other].tasks.join_next().await.is_some() {}
        // Both have taken the event in, the one before it was applied; the ledger takes it once.
        one.work().await;
        two.work().await;
        assert_eq!(one.recorded().await, 1, "{kind:?}");
    }
}

/// They share the marks of the inbox too, by which gateways with a data directory each are told apart.
#[tokio::test]
async fn of_gateways_that_share_an_inbox_one_reconciles() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let database = Database::create(Flavour::Plain).await;
    let sharing = || Site::sharing(&database, &stripe, &store.ledger, &clock);
    let (one, two) = (sharing(), sharing());
    one.inbox.prepare().await.unwrap();
    let interval = Some(Duration::from_millis(200));
    let mut first = start(&one, interval);
    until("the first ran", || first.handle.status().ended.is_some()).await;
    let mut second = start(&two, interval);
    until("the second knows whose turn it is", || second.handle.status().leads.is_some()).await;
    assert_eq!((second.handle.status().leads, second.handle.status().runs), (Some(false), 0));
    for running in [&mut first, &mut second] {
        running.shutdown.drain();
        while running.tasks.join_next().await.is_some() {}
    }
}

#[tokio::test]
async fn a_lease_is_kept_by_its_holder_and_free_when_it_ran_out_or_was_given_back() {
    for kind in KINDS {
        let clock = clock();
        let store = Store::new(kind, &clock).await;
        let ask = |holder: &str, seconds: u64, covered: Option<i64>| LeaseAsk {
            name: "reconcile",
            holder: holder.to_owned(),
            span: Duration::from_secs(seconds),
            covered: covered.map(colony_gateway::domain::clock::Timestamp::from_millis),
        };
        let lease = |ask: LeaseAsk| {
            let ledger = Arc::clone(&store.ledger);
            async move { ledger.lease(&ask).await.unwrap() }
        };
        assert!(lease(ask("a", 3600, None)).await.mine, "{kind:?}");
        assert!(!lease(ask("b", 3600, Some(7))).await.mine, "{kind:?}");
        let kept = lease(ask("a", 3600, Some(5))).await;
        assert_eq!((kept.mine, kept.covered_ms), (true, Some(7)), "{kind:?}: the later one stays");
        assert!(!lease(ask("a", 0, None)).await.mine, "{kind:?}");
        assert!(lease(ask("b", 3600, None)).await.mine, "{kind:?}");
        assert!(!lease(ask("a", 3600, None)).await.mine, "{kind:?}");
    }
}

#[tokio::test]
async fn an_old_cursor_is_warned_of_before_events_fall_off_the_list() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    site.events().await;
    clock.advance(Duration::from_hours(26 * 24));
    (0..10_000).for_each(|_| stripe.fail_next(Fault::Status(401, &[])));
    let mut running = start(&site, Some(Duration::from_millis(50)));
    let board = running.board.clone();
    let warned = || {
        board.read().get("reconcile").is_some_and(|component| {
            component.status == Level::Degraded && component.detail.contains("26 days ago, and Stripe lists 30 days")
        })
    };
    until("the warning", warned).await;
    let age = running.metrics.render();
    assert!(age.contains("colony_gateway_reconcile_cursor_age_seconds 2246400"), "{age}");
    until("a failed run", || running.metrics.render().contains("reconcile_runs_total{result=\"failed\"} 1")).await;
    running.shutdown.drain();
    while running.tasks.join_next().await.is_some() {}
}

#[tokio::test]
async fn an_order_is_done_at_once_and_a_second_refused_meanwhile() {
    let (clock, stripe) = (clock(), StripeStandIn::start().await);
    let store = Store::new(Kind::Sqlite, &clock).await;
    let site = Site::new(&stripe, &store.ledger, &clock);
    list(&stripe, &event(1, 500));
    stripe.fail_at(1, Fault::Silence);
    let mut running = start(&site, None);
    let order = ReconcileOrder { what: ReconcileScope::Events, since_ms: None, dry_run: false };
    assert_eq!(running.handle.start(order).unwrap().runs, 1);
    assert_eq!(running.handle.start(order).unwrap_err(), OrderRefused::Busy);
    until("it asked", || !stripe.asked().is_empty()).await;
    // Ends in the middle of a page, and the next gateway begins where it was.
    running.shutdown.drain();
    while running.tasks.join_next().await.is_some() {}
    let mut running = start(&site, None);
    running.handle.start(order).unwrap();
    until("the run ended", || running.handle.status().ended.is_some()).await;
    let report = running.handle.status().report.unwrap();
    assert_eq!(report.events.unwrap().inserted, 1);
    running.shutdown.drain();
    while running.tasks.join_next().await.is_some() {}
}
