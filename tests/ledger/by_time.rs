//! Reports count by the time at which they are asked for, and agree with each other on what gives a user no access.

use colony_gateway::ledger::desk::{Chosen, SubscriptionsWanted, Whom};
use colony_gateway::ledger::report::Reason;
use colony_gateway::revenue::rows::SubscriptionRow;
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// What time alone changed, and what never began: no event tells of any of it any more. One has a user.
fn by_time() -> Vec<Verdict> {
    let made = |event: &str, sub: &str, status: &str, change: fn(&mut SubscriptionRow)| {
        Planned::new(event, "customer.subscription.updated", 1).subscription(sub, sub, status, change).verdict()
    };
    vec![
        made("evt_late", "sub_late", "past_due", |row| {
            (row.grace_days, row.late_hint) = (Some(7), Some(at(0)));
        }),
        // No time to pay is set, as without a setting.
        Planned::new("evt_late_for_ever", "customer.subscription.updated", 1)
            .subscription("sub_late_for_ever", "cus_late", "past_due", |_| {})
            .subscription_user("sub_late_for_ever", "lea")
            .verdict(),
        made("evt_pause", "sub_paused", "active", |row| {
            (row.access_from, row.pause_resumes_at) = (Some(at(86_400 * 9999)), Some(at(86_400 * 9999)));
            (row.mrr_minor, row.resumed_mrr_minor) = (0, Some(999));
        }),
        made("evt_resumed", "sub_resumed", "active", |row| {
            (row.access_from, row.pause_resumes_at) = (Some(at(9)), Some(at(9)));
            (row.mrr_minor, row.resumed_mrr_minor, row.tier) = (0, Some(999), None);
        }),
        made("evt_given_up", "sub_given_up", "incomplete_expired", |row| row.ended_at = Some(at(86_400))),
        made("evt_unpaid", "sub_unpaid", "incomplete", |_| {}),
    ]
}

#[tokio::test]
async fn every_report_counts_by_the_time_at_which_it_is_asked_for() {
    let sqlite = Sqlite::new();
    let direct = Postgres::direct(Flavour::Plain).await;
    let stores: [&dyn Store; 2] = [&sqlite, &direct];
    for store in stores {
        let ledger = store.ledger();
        ledger.apply(&by_time()).await.unwrap();
        let business = ledger.business(1000).await.unwrap();
        let recurs = |tier: Option<&str>| {
            let lines = business.recurring.iter().filter(|line| line.tier.as_deref() == tier);
            lines.map(|line| (line.subscriptions, line.mrr_minor)).collect::<Vec<_>>()
        };
        assert_eq!(recurs(None), [(1, 999)]);
        let idle: Vec<_> = business.idle.iter().map(|line| (line.reason, line.subscriptions, line.mrr_minor)).collect();
        assert_eq!(idle, [(Reason::Unnamed, 1, 999)], "those that give access now, with what they bring now");
        let unmapped: Vec<_> = business.unmapped.iter().map(|line| (line.subscriptions, line.mrr_minor)).collect();
        assert_eq!(unmapped, recurs(None), "as the line without a tier");
        let moved: (u64, u64) =
            business.moved.iter().fold((0, 0), |(began, ended), line| (began + line.began, ended + line.ended));
        assert_eq!(moved, (4, 0), "a first payment that never succeeded begins nothing");

        let attention = ledger.attention(10).await.unwrap();
        let unowned: Vec<_> = attention.unowned.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((unowned, attention.reasons.get(&Reason::Unnamed)), (vec!["sub_resumed"], Some(&1)));
        for (chosen, ids) in [
            (Chosen::Idle, vec!["sub_resumed"]),
            (Chosen::Late, vec!["sub_late_for_ever", "sub_late"]),
            (
                Chosen::All,
                vec!["sub_unpaid", "sub_resumed", "sub_paused", "sub_late_for_ever", "sub_late", "sub_given_up"],
            ),
        ] {
            let wanted = SubscriptionsWanted { chosen, before: None, most: 10 };
            let rows = ledger.subscription_page(&wanted).await.unwrap().subscriptions;
            assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ids);
            for row in rows {
                let resumed = row.id == "sub_resumed";
                assert_eq!(row.reason, resumed.then_some(Reason::Unnamed), "{row:?}");
                assert_eq!(row.mrr_minor, if resumed || row.status == "past_due" { 999 } else { 0 }, "{row:?}");
            }
        }
        let report = ledger.person(&Whom::Subscription("sub_resumed".to_owned())).await.unwrap();
        assert_eq!(report.subscriptions[0].mrr_minor, 999);
    }
}

#[tokio::test]
async fn a_user_whom_the_public_tables_cannot_take_is_in_every_list_of_those_who_pay_for_nothing() {
    let store = Postgres::direct(Flavour::Supabase).await;
    let bought = Planned::new("evt_1", "customer.subscription.created", 1)
        .subscription("sub_1", "cus_1", "active", |_| {})
        .subscription_user("sub_1", "user_of_ada");
    store.ledger().apply(&[bought.verdict()]).await.unwrap();
    let attention = store.ledger().attention(10).await.unwrap();
    assert_eq!(attention.reasons.into_iter().collect::<Vec<_>>(), [(Reason::Unfit, 1)]);
    let idle = store.ledger().business(30).await.unwrap().idle;
    let idle: Vec<_> = idle.iter().map(|line| (line.reason, line.subscriptions, line.mrr_minor)).collect();
    assert_eq!(idle, [(Reason::Unfit, 1, 999)]);
    let wanted = SubscriptionsWanted { chosen: Chosen::Idle, before: None, most: 10 };
    let page = store.ledger().subscription_page(&wanted).await.unwrap();
    assert_eq!(page.subscriptions.iter().map(|row| row.reason).collect::<Vec<_>>(), [Some(Reason::Unfit)]);
}
