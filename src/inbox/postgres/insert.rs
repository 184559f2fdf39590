//! The statements that store arrivals.

use std::borrow::Cow;
use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::super::entry::{Door, NewEntry};
use super::super::state::StateName;
use super::fault::Fault;
use super::kept::Room;
use super::links::Answer;
use super::schema::{durable, now};
use super::{BIGINTS, Core, TEXTS, millis, text};
use crate::postgres::Parameter;

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
    SELECT id, received_at, ",
    durable!(),
    " FROM fresh"
);

/// What follows the rows of entries of which none is held back. `$13` is the state, `$14` the duration of a lease, `$15` its token.
macro_rules! open {
    ($rows:expr) => {
        concat!(
            "WITH fresh AS (
                INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at,
                                                   traceparent, body, bytes) ",
            $rows,
            " ON CONFLICT (event_id, endpoint) DO NOTHING RETURNING id, received_at, coalesce(bytes, octet_length(body)) AS size
            ), waiting AS (
                INSERT INTO gateway_inbox.work (id, state, due_at, size, token)
                SELECT id, $13, received_at + $14, size, $15 FROM fresh
            )
            SELECT id, received_at, ",
            durable!(),
            " FROM fresh"
        )
    };
}

/// As [`INSERT`] where no entry is held back.
const INSERT_OPEN: &str = open!(concat!(
    "SELECT id, endpoint, event_id, event_type, account, livemode, source, secret, ",
    now!(),
    ", traceparent, body, bytes
        FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            AS g (id, endpoint, event_id, event_type, account, livemode, source, secret, traceparent, body, bytes)
        ORDER BY event_id, endpoint"
));

/// As [`INSERT_OPEN`] for one entry: most of what a lone one costs is the plan, and this has the shortest.
const INSERT_ONE: &str = open!(concat!("VALUES ($2, $3, $4, $5, $6, $7, $8, $9, ", now!(), ", $10, $11, $12)"));

impl Core {
    /// Inserts entries, in `room` as leased to this gateway. Returns the numbers of the new ones with the times of their receipt;
    /// `None` if the server warned.
    pub(super) async fn insert(
        &self,
        entries: &[&NewEntry],
        numbers: &[i64],
        room: Option<&Room<'_>>,
    ) -> Result<Option<HashMap<i64, i64>>, Fault> {
        if let ([entry], [number]) = (entries, numbers)
            && held(entry).is_none()
        {
            return self.insert_one(entry, *number, room).await;
        }
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
        let time = self.time();
        let mut parameters: Vec<Parameter<'_>> = vec![
            (&time, Type::INT8),
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
        ];
        let answer = if entries.iter().any(|entry| held(entry).is_some()) {
            let sizes: Vec<i64> = entries.iter().map(|entry| size(entry)).collect();
            let codes: Vec<Option<&str>> = entries.iter().map(|entry| held(entry).map(|(code, _)| code)).collect();
            let reasons: Vec<Option<Cow<'_, str>>> =
                entries.iter().map(|entry| held(entry).map(|(_, reason)| text(reason))).collect();
            parameters.extend([(&sizes as _, BIGINTS), (&codes as _, TEXTS), (&reasons as _, TEXTS)]);
            self.links.run(INSERT, &parameters).await?
        } else {
            let (state, lease, token) = beginning(room);
            parameters.extend([(&state as _, Type::INT2), (&lease as _, Type::INT8), (&token as _, Type::INT8)]);
            self.links.run(INSERT_OPEN, &parameters).await?
        };
        Ok(fresh(&answer))
    }

    async fn insert_one(
        &self,
        entry: &NewEntry,
        id: i64,
        room: Option<&Room<'_>>,
    ) -> Result<Option<HashMap<i64, i64>>, Fault> {
        let (body, bytes) = entry.stored_body();
        let (state, lease, token) = beginning(room);
        let parameters: [Parameter<'_>; 15] = [
            (&self.time(), Type::INT8),
            (&id, Type::INT8),
            (&entry.endpoint.as_str(), Type::TEXT),
            (&entry.event_id(), Type::TEXT),
            (&entry.event_type(), Type::TEXT),
            (&entry.account(), Type::TEXT),
            (&entry.livemode(), Type::BOOL),
            (&entry.source.as_str(), Type::TEXT),
            (&entry.origin.voucher(), Type::TEXT),
            (&entry.trace.map(|trace| trace.to_string()), Type::TEXT),
            (&body, Type::BYTEA),
            (&bytes.map(number), Type::INT8),
            (&state, Type::INT2),
            (&lease, Type::INT8),
            (&token, Type::INT8),
        ];
        Ok(fresh(&self.links.run(INSERT_ONE, &parameters).await?))
    }
}

/// State of a new entry that no rule of the door holds, the duration of its lease in milliseconds, and its token.
fn beginning(room: Option<&Room<'_>>) -> (i16, i64, Option<i64>) {
    room.map_or((WAITING, 0, None), |room| (LEASED, millis(room.lease), Some(room.token)))
}

/// The numbers of new entries with the times of their receipt; `None` if the server warned.
fn fresh(answer: &Answer) -> Option<HashMap<i64, i64>> {
    (!answer.has_warned).then(|| answer.rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Why the door holds an entry.
pub(super) fn held(entry: &NewEntry) -> Option<(&str, &str)> {
    match &entry.door {
        Door::Open => None,
        Door::Hold { code, reason } => Some((code, reason)),
    }
}

/// Length of a body as it was signed.
pub(super) fn size(entry: &NewEntry) -> i64 {
    let (stored, bytes) = entry.stored_body();
    number(bytes.unwrap_or(stored.len()))
}

pub(super) fn number(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

const WAITING: i16 = 0;
const LEASED: i16 = 1;

/// The states of new entries, as the statements write them; 5 is that of an entry that the door holds back.
const _: () = assert!(
    StateName::Waiting.number() == 0 && StateName::Leased.number() == 1 && StateName::Quarantined.number() == 5
);
