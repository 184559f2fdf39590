//! What people ask about persons and money: the same answer from every store.

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::ledger::desk::{Chosen, PersonReport, SubscriptionsWanted, Whom};
use colony_gateway::ledger::explain::explain;
use colony_gateway::ledger::report::{Reason, StateOfRecord};
use colony_gateway::revenue::rows::{ClaimRank, RevenueKind};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// Subscribers of every kind: one who has what he pays for, and those who do not, each for another reason.
fn business() -> Vec<Verdict> {
    let bought = |event: &str, second: i64, sub: &str, customer: &str, status: &str| {
        Planned::new(event, "customer.subscription.created", second).subscription(sub, customer, status, |_| {})
    };
    vec![
        bought("evt_1", 1, "sub_1", "cus_1", "active").subscription_user("sub_1", "ann").verdict(),
        Planned::new("evt_2", "invoice.paid", 2)
            .money(RevenueKind::Invoice, "in_1", 999, |row| {
                row.customer_id = Some("cus_1".to_owned());
                row.subscription_id = Some("sub_1".to_owned());
            })
            .with(|plan| plan.event.object_id = Some("in_1".to_owned()))
            .verdict(),
        Planned::new("evt_3", "charge.succeeded", 3)
            .money(RevenueKind::Payment, "ch_1", 500, |row| {
                row.customer_id = Some("cus_1".to_owned());
                row.payment_id = Some("pi_1".to_owned());
            })
            .verdict(),
        // A refund names its payment alone.
        Planned::new("evt_4", "refund.created", 4)
            .money(RevenueKind::Refund, "re_1", -100, |row| row.payment_id = Some("pi_1".to_owned()))
            .verdict(),
        bought("evt_5", 5, "sub_2", "cus_2", "active").verdict(),
        bought("evt_6", 6, "sub_3", "cus_3", "active")
            .claim(ClaimRank::Customer, "cus_3", "bob")
            .claim(ClaimRank::Customer, "cus_3", "eve")
            .verdict(),
        bought("evt_7", 7, "sub_4", "cus_4", "active").subscription_user("sub_4", "dan").suspect().verdict(),
        bought("evt_8", 8, "sub_5", "cus_1", "canceled").subscription_user("sub_5", "ann").verdict(),
        Planned::new("evt_9", "customer.subscription.created", 9)
            .subscription("sub_6", "cus_6", "active", |row| row.tier = None)
            .subscription_user("sub_6", "fay")
            .verdict(),
    ]
}

/// Of a store without what stores with public tables have more.
async fn person(ledger: &dyn StateOfRecord, whom: Whom) -> PersonReport {
    let report = ledger.person(&whom).await.unwrap();
    PersonReport { access: Vec::new(), has_tables: false, ..report }
}

fn ids(report: &PersonReport) -> (Vec<&str>, Vec<&str>) {
    let customers = report.customers.iter().map(|one| one.id.as_str()).collect();
    (customers, report.subscriptions.iter().map(|one| one.id.as_str()).collect())
}

/// Each person by one way or another.
async fn persons(ledger: &dyn StateOfRecord) -> Vec<PersonReport> {
    let user = |id: &str| Whom::User(id.to_owned());
    let mut reports = Vec::new();
    for whom in [
        user("ann"),
        Whom::Customer("cus_1".to_owned()),
        Whom::Subscription("sub_5".to_owned()),
        Whom::Subscription("sub_2".to_owned()),
        Whom::Customer("cus_3".to_owned()),
        // An event that a rule holds says nothing about the user.
        Whom::Subscription("sub_4".to_owned()),
        user("fay"),
        user("nobody"),
    ] {
        reports.push(person(ledger, whom).await);
    }
    reports
}

fn check(reports: &[PersonReport]) {
    let [ann, by_customer, by_subscription, unnamed, contested, held, untiered, nobody] = reports else { panic!() };
    assert_eq!((ann, ann), (by_customer, by_subscription), "each way leads to the same person");
    assert_eq!(ids(ann), (vec!["cus_1"], vec!["sub_1", "sub_5"]));
    let money: Vec<(&str, i64)> = ann.money.iter().map(|line| (line.key.as_str(), line.amount_minor)).collect();
    assert_eq!(money, [("re_1", -100), ("ch_1", 500), ("in_1", 999)], "the refund of the payment too");
    assert_eq!(ann.events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["evt_2"]);
    let now = at(86_400 * 2);
    let told = explain(ann, now);
    assert!(told.has_access && told.words.contains("1 of 2"), "{told:?}");
    for (report, words) in
        [(unnamed, "Nothing names"), (contested, "several users"), (held, "A rule holds"), (nobody, "no subscription")]
    {
        let told = explain(report, now);
        assert!(!told.has_access && told.lines[0].why.contains(words), "{words}: {told:?}");
    }
    assert_eq!(contested.users, ["bob", "eve"]);
    assert!(explain(untiered, now).lines[0].why.contains("in no map"));
    let doubted = &held.subscriptions[0];
    assert!(doubted.entitles && !doubted.gives && doubted.withheld && doubted.vouched.is_none(), "{doubted:?}");
}

fn sorted<T: std::fmt::Debug>(lines: &[T]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
    lines.sort();
    lines
}

/// What a business comes to, but for the day on which it was asked.
async fn sums(ledger: &dyn StateOfRecord) -> Vec<Vec<String>> {
    let before = ledger.business(1000).await.unwrap();
    assert_eq!(before.history, []);
    let noted = ledger.note_recurring().await.unwrap();
    assert_eq!(ledger.note_recurring().await.unwrap(), noted, "the second note takes the place of the first");
    let business = ledger.business(1000).await.unwrap();
    assert!(business.history.iter().all(|line| line.day == business.day) && noted.day == business.day);
    let history: Vec<_> = business.history.iter().map(|line| line.line.clone()).collect();
    assert_eq!(sorted(&history), sorted(&business.recurring));
    assert_eq!(noted.lines, history.len() as u64);
    let idle: Vec<(Reason, u64, i64)> =
        business.idle.iter().map(|line| (line.reason, line.subscriptions, line.mrr_minor)).collect();
    assert_eq!(idle, [(Reason::Contested, 1, 999), (Reason::Unnamed, 1, 999), (Reason::Withheld, 1, 999)]);
    let unmapped: Vec<_> = business.unmapped.iter().map(|line| (line.price.as_deref(), line.subscriptions)).collect();
    assert_eq!(unmapped, [(Some("price_silver"), 1)]);
    assert_eq!(business.orphans, 3);
    let moved: (u64, u64) =
        business.moved.iter().fold((0, 0), |(began, ended), line| (began + line.began, ended + line.ended));
    assert_eq!(moved, (6, 1));
    vec![sorted(&business.recurring), sorted(&business.daily), sorted(&business.moved), sorted(&business.unmapped)]
}

async fn pages(ledger: &dyn StateOfRecord) -> Vec<Vec<String>> {
    let mut lists = Vec::new();
    for chosen in Chosen::ALL {
        let (mut before, mut found) = (None, Vec::new());
        loop {
            let page = ledger.subscription_page(&SubscriptionsWanted { chosen, before, most: 2 }).await.unwrap();
            assert!(page.subscriptions.len() <= 2);
            found.extend(page.subscriptions.into_iter().map(|row| format!("{row:?}")));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        lists.push(found);
    }
    let counts: Vec<usize> = lists.iter().map(Vec::len).collect();
    assert_eq!(counts, [6, 4, 0, 0, 3, 1, 1], "{lists:?}");
    assert!(!lists.concat().concat().contains("ann"), "no list names a user");
    lists
}

#[tokio::test]
async fn every_store_tells_the_same_of_persons_and_of_the_business() {
    let sqlite = Sqlite::new();
    let direct = Postgres::direct(Flavour::Supabase).await;
    let rest = Postgres::rest().await;
    let stores: [&dyn Store; 3] = [&sqlite, &direct, &rest];
    let mut told = Vec::new();
    for store in stores {
        store.ledger().apply(&business()).await.unwrap();
        let persons = persons(store.ledger()).await;
        check(&persons);
        told.push((persons, sums(store.ledger()).await, pages(store.ledger()).await));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1], told[2]);
    let ann = direct.ledger().person(&Whom::User("ann".to_owned())).await.unwrap();
    assert!(ann.has_tables && ann.access[0].entitles && ann.access[0].subscription_id.as_deref() == Some("sub_1"));
}

#[tokio::test]
async fn what_an_erased_person_had_is_told_of_nobody() {
    let store = Sqlite::new();
    store.ledger().apply(&business()).await.unwrap();
    let whom = colony_gateway::ledger::person::Subject::user("ann").unwrap();
    let found = store.ledger().find_person(&whom).await.unwrap();
    store.ledger().erase_rows(&found.person, false).await.unwrap();
    let report = store.ledger().person(&Whom::User("ann".to_owned())).await.unwrap();
    assert_eq!(ids(&report), (Vec::new(), Vec::new()));
    assert!(!explain(&report, Timestamp::from_seconds(1_800_000_000)).has_access);
}
