//! Taking in events: what has queued up goes as one statement and one commit, and a few such groups are on their way at once.
//!
//! An entry is acknowledged after the commit that wrote it, or, where it was there, after the commit of a lock on its row. A plain
//! look would not do: a commit that was cancelled while it waited for a standby, or that a restart of the server cut off, is
//! visible and not durable. What an answer that was lost or came with a warning did is found out by the same statement again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_postgres::types::Type;

use super::super::entry::{Door, NewEntry, Receipt, Source};
use super::super::error::InboxError;
use super::super::state::StateName;
use super::fault::{Fault, Unknown};
use super::pace::Pace;
use super::schema::{durable, now};
use super::{BIGINTS, Core, NotStored, TEXTS, text};
use crate::domain::ids::EntryId;

/// Groups in progress at once. With one connection alone, a closed loop of clients would wait for each other in two halves.
const GROUPS_MAX: usize = 4;

/// How often a group is tried whose effect is unknown.
const TRIES_MAX: u32 = 4;

/// An arriving entry, and where to answer.
pub(super) struct Arrival {
    pub(super) entry: NewEntry,
    pub(super) reply: oneshot::Sender<Result<Receipt, NotStored>>,
}

const INSERT: &str = concat!(
    "WITH given AS (
        SELECT * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            AS g (id, endpoint, event_id, event_type, account, livemode, source, secret, traceparent, body, bytes, size, code, reason)
    ), fresh AS (
        INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at,
                                           traceparent, body, bytes)
        SELECT id, endpoint, event_id, event_type, account, livemode, source, secret, ",
    now!(),
    ", traceparent, body, bytes
        FROM given ORDER BY event_id, endpoint
        ON CONFLICT (event_id, endpoint) DO NOTHING RETURNING id, received_at
    ), waiting AS (
        INSERT INTO gateway_inbox.work (id, state, due_at, size)
        SELECT g.id, 0, f.received_at, g.size FROM given g JOIN fresh f ON f.id = g.id WHERE g.code IS NULL
    ), held AS (
        INSERT INTO gateway_inbox.ended (id, state, ended_at, code, reason)
        SELECT g.id, 5, f.received_at, g.code, g.reason FROM given g JOIN fresh f ON f.id = g.id WHERE g.code IS NOT NULL
    )
    SELECT id, ",
    durable!(),
    " FROM fresh"
);

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
        tokio::select! {
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

    /// Stores entries and returns a receipt for each, in order.
    async fn store(&self, entries: &[NewEntry]) -> Result<Vec<Receipt>, InboxError> {
        // The same event twice in one statement would conflict with itself.
        let mut first: HashMap<Key<'_>, usize> = HashMap::with_capacity(entries.len());
        for (n, entry) in entries.iter().enumerate() {
            first.entry(key(entry)).or_insert(n);
        }
        let mut open: Vec<usize> = first.values().copied().collect();
        open.sort_unstable();
        // For each event its entry, and whether it was there before.
        let mut known: HashMap<Key<'_>, (i64, bool)> = HashMap::with_capacity(open.len());
        let mut numbers = self.numbers.next(open.len(), self.clock.now());
        let mut tries = 0;
        while !open.is_empty() {
            tries += 1;
            let chosen: Vec<&NewEntry> = open.iter().filter_map(|n| entries.get(*n)).collect();
            match self.insert(&chosen, &numbers).await {
                Ok(Some(fresh)) => {
                    for (entry, number) in chosen.iter().zip(&numbers).filter(|(_, number)| fresh.contains(number)) {
                        known.insert(key(entry), (*number, false));
                    }
                }
                // The commit is not as durable as it should be. Locking the rows that are already there waits until they
                // are.
                Ok(None) if tries < TRIES_MAX => continue,
                Err(fault) if fault.is_taken_number() && tries < TRIES_MAX => {
                    self.numbers.move_on();
                    numbers = self.numbers.next(open.len(), self.clock.now());
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
        let again = self.work_again(entries, &known).await?;
        let receipt = |(n, entry): (usize, &NewEntry)| {
            let (number, was_there) = known.get(&key(entry)).copied().unwrap_or_default();
            let is_duplicate = (was_there && !again.contains(&number)) || first.get(&key(entry)) != Some(&n);
            Receipt::after_commit(EntryId(number), is_duplicate)
        };
        Ok(entries.iter().enumerate().map(receipt).collect())
    }

    /// Inserts entries and returns the numbers of the new ones. `None` if the server warned.
    async fn insert(&self, entries: &[&NewEntry], numbers: &[i64]) -> Result<Option<Vec<i64>>, Fault> {
        let column = |of: fn(&NewEntry) -> &str| entries.iter().map(|entry| of(entry)).collect::<Vec<&str>>();
        let endpoints = column(|entry| entry.endpoint.as_str());
        let (events, types) = (column(NewEntry::event_id), column(NewEntry::event_type));
        let accounts: Vec<Option<&str>> = entries.iter().map(|entry| entry.account()).collect();
        let modes: Vec<Option<bool>> = entries.iter().map(|entry| entry.livemode()).collect();
        let sources: Vec<&str> = entries.iter().map(|entry| entry.source.as_str()).collect();
        let secrets: Vec<String> = entries.iter().map(|entry| entry.origin.voucher()).collect();
        let traces: Vec<Option<String>> =
            entries.iter().map(|entry| entry.trace.map(|trace| trace.to_string())).collect();
        let bodies: Vec<&[u8]> = entries.iter().map(|entry| entry.stored_body().0).collect();
        let bytes: Vec<Option<i64>> = entries.iter().map(|entry| entry.stored_body().1.map(number)).collect();
        let sizes: Vec<i64> = entries.iter().map(|entry| size(entry)).collect();
        let codes: Vec<Option<&str>> = entries.iter().map(|entry| held(entry).map(|(code, _)| code)).collect();
        let reasons: Vec<Option<Cow<'_, str>>> =
            entries.iter().map(|entry| held(entry).map(|(_, reason)| text(reason))).collect();
        let answer = self
            .links
            .run(
                INSERT,
                &[
                    (&self.time(), Type::INT8),
                    (&numbers, BIGINTS),
                    (&endpoints, TEXTS),
                    (&events, TEXTS),
                    (&types, TEXTS),
                    (&accounts, TEXTS),
                    (&modes, Type::BOOL_ARRAY),
                    (&sources, TEXTS),
                    (&secrets, TEXTS),
                    (&traces, TEXTS),
                    (&bodies, Type::BYTEA_ARRAY),
                    (&bytes, BIGINTS),
                    (&sizes, BIGINTS),
                    (&codes, TEXTS),
                    (&reasons, TEXTS),
                ],
            )
            .await?;
        Ok((!answer.has_warned).then(|| answer.rows.iter().map(|row| row.get(0)).collect()))
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
        Ok(answer.rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Why the door holds an entry.
fn held(entry: &NewEntry) -> Option<(&str, &str)> {
    match &entry.door {
        Door::Open => None,
        Door::Hold { code, reason } => Some((code, reason)),
    }
}

/// Length of a body as it was signed.
fn size(entry: &NewEntry) -> i64 {
    let (stored, bytes) = entry.stored_body();
    number(bytes.unwrap_or(stored.len()))
}

fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn not_durable() -> InboxError {
    Fault::not_durable().into()
}

/// The state of an entry that the door holds back.
const _: () = assert!(StateName::Quarantined.number() == 5 && StateName::Waiting.number() == 0);
