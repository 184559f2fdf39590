//! `inbox move`: an inbox is carried from its file into a database and back, by a command that is killed again and again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use rusqlite::Connection;
use testkit::sql::Sessions;

use crate::commands::run;
use crate::gateway::{Options, event};
use crate::postgres::{Database, Flavour};

/// Entries of the inbox that is carried.
const ENTRIES: i64 = 3000;

/// Everything that stands in an inbox, but for the numbers of entries, one line an entry. The same for both stores.
const FILE: &str = "
    SELECT e.event_id || ' ' || e.endpoint || ' ' || e.state || ' ' || coalesce(e.code, '-') || ' ' || coalesce(e.reason, '-') || ' ' ||
        coalesce(e.process_id, '-') || ' ' || e.attempts || ' ' || e.received_at || ' ' || coalesce(e.ended_at, 0) || ' ' ||
        coalesce((SELECT length(body) FROM bodies WHERE entry = e.id), 0) || ' ' ||
        (SELECT count(*) || '/' || coalesce(max(note), '-') FROM orders WHERE entry = e.id)
    FROM entries e";
const DATABASE: &str = "
    SELECT e.event_id || ' ' || e.endpoint || ' ' || coalesce(w.state, d.state) || ' ' || coalesce(w.code, d.code, '-') || ' ' ||
        coalesce(w.reason, d.reason, '-') || ' ' || coalesce(w.process_id, d.process_id, '-') || ' ' ||
        coalesce(w.attempts, d.attempts) || ' ' || e.received_at || ' ' || coalesce(d.ended_at, 0) || ' ' ||
        coalesce(length(e.body), 0) || ' ' ||
        (SELECT count(*) || '/' || coalesce(max(note), '-') FROM gateway_inbox.orders WHERE entry = e.id)
    FROM gateway_inbox.entries e
    LEFT JOIN gateway_inbox.work w ON w.id = e.id LEFT JOIN gateway_inbox.ended d ON d.id = e.id";

/// Copies of the first entry, in every state that lasts.
const COPIES: &str = "
    CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i FROM n;
    INSERT INTO entries (id, endpoint, event_id, event_type, livemode, source, secret, received_at, state, due_at, ended_at, code,
                         reason, process_id, attempts)
    SELECT i, endpoint, 'evt_copy_' || i, event_type, livemode, source, secret, received_at + i,
        CASE i % 5 WHEN 0 THEN 0 WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 4 ELSE 5 END,
        CASE WHEN i % 5 < 2 THEN received_at END, CASE WHEN i % 5 > 1 THEN received_at + 2 * i END,
        CASE i % 5 WHEN 2 THEN 'applied' WHEN 3 THEN 'bad' WHEN 4 THEN 'rule' END, 'it''s number ' || i,
        CASE i % 5 WHEN 1 THEN 'process_' || (i / 50) END, i % 3
    FROM n, entries WHERE id = 1;
    INSERT INTO bodies SELECT i, body, bytes FROM n, bodies WHERE entry = 1 AND i % 7 > 0;
    INSERT INTO event_ids SELECT event_id, endpoint, id FROM entries WHERE id > 1;
    INSERT INTO orders (entry, action, at, note, was) SELECT i, 'replay', i, 'note ' || i, 'was' FROM n WHERE i % 4 = 0;
    INSERT INTO orders (entry, action, at, note, was) SELECT i, 'drop', i, 'later ' || i, 'was' FROM n WHERE i % 8 = 0;
    UPDATE tally SET entries = (SELECT count(*) FROM entries e WHERE e.state = tally.state);";

/// An inbox file with many entries, of a gateway that was killed.
fn fill(options: &Options) {
    let gateway = options.clone().with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.kill();
    open(&options.data).execute_batch(COPIES).unwrap();
}

fn open(data: &Path) -> Connection {
    Connection::open(data.join("inbox.db")).unwrap()
}

fn in_file(data: &Path) -> BTreeSet<String> {
    let connection = open(data);
    let mut statement = connection.prepare(FILE).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

async fn in_database(sessions: &Sessions) -> BTreeSet<String> {
    sessions.values::<String>(DATABASE).await.unwrap().into_iter().collect()
}

/// Runs a move, killing it whenever so many more entries have arrived than before, until it comes to its end. Tells how often it was killed.
async fn kill_until_done(options: &Options, arguments: &[&str], arrived: impl AsyncFn() -> i64) -> u32 {
    let mut kills = 0;
    loop {
        let target = arrived().await + fastrand::i64(0..ENTRIES / 3);
        let mut command = options.command();
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if target <= ENTRIES && arrived().await >= target {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
        };
        match status {
            Some(status) => {
                assert!(status.success(), "{status}");
                return kills;
            }
            None => kills += 1,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_again_and_again_carries_everything_once_and_so_does_the_way_back() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::create(Flavour::Durable).await;
    let file = Options::new(directory.path());
    fill(&file);
    let shared = file.clone().with("DATABASE_URL", database.url()).with("GATEWAY_INBOX_URL", database.url());
    let log = shared.try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("inbox move --to"), "it says what to do: {log}");
    // Once, so that the tables are there to be counted.
    let pool = database.sessions();
    // The gateway was killed: an entry that it had leased waits again where it is carried to.
    let before = in_file(directory.path())
        .into_iter()
        .map(|line| line.replacen(" stripe 1 ", " stripe 0 ", 1))
        .collect::<BTreeSet<_>>();
    assert_eq!(i64::try_from(before.len()).unwrap(), ENTRIES);
    let in_tables = async || pool.value::<i64>("SELECT count(*) FROM gateway_inbox.entries").await.unwrap_or(0);
    let kills = kill_until_done(&shared, &["inbox", "move", "--to"], in_tables).await;
    assert!(kills > 0, "it was never killed");
    assert_eq!(in_database(&pool).await, before);
    let log = file.try_serve().err().expect("it does not start").join("\n");
    assert!(log.contains("was moved to 127.0.0.1:"), "{log}");
    let (code, stdout, stderr) = run(&shared, &["inbox", "move", "--to", &database.url()]);
    assert!(code == 0 && stdout.contains(" 0 entries were carried now"), "{stdout}{stderr}");

    let elsewhere = tempfile::tempdir().unwrap();
    for (data, is_back) in [(elsewhere.path(), false), (directory.path(), true)] {
        let options = Options { data: data.to_owned(), ..shared.clone() };
        if is_back {
            // Where it came from, after it was elsewhere.
            assert_eq!(
                run(&Options { data: elsewhere.path().to_owned(), ..shared.clone() }, &["inbox", "move", "--to"]).0,
                0
            );
        }
        let in_this_file = async || {
            let count = |connection: &Connection| {
                connection.query_row("SELECT count(*) FROM entries", [], |row| row.get::<_, i64>(0)).unwrap_or(0)
            };
            tokio::task::yield_now().await;
            if data.join("inbox.db").exists() { count(&open(data)) } else { 0 }
        };
        let kills = kill_until_done(&options, &["inbox", "move", "--from"], in_this_file).await;
        assert!(kills > 0 || is_back, "it was never killed");
        assert_eq!(in_file(data), before, "{is_back}");
        let log = shared.try_serve().err().expect("it does not start").join("\n");
        assert!(log.contains("were moved to") || log.contains("not settled"), "{log}");
    }
    // A gateway works with the file again.
    let gateway = file.with("DATABASE_URL", "postgres://nobody@127.0.0.1:1/x").serve();
    assert_eq!(gateway.post(&event("evt_after")).status, 200);
    assert_eq!(gateway.health()["inbox"]["dead"], ENTRIES / 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_worked_on_again_when_a_person_says_that_the_file_it_went_to_is_lost() {
    let (directory, lost) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let database = Database::create(Flavour::Durable).await;
    let shared =
        Options::new(directory.path()).with("DATABASE_URL", database.url()).with("GATEWAY_INBOX_URL", database.url());
    assert_eq!(run(&shared, &["migrate"]).0, 0);
    let mut gateway = shared.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    gateway.until_idle();
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let moved = Options { data: lost.path().to_owned(), ..shared.clone() };
    let (code, _, stderr) = run(&moved, &["inbox", "move", "--from"]);
    assert_eq!(code, 0, "{stderr}");

    let give_up = ["inbox", "move", "--from", "--give-up"];
    let by_word = ["inbox", "move", "--from", "--give-up", "--lost"];
    let (code, _, stderr) = run(&shared, &give_up);
    assert!(code == 1 && stderr.contains("--give-up --lost"), "{stderr}");
    // It is not lost, whether its directory is named or not.
    let (code, _, stderr) = run(&shared, &by_word);
    assert!(code == 1 && stderr.contains("is there"), "{stderr}");
    let (code, _, stderr) = run(&moved, &by_word);
    assert!(code == 1 && stderr.contains("was moved to"), "{stderr}");
    drop(lost);
    let (code, stdout, stderr) = run(&shared, &by_word);
    assert!(code == 0 && stdout.contains("given up") && stdout.contains("reconcile events"), "{stdout}{stderr}");
    let gateway = shared.serve();
    assert_eq!(gateway.post(&event("evt_1")).status, 200);
    assert_eq!(gateway.until_idle()["inbox"]["settled"], 1, "it is known");
}
