//! The index of references of an inbox file: a file of its own beside it, so that filling it takes nothing from the writer.
//!
//! Guarantees: the inbox works without it, and searches then look at every entry; one that is damaged, or that was made beside
//! another inbox, is made anew. Entries of one span of numbers stand together, so that a step touches few pages and what
//! retention has removed goes as a whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::LocalInbox;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::domain::private;
use crate::inbox::body::Unpacker;
use crate::inbox::error::InboxError;
use crate::inbox::reference::{END_WAIT, INDEX_STEP_MAX, IndexStep, Reference, WINDOW_CANDIDATES, references};
use crate::inbox::search::Direction;
use crate::inbox::state::StateName;

/// The file beside the inbox.
const FILE_NAME: &str = "inbox-references.db";

/// Version of its tables. A file of another version is made again.
const FORMAT: i64 = 1;

/// A span has 2 to this power entries.
const SPAN_BITS: i64 = 16;

/// How many bodies are read before another reader gets its turn.
const READ_AT_ONCE: usize = 200;

const CREATE: &str = "
CREATE TABLE refs (
    span  INTEGER NOT NULL,
    ref   INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (span, ref, entry)
) WITHOUT ROWID;
CREATE TABLE covered (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    entry    INTEGER NOT NULL,
    event_id TEXT NOT NULL
);
";

/// The index. One thread at a time fills it while others read it.
#[derive(Debug)]
pub(super) struct References {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    is_broken: AtomicBool,
}

/// An entry to take in.
struct Next {
    entry: i64,
    event_id: String,
    references: BTreeSet<Reference>,
}

impl References {
    /// Opens the index of an inbox, or makes it again. `None` if that fails, such as on a full disk.
    pub(super) fn open(directory: &Path, inbox: &Connection) -> Option<Self> {
        let path = directory.join(FILE_NAME);
        let usable = Self::connect(&path).and_then(|opened| Ok(opened.is_of(inbox)?.then_some(opened)));
        if let Ok(Some(opened)) = usable {
            return Some(opened);
        }
        remove(&path);
        Self::connect(&path).inspect_err(tell).ok()
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        // If the file cannot be made, SQLite's own error says better why.
        let _ = private::file(path);
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        if writer.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? == 0 {
            writer.execute_batch(&format!("BEGIN IMMEDIATE; {CREATE} PRAGMA user_version = {FORMAT}; COMMIT;"))?;
        }
        let (reader, path) = (Connection::open(path)?, path.to_owned());
        Ok(Self { path, writer: Mutex::new(writer), reader: Mutex::new(reader), is_broken: AtomicBool::new(false) })
    }

    /// Whether it has this format and belongs to this inbox: the last entry that it covers is there and unchanged.
    fn is_of(&self, inbox: &Connection) -> rusqlite::Result<bool> {
        let own = lock(&self.writer);
        if own.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? != FORMAT {
            return Ok(false);
        }
        let last = own.query_row("SELECT entry, event_id FROM covered", [], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((entry, event_id)) = last.optional()? else { return Ok(true) };
        let (entry, event_id): (i64, String) = (entry, event_id);
        let there = "SELECT EXISTS (SELECT 1 FROM entries WHERE id = ?1 AND event_id = ?2)";
        inbox.query_row(there, params![entry, event_id], |row| row.get(0))
    }

    /// The last entry that it covers; 0 if it covers none.
    fn covered(&self) -> rusqlite::Result<i64> {
        covered(&lock(&self.reader))
    }

    fn led_to(
        &self,
        leads: &[Reference],
        direction: Direction,
        after: Option<i64>,
        covered: i64,
    ) -> rusqlite::Result<Vec<i64>> {
        let reader = lock(&self.reader);
        let mut found = Vec::new();
        let mut span = match (direction, after) {
            (_, Some(after)) => Some(span_of(after)),
            (Direction::Newest, None) => Some(span_of(covered)),
            (Direction::Oldest, None) => Some(i64::MIN),
        };
        let (next, order, compare) = match direction {
            Direction::Newest => ("SELECT max(span) FROM refs WHERE span <= ?1", "DESC", "<"),
            Direction::Oldest => ("SELECT min(span) FROM refs WHERE span >= ?1", "ASC", ">"),
        };
        let start = after.unwrap_or(if direction == Direction::Newest { i64::MAX } else { i64::MIN });
        // Numbers only, so no text can get into the statement.
        let list: Vec<String> = leads.iter().map(|Reference(number)| number.to_string()).collect();
        let mut statement = reader.prepare(&format!(
            "SELECT DISTINCT entry FROM refs WHERE span = ?1 AND ref IN ({}) AND entry {compare} ?2 AND entry <= ?3
             ORDER BY entry {order} LIMIT ?4",
            list.join(", ")
        ))?;
        while let Some(from) = span
            && found.len() < WINDOW_CANDIDATES
        {
            let Some(here) = reader.prepare_cached(next)?.query_row([from], |row| row.get::<_, Option<i64>>(0))? else {
                break;
            };
            let left = i64::try_from(WINDOW_CANDIDATES - found.len()).unwrap_or(0);
            for entry in statement.query_map(params![here, start, covered, left], |row| row.get(0))? {
                found.push(entry?);
            }
            span = if direction == Direction::Newest { here.checked_sub(1) } else { here.checked_add(1) };
        }
        Ok(found)
    }

    /// Takes in the next entries. Reads bodies in small parts, so that others can read in between.
    fn step(&self, inbox: &Mutex<Connection>, least: usize, now: Timestamp) -> rusqlite::Result<IndexStep> {
        let mut own = lock(&self.writer);
        let from = covered(&own)?;
        let waiting = "SELECT count(*) FROM (SELECT 1 FROM entries WHERE id > ?1 LIMIT ?2)";
        let waiting: usize = lock(inbox).query_row(waiting, params![from, INDEX_STEP_MAX], |row| row.get(0))?;
        if waiting < least.max(1) {
            return Ok(IndexStep::default());
        }
        let mut next: Vec<Next> = Vec::new();
        let mut is_last = false;
        while !is_last && next.len() < INDEX_STEP_MAX {
            let after = next.last().map_or(from, |next| next.entry);
            let before = next.len();
            is_last = read(&lock(inbox), after, now, &mut next)? || next.len() == before;
        }
        let Some(last) = next.last() else { return Ok(IndexStep::default()) };
        let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut rows: Vec<(i64, i64, i64)> = Vec::new();
        for Next { entry, references, .. } in &next {
            rows.extend(references.iter().map(|Reference(number)| (span_of(*entry), *number, *entry)));
        }
        // In the order of the table, so that each page is touched once.
        rows.sort_unstable();
        for (span, number, entry) in rows {
            transaction
                .prepare_cached("INSERT INTO refs (span, ref, entry) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute([span, number, entry])?;
        }
        transaction
            .prepare_cached("INSERT OR REPLACE INTO covered (only_row, entry, event_id) VALUES (1, ?1, ?2)")?
            .execute(params![last.entry, last.event_id])?;
        transaction.commit()?;
        Ok(IndexStep { entries: next.len(), more: !is_last })
    }

    /// Adds what leads to an entry with a new body, if the index has already passed it.
    fn again(&self, entry: i64, found: &BTreeSet<Reference>) -> rusqlite::Result<()> {
        let own = lock(&self.writer);
        if covered(&own)? < entry {
            return Ok(());
        }
        let mut statement =
            own.prepare_cached("INSERT INTO refs (span, ref, entry) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
        found.iter().try_for_each(|Reference(number)| statement.execute([span_of(entry), *number, entry]).map(drop))
    }

    /// Forgets the references by these ids, and spans that hold no entry any more.
    fn forget(&self, inbox: &Mutex<Connection>, gone: &[Reference]) -> rusqlite::Result<()> {
        let mut own = lock(&self.writer);
        // SQLite overwrites what it removes.
        own.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
        let transaction = own.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut from = i64::MIN;
        loop {
            let next = "SELECT min(span) FROM refs WHERE span >= ?1";
            let next = transaction.prepare_cached(next)?.query_row([from], |row| row.get::<_, Option<i64>>(0))?;
            let Some(span) = next else { break };
            let range = params![span << SPAN_BITS, (span + 1) << SPAN_BITS];
            let there = "SELECT EXISTS (SELECT 1 FROM entries WHERE id >= ?1 AND id < ?2)";
            if lock(inbox).prepare_cached(there)?.query_row(range, |row| row.get(0))? {
                let mut statement = transaction.prepare_cached("DELETE FROM refs WHERE span = ?1 AND ref = ?2")?;
                for Reference(number) in gone {
                    statement.execute([span, *number])?;
                }
            } else {
                transaction.prepare_cached("DELETE FROM refs WHERE span = ?1")?.execute([span])?;
            }
            from = span + 1;
        }
        transaction.commit()
    }
}

impl LocalInbox {
    /// The last entry that the index covers; `None` without an index.
    pub(super) async fn covered(&self) -> Result<Option<i64>, InboxError> {
        self.look_up(References::covered).await
    }

    pub(super) async fn led_to(
        &self,
        leads: Vec<Reference>,
        direction: Direction,
        after: Option<EntryId>,
        covered: i64,
    ) -> Result<Vec<i64>, InboxError> {
        let after = after.map(|after| after.0);
        let found = self.look_up(move |index| index.led_to(&leads, direction, after, covered)).await?;
        found.ok_or(InboxError::Busy(Arc::new(std::io::Error::other(
            "the index of references is damaged: search again",
        ))))
    }

    pub(in crate::inbox) async fn index_step(&self, least: usize, now: Timestamp) -> Result<IndexStep, InboxError> {
        let reader = Arc::clone(&self.reader);
        let step = move |index: &References| match index.step(&reader, least, now) {
            // What it did was taken back. Until there is room, searches look at the entries behind it.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(IndexStep::default()),
            step => step,
        };
        Ok(self.look_up(step).await?.unwrap_or_default())
    }

    pub(in crate::inbox) async fn index_again(&self, entry: i64, found: BTreeSet<Reference>) -> Result<(), InboxError> {
        self.look_up(move |index| index.again(entry, &found)).await.map(drop)
    }

    pub(in crate::inbox) async fn forget_references(&self, gone: Vec<Reference>) -> Result<(), InboxError> {
        let reader = Arc::clone(&self.reader);
        self.look_up(move |index| index.forget(&reader, &gone)).await.map(drop)
    }

    /// Asks the index, off the runtime. `None` without an index, and from its first fault on.
    async fn look_up<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&References) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, InboxError> {
        let Some(index) = self.references.clone().filter(|index| !index.is_broken.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let asked = move || {
            let answer = ask(&index);
            if let Err(error) = &answer
                && !index.is_broken.swap(true, Ordering::Relaxed)
            {
                tell(error);
                // The next start makes it again.
                remove(&index.path);
            }
            answer.ok()
        };
        tokio::task::spawn_blocking(asked).await.map_err(|_| InboxError::Closed)
    }
}

fn tell(error: &rusqlite::Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(
        error,
        "inbox: no index of references until the next start; searches by customer, user and object look at every entry"
    );
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        // A file that stays is found useless again at the next start.
        let _ = std::fs::remove_file(name);
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn covered(connection: &Connection) -> rusqlite::Result<i64> {
    let found = connection.prepare_cached("SELECT entry FROM covered")?.query_row([], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

const fn span_of(entry: i64) -> i64 {
    entry >> SPAN_BITS
}

/// Reads entries after `after`, up to the first that is young and unfinished. Returns whether it met that entry or the end.
fn read(inbox: &Connection, after: i64, now: Timestamp, next: &mut Vec<Next>) -> rusqlite::Result<bool> {
    let mut statement = inbox.prepare_cached(
        "SELECT id, event_id, state, received_at, process_id, body, bytes
         FROM entries LEFT JOIN bodies ON entry = id WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query(params![after, READ_AT_ONCE])?;
    let (mut seen, mut unpacker) = (0, Unpacker::default());
    while let Some(row) = rows.next()? {
        seen += 1;
        let (entry, state): (i64, StateName) = (row.get(0)?, row.get(2)?);
        let is_at_its_end = matches!(state, StateName::Settled | StateName::Dead | StateName::Quarantined);
        if !is_at_its_end && now.since(Timestamp::from_millis(row.get(3)?)) < END_WAIT {
            return Ok(true);
        }
        let process: Option<String> = row.get(4)?;
        let body = row.get_ref(5)?.as_blob_or_null()?.map(|stored| (stored, row.get(6)));
        let body = match body {
            Some((stored, bytes)) => Some(unpacker.unpack(entry, stored, bytes?)),
            None => None,
        };
        let references = references(process.as_deref(), body.as_deref());
        next.push(Next { entry, event_id: row.get(1)?, references });
    }
    Ok(seen < READ_AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::ids::EndpointName;
    use crate::inbox::{Door, Inbox, InboxOptions, NewEntry, Store};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    #[tokio::test]
    async fn a_disk_that_is_full_for_a_while_costs_no_index() {
        /// More references than fit into the pages that an empty index has.
        const ENTRIES: usize = 300;
        let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::manual(Timestamp::from_seconds(1_700_000_000)));
        let (inbox, threads) = Inbox::open(&InboxOptions::new(directory.path()), clock.clone()).unwrap();
        for number in 0..ENTRIES {
            let body = format!(
                r#"{{"id":"evt_{number}","object":"event","type":"invoice.paid","data":{{"object":{{"id":"in_{number}",
                "object":"invoice","customer":"cus_{number}"}}}}}}"#
            );
            let envelope = Envelope::read(body.as_bytes()).unwrap();
            let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body.as_bytes()));
            inbox.append(entry).await.unwrap();
        }
        clock.advance(2 * END_WAIT);
        let Store::Local(local) = &inbox.store else { panic!("a file") };
        let index = local.references.clone().unwrap();
        let most = |pages: u64| {
            let writer = lock(&index.writer);
            writer.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        most(1);
        assert_eq!(inbox.index_step(1).await.unwrap().entries, 0);
        assert!(!index.is_broken.load(Ordering::Relaxed));
        most(1 << 20);
        assert_eq!(inbox.index_step(1).await.unwrap().entries, ENTRIES);
        assert_eq!(local.covered().await.unwrap(), Some(i64::try_from(ENTRIES).unwrap()));
        drop((index, inbox));
        threads.join();
    }
}
