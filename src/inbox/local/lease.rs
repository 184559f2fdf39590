//! Leases: the right to conclude an entry, good once and for a time.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use super::schema::live;
use super::steps;
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId};
use crate::domain::outcome::ProblemCode;
use crate::domain::trace::TraceContext;
use crate::inbox::body::Unpacker;
use crate::inbox::conclude::Conclusion;
use crate::inbox::error::InboxError;
use crate::inbox::lease::{CRASHES_ALONE, CRASHES_MAX, Lease, LeaseRequest, Leased, Taken};
use crate::inbox::state::StateName;
use crate::inbox::steps::Step;

impl LocalInbox {
    /// Leases the entries that are due, oldest due first, with their bodies. An entry that was held during several
    /// crashes comes alone, so that it cannot take neighbours with it.
    pub(in crate::inbox) async fn lease(&self, request: LeaseRequest) -> Result<Taken, InboxError> {
        let Given { leases, stored, next_due } = self.ask(request).await?;
        let entries = match stored {
            Some(stored) => with_bodies(leases, stored),
            None => {
                self.read(move |connection| {
                    let transaction = connection.transaction()?;
                    let stored = read_stored(&transaction, &leases)?;
                    Ok(with_bodies(leases, stored))
                })
                .await?
            }
        };
        Ok(Taken { entries, next_due })
    }
}

/// Of so many entries the writer reads the bodies itself, which costs less than to ask a reader. More would keep those waiting
/// who want something written.
const READ_BY_WRITER_MAX: usize = 8;

/// Longest wait that a process takes over from the one before. The clock may have been set back in between, which nothing
/// in the file need show; and a person who restarts the gateway expects it to try again.
const STARTED_WAIT_MAX: Duration = Duration::from_secs(10);

/// What the writer gives for a request.
pub(super) struct Given {
    leases: Vec<Lease>,
    /// What is stored of them, if they are few and it could be read.
    stored: Option<Vec<Stored>>,
    next_due: Option<Timestamp>,
}

/// An entry as it is stored.
pub(super) struct Stored {
    endpoint: EndpointName,
    event_id: EventId,
    event_type: String,
    attempts: u32,
    crashes: u32,
    awaited_stripe: bool,
    awaits_bee: bool,
    received: Timestamp,
    released: Option<Timestamp>,
    replayed: bool,
    trace: Option<TraceContext>,
    /// The body, maybe compressed.
    body: Vec<u8>,
    /// Length of the body as it was signed, where it is compressed.
    bytes: Option<i64>,
}

impl Request for LeaseRequest {
    type Done = Given;

    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Self::Done> {
        file.return_leased(now, now.millis())?;
        let chosen = choose(file, self, now)?;
        let token = file.next_token();
        let mut leases = Vec::with_capacity(chosen.len());
        for id in chosen {
            file.connection
                .prepare_cached("UPDATE entries SET state = ?2, lease_token = ?3, due_at = ?4 WHERE id = ?1")?
                .execute(params![id, StateName::Leased, token, now.plus(self.duration).millis()])?;
            file.moved(StateName::Waiting, StateName::Leased);
            leases.push(Lease { entry: EntryId(id), token });
        }
        if !leases.is_empty() {
            file.leased();
        }
        // What cannot be read is leased all the same: its lease will end, again and again, until it is given up.
        let is_few = leases.len() <= READ_BY_WRITER_MAX;
        let stored = is_few.then(|| read_stored(&file.connection, &leases).ok()).flatten();
        let next_due = next_due(&file.connection)?;
        Ok(Given { leases, stored, next_due })
    }

    /// A restart voids it anyway.
    fn must_survive(&self) -> bool {
        false
    }
}

/// The entries to lease, in order of their due time. Gives up the ones that crash every process.
fn choose(file: &mut InboxFile, request: &LeaseRequest, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
    let mut chosen = Vec::new();
    let mut crashing = Vec::new();
    {
        let mut statement = file.connection.prepare_cached(live::DUE)?;
        let mut rows = statement.query(params![now.millis(), request.entries_max])?;
        let mut bytes_left = request.bytes_max;
        while let Some(row) = rows.next()? {
            let (id, crashes): (i64, i64) = (row.get(0)?, row.get(1)?);
            // A negative length means damage: such an entry comes alone, and its reader gives it up.
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
        let reason = format!("worked on alone when the gateway died, {CRASHES_MAX} times");
        let dead = Conclusion::Dead { code: ProblemCode::CrashLoop.as_str().to_owned(), reason };
        dead.apply(file, id, StateName::Waiting, now)?;
    }
    Ok(chosen)
}

/// When the next waiting entry is due, if one waits.
fn next_due(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let due: Option<i64> = connection.prepare_cached(live::NEXT_DUE)?.query_row([], |row| row.get(0))?;
    Ok(due.map(Timestamp::from_millis))
}

/// What is stored of leased entries. All of it in one transaction.
fn read_stored(connection: &Connection, leases: &[Lease]) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection.prepare_cached(
        "SELECT endpoint, event_id, event_type, attempts, MAX(received_at, COALESCE(replayed_at, 0),
                COALESCE(released_at, 0)), body, bytes, released_at, replayed_at IS NOT NULL, traceparent, crashes,
                code IS 'awaits_stripe', code IS 'awaits_bee'
         FROM entries JOIN bodies ON entry = id WHERE id = ?1",
    )?;
    let mut read = |lease: &Lease| {
        statement.query_row([lease.entry.0], |row| {
            Ok(Stored {
                endpoint: EndpointName::new(row.get::<_, String>(0)?),
                event_id: EventId::new(row.get::<_, String>(1)?),
                event_type: row.get(2)?,
                attempts: row.get(3)?,
                crashes: row.get(10)?,
                awaited_stripe: row.get(11)?,
                awaits_bee: row.get(12)?,
                received: Timestamp::from_millis(row.get(4)?),
                body: row.get_ref(5)?.as_blob()?.to_vec(),
                bytes: row.get(6)?,
                released: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
                replayed: row.get(8)?,
                trace: row.get::<_, Option<String>>(9)?.as_deref().and_then(TraceContext::parse),
            })
        })
    };
    leases.iter().map(&mut read).collect()
}

/// The leased entries, with their bodies as they were signed.
fn with_bodies(leases: Vec<Lease>, stored: Vec<Stored>) -> Vec<Leased> {
    let mut unpacker = Unpacker::default();
    let mut leased = |(lease, stored): (Lease, Stored)| Leased {
        body: Bytes::from(unpacker.unpack(lease.entry.0, &stored.body, stored.bytes)),
        endpoint: stored.endpoint,
        event_id: stored.event_id,
        event_type: stored.event_type,
        attempts: stored.attempts,
        crashes: stored.crashes,
        awaited_stripe: stored.awaited_stripe,
        awaits_bee: stored.awaits_bee,
        received: stored.received,
        released: stored.released,
        replayed: stored.replayed,
        trace: stored.trace,
        lease,
    };
    leases.into_iter().zip(stored).map(&mut leased).collect()
}

/// Takes over a checked file. Leases of the process before are void, since the lock file says that it is gone; what it
/// worked on is waiting again with one more crash on record.
pub(super) fn recover(connection: Connection, now: Timestamp) -> rusqlite::Result<InboxFile> {
    let mut file = InboxFile::new(connection)?;
    file.begin()?;
    file.return_leased(now, i64::MAX)?;
    let newest: Option<i64> = file
        .connection
        .query_row("SELECT received_at FROM entries ORDER BY id DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    if newest.is_some_and(|newest| newest > now.millis()) {
        file.clock_went_back(now)?;
    }
    file.end_waits(now.plus(STARTED_WAIT_MAX))?;
    file.commit()?;
    Ok(file)
}

impl InboxFile {
    /// Leases that ended by `until` are void; their holders crashed or stalled.
    fn return_leased(&mut self, now: Timestamp, until: i64) -> rusqlite::Result<()> {
        let returned: Vec<i64> = self
            .connection
            .prepare_cached(live::RETURN_LEASED)?
            .query_map(params![now.millis(), until, CRASHES_ALONE], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for entry in &returned {
            steps::note(&self.connection, *entry, Step::LEASE_ENDED, now)?;
        }
        let returned = i64::try_from(returned.len()).unwrap_or(0);
        self.count(StateName::Leased, -returned);
        self.count(StateName::Waiting, returned);
        Ok(())
    }

    /// After the system clock was set back, waits measured on the old clock would last as long as the jump: end them.
    pub(super) fn clock_went_back(&mut self, now: Timestamp) -> rusqlite::Result<()> {
        self.end_waits(now)
    }

    /// No wait and no poll is later than `latest` any more.
    fn end_waits(&mut self, latest: Timestamp) -> rusqlite::Result<()> {
        self.connection.prepare_cached(live::DUE_NO_LATER)?.execute([latest.millis()])?;
        Ok(())
    }
}
