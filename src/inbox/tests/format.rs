//! A file of an older format is brought up to date when it is opened, and loses nothing.

use super::*;
use crate::domain::trace::TraceContext;

/// The tables as the first format had them; early files lack `entries_process`.
const FORMAT_1: &str = "
CREATE TABLE entries (
    id           INTEGER PRIMARY KEY,
    endpoint     TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    event_type   TEXT NOT NULL,
    account      TEXT,
    livemode     INTEGER,
    source       TEXT NOT NULL,
    secret       TEXT NOT NULL,
    received_at  INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    due_at       INTEGER,
    lease_token  INTEGER,
    attempts     INTEGER NOT NULL DEFAULT 0,
    crashes      INTEGER NOT NULL DEFAULT 0,
    process_id   TEXT,
    ended_at     INTEGER,
    code         TEXT,
    reason       TEXT
);
CREATE UNIQUE INDEX entries_event ON entries (event_id, endpoint);
CREATE INDEX entries_due ON entries (state, due_at) WHERE state < 3;
CREATE INDEX entries_live ON entries (id) WHERE state < 3;
CREATE INDEX entries_held ON entries (state, id) WHERE state > 3;
CREATE TABLE bodies (
    entry INTEGER PRIMARY KEY,
    body  BLOB NOT NULL
);
CREATE TABLE tally (
    state   INTEGER PRIMARY KEY,
    entries INTEGER NOT NULL
);
INSERT INTO tally (state, entries) VALUES (0, 1), (1, 0), (2, 0), (3, 0), (4, 1), (5, 0);
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('next_entry', 3), ('next_token', 9);
PRAGMA application_id = 1128745294;
PRAGMA user_version = 1;
";

/// A file of format 1 with a waiting and a dead entry.
fn old_file(directory: &Path, index: &str) {
    let connection = Connection::open(directory.join("inbox.db")).unwrap();
    connection.pragma_update(None, "page_size", schema::PAGE_BYTES).unwrap();
    connection.execute_batch(FORMAT_1).unwrap();
    connection.execute_batch(index).unwrap();
    for (id, state, due, code) in [(1, 0, Some(START.millis()), None), (2, 4, None, Some("ledger_rejected"))] {
        connection
            .execute(
                "INSERT INTO entries (id, endpoint, event_id, event_type, source, secret, received_at, state, due_at,
                     attempts, ended_at, code, reason)
                 VALUES (?1, 'stripe', 'evt_' || ?1, 'invoice.paid', 'webhook', 'fp', ?2, ?3, ?4, 2, ?5, ?6, 'no')",
                rusqlite::params![id, START.millis(), state, due, code.map(|_| START.millis()), code],
            )
            .unwrap();
        let body = body(&format!("evt_{id}"));
        connection.execute("INSERT INTO bodies (entry, body) VALUES (?1, ?2)", rusqlite::params![id, body]).unwrap();
    }
}

/// Names of tables and indexes with their columns, as a fresh file has them.
fn shape(file: &Path) -> Vec<(String, Vec<String>)> {
    let connection = Connection::open(file).unwrap();
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let columns = |name: &String| -> Vec<String> {
        let table = format!(
            "SELECT name FROM pragma_table_info('{name}') UNION ALL SELECT name FROM pragma_index_info('{name}')"
        );
        connection.prepare(&table).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    names.into_iter().map(|name| (name.clone(), columns(&name))).collect()
}

#[tokio::test]
async fn a_file_of_the_first_format_becomes_one_of_this_format_and_keeps_its_entries() {
    let fresh = Fixture::new();
    let indexes = ["", "CREATE INDEX entries_process ON entries (process_id) WHERE state = 2;"];
    for index in indexes {
        let directory = tempfile::tempdir().unwrap();
        old_file(directory.path(), index);
        let clock = Clock::manual(START);
        for _ in 0..2 {
            let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
            let counts = inbox.counts().await.unwrap();
            assert_eq!((counts.waiting, counts.dead), (1, 1));
            let dead = inbox.story(EntryId(2), false).await.unwrap().unwrap().entry;
            assert_eq!((dead.code.as_deref(), dead.attempts, dead.released), (Some("ledger_rejected"), 2, None));
            drop(inbox);
            threads.join();
        }
        assert_eq!(shape(&directory.path().join("inbox.db")), shape(&fresh.file()));
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        for known in ["evt_1", "evt_2"] {
            assert!(inbox.append(entry(known)).await.unwrap().is_duplicate());
        }
        let leased = inbox.lease(LeaseRequest { entries_max: 9, bytes_max: 1 << 20, duration: MINUTE }).await.unwrap();
        assert_eq!((ids(&leased), leased[0].is_asked_for()), (vec!["evt_1"], false));
        drop(inbox);
        threads.join();
    }
}

#[tokio::test]
async fn a_file_of_the_second_format_becomes_one_of_this_format_and_takes_traced_entries() {
    let fresh = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    old_file(directory.path(), schema::UPGRADES[0]);
    let file = directory.path().join("inbox.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let clock = Clock::manual(START);
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
    let trace = TraceContext::new([7; 16], [8; 8], true);
    inbox.append(entry("evt_traced").traced(trace)).await.unwrap();
    assert!(inbox.append(entry("evt_1")).await.unwrap().is_duplicate());
    let leased = inbox.lease(LeaseRequest { entries_max: 9, bytes_max: 1 << 20, duration: MINUTE }).await.unwrap();
    assert_eq!(ids(&leased), ["evt_1", "evt_traced"]);
    assert_eq!((leased[0].trace, leased[1].trace), (None, trace));
    drop(inbox);
    threads.join();
    assert_eq!(shape(&file), shape(&fresh.file()));
    let formats: (i64, i64) = (schema::FORMAT, crate::inbox::inspect(&file).unwrap().format);
    assert_eq!(formats, (5, 5));
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    old_file(directory.path(), "CREATE TABLE entries_kept (x);");
    let file = directory.path().join("inbox.db");
    let before = shape(&file);
    let refused = Inbox::open(&InboxOptions::new(directory.path()), Clock::system()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Sqlite { .. }), "{refused:?}");
    assert_eq!(shape(&file), before);
    let format: i64 =
        Connection::open(&file).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(format, 1);
}
