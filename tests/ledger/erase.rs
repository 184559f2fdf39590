//! Erasing a person's data, on every store: what goes, what stays, and what does not come back.

use std::sync::Mutex;

use colony_gateway::app::bind::{BindRefused, Word, bind};
use colony_gateway::app::erase::{EraseRefused, ErasureOrder, ErasureReport, InboxSide, erase};
use colony_gateway::config::{Config, Sources};
use colony_gateway::domain::clock::Clock;
use colony_gateway::inbox::EraseStep;
use colony_gateway::ledger::desk::Whom;
use colony_gateway::ledger::erase::{ERASE_EVENTS_MAX, ERASED_PERSON};
use colony_gateway::ledger::explain::explain;
use colony_gateway::ledger::person::{PERSON_IDS_MAX, Person, Subject};
use colony_gateway::ledger::report::Reason;
use colony_gateway::ledger::{BoxFuture, LedgerErrorKind, Outcome};
use colony_gateway::revenue::rows::{RawJson, RevenueKind};
use colony_gateway::revenue::verdict::Verdict;
use serde_json::{Value, json};

use crate::plans::{Planned, at, event};
use crate::postgres::Flavour;
use crate::stores::{Contents, Postgres, Sqlite, Store, TABLES};

const ANN: &str = "00000000-0000-4000-8000-00000000000a";
const BOB: &str = "00000000-0000-4000-8000-00000000000b";
const ANNS_MAIL: &str = "ann@mail.example";

/// An inbox that holds nothing.
struct NoInbox;

impl InboxSide for NoInbox {
    fn step<'a>(&'a self, _: &'a Person, _: i64, _: bool) -> BoxFuture<'a, anyhow::Result<EraseStep>> {
        Box::pin(async { Ok(EraseStep::default()) })
    }
}

fn user(id: &str) -> Subject {
    Subject::user(id).unwrap()
}

fn order(subject: Subject) -> ErasureOrder {
    ErasureOrder { subject, dry_run: false, include_unsettled: false, include_active: false }
}

/// The event with a payload whose object is this.
fn about(planned: Planned, object: &Value) -> Planned {
    planned.with(|plan| {
        let (id, kind) = (plan.event.id.to_string(), plan.event.kind.clone());
        let document = json!({"id": id, "object": "event", "type": kind, "request": {"id": "req_1"},
                              "data": {"object": object}});
        plan.event.payload = RawJson::from_value(&document);
        plan.event.object_id = object["id"].as_str().map(str::to_owned);
    })
}

/// The life of one customer: made, subscribed, paid, refunded, cancelled.
fn life(name: &str, user: &str, mail: &str) -> Vec<Verdict> {
    let id = |prefix: &str| format!("{prefix}_{name}");
    let (cus, sub, pi, inv) = (id("cus"), id("sub"), id("pi"), id("in"));
    let raw = json!({"id": cus, "object": "customer", "email": mail, "metadata": {"userId": user}});
    let raw_sub = json!({"id": sub, "object": "subscription", "customer": cus, "metadata": {"userId": user}});
    let made = about(Planned::new(&id("evt_1"), "customer.created", 1).customer(&cus, false), &raw)
        .customer_user(&cus, user)
        .with(|plan| {
            plan.customers[0].raw = RawJson::in_payload(&raw);
            plan.customers[0].metadata_user_id = Some(user.to_owned());
        });
    let subscribed = Planned::new(&id("evt_2"), "customer.subscription.deleted", 2)
        .subscription_user(&sub, user)
        .subscription(&sub, &cus, "canceled", |row| {
            row.raw = RawJson::from_value(&raw_sub);
            row.metadata_user_id = Some(user.to_owned());
        });
    let paid = json!({"id": inv, "object": "invoice", "customer": cus, "customer_email": mail});
    let paid =
        about(Planned::new(&id("evt_3"), "invoice.paid", 3), &paid).money(RevenueKind::Invoice, &inv, 999, |row| {
            row.customer_id = Some(cus.clone());
            row.subscription_id = Some(sub.clone());
            row.payment_id = Some(pi.clone());
            row.user_id = Some(user.to_owned());
        });
    // Names neither the customer nor the user.
    let refund = json!({"id": id("re"), "object": "refund", "payment_intent": pi, "receipt": mail});
    let refund = about(Planned::new(&id("evt_4"), "refund.created", 4), &refund).money(
        RevenueKind::Refund,
        &id("re"),
        -500,
        |row| row.payment_id = Some(pi.clone()),
    );
    let mut ignored = event(&id("evt_5"), "payment_method.attached", 5);
    ignored.payload = RawJson::from_value(&json!({"id": id("evt_5"), "type": "payment_method.attached",
        "data": {"object": {"id": id("pm"), "customer": cus, "billing_details": {"email": mail}}}}));
    vec![
        made.verdict(),
        about(subscribed, &raw_sub).verdict(),
        paid.verdict(),
        refund.verdict(),
        Verdict::Ignore { event: ignored, decisions: Vec::new(), reopen: false },
    ]
}

/// Lines of the gateway's own tables that hold a text.
fn holding(contents: &Contents, text: &str) -> Vec<String> {
    let lines = contents.0.iter().filter(|(table, _)| !table.starts_with("public."));
    lines
        .flat_map(|(table, lines)| {
            lines.iter().filter(|line| line.contains(text)).map(move |line| format!("{table}: {line}"))
        })
        .collect()
}

async fn run(store: &dyn Store, order: &ErasureOrder) -> ErasureReport {
    erase(&NoInbox, store.ledger(), order).await.unwrap()
}

async fn prepared(store: &dyn Store) {
    let batch = [life("ann", ANN, ANNS_MAIL), life("bob", BOB, "bob@mail.example")].concat();
    let outcomes = store.ledger().apply(&batch).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied | Outcome::Ignored)), "{outcomes:?}");
}

/// The whole contract on a fresh store; what it holds at the end.
async fn holds(store: &dyn Store) -> Contents {
    prepared(store).await;
    let (before, counted) = (store.contents().await, store.counted().await);
    let bobs: Vec<String> = ["bob", BOB].into_iter().flat_map(|text| holding(&before, text)).collect();

    let found = store.ledger().find_person(&user(ANN)).await.unwrap();
    let names = |ids: &std::collections::BTreeSet<String>| ids.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(&found.person.customers), "cus_ann");
    assert_eq!(names(&found.person.subscriptions), "sub_ann");
    assert_eq!(names(&found.person.objects), "in_ann pi_ann re_ann");
    assert_eq!((found.entitling, found.erased_before), (0, false));
    let would = run(store, &ErasureOrder { dry_run: true, ..order(user(ANN)) }).await;
    assert_eq!(store.contents().await, before, "a dry run changed something");

    let report = run(store, &order(user(ANN))).await;
    assert_eq!(ErasureReport { dry_run: true, ..report.clone() }, would, "a dry run tells what happens");
    let rows = report.ledger_rows;
    assert_eq!((report.ledger_events, rows.customers, rows.subscriptions), (5, 1, 1));
    assert_eq!((rows.bindings, rows.revenue, rows.not_shown), (2, 1, 0));
    let after = store.contents().await;
    for text in [ANN, ANNS_MAIL] {
        assert!(!holding(&before, text).is_empty());
        assert_eq!(holding(&after, text), Vec::<String>::new());
    }
    assert_eq!(store.counted().await, counted, "the money is what accounting needs");
    let still: Vec<String> = ["bob", BOB].into_iter().flat_map(|text| holding(&after, text)).collect();
    assert_eq!(still, bobs, "another person's rows changed");
    let again = run(store, &order(user(ANN))).await;
    assert!(again.erased_before && again.ledger_events == 0, "{again:?}");

    late_events_bring_nothing_back(store).await;
    store.contents().await
}

async fn late_events_bring_nothing_back(store: &dyn Store) {
    let mail = json!({"id": "cus_ann", "object": "customer", "email": ANNS_MAIL, "metadata": {"userId": ANN}});
    let updated = about(Planned::new("evt_late_1", "customer.updated", 50).customer("cus_ann", false), &mail)
        .customer_user("cus_ann", ANN)
        .with(|plan| plan.customers[0].raw = RawJson::in_payload(&mail));
    let refund = json!({"id": "re_late", "object": "refund", "payment_intent": "pi_ann", "receipt": ANNS_MAIL});
    let refund = about(Planned::new("evt_late_2", "refund.created", 51), &refund).money(
        RevenueKind::Refund,
        "re_late",
        -100,
        |row| row.payment_id = Some("pi_ann".to_owned()),
    );
    // Another customer that says it is the same user.
    let returned = json!({"id": "cus_new", "object": "customer", "email": ANNS_MAIL,
                          "metadata": {"user_id": ANN.to_ascii_uppercase()}});
    let returned = about(Planned::new("evt_late_3", "customer.created", 52).customer("cus_new", false), &returned)
        .customer_user("cus_new", ANN);
    let mut held = event("evt_late_4", "customer.updated", 53);
    held.payload = RawJson::from_value(&json!({"id": "evt_late_4", "data": {"object": mail}}));
    let (rule, reason) = ("price_map".to_owned(), "x".to_owned());
    let held = Verdict::Quarantine { event: held, rule, reason, decisions: Vec::new() };
    let batch = [updated.verdict(), refund.verdict(), returned.verdict(), held];
    let outcomes = store.ledger().apply(&batch).await.unwrap();
    assert_eq!(outcomes[..3], [Outcome::Applied, Outcome::Applied, Outcome::Applied]);
    let contents = store.contents().await;
    for text in [ANN, &ANN.to_ascii_uppercase(), ANNS_MAIL] {
        assert_eq!(holding(&contents, text), Vec::<String>::new(), "came back");
    }
    let findings = holding(&contents, ERASED_PERSON);
    assert_eq!(findings.len(), 3, "it does not come back silently: {findings:?}");
    let money = store.counted().await;
    assert!(money.contains(&("refund".to_owned(), "re_late".to_owned(), -100, 0)), "{money:?}");

    // The person has come back in earnest.
    assert!(store.ledger().unmark_erased(&Person::of(&user(ANN))).await.unwrap() > 0);
    let back =
        Planned::new("evt_back", "customer.created", 60).customer("cus_back", false).customer_user("cus_back", ANN);
    store.ledger().apply(&[back.verdict()]).await.unwrap();
    assert_eq!(holding(&store.contents().await, ANN).iter().filter(|line| line.starts_with("claims")).count(), 1);
}

/// Stripe goes on to collect from a person whose data was erased: the advice is to end that, and no longer to bind.
async fn who_still_pays_is_told_of_as_erased(store: &dyn Store) {
    store.clear().await;
    let raw = json!({"id": "sub_eve", "object": "subscription", "customer": "cus_eve", "metadata": {"userId": BOB}});
    let active = |id: &str, at: i64| {
        about(Planned::new(id, "customer.subscription.updated", at), &raw)
            .subscription_user("sub_eve", BOB)
            .subscription("sub_eve", "cus_eve", "active", |row| {
                row.entitles = true;
                row.raw = RawJson::from_value(&raw);
                row.metadata_user_id = Some(BOB.to_owned());
            })
            .verdict()
    };
    store.ledger().apply(&[active("evt_1", 1)]).await.unwrap();
    assert!(store.ledger().attention(10).await.unwrap().reasons.is_empty());
    run(store, &ErasureOrder { include_active: true, ..order(user(BOB)) }).await;
    for late in ["evt_2", "evt_3"] {
        let attention = store.ledger().attention(10).await.unwrap();
        assert_eq!(attention.reasons.into_iter().collect::<Vec<_>>(), [(Reason::Erased, 1)], "before {late}");
        store.ledger().apply(&[active(late, 10)]).await.unwrap();
    }
    let config = Config::for_tools(&Sources::default()).unwrap();
    let word = Word { subject: "sub_eve".to_owned(), user: BOB.to_owned(), by: None, reason: None };
    let refused = bind(&config, store.ledger(), &Clock::manual(at(20)), word).await;
    assert!(matches!(refused, Err(BindRefused::Erased { kind: "user", .. })), "a word without effect: {refused:?}");
    let word = Word { subject: "cus_eve".to_owned(), user: ANN.to_owned(), by: None, reason: None };
    let refused = bind(&config, store.ledger(), &Clock::manual(at(20)), word).await;
    assert!(matches!(refused, Err(BindRefused::Erased { kind: "customer", .. })), "of the customer: {refused:?}");
    let person = store.ledger().person(&Whom::Subscription("sub_eve".to_owned())).await.unwrap();
    let told = explain(&person, at(20));
    assert!(told.lines[0].advice.contains("cancel the subscription at Stripe"), "{told:?}");
    let of_user = store.ledger().person(&Whom::User(BOB.to_owned())).await.unwrap();
    assert!(explain(&of_user, at(20)).lines.iter().any(|line| line.why.contains("was erased at")), "{of_user:?}");
    let business = store.ledger().business(10).await.unwrap();
    assert_eq!(business.idle.iter().map(|line| line.reason).collect::<Vec<_>>(), [Reason::Erased]);
}

#[tokio::test]
async fn who_still_pays_is_told_of_as_erased_on_every_store() {
    who_still_pays_is_told_of_as_erased(&Sqlite::hasty()).await;
    who_still_pays_is_told_of_as_erased(&Postgres::direct(Flavour::Supabase).await).await;
    who_still_pays_is_told_of_as_erased(&Postgres::rest().await).await;
}

fn shared(contents: &Contents) -> Vec<(&'static str, Vec<String>)> {
    TABLES.into_iter().map(|table| (table, contents.0[table].clone())).collect()
}

#[tokio::test]
async fn the_contract_holds_on_every_store_and_all_of_them_hold_the_same_afterwards() {
    let sqlite = shared(&holds(&Sqlite::new()).await);
    let postgres = holds(&Postgres::direct(Flavour::Supabase).await).await;
    assert_eq!(shared(&postgres), sqlite);
    assert_eq!(shared(&holds(&Postgres::rest().await).await), sqlite);
}

#[tokio::test]
async fn the_public_table_shows_a_user_without_a_subscription_and_the_link_is_cut_in_the_gateways_own() {
    let store = Postgres::direct(Flavour::Supabase).await;
    prepared(&store).await;
    run(&store, &order(user(ANN))).await;
    let contents = store.contents().await;
    assert!(contents.0["gateway.user_access"].iter().all(|line| !line.contains(ANN)));
    let shown: Vec<&String> = contents.0["public.subscriptions"].iter().filter(|line| line.contains(ANN)).collect();
    let row: Value = serde_json::from_str(shown[0]).unwrap();
    assert_eq!((&row["status"], &row["tier"]), (&json!("canceled"), &json!("free")), "{row}");
    assert_eq!((&row["stripe_customer_id"], &row["stripe_subscription_id"]), (&Value::Null, &Value::Null), "{row}");
}

async fn one_customer(store: &dyn Store) {
    prepared(store).await;
    let subject = Subject::customer("cus_ann").unwrap();
    let report = run(store, &order(subject)).await;
    assert_eq!((report.ids, report.ledger_events), ([0, 1, 1, 3], 5));
    assert_eq!((report.ledger_rows.bindings, report.ledger_rows.revenue), (2, 1));
    let after = store.contents().await;
    assert_eq!(holding(&after, ANNS_MAIL), Vec::<String>::new());
    assert!(holding(&after, ANN).iter().all(|line| line.starts_with("gateway.user_access")), "{after:?}");
}

#[tokio::test]
async fn one_customer_can_be_erased_by_itself() {
    one_customer(&Sqlite::new()).await;
    one_customer(&Postgres::direct(Flavour::Plain).await).await;
}

#[tokio::test]
async fn whoever_still_pays_is_erased_only_when_told_twice() {
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        let active = Planned::new("evt_1", "customer.subscription.created", 0)
            .customer_user("cus_1", ANN)
            .subscription("sub_1", "cus_1", "active", |_| {})
            .verdict();
        store.ledger().apply(&[active]).await.unwrap();
        let before = store.contents().await;
        let refused = erase(&NoInbox, store.ledger(), &order(user(ANN))).await.unwrap_err();
        assert!(matches!(refused, EraseRefused::Active(1)), "{refused}");
        assert_eq!(store.contents().await, before);
        run(store, &ErasureOrder { include_active: true, ..order(user(ANN)) }).await;
        assert_eq!(holding(&store.contents().await, ANN), Vec::<String>::new());
    }
}

/// An inbox that holds nothing, and is searched for so long that events come in.
struct Meanwhile<'a> {
    store: &'a dyn Store,
    batch: Mutex<Vec<Verdict>>,
}

impl InboxSide for Meanwhile<'_> {
    fn step<'a>(&'a self, _: &'a Person, _: i64, _: bool) -> BoxFuture<'a, anyhow::Result<EraseStep>> {
        let batch = std::mem::take(&mut *self.batch.lock().unwrap());
        Box::pin(async move {
            self.store.ledger().apply(&batch).await?;
            Ok(EraseStep::default())
        })
    }
}

#[tokio::test]
async fn what_comes_in_while_the_inbox_is_searched_is_erased_too() {
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        prepared(store).await;
        let again = Meanwhile { store, batch: Mutex::new(life("ann2", ANN, ANNS_MAIL)) };
        let report = erase(&again, store.ledger(), &order(user(ANN))).await.unwrap();
        assert_eq!((report.ids, report.ledger_events), ([1, 2, 2, 6], 10));
        let after = store.contents().await;
        for text in [ANN, ANNS_MAIL] {
            assert_eq!(holding(&after, text), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn whoever_subscribes_while_the_inbox_is_searched_is_erased_only_when_told_twice() {
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        prepared(store).await;
        let active = Planned::new("evt_1", "customer.subscription.created", 9)
            .customer_user("cus_1", ANN)
            .subscription("sub_1", "cus_1", "active", |_| {})
            .verdict();
        let again = Meanwhile { store, batch: Mutex::new(vec![active]) };
        let refused = erase(&again, store.ledger(), &order(user(ANN))).await.unwrap_err();
        assert!(matches!(refused, EraseRefused::Active(1)), "{refused}");
        run(store, &ErasureOrder { include_active: true, ..order(user(ANN)) }).await;
        assert_eq!(holding(&store.contents().await, ANN), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_crowd_is_no_person() {
    let sqlite = Sqlite::new();
    let insert = "INTO revenue_entries (kind, key, version, as_of, livemode, amount_minor, voided_minor, currency,
                  occurred_at, customer_id)";
    let connection = rusqlite::Connection::open(&sqlite.file).unwrap();
    let rows = format!(
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {PERSON_IDS_MAX})
         INSERT {insert} SELECT 'payment', 'pi_' || n, 'v', 0, 1, 1, 0, 'cad', 0, 'cus_1' FROM c"
    );
    connection.execute_batch(&rows).unwrap();
    let postgres = Postgres::direct(Flavour::Plain).await;
    let insert = insert.replace("revenue_entries", "gateway.revenue_entries");
    let rows = format!(
        "INSERT {insert} SELECT 'payment', 'pi_' || n, 'v', now(), true, 1, 0, 'cad', now(), 'cus_1'
         FROM generate_series(1, {PERSON_IDS_MAX}) n"
    );
    postgres.database.run(&rows).await;
    let subject = Subject::customer("cus_1").unwrap();
    for store in [&sqlite as &dyn Store, &postgres] {
        let error = store.ledger().find_person(&subject).await.unwrap_err();
        assert_eq!(error.kind, LedgerErrorKind::Rejected, "{error}");
    }
}

#[tokio::test]
async fn events_are_gone_through_in_bounded_steps() {
    let most = usize::try_from(ERASE_EVENTS_MAX).unwrap();
    for store in [&Sqlite::new() as &dyn Store, &Postgres::direct(Flavour::Plain).await] {
        let verdicts: Vec<Verdict> = (0..=most)
            .map(|number| {
                let object = json!({"id": format!("ch_{number}"), "customer": "cus_1", "email": ANNS_MAIL});
                about(Planned::new(&format!("evt_{number:05}"), "charge.failed", 0), &object).verdict()
            })
            .collect();
        for batch in verdicts.chunks(256) {
            store.ledger().apply(batch).await.unwrap();
        }
        let person = Person::of(&Subject::customer("cus_1").unwrap());
        let first = store.ledger().erase_events(&person, "", false).await.unwrap();
        assert_eq!((first.erased, first.last.as_deref()), (500, Some("evt_00499")));
        let second = store.ledger().erase_events(&person, "evt_00499", false).await.unwrap();
        assert_eq!((second.erased, second.last.as_deref()), (1, Some("evt_00500")));
        let third = store.ledger().erase_events(&person, "evt_00500", false).await.unwrap();
        assert_eq!((third.erased, third.last), (0, None));
        assert_eq!(holding(&store.contents().await, ANNS_MAIL), Vec::<String>::new());
    }
}
