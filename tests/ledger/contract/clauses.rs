//! The contract clause by clause.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::domain::limits::BATCH_ENTRIES_MAX;
use colony_gateway::ledger::Outcome;
use colony_gateway::ledger::report::{Counts, DayLine, RecurringLine, SubscriptionLine};
use colony_gateway::revenue::rows::{Action, BindingKind, ClaimRank, Decision, RevenueKind, Severity, Standing};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, event, preference};
use crate::stores::Store;

type Clause = for<'a> fn(&'a dyn Store) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every clause, each on an emptied store.
pub(crate) async fn holds(store: &dyn Store) {
    let clauses: [(&str, Clause); 18] = [
        ("a duplicate changes nothing", |store| Box::pin(duplicates(store))),
        ("an older version is recorded and changes nothing", |store| Box::pin(older_versions(store))),
        ("an event without rows is applied", |store| Box::pin(events_without_rows(store))),
        ("verdicts that are not applied", |store| Box::pin(verdicts_not_applied(store))),
        ("a quarantined event waits for its release", |store| Box::pin(releases(store))),
        ("a dropped event stays dropped until it is named", |store| Box::pin(drops(store))),
        ("a replay writes again what was lost and counts nothing twice", |store| Box::pin(replays(store))),
        ("a replay judges a quarantined event anew", |store| Box::pin(replays_of_quarantined(store))),
        ("claims that contradict each other are all kept", |store| Box::pin(claims(store))),
        ("a subscription moves with the newer claim", |store| Box::pin(moves(store))),
        ("what a rule holds is written and gives nothing", |store| Box::pin(suspects(store))),
        ("a held cancellation takes effect", |store| Box::pin(held_cancellations(store))),
        ("an orphan heals", |store| Box::pin(orphans(store))),
        ("a full batch", |store| Box::pin(full_batches(store))),
        ("the summary adds up", |store| Box::pin(summaries(store))),
        ("days are those of UTC where a zone changes its clocks", |store| Box::pin(days_of_changed_clocks(store))),
        ("money counts once", |store| Box::pin(money_counts_once(store))),
        ("a refund total counts what single refunds leave", |store| Box::pin(refund_totals(store))),
    ];
    for (name, clause) in clauses {
        eprintln!("{name}");
        store.clear().await;
        clause(store).await;
    }
    store.ledger().check().await.unwrap();
}

async fn apply(store: &dyn Store, batch: &[Verdict]) -> Vec<Outcome> {
    store.ledger().apply(batch).await.unwrap()
}

async fn counts(store: &dyn Store) -> Counts {
    store.ledger().summary(10).await.unwrap().counts
}

fn held_back(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Quarantined { rule, .. } => rule,
        other => panic!("{other:?} is not held back"),
    }
}

async fn duplicates(store: &dyn Store) {
    let one = Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict();
    assert_eq!(apply(store, &[]).await, []);
    assert_eq!(apply(store, &[one.clone(), one.clone()]).await, [Outcome::Applied, Outcome::Duplicate]);
    let before = store.contents().await;
    assert_eq!(apply(store, &[one]).await, [Outcome::Duplicate]);
    // The same id with other content is still the same event.
    let forged = Planned::new("evt_1", "customer.updated", 9).customer("cus_1", true).verdict();
    assert_eq!(apply(store, &[forged]).await, [Outcome::Duplicate]);
    assert_eq!(store.contents().await, before);
}

async fn older_versions(store: &dyn Store) {
    let update = |id: &str, seconds, status| {
        Planned::new(id, "customer.subscription.updated", seconds)
            .subscription("sub_1", "cus_1", status, |_| {})
            .verdict()
    };
    let batch = [update("evt_2", 2, "active"), update("evt_1", 1, "trialing"), update("evt_3", 3, "past_due")];
    assert_eq!(apply(store, &batch).await, [Outcome::Applied, Outcome::Stale, Outcome::Applied]);
    let batch = [update("evt_4", 2, "paused"), update("evt_5", 1, "canceled"), update("evt_6", 9, "active")];
    assert_eq!(apply(store, &batch).await, [Outcome::Stale, Outcome::Applied, Outcome::Stale]);
    let lines = store.ledger().subscriptions(10).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.status.as_str()).collect::<Vec<_>>(), ["canceled"]);
}

async fn events_without_rows(store: &dyn Store) {
    let batch = [Planned::new("evt_1", "charge.failed", 0).verdict()];
    assert_eq!(apply(store, &batch).await, [Outcome::Applied]);
    assert_eq!(counts(store).await, Counts { events: 1, ..Counts::default() });
}

fn quarantine(id: &str) -> Verdict {
    let decision = Decision {
        rule: "price_map".to_owned(),
        severity: Severity::Warning,
        action: Action::Quarantine,
        reason: "price is in no map".to_owned(),
    };
    Verdict::Quarantine {
        event: event(id, "customer.subscription.created", 0),
        rule: "price_map".to_owned(),
        reason: "price is in no map".to_owned(),
        decisions: vec![decision],
    }
}

async fn verdicts_not_applied(store: &dyn Store) {
    let ignore = Verdict::Ignore { event: event("evt_1", "price.created", 0), decisions: Vec::new(), reopen: false };
    let reject = Verdict::Reject { code: "not_an_event", reason: "no id".to_owned() };
    let outcomes = apply(store, &[reject, ignore.clone(), quarantine("evt_2"), ignore]).await;
    let failed = Outcome::Failed { code: "not_an_event".to_owned(), reason: "no id".to_owned() };
    let held = Outcome::Quarantined { rule: "price_map".to_owned(), reason: "price is in no map".to_owned() };
    assert_eq!(outcomes, [failed, Outcome::Ignored, held, Outcome::Duplicate]);
    assert_eq!(counts(store).await, Counts { events: 2, quarantined: 1, decisions: 1, ..Counts::default() });
}

fn drop_of(id: &str) -> Verdict {
    Verdict::Drop { event: event(id, "customer.subscription.created", 0), reason: "dropped by ana: forged".to_owned() }
}

/// What a person dropped stays so, whoever brings it, until a person asks for it by name; what was applied stays applied.
async fn drops(store: &dyn Store) {
    let plan = |id: &str, subscription: &str| {
        Planned::new(id, "customer.subscription.created", 0).subscription(subscription, "cus_1", "active", |_| {})
    };
    assert_eq!(apply(store, &[quarantine("evt_held")]).await.len(), 1);
    assert_eq!(apply(store, &[drop_of("evt_new"), drop_of("evt_held")]).await, [Outcome::Ignored, Outcome::Ignored]);
    // A process of the colony that still ran, another gateway, Stripe's list.
    let late = [plan("evt_new", "sub_1").verdict(), plan("evt_held", "sub_2").verdict(), quarantine("evt_new")];
    assert_eq!(apply(store, &late).await, [Outcome::Duplicate, Outcome::Duplicate, Outcome::Duplicate]);
    assert_eq!(apply(store, &[drop_of("evt_new")]).await, [Outcome::Ignored], "told twice");
    let counted = counts(store).await;
    assert_eq!((counted.events, counted.subscriptions, counted.quarantined), (2, 0, 0));
    let ids = ["evt_new".to_owned(), "evt_held".to_owned()];
    assert_eq!(store.ledger().known_events(&ids).await.unwrap().len(), 2);
    let said = store.ledger().witness(&ids).await.unwrap().events;
    assert!(said.iter().all(|recorded| recorded.outcome.as_str() == "duplicate"), "{said:?}");

    let named = plan("evt_new", "sub_1").with(|plan| plan.replayed = true).verdict();
    assert_eq!(apply(store, &[named]).await, [Outcome::Applied]);
    assert_eq!(apply(store, &[drop_of("evt_new")]).await, [Outcome::Duplicate], "it is applied");
    let counted = counts(store).await;
    assert_eq!((counted.events, counted.subscriptions), (2, 1));
}

async fn releases(store: &dyn Store) {
    let plan =
        Planned::new("evt_1", "customer.subscription.created", 0).subscription("sub_1", "cus_1", "active", |_| {});
    let released = plan.clone().with(|plan| plan.released = true).verdict();
    assert_eq!(held_back(&apply(store, &[quarantine("evt_1")]).await[0]), "price_map");
    // A delivery that comes again, under rules that no longer mind, does not release it.
    assert_eq!(held_back(&apply(store, &[plan.verdict()]).await[0]), "price_map");
    assert_eq!(counts(store).await.subscriptions, 0);
    let outcomes = apply(store, &[released.clone(), released.clone()]).await;
    assert_eq!(outcomes, [Outcome::Applied, Outcome::Duplicate]);
    assert_eq!(apply(store, &[released, quarantine("evt_1")]).await, [Outcome::Duplicate, Outcome::Duplicate]);
    let counts = counts(store).await;
    assert_eq!((counts.quarantined, counts.subscriptions, counts.events), (0, 1, 1));
}

/// The same events as a person would replay them.
fn replayed(planned: &[Planned]) -> Vec<Verdict> {
    planned.iter().map(|planned| planned.clone().with(|plan| plan.replayed = true).verdict()).collect()
}

async fn replays(store: &dyn Store) {
    let story = [
        Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).customer_user("cus_1", "user_1"),
        Planned::new("evt_2", "customer.subscription.created", 1).subscription("sub_1", "cus_1", "active", |_| {}),
        Planned::new("evt_3", "invoice.paid", 2).money(RevenueKind::Invoice, "in_1", 999, |_| {}),
        Planned::new("evt_4", "charge.succeeded", 2)
            .money(RevenueKind::Payment, "pi_1", 999, |_| {})
            .link("pi_1", "in_1"),
        Planned::new("evt_5", "customer.subscription.updated", 3).subscription("sub_1", "cus_1", "past_due", |_| {}),
        Planned::new("evt_6", "charge.failed", 3),
    ];
    let plain: Vec<Verdict> = story.iter().map(|planned| planned.clone().verdict()).collect();
    assert!(apply(store, &plain).await.iter().all(|outcome| *outcome == Outcome::Applied));
    let (whole, counted) = (store.contents().await, store.counted().await);
    assert!(apply(store, &replayed(&story)).await.iter().all(|outcome| *outcome == Outcome::Duplicate));
    assert_eq!(store.contents().await, whole, "there was nothing to repair");
    for table in ["revenue_entries", "claims", "stripe_subscriptions", "payment_links", "stripe_customers"] {
        store.lose(table).await;
        assert!(apply(store, &plain).await.iter().all(|outcome| *outcome == Outcome::Duplicate), "{table}");
        assert_ne!(store.contents().await, whole, "{table}: a delivery that comes again repairs nothing");
        // In a batch of several, and in the wrong order: the newest version stays.
        let mut again = replayed(&story);
        again.reverse();
        assert!(apply(store, &again).await.contains(&Outcome::Applied), "{table}");
        assert_eq!((store.contents().await, store.counted().await), (whole.clone(), counted.clone()), "{table}");
    }
    // What the ledger has forgotten altogether is applied as if it came for the first time.
    store.clear().await;
    assert!(apply(store, &replayed(&story)).await.iter().all(|outcome| *outcome == Outcome::Applied));
    assert_eq!((store.contents().await, store.counted().await), (whole, counted));
}

async fn replays_of_quarantined(store: &dyn Store) {
    let plan =
        Planned::new("evt_1", "customer.subscription.created", 0).subscription("sub_1", "cus_1", "active", |_| {});
    assert_eq!(held_back(&apply(store, &[quarantine("evt_1")]).await[0]), "price_map");
    // Rules that still mind hold it back still.
    assert_eq!(held_back(&apply(store, &[quarantine("evt_1")]).await[0]), "price_map");
    assert_eq!(apply(store, &replayed(&[plan])).await, [Outcome::Applied]);
    apply(store, &[quarantine("evt_2")]).await;
    let ignore = |reopen| Verdict::Ignore { event: event("evt_2", "price.created", 0), decisions: Vec::new(), reopen };
    assert_eq!(held_back(&apply(store, &[ignore(false)]).await[0]), "price_map");
    assert_eq!(apply(store, &[ignore(true)]).await, [Outcome::Ignored]);
    assert_eq!(apply(store, &[ignore(true)]).await, [Outcome::Duplicate]);
    assert_eq!(counts(store).await.quarantined, 0);
}

async fn claims(store: &dyn Store) {
    let bind = |id: &str, user: &str| {
        Planned::new(id, "customer.updated", 0).customer_user("cus_1", user).subscription(
            "sub_1",
            "cus_1",
            "active",
            |_| {},
        )
    };
    let batch =
        [bind("evt_1", "user_1").verdict(), bind("evt_2", "user_2").verdict(), bind("evt_3", "user_1").verdict()];
    // In one batch or one by one: nothing is held for what another says.
    assert!(apply(store, &batch).await.iter().all(|outcome| *outcome == Outcome::Applied));
    let owner = async || store.ledger().subscriptions(10).await.unwrap()[0].user_id.clone();
    assert_eq!((owner().await, counts(store).await.claims), (None, 2), "contested");
    assert_eq!(counts(store).await.quarantined, 0);
    // A subscription with a claim of its own goes on, and an operator's word about the customer leaves it alone.
    let own = Planned::new("evt_4", "x", 1).subscription_user("sub_1", "user_3").verdict();
    apply(store, &[own]).await;
    assert_eq!(owner().await.as_deref(), Some("user_3"));
    let word = Planned::new("evt_5", "x", 2).claim(ClaimRank::OperatorOfCustomer, "cus_1", "user_1").verdict();
    let other = Planned::new("evt_6", "x", 0).subscription("sub_2", "cus_1", "active", |_| {}).verdict();
    apply(store, &[word, other]).await;
    let lines = store.ledger().subscriptions(10).await.unwrap();
    let owners: BTreeMap<&str, Option<&str>> =
        lines.iter().map(|line| (line.id.as_str(), line.user_id.as_deref())).collect();
    assert_eq!(owners, BTreeMap::from([("sub_1", Some("user_3")), ("sub_2", Some("user_1"))]));
    // Later events with the old claim say nothing new.
    let renewal = bind("evt_7", "user_2").verdict();
    apply(store, &[renewal]).await;
    assert_eq!(counts(store).await.quarantined, 0);
    let word = Planned::new("evt_8", "x", 3).claim(ClaimRank::Operator, "sub_1", "user_2").verdict();
    apply(store, &[word]).await;
    assert!(
        store.ledger().subscriptions(10).await.unwrap().iter().any(|line| line.user_id.as_deref() == Some("user_2"))
    );
}

async fn moves(store: &dyn Store) {
    let told = |id: &str, seconds, user: &str, status: &str| {
        Planned::new(id, "customer.subscription.updated", seconds)
            .subscription("sub_1", "cus_1", status, |_| {})
            .subscription_user("sub_1", user)
            .verdict()
    };
    let events = [
        told("evt_1", 1, "user_1", "active"),
        told("evt_2", 2, "user_2", "active"),
        told("evt_3", 3, "user_2", "canceled"),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        store.clear().await;
        for place in order {
            let outcome = &apply(store, &[events[place].clone()]).await[0];
            assert!(matches!(outcome, Outcome::Applied | Outcome::Stale), "{outcome:?}");
        }
        let line = &store.ledger().subscriptions(10).await.unwrap()[0];
        let state = (line.user_id.as_deref(), line.status.as_str(), line.entitles, line.mrr_minor);
        assert_eq!(state, (Some("user_2"), "canceled", false, 0), "{order:?}");
    }
}

async fn suspects(store: &dyn Store) {
    let told = Planned::new("evt_1", "customer.subscription.created", 0)
        .subscription("sub_1", "cus_1", "active", |_| {})
        .subscription_user("sub_1", "user_1")
        .money(RevenueKind::Invoice, "in_1", 999, |_| {});
    assert_eq!(held_back(&apply(store, &[told.clone().suspect().verdict()]).await[0]), "large");
    let lines = store.ledger().subscriptions(10).await.unwrap();
    let state = |line: &SubscriptionLine| (line.user_id.clone(), line.status.clone(), line.entitles, line.tier.clone());
    assert_eq!(state(&lines[0]), (None, "active".to_owned(), false, None));
    let counts_held = counts(store).await;
    assert_eq!((counts_held.quarantined, counts_held.revenue_entries, counts_held.claims), (1, 1, 0));
    // It waits for a person: neither a delivery that comes again nor a replay under the same rules changes that.
    assert_eq!(held_back(&apply(store, &[told.clone().suspect().verdict()]).await[0]), "large");
    let replay = told.clone().suspect().with(|plan| plan.replayed = true).verdict();
    assert_eq!(held_back(&apply(store, &[replay]).await[0]), "large");
    let released = told.clone().with(|plan| plan.released = true).verdict();
    assert_eq!(apply(store, &[released]).await, [Outcome::Applied]);
    let lines = store.ledger().subscriptions(10).await.unwrap();
    let expected = (Some("user_1".to_owned()), "active".to_owned(), true, Some("silver".to_owned()));
    assert_eq!((state(&lines[0]), counts(store).await.quarantined), (expected, 0));
    // A rule that would hold it now changes nothing about what was vouched for.
    let replay = told.suspect().with(|plan| plan.replayed = true).verdict();
    assert_eq!(apply(store, &[replay]).await, [Outcome::Duplicate]);
    assert!(store.ledger().subscriptions(10).await.unwrap()[0].entitles);
}

async fn held_cancellations(store: &dyn Store) {
    let told = |id: &str, seconds, status: &str, tier: &str| {
        let tier = tier.to_owned();
        Planned::new(id, "customer.subscription.updated", seconds)
            .subscription("sub_1", "cus_1", status, move |row| {
                row.preference = preference(row.entitles, &tier, "sub_1");
                row.tier = Some(tier);
            })
            .subscription_user("sub_1", "user_1")
    };
    let batch =
        [told("evt_1", 1, "active", "silver").verdict(), told("evt_2", 2, "active", "gold").suspect().verdict()];
    apply(store, &batch).await;
    let line = store.ledger().subscriptions(10).await.unwrap().remove(0);
    assert_eq!((line.entitles, line.tier.as_deref()), (true, Some("silver")), "of two tiers the lower");
    let refund =
        told("evt_3", 3, "canceled", "silver").money(RevenueKind::Refund, "re_1", -500, |_| {}).suspect().verdict();
    assert_eq!(held_back(&apply(store, &[refund]).await[0]), "large");
    let line = store.ledger().subscriptions(10).await.unwrap().remove(0);
    assert_eq!((line.status.as_str(), line.entitles, line.mrr_minor), ("canceled", false, 0));
    assert_eq!(store.counted().await, [("refund".to_owned(), "re_1".to_owned(), -500, 0)]);
}

async fn orphans(store: &dyn Store) {
    let batch = [Planned::new("evt_1", "x", 0).subscription("sub_1", "cus_1", "active", |_| {}).verdict()];
    apply(store, &batch).await;
    assert_eq!(counts(store).await.orphans, 1);
    apply(store, &[Planned::new("evt_2", "x", 0).customer_user("cus_1", "user_1").verdict()]).await;
    let lines = store.ledger().subscriptions(10).await.unwrap();
    assert_eq!((counts(store).await.orphans, lines[0].user_id.as_deref()), (0, Some("user_1")));
    // What is said of the subscription itself stands above what is said of its customer.
    apply(store, &[Planned::new("evt_3", "x", 0).subscription_user("sub_1", "user_7").verdict()]).await;
    assert_eq!(store.ledger().subscriptions(10).await.unwrap()[0].user_id.as_deref(), Some("user_7"));
}

async fn full_batches(store: &dyn Store) {
    let batch: Vec<Verdict> = (0..BATCH_ENTRIES_MAX)
        .map(|number| {
            Planned::new(&format!("evt_{number}"), "x", 0)
                .subscription(&format!("sub_{number}"), "cus_1", "active", |_| {})
                .customer_user(&format!("cus_{number}"), &format!("user_{number}"))
                .verdict()
        })
        .collect();
    assert!(apply(store, &batch).await.iter().all(|outcome| *outcome == Outcome::Applied));
    assert!(apply(store, &batch).await.iter().all(|outcome| *outcome == Outcome::Duplicate));
    assert_eq!(counts(store).await.subscriptions, 256);
    assert_eq!(store.ledger().subscriptions(10).await.unwrap().len(), 10);
}

async fn summaries(store: &dyn Store) {
    let subscribe = |number: i64, status: &str, tier: Option<&str>| {
        Planned::new(&format!("evt_{number}"), "x", 0)
            .subscription(&format!("sub_{number}"), "cus_1", status, |row| row.tier = tier.map(str::to_owned))
            .verdict()
    };
    let batch = [
        subscribe(1, "active", Some("gold")),
        subscribe(2, "past_due", Some("gold")),
        subscribe(3, "trialing", Some("gold")),
        subscribe(4, "active", None),
        subscribe(5, "canceled", Some("gold")),
        Planned::new("evt_6", "x", 0).binding(BindingKind::SubscriptionTier, "sub_4", "bronze").verdict(),
        Planned::new("evt_7", "x", 0).money(RevenueKind::Invoice, "in_1", 999, |_| {}).verdict(),
        Planned::new("evt_8", "x", 86_400).money(RevenueKind::Invoice, "in_2", 500, |_| {}).verdict(),
        Planned::new("evt_9", "x", 86_400).money(RevenueKind::Dispute, "du_1", -999, |_| {}).verdict(),
        Planned::new("evt_10", "x", 86_400)
            .money(RevenueKind::Invoice, "in_3", 500, |row| row.livemode = false)
            .verdict(),
    ];
    apply(store, &batch).await;
    let summary = store.ledger().summary(10).await.unwrap();
    let line = |tier: &str, subscriptions, mrr_minor| RecurringLine {
        livemode: true,
        account: None,
        tier: Some(tier.to_owned()),
        currency: Some("cad".to_owned()),
        subscriptions,
        mrr_minor,
    };
    assert_eq!(summary.recurring, [line("bronze", 1, 999), line("gold", 3, 1998)]);
    let day = |livemode, day: &str, gross_minor, returned_minor| DayLine {
        account: None,
        livemode,
        day: day.to_owned(),
        currency: "cad".to_owned(),
        gross_minor,
        returned_minor,
        net_minor: gross_minor + returned_minor,
        outside_minor: 0,
    };
    let days = [day(true, "2026-01-03", 500, -999), day(false, "2026-01-03", 500, 0), day(true, "2026-01-02", 999, 0)];
    assert_eq!(summary.daily, days);
    assert_eq!(store.ledger().summary(1).await.unwrap().daily, days[..2]);
    assert_eq!(summary.counts.revenue_entries, 4);
}

/// Toronto, where the databases of the tests are, puts its clocks forward on 8 March and back on 1 November 2026.
async fn days_of_changed_clocks(store: &dyn Store) {
    let moments = [
        // Late in the evening of the 7th there, the last second of a day of UTC and the first of the next, both sides of the hour that
        // is left out.
        ("2026-03-08T04:30:00Z", "2026-03-08"),
        ("2026-03-08T06:59:59Z", "2026-03-08"),
        ("2026-03-08T07:00:00Z", "2026-03-08"),
        ("2026-03-08T23:59:59Z", "2026-03-08"),
        ("2026-03-09T00:00:00Z", "2026-03-09"),
        ("2026-03-09T03:59:59Z", "2026-03-09"),
        // The hour that comes twice, and the end of that day there.
        ("2026-10-31T23:59:59Z", "2026-10-31"),
        ("2026-11-01T05:30:00Z", "2026-11-01"),
        ("2026-11-01T06:30:00Z", "2026-11-01"),
        ("2026-11-02T00:00:00Z", "2026-11-02"),
        ("2026-11-02T04:30:00Z", "2026-11-02"),
    ];
    let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
    let mut batch = Vec::new();
    for (number, (moment, day)) in moments.into_iter().enumerate() {
        let at = Timestamp::parse_rfc3339(moment).unwrap();
        let planned = Planned::new(&format!("evt_{number}"), "x", 0);
        let key = format!("in_{number}");
        batch.push(planned.money(RevenueKind::Invoice, &key, 100, |row| row.occurred_at = at).verdict());
        *expected.entry(day).or_default() += 100;
    }
    apply(store, &batch).await;
    let summary = store.ledger().summary(100).await.unwrap();
    let found: BTreeMap<&str, i64> = summary.daily.iter().map(|line| (line.day.as_str(), line.net_minor)).collect();
    assert_eq!((found, summary.daily.len()), (expected.clone(), expected.len()));
    // Of the last days none is counted twice for an hour that came twice.
    let last: Vec<String> = store.ledger().summary(3).await.unwrap().daily.into_iter().map(|line| line.day).collect();
    assert_eq!(last, ["2026-11-02", "2026-11-01", "2026-10-31"]);
}

async fn net(store: &dyn Store) -> i64 {
    store.ledger().summary(100).await.unwrap().daily.iter().map(|line| line.net_minor).sum()
}

async fn money_counts_once(store: &dyn Store) {
    let id = |text: &str| Some(text.to_owned());
    let pay = |event: &str, payment: &str, seconds| {
        Planned::new(event, "charge.succeeded", seconds)
            .money(RevenueKind::Payment, payment, 999, |row| row.customer_id = id("cus_1"))
            .verdict()
    };
    let invoice = |event: &str, invoice: &str, seconds, amount| {
        Planned::new(event, "invoice.paid", seconds)
            .money(RevenueKind::Invoice, invoice, amount, |row| row.customer_id = id("cus_1"))
            .verdict()
    };
    apply(store, &[pay("evt_1", "pi_1", 0)]).await;
    assert_eq!(net(store).await, 999, "a payment by itself");
    apply(store, &[invoice("evt_2", "in_1", 1, 999)]).await;
    assert_eq!(net(store).await, 999, "an invoice of the same customer and amount, a second later");
    apply(store, &[pay("evt_3", "pi_2", 3602)]).await;
    assert_eq!(net(store).await, 1998, "a payment too late to be that invoice's");
    apply(store, &[Planned::new("evt_4", "invoice.paid", 1).link("pi_2", "in_1").verdict()]).await;
    assert_eq!(net(store).await, 1998, "a link says which payment it was");
    let by_charge = Planned::new("evt_6", "charge.succeeded", 9)
        .money(RevenueKind::Payment, "pi_3", 50, |row| {
            row.payment_id = id("pi_3");
            row.charge_id = id("ch_3");
        })
        .link("ch_3", "in_2")
        .verdict();
    apply(store, &[by_charge, invoice("evt_5", "in_2", 90_000, 30)]).await;
    assert_eq!(net(store).await, 2048, "a link may name the charge, and a payment be larger than its invoice");
    apply(
        store,
        &[Planned::new("evt_7", "x", 9).money(RevenueKind::Payment, "pi_4", 50, |_| {}).link("pi_4", "in_9").verdict()],
    )
    .await;
    assert_eq!(net(store).await, 2098, "a linked invoice that was never paid counts nothing, so the payment does");
    let part = |event: &str, invoice: &str, amount| {
        Planned::new(event, "invoice_payment.paid", 9)
            .money(RevenueKind::Part, event, amount, |row| {
                row.payment_id = id("pi_5");
                row.invoice_id = id(invoice);
            })
            .verdict()
    };
    apply(store, &[part("evt_8", "in_8", 10), part("evt_9", "in_9", 20)]).await;
    assert_eq!(net(store).await, 2128, "parts count by themselves");
    apply(store, &[invoice("evt_10", "in_8", 9, 10)]).await;
    assert_eq!(net(store).await, 2128, "until their invoice is known");
    let whole =
        Planned::new("evt_11", "x", 9).money(RevenueKind::Payment, "pi_5", 35, |row| row.payment_id = id("pi_5"));
    apply(store, &[whole.verdict()]).await;
    assert_eq!(net(store).await, 2133, "and then with what no invoice tells of the payment");
}

async fn refund_totals(store: &dyn Store) {
    let refund = |id: &str, key: &str, seconds, amount, voided| {
        Planned::new(id, "refund.updated", seconds)
            .money(RevenueKind::Refund, key, amount, |row| {
                row.payment_id = Some("pi_1".to_owned());
                row.voided_minor = voided;
            })
            .verdict()
    };
    let total = |id: &str, seconds, amount| {
        Planned::new(id, "charge.refunded", seconds)
            .money(RevenueKind::RefundTotal, "pi_1", amount, |row| {
                row.payment_id = Some("pi_1".to_owned());
                row.version.standing = Standing::Current;
            })
            .verdict()
    };
    apply(store, &[total("evt_1", 10, -300)]).await;
    assert_eq!(net(store).await, -300, "a total alone");
    apply(store, &[refund("evt_2", "re_1", 11, -100, 0)]).await;
    assert_eq!(net(store).await, -300, "one of its refunds is known");
    apply(store, &[refund("evt_3", "re_2", 12, -200, 0)]).await;
    assert_eq!(net(store).await, -300, "all of its refunds are known");
    apply(store, &[refund("evt_4", "re_2", 13, 0, 200)]).await;
    assert_eq!(net(store).await, -100, "one failed after the total was told");
    apply(store, &[total("evt_5", 14, -100)]).await;
    assert_eq!(net(store).await, -100, "a total told after the failure");
}
