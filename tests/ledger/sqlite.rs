//! What only the SQLite ledger promises: durability of the file, its bounds, and its errors.

use std::sync::mpsc;

use colony_gateway::domain::clock::Clock;
use colony_gateway::ledger::report::{REPORT_LINES_MAX, Reports};
use colony_gateway::ledger::sqlite::{QUEUE_CALLS_MAX, SqliteLedger, inspect};
use colony_gateway::ledger::{Disposition, Ledger, LedgerErrorKind, Outcome};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::contract;
use crate::plans::{Planned, at};
use crate::stores::{Sqlite, Store};

fn clock() -> Clock {
    Clock::manual(at(0))
}

#[tokio::test]
async fn every_order_of_a_small_family_ends_in_the_same_rows() {
    contract::every_order_of_each_small_family_ends_in_the_same_rows(&Sqlite::new()).await;
}

#[tokio::test]
async fn random_orders_of_a_large_history_end_in_the_same_rows() {
    contract::random_orders_of_a_large_history_end_in_the_same_rows(&Sqlite::new(), 40).await;
}

#[tokio::test]
async fn a_batch_is_as_its_events_one_by_one() {
    contract::a_batch_is_as_its_events_one_by_one(&Sqlite::new(), 40).await;
}

#[tokio::test]
async fn doubtful_events_give_what_the_model_gives_in_every_order() {
    let store = Sqlite::new();
    contract::every_order_of_doubtful_events_gives_what_the_model_gives(&store, 24).await;
    contract::random_orders_of_doubtful_events_give_what_the_model_gives(&store, 300).await;
    contract::a_release_leads_to_where_nothing_was_held(&store, 100).await;
}

#[tokio::test]
async fn the_contract_holds() {
    contract::holds(&Sqlite::new()).await;
}

#[tokio::test]
async fn nothing_is_applied_to_a_file_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let [file, aside] = ["ledger.db", "aside"].map(|name| dir.path().join(name));
    let batch = [Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict()];
    let ledger = SqliteLedger::open(&file, clock()).unwrap();
    for name in [file.clone(), dir.path().join("ledger.db-wal")] {
        std::fs::rename(&name, &aside).unwrap();
        let refused = ledger.apply(&batch).await.unwrap_err();
        assert_eq!(refused.kind, LedgerErrorKind::Storage, "{refused}");
        assert!(matches!(refused.disposition(), Disposition::Retry { .. }) && ledger.check().await.is_err());
        std::fs::rename(&aside, &name).unwrap();
    }
    assert_eq!(ledger.apply(&batch).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn an_applied_batch_is_there_after_the_ledger_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.db");
    let batch = [Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict()];
    let ledger = SqliteLedger::open(&file, clock()).unwrap();
    assert_eq!(ledger.apply(&batch).await.unwrap(), [Outcome::Applied]);
    drop(ledger);
    let ledger = SqliteLedger::open(&file, clock()).unwrap();
    assert_eq!(ledger.apply(&batch).await.unwrap(), [Outcome::Duplicate]);
    assert_eq!(ledger.summary(1).await.unwrap().counts.customers, 1);
}

#[tokio::test]
async fn a_batch_that_fails_half_way_leaves_nothing() {
    let store = Sqlite::new();
    let connection = Connection::open(&store.file).unwrap();
    connection
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON stripe_customers WHEN NEW.id = 'cus_bad'
             BEGIN SELECT raise(ABORT, 'refused'); END",
        )
        .unwrap();
    let before = store.contents().await;
    let batch = [
        Planned::new("evt_1", "customer.created", 0).customer("cus_good", false).verdict(),
        Planned::new("evt_2", "customer.created", 0).customer("cus_bad", false).verdict(),
    ];
    let error = store.ledger().apply(&batch).await.unwrap_err();
    assert_eq!((error.kind, error.disposition()), (LedgerErrorKind::Rejected, Disposition::GiveUp));
    assert_eq!(store.contents().await, before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.db");
    std::fs::write(&file, "not a database, but long enough to look like one to whoever reads a header").unwrap();
    let error = SqliteLedger::open(&file, clock()).unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Storage);
    assert!(error.message.contains("not a SQLite database"), "{error}");
    let error = SqliteLedger::open(&dir.path().join("missing/ledger.db"), clock()).unwrap_err();
    assert_eq!(error.kind, LedgerErrorKind::Storage);
    assert!(error.message.contains("directory"), "{error}");
}

#[tokio::test]
async fn a_file_of_another_release_is_refused_and_the_error_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.db");
    drop(SqliteLedger::open(&file, clock()).unwrap());
    for (version, advice) in
        [(99, "use the release that made it"), (1, "move the file away"), (3, "move the file away")]
    {
        Connection::open(&file).unwrap().pragma_update(None, "user_version", version).unwrap();
        for error in [SqliteLedger::open(&file, clock()).unwrap_err(), inspect(&file).unwrap_err()] {
            assert_eq!(error.kind, LedgerErrorKind::Schema);
            assert!(error.message.contains(&version.to_string()) && error.message.contains(advice), "{error}");
        }
    }
}

/// What the tables and views of a format are: a change of them is another format, which the number in the file has to tell.
#[tokio::test]
async fn the_format_number_stands_for_these_tables() {
    let store = Sqlite::new();
    let connection = Connection::open(&store.file).unwrap();
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let texts = statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let words: Vec<String> =
        texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let digest = hex::encode(&Sha256::digest(words.join(" "))[..8]);
    let number: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(
        (number, digest.as_str()),
        (4, "8c8e1f61cc1ea6e7"),
        "the tables changed: raise SCHEMA_VERSION, unless what is new is added to files of before too, and this with it"
    );
}

#[tokio::test]
async fn a_file_of_an_earlier_build_counts_by_the_rule_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.db");
    drop(SqliteLedger::open(&file, clock()).unwrap());
    let rule = || -> String {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = 'counted_revenue'";
        Connection::open(&file).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let ours = rule();
    let earlier = "DROP VIEW counted_revenue;
        CREATE VIEW counted_revenue AS SELECT kind, key, account, livemode, currency, occurred_at, amount_minor,
            outside_minor FROM revenue_entries";
    Connection::open(&file).unwrap().execute_batch(earlier).unwrap();
    assert_ne!(rule(), ours);
    drop(SqliteLedger::open(&file, clock()).unwrap());
    assert_eq!(rule(), ours);
}

#[tokio::test]
async fn a_file_that_another_process_holds_for_too_long_is_an_overload() {
    let store = Sqlite::new();
    let connection = Connection::open(&store.file).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = [Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict()];
    assert_eq!(store.ledger().apply(&batch).await.unwrap_err().kind, LedgerErrorKind::Overload);
    connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.ledger().apply(&batch).await.unwrap(), [Outcome::Applied]);
}

#[tokio::test]
async fn reports_are_no_longer_than_their_bound() {
    let store = Sqlite::new();
    let connection = Connection::open(&store.file).unwrap();
    connection
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 10001)
             INSERT INTO stripe_subscriptions (id, version, source, livemode, status, entitles, preference, items,
                 mrr_minor, will_cancel, cancel_at_period_end, raw)
             SELECT 'sub_' || n, '1', 'payload', 1, 'active', 1, '1.' || n, 1, 0, 0, 0, '{}' FROM n",
        )
        .unwrap();
    let lines = store.ledger().subscriptions(u32::MAX).await.unwrap();
    assert_eq!(lines.len(), usize::try_from(REPORT_LINES_MAX).unwrap());
}

#[tokio::test]
async fn more_calls_than_the_queue_holds_are_told_to_slow_down() {
    let store = Sqlite::new();
    // Another process holds the file, so the first call waits in SQLite and the others in the queue.
    let (held, holding) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let file = store.file.clone();
    let holder = std::thread::spawn(move || {
        let connection = Connection::open(file).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        held.send(()).unwrap();
        released.recv().unwrap();
        connection.execute_batch("ROLLBACK").unwrap();
    });
    holding.recv().unwrap();
    let batch = [Planned::new("evt_1", "customer.created", 0).customer("cus_1", false).verdict()];
    let mut calls: Vec<_> = Vec::new();
    let mut refused = 0;
    for _ in 0..QUEUE_CALLS_MAX + 2 {
        let mut call = store.ledger().apply(&batch);
        // The first poll puts the call in the queue, or is refused.
        match futures_now(&mut call).await {
            Some(Err(error)) => {
                assert_eq!(error.kind, LedgerErrorKind::Overload);
                refused += 1;
            }
            Some(Ok(outcomes)) => panic!("applied while the file was held: {outcomes:?}"),
            None => calls.push(call),
        }
    }
    assert!((1..=2).contains(&refused), "{refused} refused");
    release.send(()).unwrap();
    holder.join().unwrap();
    for call in calls {
        call.await.unwrap();
    }
}

/// The future's value if it has one at its first poll.
async fn futures_now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
