//! Inbox files with many entries, made at once instead of one delivery after the other.
//!
//! The library makes the file and its first entry; the others are copies of that one under ids of their own, so that
//! they have every column that the format has. Indexes are dropped while they are copied and made again afterwards.

use std::path::Path;

use anyhow::{Context as _, ensure};
use colony_gateway::domain::clock::Clock;
use colony_gateway::domain::ids::EndpointName;
use colony_gateway::inbox::{Door, Inbox, InboxOptions, NewEntry};
use colony_gateway::stripe::envelope::Envelope;
use colony_gateway::stripe::signature::{SigningSecret, VerifiedDelivery, check_header};
use rusqlite::{Connection, params};

use crate::Bench;
use crate::gateway::SECRET;
use crate::requests::{Requests, digits, mixed};

/// Name of the endpoint that entries came in by: the gateway's only one.
const ENDPOINT: &str = "default";

/// Entries copied in one transaction.
const COPIED_AT_ONCE: u64 = 100_000;

/// In which state the entries are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    /// Due, with their bodies.
    Waiting,
    /// Done; their bodies went already, as retention has it after a while.
    Settled,
}

/// Turns requests into deliveries, as the door does.
pub(crate) struct Deliveries {
    secrets: [SigningSecret; 1],
    clock: Clock,
}

impl Deliveries {
    pub(crate) fn new(clock: &Clock) -> anyhow::Result<Self> {
        let (secret, _) = SigningSecret::parse(SECRET)?;
        Ok(Self { secrets: [secret], clock: clock.clone() })
    }

    /// The next delivery. `scattered` ids come in any order; others grow with time, as Stripe's do.
    pub(crate) fn next(&self, requests: &Requests, scattered: bool) -> anyhow::Result<NewEntry> {
        let (header, body) = requests.delivery(scattered);
        let header = check_header([header.as_bytes()])?;
        let tolerance = colony_gateway::stripe::signature::TOLERANCE_DEFAULT;
        let delivery: VerifiedDelivery = header.verify(body, &self.secrets, self.clock.now(), tolerance)?;
        let envelope = Envelope::read(delivery.body())?;
        Ok(NewEntry::event(EndpointName::new(ENDPOINT), envelope, Door::Open, delivery))
    }
}

/// Makes an inbox with so many entries in a directory that has none.
///
/// # Errors
/// When the disk is full or the file is not as expected.
pub(crate) fn make(bench: &Bench, directory: &Path, entries: u64, standing: Standing) -> anyhow::Result<()> {
    let (inbox, threads) = Inbox::open(&InboxOptions::new(directory), bench.clock.clone())?;
    let first = Deliveries::new(&bench.clock)?.next(&bench.requests, false)?;
    bench.runtime.block_on(inbox.append(first))?;
    drop(inbox);
    threads.join();
    let connection = Connection::open(directory.join("inbox.db"))?;
    // It is measured afterwards, and made again if the machine fails now.
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 20000; PRAGMA cache_size = -262144;")?;
    let indexes = indexes(&connection)?;
    for (name, _) in &indexes {
        connection.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    copy(bench, &connection, entries, standing)?;
    for (_, sql) in &indexes {
        connection.execute_batch(sql)?;
    }
    connection.execute_batch(
        "DELETE FROM event_ids_new;
         DELETE FROM event_ids;
         INSERT INTO event_ids SELECT event_id, endpoint, id FROM entries ORDER BY event_id, endpoint;",
    )?;
    let (state, other) = match standing {
        Standing::Waiting => (0, 3),
        Standing::Settled => (3, 0),
    };
    connection.execute("UPDATE tally SET entries = ?2 WHERE state = ?1", params![state, entries])?;
    connection.execute("UPDATE tally SET entries = 0 WHERE state = ?1", params![other])?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

fn indexes(connection: &Connection) -> anyhow::Result<Vec<(String, String)>> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn copy(bench: &Bench, connection: &Connection, entries: u64, standing: Standing) -> anyhow::Result<()> {
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info('entries')")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    ensure!(columns.iter().any(|column| column == "event_id"), "entries have no event_id");
    if matches!(standing, Standing::Settled) {
        connection.execute(
            "UPDATE entries SET state = 3, due_at = NULL, ended_at = received_at, code = 'applied' WHERE id = 1",
            [],
        )?;
    }
    let values: Vec<&str> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => "?1",
            "event_id" => "?2",
            other => other,
        })
        .collect();
    let copy =
        format!("INSERT INTO entries ({}) SELECT {} FROM entries WHERE id = 1", columns.join(", "), values.join(", "));
    let (body, bytes): (Vec<u8>, Option<u64>) =
        connection
            .query_row("SELECT body, bytes FROM bodies WHERE entry = 1", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Ids grow with time, one a second, up to now.
    let first = bench.clock.now().seconds().unsigned_abs().saturating_sub(entries);
    let mut number = 2;
    while number <= entries {
        let transaction = connection.unchecked_transaction()?;
        for number in number..=(number + COPIED_AT_ONCE - 1).min(entries) {
            let mut id = *b"evt_000000AAAAAAAA0000000000";
            digits(&mut id[4..10], first + number);
            digits(&mut id[18..], mixed(number));
            let id = std::str::from_utf8(&id).context("digits")?;
            transaction.prepare_cached(&copy)?.execute(params![number, id])?;
            if matches!(standing, Standing::Waiting) {
                transaction
                    .prepare_cached("INSERT INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
                    .execute(params![number, body, bytes])?;
            }
        }
        transaction.commit()?;
        number += COPIED_AT_ONCE;
    }
    if matches!(standing, Standing::Settled) {
        connection.execute("DELETE FROM bodies", [])?;
    }
    Ok(())
}
