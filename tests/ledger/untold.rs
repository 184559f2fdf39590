//! Subscriptions that were bought and of which no event told anything: a person has to hear of them.

use colony_gateway::domain::clock::{Clock, Timestamp};
use colony_gateway::ledger::desk::Whom;
use colony_gateway::ledger::explain::explain;
use colony_gateway::ledger::report::Reason;
use colony_gateway::revenue::rows::{BindingKind, ClaimRank, RevenueKind};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// An event made at `created`: stores look for purchases of the last 400 days of their own clock.
fn planned(id: &str, kind: &str, created: Timestamp) -> Planned {
    Planned::new(id, kind, 1).with(|plan| plan.event.created = created)
}

fn invoice(event: &str, created: Timestamp, invoice: &str, subscription: &str, customer: &str, amount: i64) -> Verdict {
    planned(event, "invoice.paid", created)
        .binding(BindingKind::SubscriptionCustomer, subscription, customer)
        .money(RevenueKind::Invoice, invoice, amount, |row| {
            row.customer_id = Some(customer.to_owned());
            row.subscription_id = Some(subscription.to_owned());
        })
        .with(|plan| "invoice".clone_into(&mut plan.bindings[0].evidence))
        .verdict()
}

/// A checkout that cost nothing yet.
fn session(event: &str, created: Timestamp, subscription: &str, customer: &str, user: &str) -> Verdict {
    planned(event, "checkout.session.completed", created)
        .binding(BindingKind::SubscriptionCustomer, subscription, customer)
        .claim(ClaimRank::Session, subscription, user)
        .with(|plan| {
            "checkout.session".clone_into(&mut plan.bindings[0].evidence);
            "checkout.session.metadata.userId".clone_into(&mut plan.claims[0].evidence);
        })
        .verdict()
}

async fn untold(store: &dyn Store) -> Vec<String> {
    let attention = store.ledger().attention(10).await.unwrap();
    let listed = attention.unowned.into_iter().filter(|one| one.reason == Reason::Untold);
    let listed: Vec<String> =
        listed.map(|one| format!("{} of {}", one.id, one.customer_id.unwrap_or_default())).collect();
    assert_eq!(attention.reasons.get(&Reason::Untold).copied().unwrap_or(0), listed.len() as u64);
    listed
}

async fn what_was_bought_and_never_told_waits_for_a_person(store: &dyn Store) {
    let now = Clock::system().now();
    let long_ago = Timestamp::from_seconds(at(0).seconds() - 500 * 86_400);
    let events = [
        invoice("evt_1", now, "in_1", "sub_paid", "cus_1", 999),
        invoice("evt_2", now, "in_2", "sub_unpaid", "cus_2", 0),
        invoice("evt_3", long_ago, "in_3", "sub_ended_long_ago", "cus_3", 999),
        session("evt_4", now, "sub_trial", "cus_4", "ann"),
        // The invoice of nothing that begins a trial says less than the session, in whatever order they come.
        invoice("evt_5", now, "in_5", "sub_trial", "cus_4", 0),
        invoice("evt_6", now, "in_6", "sub_known", "cus_6", 999),
        planned("evt_7", "customer.subscription.created", now)
            .subscription("sub_known", "cus_6", "active", |_| {})
            .subscription_user("sub_known", "bob")
            .verdict(),
    ];
    for order in [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]] {
        store.clear().await;
        for place in order {
            store.ledger().apply(&[events[place].clone()]).await.unwrap();
        }
        assert!(untold(store).await.is_empty(), "what tells may still be on its way");
        store.pass_an_hour().await;
        assert_eq!(untold(store).await, ["sub_paid of cus_1", "sub_trial of cus_4"], "{order:?}");
    }

    // Support finds it by each name, with the money and what to do.
    for whom in [Whom::Customer("cus_1".to_owned()), Whom::Subscription("sub_paid".to_owned())] {
        let report = store.ledger().person(&whom).await.unwrap();
        assert_eq!((report.untold.as_slice(), report.money.len()), (&["sub_paid".to_owned()][..], 1), "{report:?}");
        let told = explain(&report, now);
        assert!(!told.has_access && told.words.contains("the one subscription"), "{told:?}");
        assert!(told.lines[0].advice.contains("reconcile subscriptions"), "{told:?}");
    }
    let ann = store.ledger().person(&Whom::User("ann".to_owned())).await.unwrap();
    let customers: Vec<&str> = ann.customers.iter().map(|one| one.id.as_str()).collect();
    assert_eq!((ann.untold.as_slice(), customers), (&["sub_trial".to_owned()][..], vec!["cus_4"]), "{ann:?}");
    let nothing = store.ledger().person(&Whom::Subscription("sub_of_nobody".to_owned())).await.unwrap();
    assert!(nothing.untold.is_empty(), "{nothing:?}");

    // The event that was missing ends it.
    let late = planned("evt_8", "customer.subscription.updated", now)
        .subscription("sub_trial", "cus_4", "active", |_| {})
        .verdict();
    store.ledger().apply(&[late]).await.unwrap();
    assert_eq!(untold(store).await, ["sub_paid of cus_1"]);
    let ann = store.ledger().person(&Whom::User("ann".to_owned())).await.unwrap();
    assert!(ann.untold.is_empty() && explain(&ann, now).has_access, "{ann:?}");
}

#[tokio::test]
async fn what_was_bought_and_never_told_waits_for_a_person_on_every_store() {
    what_was_bought_and_never_told_waits_for_a_person(&Sqlite::hasty()).await;
    what_was_bought_and_never_told_waits_for_a_person(&Postgres::direct(Flavour::Supabase).await).await;
    what_was_bought_and_never_told_waits_for_a_person(&Postgres::rest().await).await;
}
