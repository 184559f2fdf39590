//! What people ask about persons and money: the same answer from every store.

use colony_gateway::domain::clock::Timestamp;
use colony_gateway::ledger::desk::{
    Age, Chosen, Content, EventReport, EventWanted, PersonReport, PublicTables, RowVersion, SubscriptionsWanted,
    UNMAPPED_MAX, Whom,
};
use colony_gateway::ledger::explain::explain;
use colony_gateway::ledger::report::{Reason, StateOfRecord};
use colony_gateway::revenue::rows::{Action, ClaimRank, Decision, Finding, RevenueKind, Severity};
use colony_gateway::revenue::verdict::Verdict;

use crate::plans::{Planned, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

/// Users whom the public tables can take.
const ANN: &str = "00000000-0000-4000-8000-000000000a11";
const FAY: &str = "00000000-0000-4000-8000-000000000fa1";

/// Subscribers of every kind: one who has what he pays for, and those who do not, each for another reason.
fn business() -> Vec<Verdict> {
    let bought = |event: &str, second: i64, sub: &str, customer: &str, status: &str| {
        Planned::new(event, "customer.subscription.created", second).subscription(sub, customer, status, |_| {})
    };
    vec![
        bought("evt_1", 1, "sub_1", "cus_1", "active").subscription_user("sub_1", ANN).verdict(),
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
        bought("evt_8", 8, "sub_5", "cus_1", "canceled").subscription_user("sub_5", ANN).verdict(),
        Planned::new("evt_9", "customer.subscription.created", 9)
            .subscription("sub_6", "cus_6", "active", |row| row.tier = None)
            .subscription_user("sub_6", FAY)
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
        user(ANN),
        Whom::Customer("cus_1".to_owned()),
        Whom::Subscription("sub_5".to_owned()),
        Whom::Subscription("sub_2".to_owned()),
        Whom::Customer("cus_3".to_owned()),
        // An event that a rule holds says nothing about the user.
        Whom::Subscription("sub_4".to_owned()),
        user(FAY),
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
        [(unnamed, "No event names"), (contested, "several users"), (held, "A rule holds"), (nobody, "no subscription")]
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

/// A day that has a note on which nothing recurred is told from a day without one.
#[tokio::test]
async fn a_day_on_which_nothing_recurs_has_a_note() {
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        let ledger = store.ledger();
        assert_eq!(ledger.note_recurring().await.unwrap().lines, 1);
        let business = ledger.business(10).await.unwrap();
        assert!(business.recurring.is_empty() && business.history.len() == 1, "{business:?}");
        assert!(business.history[0].is_of_nothing() && business.history[0].day == business.day, "{business:?}");
        let bought = Planned::new("evt_1", "customer.subscription.created", 1);
        ledger.apply(&[bought.subscription("sub_1", "cus_1", "trialing", |_| {}).verdict()]).await.unwrap();
        assert_eq!(ledger.note_recurring().await.unwrap().lines, 1, "it takes the place of the first");
        let business = ledger.business(10).await.unwrap();
        assert!(
            business.history.len() == 1 && !business.history[0].is_of_nothing(),
            "a trial is something: {business:?}"
        );
    }
}

/// Of each currency those with most subscriptions are named, and all are counted.
#[tokio::test]
async fn prices_without_a_tier_in_one_currency_hide_none_in_another() {
    let bought = |number: usize, currency: &'static str, price: String| {
        Planned::new(&format!("evt_{number}"), "customer.subscription.created", 1)
            .subscription(&format!("sub_{number}"), "cus_1", "active", |row| {
                (row.tier, row.price_id, row.currency) = (None, Some(price), Some(currency.to_owned()));
            })
            .verdict()
    };
    let many = (0..2 * (UNMAPPED_MAX + 2)).map(|number| bought(number, "cad", format!("price_{:03}", number / 2)));
    let verdicts: Vec<Verdict> = many.chain([bought(900, "usd", "price_z".to_owned())]).collect();
    let mut told = Vec::new();
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        store.ledger().apply(&verdicts).await.unwrap();
        let unmapped = store.ledger().business(10).await.unwrap().unmapped;
        let of = |currency: &str| {
            let lines = unmapped.iter().filter(|line| line.currency.as_deref() == Some(currency));
            lines.map(|line| (line.price.clone().unwrap(), line.subscriptions, line.prices)).collect::<Vec<_>>()
        };
        assert_eq!(of("usd"), [("price_z".to_owned(), 1, 1)]);
        let cad = of("cad");
        assert_eq!((cad.len(), &cad[0]), (UNMAPPED_MAX, &("price_000".to_owned(), 2, UNMAPPED_MAX as u64 + 2)));
        told.push(unmapped);
    }
    assert_eq!(told[0], told[1]);
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
    assert!(!lists.concat().concat().contains(ANN), "no list names a user");
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
    let ann = direct.ledger().person(&Whom::User(ANN.to_owned())).await.unwrap();
    assert!(ann.has_tables && ann.access[0].entitles && ann.access[0].subscription_id.as_deref() == Some("sub_1"));
}

#[tokio::test]
async fn what_an_erased_person_had_is_told_of_nobody() {
    let store = Sqlite::new();
    store.ledger().apply(&business()).await.unwrap();
    let whom = colony_gateway::ledger::person::Subject::user(ANN).unwrap();
    let found = store.ledger().find_person(&whom).await.unwrap();
    store.ledger().erase_rows(&found.person, false).await.unwrap();
    let report = store.ledger().person(&Whom::User(ANN.to_owned())).await.unwrap();
    assert_eq!(ids(&report), (Vec::new(), Vec::new()));
    assert!(!explain(&report, Timestamp::from_seconds(1_800_000_000)).has_access);
}

/// What became of a subscription, in events: it began, ended a month of lateness, and the event of that came last.
fn story() -> Vec<Verdict> {
    let about = |event: &str, second: i64, status: &str| {
        Planned::new(event, "customer.subscription.updated", second)
            .subscription("sub_1", "cus_1", status, |_| {})
            .with(|plan| plan.event.object_id = Some("sub_1".to_owned()))
    };
    let held = Planned::new("evt_held", "customer.subscription.created", 5)
        .subscription("sub_2", "cus_2", "active", |_| {})
        .with(|plan| {
            let (severity, reason) = (Severity::Warning, "a large one".to_owned());
            plan.decisions = vec![Decision { rule: "large".to_owned(), severity, action: Action::Quarantine, reason }];
            let (code, subject) = ("currency".to_owned(), "sub_2".to_owned());
            plan.findings = vec![Finding { code, severity, subject, detail: "in cad".to_owned() }];
        })
        .suspect();
    let contested = Planned::new("evt_contested", "customer.updated", 6)
        .subscription("sub_3", "cus_3", "active", |_| {})
        .customer("cus_3", false)
        .claim(ClaimRank::Customer, "cus_3", "bob")
        .claim(ClaimRank::Customer, "cus_3", "eve")
        .with(|plan| plan.event.object_id = Some("cus_3".to_owned()));
    let paid = Planned::new("evt_paid", "invoice.paid", 7)
        .money(RevenueKind::Invoice, "in_1", 999, |row| row.customer_id = Some("cus_1".to_owned()))
        .money(RevenueKind::Part, "pi_1:in_1", 999, |row| {
            row.payment_id = Some("pi_1".to_owned());
            row.invoice_id = Some("in_1".to_owned());
        });
    vec![
        about("evt_new", 3, "active").subscription_user("sub_1", "ann").customer("cus_1", false).verdict(),
        about("evt_old", 1, "past_due").verdict(),
        held.verdict(),
        contested.verdict(),
        paid.verdict(),
        Verdict::Drop {
            event: Planned::new("evt_dropped", "customer.subscription.updated", 9).plan.event,
            reason: "a test".to_owned(),
        },
    ]
}

/// What is told of an event, and what of it every store tells alike.
async fn event(ledger: &dyn StateOfRecord, id: &str, objects: &[&str]) -> EventReport {
    let objects = objects.iter().map(|id| (*id).to_owned()).collect();
    let mut report = ledger.event(&EventWanted::new(id, objects)).await.unwrap();
    assert!(report.event.as_ref().is_none_or(|event| event.recorded_at_ms > 0), "{report:?}");
    let text = serde_json::to_string(&report).unwrap();
    assert!(["ann", "bob", "eve"].iter().all(|user| !text.contains(&format!("\"{user}\""))), "a user is named: {text}");
    report.has_tables = false;
    report.event.iter_mut().for_each(|event| event.recorded_at_ms = 0);
    report.subscriptions.iter_mut().for_each(|one| one.tables = None);
    report
}

fn outcome(report: &EventReport) -> &str {
    report.event.as_ref().map_or("", |event| event.outcome.as_str())
}

/// Each event by what it refers to.
async fn events(ledger: &dyn StateOfRecord) -> Vec<EventReport> {
    let newest = event(ledger, "evt_new", &["sub_1", "cus_1"]).await;
    assert_eq!((outcome(&newest), newest.subscriptions.len(), newest.customers.len()), ("applied", 1, 1));
    let line = &newest.subscriptions[0].line;
    assert!(line.gives && line.user_id.as_deref() == Some("(hidden)"), "{line:?}");
    assert_eq!(newest.age("evt_new", RowVersion(&line.version)), Age::Own);
    assert_eq!(newest.age("evt_new", RowVersion(&newest.customers[0].version)), Age::Own);

    let stale = event(ledger, "evt_old", &[]).await;
    assert_eq!((outcome(&stale), stale.subscriptions.len()), ("stale", 1), "its own object is looked for in any case");
    let version = RowVersion(&stale.subscriptions[0].line.version);
    assert_eq!((version.event(), stale.age("evt_old", version)), ("evt_new", Age::Newer));

    let held = event(ledger, "evt_held", &["sub_2", "cus_2", "sub_unknown"]).await;
    let record = held.event.as_ref().unwrap();
    assert_eq!(
        (outcome(&held), record.rule.as_deref(), record.content),
        ("quarantined", Some("large"), Content::Whole)
    );
    assert_eq!((held.decisions[0].action.as_str(), held.findings[0].code.as_str()), ("quarantine", "currency"));
    let line = &held.subscriptions[0].line;
    assert!(line.entitles && line.withheld && !line.gives && line.vouched.is_none(), "{line:?}");

    let contested = event(ledger, "evt_contested", &["cus_3"]).await;
    let only = &contested.subscriptions[0];
    assert!(
        only.line.claimed && only.line.user_id.is_none() && !only.is_named,
        "the customer's, not named by it: {only:?}"
    );

    let paid = event(ledger, "evt_paid", &["in_1", "pi_1", "cus_1"]).await;
    let money: Vec<(&str, &str, i64)> =
        paid.money.iter().map(|row| (row.kind.as_str(), row.key.as_str(), row.amount_minor)).collect();
    assert_eq!(money, [("invoice", "in_1", 999), ("part", "pi_1:in_1", 999)]);
    assert!(paid.money.iter().all(|row| paid.age("evt_paid", RowVersion(&row.version)) == Age::Own), "{paid:?}");
    assert_eq!(paid.age("evt_paid", RowVersion(&paid.customers[0].version)), Age::Older);

    let dropped = event(ledger, "evt_dropped", &["sub_1"]).await;
    let reason = dropped.event.as_ref().and_then(|event| event.reason.as_deref());
    assert_eq!((outcome(&dropped), reason), ("dropped", Some("a test")));
    let unknown = event(ledger, "evt_unknown", &["sub_1"]).await;
    assert_eq!((outcome(&unknown), unknown.subscriptions.len()), ("", 1));
    assert_eq!(unknown.age("evt_unknown", RowVersion(&unknown.subscriptions[0].line.version)), Age::Unknown);
    vec![newest, stale, held, contested, paid, dropped, unknown]
}

#[tokio::test]
async fn every_store_tells_the_same_of_an_event_and_names_no_user() {
    let sqlite = Sqlite::new();
    let direct = Postgres::direct(Flavour::Supabase).await;
    let rest = Postgres::rest().await;
    let stores: [&dyn Store; 3] = [&sqlite, &direct, &rest];
    let mut told = Vec::new();
    for store in stores {
        for verdict in story() {
            store.ledger().apply(&[verdict]).await.unwrap();
        }
        told.push(events(store.ledger()).await);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1], told[2]);
    let report = direct.ledger().event(&EventWanted::new("evt_new", Vec::new())).await.unwrap();
    assert!(report.has_tables && report.subscriptions[0].tables.is_some(), "{report:?}");
    assert_ne!(report.subscriptions[0].tables, Some(PublicTables::Another));
}

#[tokio::test]
async fn what_public_tables_refuse_is_told_of_each_subscription_of_the_user() {
    let store = Postgres::direct(Flavour::Supabase).await;
    let user = "00000000-0000-4000-8000-00000000a11e";
    for (second, sub, status) in [(1, "sub_better", "active"), (2, "sub_lesser", "canceled")] {
        let bought = Planned::new(&format!("evt_{sub}"), "customer.subscription.updated", second)
            .subscription(sub, "cus_1", status, |_| {})
            .subscription_user(sub, user);
        store.ledger().apply(&[bought.verdict()]).await.unwrap();
    }
    let told = async || {
        let objects = vec!["sub_better".to_owned(), "sub_lesser".to_owned()];
        let report = store.ledger().event(&EventWanted::new("evt_sub_lesser", objects)).await.unwrap();
        report.subscriptions.iter().map(|one| one.tables).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [Some(PublicTables::Shown), Some(PublicTables::Another)]);
    store.database.run("UPDATE gateway.user_access SET shown = false, fault = 'no such profile'").await;
    assert_eq!(told().await, [Some(PublicTables::Refused); 2], "they show neither");
}

#[tokio::test]
async fn an_event_whose_payload_is_gone_says_why() {
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        let ledger = store.ledger();
        ledger.apply(&story()).await.unwrap();
        let whom = colony_gateway::ledger::person::Subject::user("ann").unwrap();
        let found = ledger.find_person(&whom).await.unwrap();
        ledger.erase_events(&found.person, "", false).await.unwrap();
        let erased = event(ledger, "evt_new", &[]).await;
        assert_eq!(erased.event.map(|event| event.content), Some(Content::Erased));
        ledger.expire_payloads(at(86_400), None).await.unwrap();
        let expired = event(ledger, "evt_paid", &[]).await;
        assert_eq!(expired.event.map(|event| event.content), Some(Content::Expired));
    }
}

/// One who bought as a guest again and again, had many subscriptions before, and has the last of them.
fn regular() -> Vec<Verdict> {
    let guest = |number: i64| {
        Planned::new(&format!("evt_guest_{number}"), "checkout.session.completed", number)
            .customer_user(&format!("cus_a{number:03}"), "ann")
            .verdict()
    };
    let before = |number: i64| {
        Planned::new(&format!("evt_before_{number}"), "customer.subscription.deleted", number)
            .subscription(&format!("sub_a{number:03}"), "cus_a000", "canceled", |_| {})
            .verdict()
    };
    let last = Planned::new("evt_last", "customer.subscription.created", 900)
        .customer_user("cus_z", "ann")
        .subscription("sub_z", "cus_z", "active", |_| {})
        .money(RevenueKind::Invoice, "in_z", 999, |row| row.customer_id = Some("cus_z".to_owned()))
        .verdict();
    (0..60).map(guest).chain((0..60).map(before)).chain([last]).collect()
}

#[tokio::test]
async fn a_person_of_many_customers_and_subscriptions_has_what_the_last_of_them_gives() {
    let sqlite = Sqlite::new();
    let direct = Postgres::direct(Flavour::Plain).await;
    let stores: [&dyn Store; 2] = [&sqlite, &direct];
    let mut told = Vec::new();
    for store in stores {
        store.ledger().apply(&regular()).await.unwrap();
        for whom in [Whom::User("ann".to_owned()), Whom::Customer("cus_a059".to_owned())] {
            let report = person(store.ledger(), whom).await;
            let explained = explain(&report, at(86_400));
            assert!(explained.has_access, "{}", explained.words);
            let (customers, subscriptions) = ids(&report);
            assert_eq!((customers.len(), subscriptions.len(), subscriptions[0]), (50, 50, "sub_z"));
            assert!(customers.contains(&"cus_z") && report.money[0].key == "in_z", "{report:?}");
            told.push(report);
        }
    }
    assert_eq!(told[..2], told[2..]);
}

#[tokio::test]
async fn what_a_payer_bought_for_another_user_is_no_access_of_the_payer() {
    let sqlite = Sqlite::new();
    let direct = Postgres::direct(Flavour::Plain).await;
    let stores: [&dyn Store; 2] = [&sqlite, &direct];
    for store in stores {
        let bought = Planned::new("evt_1", "customer.subscription.created", 1)
            .customer_user("cus_1", "parent")
            .subscription("sub_1", "cus_1", "active", |_| {})
            .subscription_user("sub_1", "child");
        store.ledger().apply(&[bought.verdict()]).await.unwrap();
        let access = async |user: &str| {
            let report = store.ledger().person(&Whom::User(user.to_owned())).await.unwrap();
            let told = explain(&report, at(86_400));
            (told.has_access, told.lines[0].gives)
        };
        assert_eq!((access("child").await, access("parent").await), ((true, true), (false, false)));
    }
}
