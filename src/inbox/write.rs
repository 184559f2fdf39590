//! The statements that change the inbox, always inside one of the writer's transactions.

use rusqlite::{Connection, OptionalExtension, params};

use super::entry::{Door, NewEntry, Receipt, Source, state};
use super::event_ids;
use super::lease::{Concluded, Conclusion, Lease, LeaseRequest};
use super::room::Room;
use super::schema::live;
use super::sweep::{Retention, SweepCursor, Swept};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EntryId, ProcessId};

/// An entry that was held during this many crashes comes alone from then on.
const CRASHES_ALONE: i64 = 2;

/// An entry that was held, in the end alone, during this many crashes is given up as `crash_loop`.
pub const CRASHES_MAX: i64 = 8;

/// The writing connection and what it keeps in memory between transactions.
#[derive(Debug)]
pub(super) struct Writes {
    pub(super) connection: Connection,
    committed: Memory,
    working: Memory,
    sweep: SweepCursor,
    /// `None`: the disk is the bound.
    room: Option<Room>,
}

/// Values that only this connection changes, so that they need not be read back. Copied at the start of a transaction and
/// taken over at its commit.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    next_entry: i64,
    next_token: i64,
    tally: [i64; state::COUNT],
    last_lease: Timestamp,
    /// Ids in `event_ids_new`, or more.
    new_ids: i64,
}

impl Writes {
    /// Takes over a checked file. Leases of the process before are void, since the lock file says that it is gone; what it
    /// worked on is waiting again with one more crash on record.
    pub(super) fn recover(connection: Connection, now: Timestamp) -> rusqlite::Result<Self> {
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
                let (state, entries): (usize, i64) = (row.get(0)?, row.get(1)?);
                if let Some(slot) = memory.tally.get_mut(state) {
                    *slot = entries;
                }
            }
        }
        let mut writes =
            Self { connection, committed: memory, working: memory, sweep: SweepCursor::default(), room: None };
        writes.begin()?;
        writes.return_leased(now, i64::MAX)?;
        let newest: Option<i64> = writes
            .connection
            .query_row("SELECT received_at FROM entries ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
            .optional()?;
        if newest.is_some_and(|newest| newest > now.millis()) {
            writes.clock_went_back(now)?;
        }
        writes.commit()?;
        Ok(writes)
    }

    /// Bounds the file's size.
    pub(super) fn bound(&mut self, bytes_max: u64) -> rusqlite::Result<()> {
        self.room = Some(Room::bound(&self.connection, bytes_max, self.unfinished())?);
        Ok(())
    }

    fn check_room(&self, bytes: usize) -> rusqlite::Result<()> {
        self.room.map_or(Ok(()), |room| room.check(&self.connection, bytes, self.unfinished()))
    }

    fn unfinished(&self) -> u64 {
        let [waiting, leased, submitted, ..] = self.working.tally;
        u64::try_from(waiting + leased + submitted).unwrap_or(0)
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

    pub(super) fn append(&mut self, new: &NewEntry, now: Timestamp) -> rusqlite::Result<Receipt> {
        let id = self.working.next_entry;
        if let Some(known) = event_ids::claim(&self.connection, new.event_id(), new.endpoint.as_str(), id)? {
            let again = new.source == Source::Reconcile && self.work_again(known, new, now)?;
            return Ok(Receipt::after_commit(EntryId(known), !again));
        }
        let (body, bytes) = new.stored_body();
        self.check_room(body.len())?;
        let (state, due, ended, code, reason) = match &new.door {
            Door::Open => (state::WAITING, Some(now.millis()), None, None, None),
            Door::Hold { code, reason } => (state::QUARANTINED, None, Some(now.millis()), Some(*code), Some(reason)),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at,
                                      state, due_at, ended_at, code, reason, traceparent)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                id,
                new.endpoint.as_str(),
                new.event_id(),
                new.event_type(),
                new.account(),
                new.livemode(),
                new.source.as_str(),
                new.origin.voucher(),
                now.millis(),
                state,
                due,
                ended,
                code,
                reason,
                new.trace.map(|trace| trace.to_string()),
            ])?;
        self.connection
            .prepare_cached("INSERT INTO bodies (entry, body, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![id, body, bytes])?;
        self.working.next_entry += 1;
        self.working.new_ids += 1;
        self.count(state, 1);
        Ok(Receipt::after_commit(EntryId(id), false))
    }

    pub(super) fn lease(&mut self, request: &LeaseRequest, now: Timestamp) -> rusqlite::Result<Vec<Lease>> {
        if now < self.working.last_lease {
            self.clock_went_back(now)?;
        }
        self.working.last_lease = now;
        self.return_leased(now, now.millis())?;
        let chosen = self.choose(request, now)?;
        let token = self.working.next_token;
        let mut leases = Vec::with_capacity(chosen.len());
        for id in chosen {
            self.connection
                .prepare_cached("UPDATE entries SET state = ?2, lease_token = ?3, due_at = ?4 WHERE id = ?1")?
                .execute(params![id, state::LEASED, token, now.plus(request.duration).millis()])?;
            self.moved(state::WAITING, state::LEASED);
            leases.push(Lease { entry: EntryId(id), token });
        }
        if !leases.is_empty() {
            self.working.next_token += 1;
        }
        Ok(leases)
    }

    /// The entries to lease, in order of their due time. Gives up the ones that crash every process.
    fn choose(&mut self, request: &LeaseRequest, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
        let mut chosen = Vec::new();
        let mut crashing = Vec::new();
        {
            let mut statement = self.connection.prepare_cached(live::DUE)?;
            let mut rows = statement.query(params![now.millis(), request.entries_max])?;
            let mut bytes_left = request.bytes_max;
            while let Some(row) = rows.next()? {
                let (id, crashes): (i64, i64) = (row.get(0)?, row.get(1)?);
                // A length that is none is damage: such an entry comes alone, and is given up by whoever reads it.
                let bytes = row.get::<_, Option<i64>>(2)?.unwrap_or(0);
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                if crashes >= CRASHES_MAX {
                    crashing.push(id);
                } else if crashes >= CRASHES_ALONE {
                    if chosen.is_empty() {
                        chosen.push(id);
                        break;
                    }
                } else if chosen.is_empty() || bytes <= bytes_left {
                    bytes_left = bytes_left.saturating_sub(bytes);
                    chosen.push(id);
                } else {
                    break;
                }
            }
        }
        for id in crashing {
            let reason = format!("held alone while the gateway died, {CRASHES_MAX} times");
            self.end(id, state::WAITING, state::DEAD, now, "crash_loop", Some(&reason))?;
        }
        Ok(chosen)
    }

    /// Leases that ended by `until` are void; whoever held them crashed or stalled.
    fn return_leased(&mut self, now: Timestamp, until: i64) -> rusqlite::Result<()> {
        let returned = self.connection.prepare_cached(live::RETURN_LEASED)?.execute(params![now.millis(), until])?;
        let returned = i64::try_from(returned).unwrap_or(0);
        self.count(state::LEASED, -returned);
        self.count(state::WAITING, returned);
        Ok(())
    }

    /// After the system clock was set back, waits measured on the old clock would last as long as the jump: end them.
    fn clock_went_back(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        self.connection.prepare_cached(live::DUE_AT_ONCE)?.execute([now.millis()])?;
        Ok(())
    }

    pub(super) fn conclude(
        &mut self,
        lease: &Lease,
        conclusion: &Conclusion,
        now: Timestamp,
    ) -> rusqlite::Result<Concluded> {
        let held: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM entries WHERE id = ?1 AND state = 1 AND lease_token = ?2")?
            .query_row(params![lease.entry.0, lease.token], |row| row.get(0))
            .optional()?;
        let Some(id) = held else { return Ok(Concluded::LeaseLost) };
        self.change(id, state::LEASED, conclusion, now)?;
        Ok(Concluded::Done)
    }

    /// Concludes an entry that a process holds, if that process still does.
    pub(super) fn conclude_submitted(
        &mut self,
        process: &ProcessId,
        entry: EntryId,
        conclusion: &Conclusion,
        now: Timestamp,
    ) -> rusqlite::Result<Concluded> {
        let held: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM entries WHERE id = ?1 AND state = 2 AND process_id = ?2")?
            .query_row(params![entry.0, process.as_str()], |row| row.get(0))
            .optional()?;
        let Some(id) = held else { return Ok(Concluded::LeaseLost) };
        self.change(id, state::SUBMITTED, conclusion, now)?;
        Ok(Concluded::Done)
    }

    /// Asks about a process later.
    pub(super) fn postpone(&mut self, process: &ProcessId, poll: Timestamp) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE entries SET due_at = ?2 WHERE state = 2 AND process_id = ?1")?
            .execute(params![process.as_str(), poll.millis()])?;
        Ok(())
    }

    fn change(&mut self, id: i64, from: i64, conclusion: &Conclusion, now: Timestamp) -> rusqlite::Result<()> {
        match conclusion {
            Conclusion::Settle { outcome } => self.end(id, from, state::SETTLED, now, outcome, None)?,
            Conclusion::Quarantine { code, reason } => {
                self.end(id, from, state::QUARANTINED, now, code, Some(reason))?;
            }
            Conclusion::Dead { code, reason } => self.end(id, from, state::DEAD, now, code, Some(reason))?,
            Conclusion::Retry { due, counted, reason } => {
                self.wait(id, from, *due, i64::from(*counted), 0, reason)?;
            }
            Conclusion::RetryAlone { due, reason } => self.wait(id, from, *due, 1, CRASHES_ALONE, reason)?,
            Conclusion::Submitted { process, poll } => {
                self.connection
                    .prepare_cached(
                        "UPDATE entries SET state = 2, process_id = ?2, due_at = ?3, lease_token = NULL, crashes = 0,
                                            reason = NULL WHERE id = ?1",
                    )?
                    .execute(params![id, process.as_str(), poll.millis()])?;
                self.moved(from, state::SUBMITTED);
            }
        }
        Ok(())
    }

    fn wait(
        &mut self,
        id: i64,
        from: i64,
        due: Timestamp,
        attempts: i64,
        crashes: i64,
        reason: &str,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = 0, due_at = ?2, lease_token = NULL, process_id = NULL,
                                    attempts = attempts + ?3, crashes = ?4, reason = ?5 WHERE id = ?1",
            )?
            .execute(params![id, due.millis(), attempts, crashes, reason])?;
        self.moved(from, state::WAITING);
        Ok(())
    }

    fn end(
        &mut self,
        id: i64,
        from: i64,
        to: i64,
        now: Timestamp,
        code: &str,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = ?2, due_at = NULL, lease_token = NULL, ended_at = ?3, code = ?4, reason = ?5
                 WHERE id = ?1",
            )?
            .execute(params![id, to, now.millis(), code, reason])?;
        self.moved(from, to);
        Ok(())
    }

    pub(super) fn sweep(&mut self, retention: &Retention, now: Timestamp) -> rusqlite::Result<Swept> {
        let swept = super::sweep::sweep(&self.connection, &mut self.sweep, retention, now)?;
        if swept.entries > 0 {
            self.count(state::SETTLED, -i64::try_from(swept.entries).unwrap_or(0));
            self.connection
                .prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'next_entry'")?
                .execute([self.working.next_entry])?;
        }
        Ok(swept)
    }

    /// Removes the bodies of settled entries for good.
    pub(super) fn erase(&mut self, entries: &[EntryId]) -> rusqlite::Result<u64> {
        super::erase::erase(&self.connection, entries)
    }

    /// Writes and removes as much as a large append would, to learn whether the disk takes writes again.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        self.check_room(65536)?;
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO bodies (entry, body) VALUES (-1, zeroblob(65536))")?
            .execute([])?;
        self.connection.prepare_cached("DELETE FROM bodies WHERE entry = -1")?.execute([])?;
        Ok(())
    }

    /// Moves what is left of the log into the file. With nothing left, the next commit starts the log over.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |_| Ok(()))
    }

    /// Moves the whole log into the file, so that the file alone is a complete copy.
    pub(super) fn finish(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    pub(super) fn moved(&mut self, from: i64, to: i64) {
        self.count(from, -1);
        self.count(to, 1);
    }

    fn count(&mut self, state: i64, by: i64) {
        if let Some(slot) = usize::try_from(state).ok().and_then(|state| self.working.tally.get_mut(state)) {
            *slot += by;
        }
    }
}
