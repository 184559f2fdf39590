//! The Supabase ledger, over the stand-in of the REST layer.

use std::time::Duration;

use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::migrate;
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::report::Reports;
use colony_gateway::ledger::supabase::{REPLY_BYTES_MAX, SupabaseConfig, SupabaseLedger};
use colony_gateway::ledger::{Disposition, Ledger, LedgerErrorKind, Outcome};
use colony_gateway::revenue::verdict::Verdict;

use crate::contract;
use crate::plans::Planned;
use crate::postgres::{Database, Flavour};
use crate::rest::{ANON_KEY, Fault, Rest, SERVICE_KEY};
use crate::stores::{Postgres, Store};

#[tokio::test]
async fn every_order_of_a_small_family_ends_in_the_same_rows() {
    contract::every_order_of_each_small_family_ends_in_the_same_rows(&Postgres::rest().await).await;
}

#[tokio::test]
async fn random_orders_of_a_large_history_end_in_the_same_rows() {
    contract::random_orders_of_a_large_history_end_in_the_same_rows(&Postgres::rest().await, 12).await;
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds(&Postgres::rest().await).await;
}

fn batch(event: &str) -> [Verdict; 1] {
    [Planned::new(event, "customer.created", 0).customer("cus_1", false).verdict()]
}

fn ledger(rest: &Rest, key: &str) -> SupabaseLedger {
    SupabaseLedger::new(&SupabaseConfig::new(rest.url(), Secret::new(key))).unwrap()
}

#[tokio::test]
async fn a_batch_is_one_call_and_both_transports_write_to_one_ledger() {
    let store = Postgres::rest().await;
    let rest = store.rest.as_ref().unwrap();
    let events: Vec<Verdict> = (0..256).map(|number| batch(&format!("evt_{number}"))[0].clone()).collect();
    let outcomes = store.ledger().apply(&events).await.unwrap();
    assert_eq!((outcomes.len(), rest.calls()), (256, 1));
    let direct = PostgresLedger::new(&PostgresConfig::new(Secret::new(store.database.url()))).unwrap();
    assert!(direct.apply(&events).await.unwrap().iter().all(|outcome| *outcome == Outcome::Duplicate));
    assert_eq!(direct.summary(9).await.unwrap(), store.ledger().summary(9).await.unwrap());
}

#[tokio::test]
async fn a_key_without_the_right_is_refused_with_a_hint() {
    let store = Postgres::rest().await;
    let rest = store.rest.as_ref().unwrap();
    for key in [ANON_KEY, "no-key-at-all"] {
        let ledger = ledger(rest, key);
        for error in [ledger.check().await.unwrap_err(), ledger.apply(&batch("evt_1")).await.unwrap_err()] {
            assert_eq!(error.kind, LedgerErrorKind::Auth);
            assert!(error.message.contains("service_role"), "{error}");
            assert!(matches!(error.disposition(), Disposition::Retry { .. }));
        }
    }
}

#[tokio::test]
async fn a_project_without_the_migrations_says_so() {
    let database = Database::create(Flavour::Supabase).await;
    let rest = Rest::start(&database).await;
    let ledger = ledger(&rest, SERVICE_KEY);
    for error in [ledger.check().await.unwrap_err(), ledger.apply(&batch("evt_1")).await.unwrap_err()] {
        assert_eq!(error.kind, LedgerErrorKind::Schema);
        assert!(error.message.contains("colony-gateway migrate"), "{error}");
    }
    let pool = database.sessions();
    migrate(&mut *pool.session().await).await.unwrap();
    ledger.check().await.unwrap();
    database.run("DELETE FROM gateway.definitions WHERE name = 'gateway.show'").await;
    let error = ledger.check().await.unwrap_err();
    assert!(error.message.contains("gateway.show"), "{error}");
}

#[tokio::test]
async fn replies_that_are_no_answer_are_classified_and_the_batch_is_then_applied() {
    let store = Postgres::rest().await;
    let rest = store.rest.as_ref().unwrap();
    let cases = [
        (Fault::Before(503, r#"{"code":"PGRST000","message":"no database"}"#), LedgerErrorKind::Unavailable),
        (Fault::Before(504, r#"{"code":"PGRST003","message":"no connection"}"#), LedgerErrorKind::Overload),
        (Fault::Before(500, r#"{"code":"40P01","message":"deadlock detected"}"#), LedgerErrorKind::Conflict),
        (Fault::Before(429, "slow down"), LedgerErrorKind::Overload),
        (Fault::Before(502, "<html>Bad gateway</html>"), LedgerErrorKind::Unavailable),
        (Fault::Before(302, ""), LedgerErrorKind::Schema),
        (Fault::Before(200, "<html>Welcome</html>"), LedgerErrorKind::Schema),
        (Fault::Before(200, "[]"), LedgerErrorKind::Schema),
        (Fault::Flood(REPLY_BYTES_MAX + 1), LedgerErrorKind::Schema),
    ];
    for (fault, kind) in cases {
        rest.fail_next(fault.clone());
        let error = store.ledger().apply(&batch("evt_1")).await.unwrap_err();
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        assert!(matches!(error.disposition(), Disposition::Retry { .. }), "{fault:?}");
    }
    assert_eq!(store.ledger().apply(&batch("evt_1")).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn a_reply_as_large_as_the_cap_is_read() {
    let store = Postgres::rest().await;
    store.rest.as_ref().unwrap().fail_next(Fault::Flood(REPLY_BYTES_MAX));
    let error = store.ledger().apply(&batch("evt_1")).await.unwrap_err();
    assert!(error.message.contains("unknown form"), "white space is read to its end and is no answer: {error}");
}

#[tokio::test]
async fn a_batch_whose_reply_is_lost_is_applied_once_when_tried_again() {
    let store = Postgres::rest().await;
    let rest = store.rest.as_ref().unwrap();
    rest.fail_next(Fault::After(502, ""));
    assert_eq!(store.ledger().apply(&batch("evt_1")).await.unwrap_err().kind, LedgerErrorKind::Unavailable);
    assert_eq!(store.ledger().apply(&batch("evt_1")).await.unwrap(), [Outcome::Duplicate]);

    let config = SupabaseConfig::new(rest.url(), Secret::new(SERVICE_KEY));
    let hasty = SupabaseLedger::new(&SupabaseConfig { deadline: Duration::from_millis(500), ..config }).unwrap();
    rest.fail_next(Fault::Silence);
    assert_eq!(hasty.apply(&batch("evt_2")).await.unwrap_err().kind, LedgerErrorKind::TimedOut);
    let outcomes = store.ledger().apply(&batch("evt_2")).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Applied | Outcome::Duplicate]), "{outcomes:?}");
    assert_eq!(store.ledger().apply(&batch("evt_2")).await.unwrap(), [Outcome::Duplicate]);
}

#[tokio::test]
async fn a_project_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = SupabaseConfig::new(format!("http://127.0.0.1:{port}"), Secret::new(SERVICE_KEY));
    let error = SupabaseLedger::new(&config).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Unavailable);
    assert!(error.message.contains("SUPABASE_URL"), "{error}");
}
