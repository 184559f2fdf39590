//! Taking in events: what has queued up goes as one statement and one commit, and a few such groups are on their way at once.
//!
//! An entry is acknowledged after the commit that wrote it, or, where it was there, after the commit of a lock on its row. A plain
//! look would not do: a commit that was cancelled while it waited for a standby, or that a restart of the server cut off, is
//! visible and not durable. What an answer that was lost or came with a warning did is found out by the same statement again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::types::Type;

use super::super::entry::{NewEntry, Receipt, Source};
use super::super::error::InboxError;
use super::super::lease::{Lease, Leased};
use super::fault::{Fault, Unknown};
use super::insert::{held, number, size};
use super::kept::{Amount, Room};
use super::pace::Pace;
use super::schema::{durable, now};
use super::{BIGINTS, Core, NotStored, TEXTS};
use crate::domain::ids::{EntryId, EventId};

/// Groups in progress at once. With one connection alone, a closed loop of clients would wait for each other in two halves.
const GROUPS_MAX: usize = 4;

/// How often a group is tried whose effect is unknown.
const TRIES_MAX: u32 = 4;

/// An arriving entry, and where to answer.
pub(super) struct Arrival {
    pub(super) entry: NewEntry,
    pub(super) reply: oneshot::Sender<Result<Receipt, NotStored>>,
}

const LOCK: &str = concat!(
    "SELECT e.id, e.event_id, e.endpoint, ",
    durable!(),
    " FROM unnest($1, $2) AS g (event_id, endpoint)
      JOIN gateway_inbox.entries e ON e.event_id = g.event_id AND e.endpoint = g.endpoint
      ORDER BY e.event_id, e.endpoint FOR UPDATE OF e"
);

/// Makes settled entries wait again, with the body that Stripe lists. Those that a person dropped stay dropped.
const AGAIN: &str = concat!(
    "WITH given AS (SELECT * FROM unnest($2, $3, $4, $5) AS g (id, body, bytes, size)),
    again AS (
        DELETE FROM gateway_inbox.ended d USING given g
        WHERE d.id = g.id AND d.state = 3 AND d.code IS DISTINCT FROM 'dropped'
        RETURNING d.id, d.process_id, d.crashes, d.released_at, d.replayed_at, d.action, d.action_at, d.action_by, d.action_note
    ), waiting AS (
        INSERT INTO gateway_inbox.work (id, state, due_at, size, process_id, crashes, released_at, replayed_at, action, action_at,
                                        action_by, action_note)
        SELECT a.id, 0, ",
    now!(),
    ", g.size, a.process_id, a.crashes, a.released_at, a.replayed_at, a.action, a.action_at, a.action_by, a.action_note
        FROM again a JOIN given g ON g.id = a.id
    ), bodies AS (
        UPDATE gateway_inbox.entries e SET body = g.body, bytes = g.bytes
        FROM given g JOIN again a ON a.id = g.id WHERE e.id = g.id
    )
    SELECT id, ",
    durable!(),
    " FROM again"
);

/// Stores arrivals until every handle is gone and all are answered.
pub(super) async fn run(core: Arc<Core>, mut arrivals: mpsc::Receiver<Arrival>, group_max: usize) {
    let (mut groups, mut pace) = (JoinSet::new(), Pace::default());
    let (mut is_open, mut on_their_way) = (true, 0_usize);
    while is_open || !groups.is_empty() {
        let mut group = Vec::new();
        let overdue = core.kept.overdue_at();
        tokio::select! {
            () = sleep_until(overdue.unwrap_or_else(Instant::now)), if overdue.is_some() && groups.len() < GROUPS_MAX => {
                let core = Arc::clone(&core);
                groups.spawn(async move {
                    core.give_back_kept().await;
                    0
                });
            }
            Some(done) = groups.join_next() => {
                on_their_way = if groups.is_empty() { 0 } else { on_their_way.saturating_sub(done.unwrap_or(0)) };
            }
            taken = arrivals.recv_many(&mut group, group_max), if is_open && groups.len() < GROUPS_MAX => {
                is_open = taken > 0;
                if is_open {
                    pace.fill(&mut group, &mut arrivals, on_their_way, group_max).await;
                    on_their_way += group.len();
                    groups.spawn(answer(Arc::clone(&core), group));
                }
            }
        }
    }
    core.give_back_all().await;
}

/// Stores a group and answers it. Returns how many were in it.
async fn answer(core: Arc<Core>, group: Vec<Arrival>) -> usize {
    let (entries, replies): (Vec<NewEntry>, Vec<_>) =
        group.into_iter().map(|Arrival { entry, reply }| (entry, reply)).unzip();
    let receipts = core.store_each(&entries).await;
    let stored = receipts.iter().filter(|receipt| receipt.is_ok()).count();
    core.stats.appended.fetch_add(stored as u64, Ordering::Relaxed);
    let count = entries.len();
    // The asker may be gone; what is committed stays committed.
    replies.into_iter().zip(receipts).zip(entries).for_each(|((reply, receipt), entry)| {
        drop(reply.send(receipt.map_err(|error| NotStored { error, entry: Some(Box::new(entry)) })));
    });
    count
}

/// An event of an endpoint.
pub(super) type Key<'a> = (&'a str, &'a str);

fn key(entry: &NewEntry) -> Key<'_> {
    (entry.event_id(), entry.endpoint.as_str())
}

impl Core {
    /// Stores entries and returns a result for each, in order. If the database refuses one, its neighbours are stored in
    /// any case.
    async fn store_each(&self, entries: &[NewEntry]) -> Vec<Result<Receipt, InboxError>> {
        let stored = self.store(entries).await;
        self.wrote(stored.as_ref().err());
        match stored {
            Ok(receipts) => receipts.into_iter().map(Ok).collect(),
            Err(InboxError::Storage(_)) if entries.len() > 1 => {
                let mut receipts = Vec::with_capacity(entries.len());
                for entry in entries {
                    let stored = self.store(std::slice::from_ref(entry)).await;
                    self.wrote(stored.as_ref().err());
                    receipts.push(stored.and_then(|receipts| receipts.into_iter().next().ok_or_else(not_durable)));
                }
                receipts
            }
            Err(error) => entries.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Stores entries and returns a receipt for each, in order. Keeps them for a pump of this gateway if one waits.
    async fn store(&self, entries: &[NewEntry]) -> Result<Vec<Receipt>, InboxError> {
        let Some(room) = self.room(entries) else {
            let stored = self.store_in(entries, None, &mut Vec::new()).await;
            self.kept.look_again();
            return Ok(stored?.0);
        };
        let mut kept = Vec::with_capacity(entries.len());
        let stored = self.store_in(entries, Some(&room), &mut kept).await;
        if stored.as_ref().is_ok_and(|(_, new)| *new == kept.len()) {
            room.keep(kept);
        } else {
            // An answer was lost. What was stored has a lease that no pump will know of.
            self.lose(room.token);
            self.kept.look_again();
        }
        Ok(stored?.0)
    }

    /// Room to keep arrivals, if none is held back and a pump waits for so much.
    fn room(&self, entries: &[NewEntry]) -> Option<Room<'_>> {
        if entries.iter().any(|entry| held(entry).is_some()) {
            return None;
        }
        let bytes = entries.iter().map(|entry| entry.body().len()).sum();
        self.kept.room(Amount { entries: entries.len(), bytes })
    }

    /// Stores entries, in `room` as leased to this gateway. Returns the receipts, and how many entries are new; adds to `kept`
    /// those of them of which the first answer tells.
    async fn store_in(
        &self,
        entries: &[NewEntry],
        room: Option<&Room<'_>>,
        kept: &mut Vec<Leased>,
    ) -> Result<(Vec<Receipt>, usize), InboxError> {
        // The same event twice in one statement would conflict with itself.
        let mut first: HashMap<Key<'_>, usize> = HashMap::with_capacity(entries.len());
        for (n, entry) in entries.iter().enumerate() {
            first.entry(key(entry)).or_insert(n);
        }
        let mut open: Vec<usize> = first.values().copied().collect();
        open.sort_unstable();
        // For each event its entry, and whether it was there before.
        let mut known: HashMap<Key<'_>, (i64, bool)> = HashMap::with_capacity(open.len());
        let mut numbers = self.numbers.next(open.len(), self.time_for_numbers().await?);
        let mut tries = 0;
        while !open.is_empty() {
            tries += 1;
            let chosen: Vec<&NewEntry> = open.iter().filter_map(|n| entries.get(*n)).collect();
            match self.insert(&chosen, &numbers, room).await {
                Ok(Some(fresh)) => {
                    for (entry, number) in chosen.iter().zip(&numbers) {
                        let Some(received) = fresh.get(number) else { continue };
                        known.insert(key(entry), (*number, false));
                        kept.extend(room.map(|room| self.leased(entry, (*number, room.token), *received)));
                    }
                }
                // The commit is not as durable as it should be. Locking the rows that are already there waits until they
                // are.
                Ok(None) if tries < TRIES_MAX => continue,
                Err(fault) if fault.is_taken_number() && tries < TRIES_MAX => {
                    self.numbers.move_on();
                    numbers = self.numbers.next(open.len(), self.time_for_numbers().await?);
                    continue;
                }
                Err(fault) if fault.unknown() == Some(Unknown::Connection) && tries < 2 => continue,
                Ok(None) => return Err(not_durable()),
                Err(fault) => return Err(fault.into()),
            }
            let rest: Vec<Key<'_>> =
                chosen.iter().map(|entry| key(entry)).filter(|key| !known.contains_key(key)).collect();
            if !rest.is_empty() {
                let locked = self.lock(&rest).await?.ok_or_else(not_durable)?;
                let own: HashMap<Key<'_>, i64> =
                    chosen.iter().map(|entry| key(entry)).zip(numbers.iter().copied()).collect();
                for key in rest {
                    if let Some(number) = locked.get(&(key.0.to_owned(), key.1.to_owned())) {
                        known.insert(key, (*number, own.get(&key) != Some(number)));
                    }
                }
            }
            // A row removed between the two statements is stored now.
            let left: Vec<(usize, i64)> = open
                .iter()
                .copied()
                .zip(numbers.iter().copied())
                .filter(|(n, _)| entries.get(*n).is_some_and(|entry| !known.contains_key(&key(entry))))
                .collect();
            if !left.is_empty() && tries >= TRIES_MAX {
                return Err(not_durable());
            }
            (open, numbers) = left.into_iter().unzip();
        }
        let new = known.values().filter(|(_, was_there)| !was_there).count();
        let again = self.work_again(entries, &known).await?;
        let receipt = |(n, entry): (usize, &NewEntry)| {
            let (number, was_there) = known.get(&key(entry)).copied().unwrap_or_default();
            let is_duplicate = (was_there && !again.contains(&number)) || first.get(&key(entry)) != Some(&n);
            Receipt::after_commit(EntryId(number), is_duplicate)
        };
        Ok((entries.iter().enumerate().map(receipt).collect(), new))
    }

    /// A new entry as a lease of it would be answered.
    fn leased(&self, entry: &NewEntry, (number, token): (i64, i64), received: i64) -> Leased {
        Leased {
            lease: Lease { entry: EntryId(number), token },
            endpoint: entry.endpoint.clone(),
            event_id: EventId::new(entry.event_id()),
            event_type: entry.event_type().to_owned(),
            attempts: 0,
            crashes: 0,
            awaited_stripe: false,
            awaits_bee: false,
            received: self.here(received),
            released: None,
            replayed: false,
            trace: entry.trace,
            body: entry.body().clone(),
        }
    }

    /// Locks the rows of existing events, so that they are as durable as a commit can make them. `None` if the server
    /// warned.
    pub(super) async fn lock(&self, keys: &[Key<'_>]) -> Result<Option<HashMap<(String, String), i64>>, Fault> {
        let (events, endpoints): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
        let answer = self.links.run(LOCK, &[(&events, TEXTS), (&endpoints, TEXTS)]).await?;
        let rows = answer.rows.iter().map(|row| ((row.get(1), row.get(2)), row.get(0)));
        Ok((!answer.has_warned).then(|| rows.collect()))
    }

    /// Makes settled entries that Stripe lists and the ledger does not know wait again. Returns which.
    async fn work_again(
        &self,
        entries: &[NewEntry],
        known: &HashMap<Key<'_>, (i64, bool)>,
    ) -> Result<Vec<i64>, InboxError> {
        let listed = entries.iter().filter(|entry| entry.source == Source::Reconcile);
        let mut listed: Vec<(i64, &NewEntry)> = listed
            .filter_map(|entry| known.get(&key(entry)).filter(|(_, was_there)| *was_there).map(|(id, _)| (*id, entry)))
            .collect();
        listed.sort_unstable_by_key(|(id, _)| *id);
        listed.dedup_by_key(|(id, _)| *id);
        if listed.is_empty() {
            return Ok(Vec::new());
        }
        let (ids, entries): (Vec<i64>, Vec<&NewEntry>) = listed.into_iter().unzip();
        let bodies: Vec<&[u8]> = entries.iter().map(|entry| entry.stored_body().0).collect();
        let bytes: Vec<Option<i64>> = entries.iter().map(|entry| entry.stored_body().1.map(number)).collect();
        let sizes: Vec<i64> = entries.iter().map(|entry| size(entry)).collect();
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 5] = [
            (&self.time(), Type::INT8),
            (&ids, BIGINTS),
            (&bodies, Type::BYTEA_ARRAY),
            (&bytes, BIGINTS),
            (&sizes, BIGINTS),
        ];
        let answer = self.links.run_durably(AGAIN, &parameters).await?;
        self.look_again();
        Ok(answer.rows.iter().map(|row| row.get(0)).collect())
    }
}

fn not_durable() -> InboxError {
    Fault::not_durable().into()
}
