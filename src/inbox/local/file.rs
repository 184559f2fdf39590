//! The inbox file as its writer holds it: transactions, and what is kept in memory between them.

use rusqlite::{Connection, params};

use super::event_ids;
use super::size_bound::SizeBound;
use crate::domain::clock::Timestamp;
use crate::inbox::state::StateName;

/// The writing connection.
#[derive(Debug)]
pub(super) struct InboxFile {
    pub(super) connection: Connection,
    committed: Memory,
    working: Memory,
    /// Whether commits wait for the disk.
    syncs: bool,
    /// Where the next sweep goes on.
    pub(super) sweep: SweepCursor,
    /// `None`: the disk is the bound.
    bound: Option<SizeBound>,
}

/// Values that only this connection changes, so that they need not be read back. Copied at the start of a transaction and
/// taken over at its commit.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    next_entry: i64,
    next_token: i64,
    tally: [i64; StateName::ALL.len()],
    last_group: Timestamp,
    /// Ids in `event_ids_new`, or more.
    new_ids: i64,
}

/// The last bodies and entries that sweeps looked at. Those that are kept would otherwise be looked at again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SweepCursor {
    pub(super) bodies: i64,
    pub(super) entries: i64,
}

impl InboxFile {
    /// Reads what is kept in memory.
    pub(super) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let counter = |name: &str| {
            connection.query_row("SELECT value FROM counters WHERE name = ?1", [name], |row| row.get::<_, i64>(0))
        };
        let next_after_max: i64 =
            connection.query_row("SELECT COALESCE(MAX(id), 0) + 1 FROM entries", [], |row| row.get(0))?;
        let mut memory = Memory {
            next_entry: counter("next_entry")?.max(next_after_max),
            next_token: counter("next_token")?,
            new_ids: event_ids::count_new(&connection)?,
            ..Memory::default()
        };
        {
            let mut statement = connection.prepare("SELECT state, entries FROM tally")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(slot) = memory.tally.get_mut(row.get::<_, usize>(0)?) {
                    *slot = row.get(1)?;
                }
            }
        }
        let sweep = SweepCursor::default();
        // As the file was opened.
        Ok(Self { connection, committed: memory, working: memory, syncs: true, sweep, bound: None })
    }

    /// Bounds the file's size.
    pub(super) fn bound(&mut self, bytes_max: u64) -> rusqlite::Result<()> {
        self.bound = Some(SizeBound::new(&self.connection, bytes_max)?);
        Ok(())
    }

    /// Whether there is room for so many new bytes.
    ///
    /// # Errors
    /// `SQLITE_FULL` when there is not.
    pub(super) fn check_room(&self, bytes: usize) -> rusqlite::Result<()> {
        self.bound.map_or(Ok(()), |bound| bound.check(&self.connection, bytes, self.unfinished()))
    }

    fn unfinished(&self) -> u64 {
        let [waiting, leased, submitted, ..] = self.working.tally;
        u64::try_from(waiting + leased + submitted).unwrap_or(0)
    }

    /// Sets whether the next commits wait for the disk. Those that do take all before them to the disk as well. Not within a
    /// transaction, where SQLite ignores it.
    pub(super) fn sync(&mut self, syncs: bool) -> rusqlite::Result<()> {
        if syncs != self.syncs {
            self.connection.pragma_update(None, "synchronous", if syncs { "FULL" } else { "NORMAL" })?;
            self.syncs = syncs;
        }
        Ok(())
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.working = self.committed;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.working.new_ids = event_ids::merge_full(&self.connection, self.working.new_ids)?;
        for (state, (new, old)) in self.working.tally.iter().zip(self.committed.tally).enumerate() {
            if *new != old {
                self.connection
                    .prepare_cached("UPDATE tally SET entries = ?2 WHERE state = ?1")?
                    .execute(params![state, new])?;
            }
        }
        if self.working.next_token != self.committed.next_token {
            self.connection
                .prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'next_token'")?
                .execute([self.working.next_token])?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.committed = self.working;
        Ok(())
    }

    /// Ends a transaction that failed. SQLite may have ended it already.
    pub(super) fn rollback(&mut self) {
        self.working = self.committed;
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(error = &error as &dyn std::error::Error, "inbox: roll-back failed");
        }
    }

    /// Moves what is left of the log into the file. With nothing left, the next commit starts the log over.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
    }

    /// Moves the whole log into the file, so that the file alone is a complete copy.
    pub(super) fn finish(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// The number of the next new entry.
    pub(super) fn next_entry(&self) -> i64 {
        self.working.next_entry
    }

    /// Takes note of a new entry with that number.
    pub(super) fn entered(&mut self, state: StateName) {
        self.working.next_entry += 1;
        self.working.new_ids += 1;
        self.count(state, 1);
    }

    /// The fence of the next leases; no two batches have the same.
    pub(super) fn next_token(&self) -> i64 {
        self.working.next_token
    }

    /// Takes note that leases were given out under that token.
    pub(super) fn leased(&mut self) {
        self.working.next_token += 1;
    }

    /// Takes note of the time of a group. True when the clock was set back since the last one.
    pub(super) fn note_time(&mut self, now: Timestamp) -> bool {
        now < std::mem::replace(&mut self.working.last_group, now)
    }

    /// Counts an entry in its new state.
    pub(super) fn moved(&mut self, from: StateName, to: StateName) {
        self.count(from, -1);
        self.count(to, 1);
    }

    /// Counts entries that came into a state, or left it.
    pub(super) fn count(&mut self, state: StateName, by: i64) {
        self.working.tally[state as usize] += by;
    }
}
