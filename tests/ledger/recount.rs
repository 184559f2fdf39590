//! Rows that older rules made of payloads that are still here, on every store: counting again mends them, says how many of
//! what kind, and leaves alone what it cannot know.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use colony_gateway::domain::backoff::Backoff;
use colony_gateway::ledger::person::Subject;
use colony_gateway::reconcile::{MendedRows, RecountReport, Recounter};
use colony_gateway::revenue::rows::{Evidence, PaymentLink, Rank, RevenueKind, RevenueRow};
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::{Plan, Suspicion, Verdict};
use serde_json::json;

use crate::cases::{Case, kinds, validator};
use crate::expiry::expire;
use crate::plans::{EPOCH_SECONDS, at};
use crate::postgres::Flavour;
use crate::stores::{Postgres, Sqlite, Store};

async fn recount(store: &dyn Store, dry_run: bool) -> RecountReport {
    recount_by(&validator(), store, dry_run).await
}

/// Counts again by what the validator makes of events.
pub(crate) async fn recount_by(validator: &Validator, store: &dyn Store, dry_run: bool) -> RecountReport {
    let scratch = tempfile::tempdir().unwrap();
    let backoff = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(2) };
    let recounter = Recounter { ledger: store.ledger(), validator, scratch: scratch.path(), backoff };
    let mut pages = 0;
    let report = recounter.run(dry_run, |_| pages += 1).await;
    assert_eq!(report.error, None);
    assert!(pages > 0, "it tells how far it is");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left of the scratch file");
    report
}

/// The cases of real life by name.
fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.iter().map(|name| Case::read(name)).collect()
}

/// What happened to everybody: all cases, each in its first order, and what the cases lack.
fn history() -> Vec<Bytes> {
    let mut bodies: Vec<Bytes> = cases().iter().flat_map(|case| case.bodies(&case.orders[0])).collect();
    let customer = json!({"id": "evt_customer", "object": "event", "type": "customer.updated", "livemode": true,
        "created": EPOCH_SECONDS, "api_version": "2024-06-20",
        "data": {"object": {"id": "cus_known", "object": "customer", "balance": -250, "livemode": true,
            "email": "ann@mail.example"}}});
    bodies.push(Bytes::from(customer.to_string()));
    bodies
}

/// Applies the history as a program would that made rows by the rules `old`.
async fn live_through(store: &dyn Store, validator: &Validator, old: impl Fn(&mut Plan)) {
    store.clear().await;
    for body in history() {
        let mut verdicts = validator.validate(&[body]).await;
        if let [Verdict::Apply(plan)] = &mut verdicts[..] {
            old(plan);
        }
        store.ledger().apply(&verdicts).await.unwrap();
    }
}

/// Rules that were wrong in every way in which rows can be.
fn wrong_rules(plan: &mut Plan) {
    let booked = |row: &RevenueRow| RevenueRow {
        kind: RevenueKind::Refund,
        key: format!("re_old_{}", row.key),
        amount_minor: -row.uncaptured_minor.abs() - 1,
        ..row.clone()
    };
    // Money that was never captured, as refunds; and captures that were not read.
    let refunds: Vec<RevenueRow> =
        plan.revenue.iter().filter(|row| row.kind == RevenueKind::Payment).map(booked).collect();
    plan.revenue.retain(|row| row.kind != RevenueKind::Payment || plan.event.kind != "charge.captured");
    plan.revenue.extend(refunds);
    for row in plan.revenue.iter_mut().filter(|row| row.kind == RevenueKind::Invoice) {
        row.amount_minor += 100;
        // Newer versions do not hold the payments, which may have been asked of Stripe.
        if plan.event.api_version.as_deref() < Some("2025-03-31") {
            row.outside_minor = row.amount_minor;
            row.payment_id = row.payment_id.as_ref().map(|_| "pi_zzz".to_owned());
        }
    }
    for row in plan.revenue.iter_mut().filter(|row| row.kind == RevenueKind::Dispute) {
        row.amount_minor *= 2;
    }
    let doubled: Vec<PaymentLink> = plan
        .links
        .iter()
        .map(|link| PaymentLink { payment_id: format!("{}_old", link.payment_id), ..link.clone() })
        .collect();
    for link in &mut plan.links {
        link.evidence = Evidence::Hint;
    }
    plan.links.extend(doubled);
    for row in &mut plan.subscriptions {
        row.mrr_minor += 1;
        row.entitles = !row.entitles;
        row.tier = Some("bronze".to_owned());
    }
    for row in &mut plan.customers {
        row.balance_minor = Some(7);
    }
}

async fn wrong_rows_are_mended_and_counted(store: &dyn Store) {
    let validator = validator();
    live_through(store, &validator, |_| {}).await;
    let right = store.contents().await;
    live_through(store, &validator, wrong_rules).await;
    let wrong = store.contents().await;
    assert_ne!(wrong.0["revenue_entries"], right.0["revenue_entries"]);
    assert_ne!(wrong.0["stripe_subscriptions"], right.0["stripe_subscriptions"]);

    let found = recount(store, true).await;
    assert_eq!(store.contents().await, wrong, "a dry run changes nothing");
    let mended = recount(store, false).await;
    assert_eq!(found.mended, mended.mended, "a dry run says what there is to do");
    assert_eq!((mended.overtaken, mended.refused), (0, 0), "{mended:?}");
    let after = store.contents().await;
    for (table, rows) in &right.0 {
        assert_eq!(&after.0[table], rows, "{table}");
    }
    let of = |kind: &str| mended.mended.get(kind).copied().unwrap_or_default();
    let rows = |kind: &str| {
        let part = format!("\"kind\":\"{kind}\"");
        right.0["revenue_entries"].iter().filter(|row| row.contains(&part)).count() as u64
    };
    assert_eq!(of("invoice"), MendedRows { replaced: rows("invoice"), ..MendedRows::default() });
    assert_eq!(
        of("refund").removed,
        wrong.0["revenue_entries"].iter().filter(|row| row.contains("re_old_")).count() as u64
    );
    assert!(of("payment").added + of("payment").replaced > 0, "{mended:?}");
    assert!(of("dispute").replaced > 0 && of("customer").replaced > 0 && of("subscription").replaced > 0, "{mended:?}");
    let links = right.0["payment_links"].len() as u64;
    // Some are hints by today's rules too.
    let named = right.0["payment_links"].iter().filter(|row| row.contains("\"evidence\":2")).count() as u64;
    assert_eq!(of("link"), MendedRows { replaced: named, added: 0, removed: links });

    let second = recount(store, false).await;
    assert_eq!((second.total(), second.overtaken), (0, 0), "{second:?}");
    assert_eq!(store.contents().await, after);
}

async fn a_right_ledger_is_left_as_it_is(store: &dyn Store) {
    let validator = validator();
    let cases = cases();
    let orders = cases.iter().flat_map(|case| case.orders.iter().map(|order| case.bodies(order)));
    for bodies in orders.chain(kinds::histories()) {
        store.clear().await;
        for body in &bodies {
            store.ledger().apply(&validator.validate(std::slice::from_ref(body)).await).await.unwrap();
        }
        let before = store.contents().await;
        let report = recount(store, false).await;
        assert_eq!((report.total(), report.overtaken), (0, 0), "{bodies:?}: {report:?}");
        assert_eq!(store.contents().await, before, "{bodies:?}");
    }
}

/// A charge that was captured, with its number.
fn charge(number: u32) -> Bytes {
    let body = json!({"id": format!("evt_ch{number}"), "object": "event", "type": "charge.succeeded", "livemode": true,
        "created": EPOCH_SECONDS + i64::from(number), "api_version": "2024-06-20",
        "data": {"object": {"id": format!("ch_{number}"), "object": "charge", "amount": 900, "amount_captured": 900,
            "captured": true, "currency": "cad", "status": "succeeded", "livemode": true,
            "payment_intent": format!("pi_{number}"), "customer": format!("cus_{number}"),
            "created": EPOCH_SECONDS + i64::from(number)}}});
    Bytes::from(body.to_string())
}

/// What the charge came to by rules that were wrong.
async fn wrong_charge(validator: &Validator, number: u32, change: impl FnOnce(&mut Plan)) -> Verdict {
    let Some(Verdict::Apply(mut plan)) = validator.validate(&[charge(number)]).await.pop() else {
        unreachable!("a charge is applied")
    };
    plan.revenue.iter_mut().for_each(|row| row.amount_minor = 1);
    change(&mut plan);
    Verdict::Apply(plan)
}

/// One is erased, one comes after that, of one the payload has expired, one was fetched, one waits for a person, one was dropped: nothing of them
/// changes. The last is mended.
async fn what_cannot_be_known_and_what_a_person_decided_stays(store: &dyn Store) {
    let validator = validator();
    store.clear().await;
    let fetched = |plan: &mut Plan| plan.revenue.iter_mut().for_each(|row| row.version.rank = Rank::Fetched);
    let held = |plan: &mut Plan| {
        plan.suspicion = Some(Suspicion { rule: "large".to_owned(), reason: "a large one".to_owned() });
    };
    let Verdict::Apply(dropped) = wrong_charge(&validator, 5, |_| {}).await else { unreachable!() };
    let batch = [
        wrong_charge(&validator, 1, |_| {}).await,
        wrong_charge(&validator, 2, |_| {}).await,
        wrong_charge(&validator, 3, fetched).await,
        wrong_charge(&validator, 4, held).await,
        Verdict::Drop { event: dropped.event, reason: "Ann dropped it".to_owned() },
        wrong_charge(&validator, 6, |_| {}).await,
    ];
    store.ledger().apply(&batch).await.unwrap();
    let ledger = store.ledger();
    let person = ledger.find_person(&Subject::Customer("cus_1".to_owned())).await.unwrap().person;
    ledger.mark_erased(&person).await.unwrap();
    assert_eq!(ledger.erase_events(&person, "", false).await.unwrap().erased, 1);
    ledger.erase_rows(&person, false).await.unwrap();
    assert_eq!(expire(store, at(2)).await, 1);
    // It is recorded without personal data.
    let late = String::from_utf8(charge(9).to_vec()).unwrap().replace("cus_9", "cus_1");
    let Some(Verdict::Apply(mut late)) = validator.validate(&[Bytes::from(late)]).await.pop() else { unreachable!() };
    late.revenue[0].amount_minor = 1;
    ledger.apply(&[Verdict::Apply(late)]).await.unwrap();

    let before = store.contents().await;
    let report = recount(store, false).await;
    assert_eq!((report.events, report.counted, report.without_payload), (7, 2, 5), "{report:?}");
    let replaced = MendedRows { replaced: 1, ..MendedRows::default() };
    assert_eq!(report.mended.into_iter().collect::<Vec<_>>(), [("payment".to_owned(), replaced)]);
    let after = store.contents().await;
    let changed: Vec<_> =
        after.0["revenue_entries"].iter().filter(|row| !before.0["revenue_entries"].contains(row)).collect();
    assert!(
        matches!(&changed[..], [row] if row.contains("pi_6") && row.contains("\"amount_minor\":900")),
        "{changed:?}"
    );
    assert_eq!(after.0["events"], before.0["events"]);
    assert_eq!(recount(store, false).await.total(), 0);
}

async fn more_than_a_page_is_counted(store: &dyn Store) {
    let validator = validator();
    store.clear().await;
    let mut batch = Vec::new();
    // Others than whom the test before erased.
    for number in 10..630 {
        batch.push(wrong_charge(&validator, number, |_| {}).await);
    }
    for part in batch.chunks(200) {
        store.ledger().apply(part).await.unwrap();
    }
    store.lose("payment_links").await;
    let report = recount(store, false).await;
    assert_eq!((report.counted, report.mended["payment"].replaced), (620, 620), "{report:?}");
    assert_eq!(recount(store, false).await.total(), 0);
    store.lose("revenue_entries").await;
    assert_eq!(recount(store, false).await.mended["payment"], MendedRows { added: 620, ..MendedRows::default() });
    assert_eq!(recount(store, false).await.total(), 0);
}

async fn all(store: &dyn Store) {
    wrong_rows_are_mended_and_counted(store).await;
    a_right_ledger_is_left_as_it_is(store).await;
    what_cannot_be_known_and_what_a_person_decided_stays(store).await;
    store.clear().await;
    more_than_a_page_is_counted(store).await;
}

#[tokio::test]
async fn older_rules_are_mended_in_a_file() {
    all(&Sqlite::hasty()).await;
}

#[tokio::test]
async fn older_rules_are_mended_in_postgresql() {
    all(&Postgres::direct(Flavour::Supabase).await).await;
}

#[tokio::test]
async fn older_rules_are_mended_through_the_rest_layer() {
    all(&Postgres::rest().await).await;
}
