//! The PostgreSQL ledger over its own connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::secret::Secret;
use colony_gateway::ledger::migrations::{Standing, migrate, plan};
use colony_gateway::ledger::postgres::{PostgresConfig, PostgresLedger};
use colony_gateway::ledger::projections::refresh;
use colony_gateway::ledger::report::REPORT_LINES_MAX;
use colony_gateway::ledger::shadow::Shadow as _;
use colony_gateway::ledger::{Disposition, Ledger, LedgerError, LedgerErrorKind, Outcome};
use colony_gateway::revenue::guardian::Guardian;
use colony_gateway::revenue::project::Settings;
use colony_gateway::revenue::validator::Validator;
use colony_gateway::revenue::verdict::Verdict;
use serde_json::json;

use crate::contract;
use crate::plans::{EPOCH_SECONDS, Planned, at};
use crate::pooler::Pooler;
use crate::postgres::{Database, Flavour};
use crate::stores::{Postgres, Store};

#[tokio::test]
async fn every_order_of_a_small_family_ends_in_the_same_rows() {
    let store = Postgres::direct(Flavour::Plain).await;
    contract::every_order_of_each_small_family_ends_in_the_same_rows(&store).await;
}

#[tokio::test]
async fn random_orders_of_a_large_history_end_in_the_same_rows() {
    let store = Postgres::direct(Flavour::Supabase).await;
    contract::random_orders_of_a_large_history_end_in_the_same_rows(&store, 12).await;
}

#[tokio::test]
async fn a_batch_is_as_its_events_one_by_one() {
    contract::a_batch_is_as_its_events_one_by_one(&Postgres::direct(Flavour::Plain).await, 40).await;
}

#[tokio::test]
async fn doubtful_events_give_what_the_model_gives_in_every_order() {
    let store = Postgres::direct(Flavour::Plain).await;
    contract::every_order_of_doubtful_events_gives_what_the_model_gives(&store, 3).await;
    contract::random_orders_of_doubtful_events_give_what_the_model_gives(&store, 60).await;
    contract::a_release_leads_to_where_nothing_was_held(&store, 20).await;
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds(&Postgres::direct(Flavour::Plain).await).await;
}

fn customer(event: &str, id: &str) -> Verdict {
    Planned::new(event, "customer.created", 0).customer(id, false).verdict()
}

fn ledger(url: String, deadline: Duration) -> PostgresLedger {
    PostgresLedger::new(&PostgresConfig { deadline, ..PostgresConfig::new(Secret::new(url)) }).unwrap()
}

fn is_retried(error: &LedgerError) -> bool {
    matches!(error.disposition(), Disposition::Retry { .. })
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ledger = ledger(format!("postgres://postgres@127.0.0.1:{port}/x"), Duration::from_millis(300));
    for error in [ledger.check().await.unwrap_err(), ledger.apply(&[customer("evt_1", "cus_1")]).await.unwrap_err()] {
        assert_eq!(error.kind, LedgerErrorKind::Unavailable);
        assert!(is_retried(&error));
    }
}

#[tokio::test]
async fn a_wrong_database_or_role_tells_the_operator_what_to_correct() {
    let store = Postgres::direct(Flavour::Supabase).await;
    store.database.run("CREATE ROLE reader LOGIN").await;
    let base = store.database.url();
    let cases = [
        (base.replace("/test_", "/missing_"), LedgerErrorKind::Schema, "no such database"),
        (base.replace("postgres@", "nobody@"), LedgerErrorKind::Auth, "DATABASE_URL"),
        (base.replace("postgres@", "reader@"), LedgerErrorKind::Auth, "colony-gateway migrate"),
    ];
    for (url, kind, hint) in cases {
        let error = ledger(url, Duration::from_secs(5)).apply(&[customer("evt_1", "cus_1")]).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(hint), "{error}");
        assert!(is_retried(&error));
    }
}

/// The server says of such a setting what it says of wrong data.
#[tokio::test]
async fn no_batch_is_at_fault_where_the_server_lets_no_connection_in() {
    let store = Postgres::direct(Flavour::Plain).await;
    let url = format!("{}?options=-c%20statement_timeout%3Dsoon", store.database.url());
    let ledger = ledger(url, Duration::from_secs(5));
    for error in [ledger.check().await.unwrap_err(), ledger.apply(&[customer("evt_1", "cus_1")]).await.unwrap_err()] {
        assert_eq!(error.kind, LedgerErrorKind::Unavailable, "{error}");
        assert!(error.message.contains("the settings in DATABASE_URL"), "{error}");
        assert!(is_retried(&error));
    }
}

#[tokio::test]
async fn a_batch_that_waits_too_long_gives_up_and_is_applied_once_when_tried_again() {
    let store = Postgres::direct(Flavour::Plain).await;
    let mut holder = store.database.session().await;
    holder.execute("SELECT pg_advisory_lock(7449369)").await.unwrap();
    let hasty = ledger(store.database.url(), Duration::from_secs(1));
    let batch = [customer("evt_1", "cus_1")];
    let error = hasty.apply(&batch).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::TimedOut);
    assert!(is_retried(&error));
    // The database gives up on the lock before a patient caller does.
    let error = store.ledger().apply(&batch).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Overload, "{error}");
    holder.close().await;
    // The first try may have been applied meanwhile, unseen.
    let outcomes = store.ledger().apply(&batch).await.unwrap();
    assert!(matches!(outcomes[..], [Outcome::Applied | Outcome::Duplicate]), "{outcomes:?}");
    assert_eq!(hasty.apply(&batch).await.unwrap(), [Outcome::Duplicate]);
}

#[tokio::test]
async fn a_server_process_that_is_stopped_is_unavailable_and_the_next_batch_is_applied() {
    let store = Postgres::direct(Flavour::Plain).await;
    let mut holder = store.database.session().await;
    holder.execute("SELECT pg_advisory_lock(7449369)").await.unwrap();
    let batch = [customer("evt_1", "cus_1")];
    let stop = async {
        let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                       WHERE wait_event_type = 'Lock' AND datname = current_database()";
        while holder.value::<i64>(waiting).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        holder.close().await;
    };
    let (outcome, ()) = tokio::join!(store.ledger().apply(&batch), stop);
    assert_eq!(outcome.unwrap_err().kind, LedgerErrorKind::Unavailable);
    assert_eq!(store.ledger().apply(&batch).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn data_that_the_database_refuses_is_given_up_and_leaves_nothing() {
    let store = Postgres::direct(Flavour::Plain).await;
    store.database.run("ALTER TABLE gateway.stripe_customers ADD CHECK (id <> 'cus_bad')").await;
    let before = store.contents().await;
    let batch = [customer("evt_1", "cus_good"), customer("evt_2", "cus_bad")];
    let error = store.ledger().apply(&batch).await.unwrap_err();
    assert_eq!((error.kind, error.disposition()), (LedgerErrorKind::Rejected, Disposition::GiveUp));
    assert!(!format!("{error:?}").contains("cus_bad"), "the refused row is not part of the error: {error:?}");
    assert_eq!(store.contents().await, before);
    assert_eq!(store.ledger().apply(&batch[..1]).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn a_batch_that_fails_at_its_commit_is_not_taken_for_applied() {
    let store = Postgres::direct(Flavour::Plain).await;
    store
        .database
        .run(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = '40001'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON gateway.stripe_customers
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let error = store.ledger().apply(&[customer("evt_1", "cus_1")]).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Conflict);
    assert!(store.contents().await.0["events"].is_empty());
}

#[tokio::test]
async fn a_read_only_database_keeps_the_batch_waiting_with_a_hint() {
    let store = Postgres::direct(Flavour::Plain).await;
    let read_only = ledger(
        format!("{}?options=-c%20default_transaction_read_only%3Don", store.database.url()),
        Duration::from_secs(5),
    );
    let error = read_only.apply(&[customer("evt_1", "cus_1")]).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Storage, "{error}");
    assert!(error.message.contains("read-only") && is_retried(&error), "{error}");
}

#[tokio::test]
async fn an_isolation_level_that_would_not_see_the_last_batch_is_refused_with_a_hint() {
    let store = Postgres::direct(Flavour::Plain).await;
    let url = format!("{}?options=-c%20default_transaction_isolation%3Dserializable", store.database.url());
    let error = ledger(url, Duration::from_secs(5)).apply(&[customer("evt_1", "cus_1")]).await.unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Schema, "{error}");
    assert!(error.message.contains("read committed") && is_retried(&error), "{error}");
}

#[tokio::test]
async fn users_who_wait_are_tried_again_a_few_at_a_time_and_ever_less_often() {
    let store = Postgres::direct(Flavour::Supabase).await;
    // No user id here is a UUID, which the public table wants: all of them wait.
    let subscribe = |number: usize| {
        Planned::new(&format!("evt_{number}"), "x", 0)
            .customer_user(&format!("cus_{number}"), &format!("user_{number}"))
            .subscription(&format!("sub_{number}"), &format!("cus_{number}"), "active", |_| {})
            .verdict()
    };
    let batch: Vec<Verdict> = (0..20).map(subscribe).collect();
    store.ledger().apply(&batch).await.unwrap();
    let attempts = "SELECT sum(attempts)::bigint FROM gateway.user_access WHERE NOT shown";
    let attempts = async || store.pool.value::<i64>(attempts).await.unwrap();
    assert_eq!(attempts().await, 20);
    let batch: Vec<Verdict> = (0..3).map(|number| Planned::new(&format!("evt_x{number}"), "x", 0).verdict()).collect();
    store.ledger().apply(&batch[..1]).await.unwrap();
    assert_eq!(attempts().await, 20, "nobody's time has come");
    store.database.run("UPDATE gateway.user_access SET retry_at = now() - interval '1 second'").await;
    store.ledger().apply(&batch[1..2]).await.unwrap();
    assert_eq!(attempts().await, 36, "sixteen at a time");
    store.database.run("UPDATE gateway.user_access SET retry_at = now() - interval '1 second', attempts = 1000").await;
    store.ledger().apply(&batch[2..]).await.unwrap();
    let longest = "SELECT max(retry_at) BETWEEN now() + interval '23 hours' AND now() + interval '1 day' FROM gateway.user_access";
    let longest: bool = store.pool.value(longest).await.unwrap();
    assert!(longest, "a day at most");
}

#[tokio::test]
async fn a_refresh_works_through_all_users_a_thousand_at_a_time() {
    let store = Postgres::direct(Flavour::Plain).await;
    store
        .database
        .run(
            "INSERT INTO gateway.stripe_subscriptions (id, version, source, livemode, customer_id, status,
                 projected_status, entitles, preference, tier, items, mrr_minor, will_cancel, cancel_at_period_end, raw)
             SELECT 'sub_' || n, '1', 'payload', true, 'cus_' || n, 'active', 'active', true, '1.' || n, 'gold', 1, 0,
                 false, false, '{}' FROM generate_series(1, 2500) n;
             INSERT INTO gateway.claims
             SELECT 'cus_' || n, 50, 'it''s ' || n, 'x', '1' FROM generate_series(1, 2500) n",
        )
        .await;
    let mut connection = store.database.session().await;
    assert_eq!(refresh(&mut connection).await.unwrap(), 3);
    let shown: i64 = store.pool.value("SELECT count(*) FROM public.subscriptions WHERE tier = 'gold'").await.unwrap();
    assert_eq!(shown, 2500);
}

#[tokio::test]
async fn reports_are_no_longer_than_their_bound() {
    let store = Postgres::direct(Flavour::Plain).await;
    store
        .database
        .run(
            "INSERT INTO gateway.stripe_subscriptions (id, version, source, livemode, status, entitles, preference,
                 items, mrr_minor, will_cancel, cancel_at_period_end, raw)
             SELECT 'sub_' || n, '1', 'payload', true, 'active', true, '1.' || n, 1, 0, false, false, '{}'
             FROM generate_series(1, 10001) n",
        )
        .await;
    let lines = store.ledger().subscriptions(u32::MAX).await.unwrap();
    assert_eq!(lines.len(), usize::try_from(REPORT_LINES_MAX).unwrap());
    store.ledger().summary(u32::MAX).await.unwrap();
}

#[tokio::test]
async fn text_with_every_kind_of_quote_is_stored_as_it_is() {
    let store = Postgres::direct(Flavour::Plain).await;
    let odd = "it's \"so\" \\ $gateway$ $$ ; -- é 🐝 \u{7f}";
    let verdict = Planned::new("evt_1", odd, 0).customer(odd, false).customer_user(odd, odd).verdict();
    assert_eq!(store.ledger().apply(&[verdict]).await.unwrap(), [Outcome::Applied]);
    let stored = "SELECT id FROM gateway.stripe_customers UNION ALL SELECT user_id FROM gateway.claims
                  UNION ALL SELECT type FROM gateway.events";
    let stored: Vec<String> = store.pool.values(stored).await.unwrap();
    assert_eq!(stored, [odd, odd, odd]);
}

#[tokio::test]
async fn two_gateways_that_apply_the_same_events_apply_each_once() {
    let store = Postgres::direct(Flavour::Plain).await;
    let other = ledger(store.database.url(), Duration::from_secs(10));
    let mut applied = 0;
    for round in 0..20 {
        let batch: Vec<Verdict> =
            (0..16).map(|number| customer(&format!("evt_{round}_{number}"), &format!("cus_{number}"))).collect();
        let reversed: Vec<Verdict> = batch.iter().rev().cloned().collect();
        let (one, two) = tokio::join!(store.ledger().apply(&batch), other.apply(&reversed));
        let outcomes = [one.unwrap(), two.unwrap()].concat();
        let duplicates = outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
        assert_eq!(duplicates, 16, "{outcomes:?}");
        applied += outcomes.len() - duplicates;
    }
    assert_eq!(applied, 320);
}

#[tokio::test]
async fn two_gateways_that_hear_different_things_of_one_customer_keep_both() {
    let store = Postgres::direct(Flavour::Plain).await;
    let other = ledger(store.database.url(), Duration::from_secs(10));
    for round in 0..20 {
        let bind = |event: &str, user: &str| {
            [Planned::new(&format!("{event}_{round}"), "x", 0).customer_user(&format!("cus_{round}"), user).verdict()]
        };
        let (one, two) = (bind("evt_a", "user_a"), bind("evt_b", "user_b"));
        let (one, two) = tokio::join!(store.ledger().apply(&one), other.apply(&two));
        let outcomes = [one.unwrap(), two.unwrap()].concat();
        assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied]);
    }
    assert_eq!(store.ledger().summary(1).await.unwrap().counts.claims, 40);
}

#[tokio::test]
async fn text_that_looks_like_the_end_of_a_literal_is_text() {
    let store = Postgres::direct(Flavour::Plain).await;
    let owner = ledger(store.database.url(), Duration::from_mins(1));
    for text in ["$gateway", "it's $gateway$", "$gateway$ $gateway1", "$", "'); DROP SCHEMA gateway CASCADE; --"] {
        assert_eq!(owner.refresh(text).await.unwrap(), None, "{text}");
        assert_eq!(store.ledger().known_events(&[text.to_owned()]).await.unwrap(), Vec::<String>::new(), "{text}");
    }
    store.ledger().check().await.unwrap();
}

#[tokio::test]
async fn it_works_through_a_pooler_that_changes_servers_and_forbids_named_statements() {
    let database = Database::create(Flavour::Plain).await;
    let pooler = Pooler::start(database.port()).await;
    let url = database.url().replace(&format!(":{}/", database.port()), &format!(":{}/", pooler.port));
    let config = PostgresConfig::new(Secret::new(url));

    // The stand-in is as hard as the real thing: an ordinary client fails here.
    let (ordinary, connection) = tokio_postgres::connect(config.url.expose(), tokio_postgres::NoTls).await.unwrap();
    tokio::select! {
        answer = ordinary.query("SELECT $1", &[&"1"]) => drop(answer.unwrap_err()),
        ended = connection => panic!("{ended:?}"),
    }

    let mut connection = config.connect().await.unwrap();
    assert!(plan(&mut connection, false).await.unwrap().steps.iter().all(|step| step.standing == Standing::Pending));
    migrate(&mut connection).await.unwrap();
    assert!(plan(&mut connection, false).await.unwrap().steps.iter().all(|step| step.standing == Standing::Applied));
    let ledger = PostgresLedger::new(&config).unwrap();
    for number in 0..20 {
        let batch = [customer(&format!("evt_{number}"), &format!("cus_{number}"))];
        assert_eq!(ledger.apply(&batch).await.unwrap(), [Outcome::Applied]);
        assert_eq!(ledger.apply(&batch).await.unwrap(), [Outcome::Duplicate]);
        ledger.check().await.unwrap();
    }
}

/// An event that makes a subscription of `user_1`, in this mode.
fn sold(id: &str, livemode: bool, status: &str) -> Bytes {
    let item = json!({"id": "si_1", "quantity": 1, "price": {"id": "price_gold", "unit_amount": 1000, "currency": "eur",
        "recurring": {"interval": "month", "interval_count": 1}}});
    let event = json!({"id": format!("evt_{id}"), "object": "event", "type": "customer.subscription.updated",
        "created": EPOCH_SECONDS, "livemode": livemode, "data": {"object": {"id": id, "object": "subscription",
            "status": status, "customer": format!("cus_{id}"), "livemode": livemode, "created": EPOCH_SECONDS,
            "metadata": {"userId": "user_1"}, "current_period_end": EPOCH_SECONDS + 2_000_000,
            "items": {"object": "list", "data": [item], "has_more": false}}}});
    Bytes::from(event.to_string())
}

#[tokio::test]
async fn a_subscription_of_test_mode_gives_access_only_to_users_who_have_none_of_live_mode() {
    let store = Postgres::direct(Flavour::Plain).await;
    let validator = Validator::new(Settings::default(), Arc::new(Guardian::default()), Clock::manual(at(0)));
    let test = sold("sub_test", false, "active");
    let cases = [
        (vec![test.clone()], ("sub_test", true)),
        (vec![sold("sub_live", true, "canceled"), test.clone()], ("sub_live", false)),
        (vec![test.clone(), sold("sub_live", true, "canceled")], ("sub_live", false)),
        (vec![test, sold("sub_live", true, "active")], ("sub_live", true)),
    ];
    for (events, expected) in cases {
        store.clear().await;
        for event in &events {
            let verdicts = validator.validate(std::slice::from_ref(event)).await;
            store.ledger().apply(&verdicts).await.unwrap();
        }
        let statement = "SELECT subscription_id, entitles FROM gateway.user_access WHERE user_id = 'user_1'";
        let (id, entitles): (String, bool) = store.pool.tuple(statement).await.unwrap();
        assert_eq!((id.as_str(), entitles), expected, "{events:?}");
    }
}
