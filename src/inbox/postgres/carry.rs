//! Carrying entries into the database, and out of one that is left (see [`super::leave`]).

use std::borrow::Cow;
use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::carry::{Carried, CarriedOrder, Extent, PAGE_ENTRIES};
use super::super::error::InboxError;
use super::super::state::StateName;
use super::append::Key;
use super::fault::Fault;
use super::schema::{durable, now};
use super::{BIGINTS, Core, TEXTS, number_of, steps, text};
use crate::domain::clock::Timestamp;
use crate::domain::outcome::Awaited;
use crate::postgres::Parameter;

/// How often a page is tried if a number was taken, or an entry was removed in the meantime.
const TRIES_MAX: u32 = 4;

/// Stores entries of another inbox unchanged, except for waits that another machine's clock measured. The index of
/// references goes back to `$37`, before all of them, and a step of it in progress takes nothing (see
/// [`super::references`]).
const INSERT: &str = concat!(
    "WITH given AS (
        SELECT * FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                             $25, $26, $27, $28)
            AS g (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, traceparent, body, bytes, size,
                  state, due_at, ended_at, attempts, crashes, process_id, code, reason, released_at, replayed_at, action, action_at,
                  action_by, action_note)
    ), fresh AS (
        INSERT INTO gateway_inbox.entries (id, endpoint, event_id, event_type, account, livemode, source, secret, received_at,
                                           traceparent, body, bytes)
        SELECT id, endpoint, event_id, event_type, account, livemode, source, secret, received_at, traceparent, body, bytes
        FROM given ORDER BY event_id, endpoint
        ON CONFLICT (event_id, endpoint) DO NOTHING RETURNING id
    ), waiting AS (
        INSERT INTO gateway_inbox.work (id, state, due_at, size, process_id, attempts, crashes, code, reason, released_at, replayed_at,
                                        action, action_at, action_by, action_note)
        SELECT g.id, g.state, least(g.due_at, ",
    now!(),
    " + 10000), g.size, g.process_id, g.attempts, g.crashes, g.code, g.reason, g.released_at, g.replayed_at, g.action, g.action_at,
            g.action_by, g.action_note
        FROM given g JOIN fresh f ON f.id = g.id WHERE g.state < 3
    ), told AS (
        INSERT INTO gateway_inbox.steps (entry, number, at, last, times, kind, code, reason)
        SELECT s.entry, s.number, s.at, s.last, s.times, s.kind, s.code, s.reason
        FROM unnest($29, $30, $31, $32, $33, $34, $35, $36) AS s (entry, number, at, last, times, kind, code, reason)
        JOIN fresh f ON f.id = s.entry
    ), ended AS (
        INSERT INTO gateway_inbox.ended (id, state, ended_at, has_body, code, reason, process_id, attempts, crashes, released_at,
                                         replayed_at, action, action_at, action_by, action_note)
        SELECT g.id, g.state, coalesce(g.ended_at, g.received_at), g.body IS NOT NULL, g.code, g.reason, g.process_id, g.attempts,
            g.crashes, g.released_at, g.replayed_at, g.action, g.action_at, g.action_by, g.action_note
        FROM given g JOIN fresh f ON f.id = g.id WHERE g.state >= 3
    ), noted AS (
        INSERT INTO gateway_inbox.marks AS m (name, value)
        SELECT first.name, first.value FROM (VALUES ('refs.carried', 1::bigint), ('refs.covered', 0)) AS first (name, value)
        WHERE EXISTS (SELECT 1 FROM fresh) ORDER BY first.name
        ON CONFLICT (name) DO UPDATE SET value = CASE m.name WHEN 'refs.carried' THEN m.value + 1 ELSE least(m.value, $37) END
        RETURNING 1
    )
    SELECT id, ",
    durable!(),
    " FROM fresh"
);

const MARKS: &str = concat!(
    "WITH kept AS (
        INSERT INTO gateway_inbox.marks AS m (name, value) SELECT name, value FROM unnest($1, $2) AS g (name, value) ORDER BY name
        ON CONFLICT (name) DO UPDATE SET value = least(m.value, excluded.value) RETURNING 1
    )
    SELECT ",
    durable!(),
    " FROM kept"
);

const ENTRIES: &str = "
    SELECT e.id, e.endpoint, e.event_id, e.event_type, e.account, e.livemode, e.source, e.secret, e.received_at, e.traceparent,
        coalesce(w.state, d.state, 0::smallint), w.due_at, d.ended_at, coalesce(w.attempts, d.attempts, 0)::bigint,
        coalesce(w.crashes, d.crashes, 0)::bigint, coalesce(w.process_id, d.process_id), coalesce(w.code, d.code),
        coalesce(w.reason, d.reason), coalesce(w.released_at, d.released_at), coalesce(w.replayed_at, d.replayed_at),
        coalesce(w.action, d.action), coalesce(w.action_at, d.action_at), coalesce(w.action_by, d.action_by),
        coalesce(w.action_note, d.action_note), e.body, e.bytes
    FROM gateway_inbox.moved_entries e
    LEFT JOIN gateway_inbox.moved_work w ON w.id = e.id LEFT JOIN gateway_inbox.moved_ended d ON d.id = e.id
    WHERE e.id > $1 AND ($3 OR d.state IS DISTINCT FROM 3) ORDER BY e.id LIMIT $2";

const ORDERS_OF: &str = "
    SELECT entry, action, at, by, note, was, untold FROM gateway_inbox.moved_orders WHERE entry = ANY ($1) ORDER BY entry, id";

impl Core {
    pub(in crate::inbox) async fn carried(&self, after: i64, extent: Extent) -> Result<Vec<Carried>, InboxError> {
        let parameters: [Parameter<'_>; 3] =
            [(&after, Type::INT8), (&number_of(PAGE_ENTRIES), Type::INT8), (&(extent == Extent::All), Type::BOOL)];
        let rows = self.links.run(ENTRIES, &parameters).await?.rows;
        let mut page: Vec<Carried> = rows.iter().map(read).collect();
        let numbers: Vec<i64> = page.iter().map(|entry| entry.number).collect();
        let mut orders: HashMap<i64, Vec<CarriedOrder>> = HashMap::new();
        for row in &self.links.run(ORDERS_OF, &[(&numbers, BIGINTS)]).await?.rows {
            orders.entry(row.get(0)).or_default().push(CarriedOrder {
                action: row.get(1),
                at: row.get(2),
                by: row.get(3),
                note: row.get(4),
                was: row.get(5),
                untold: row.get(6),
            });
        }
        let mut steps = self.steps_of(&numbers).await?;
        for entry in &mut page {
            entry.orders = orders.remove(&entry.number).unwrap_or_default();
            entry.steps = steps.remove(&entry.number).unwrap_or_default();
        }
        Ok(page)
    }

    pub(in crate::inbox) async fn take_in(&self, entries: &[Carried]) -> Result<u64, InboxError> {
        // For each event its entry here.
        let mut here: HashMap<Key<'_>, i64> = HashMap::with_capacity(entries.len());
        let (mut fresh, mut tries) = (0, 0);
        while here.len() < entries.len() {
            tries += 1;
            let open: Vec<&Carried> = entries.iter().filter(|entry| !here.contains_key(&key(entry))).collect();
            let number = |entry: &&Carried| self.carried.next(1, Timestamp::from_millis(entry.received_at));
            let numbers: Vec<i64> = open.iter().flat_map(number).collect();
            let stored = match self.insert_carried(&open, &numbers).await {
                Err(fault) if fault.is_taken_number() && tries < TRIES_MAX => {
                    self.carried.move_on();
                    continue;
                }
                // Databases of earlier releases lack a table until it is first needed.
                Err(fault) if fault.is_missing_table() && tries == 1 => {
                    self.links.run_all(steps::CREATE).await?;
                    continue;
                }
                stored => stored?,
            };
            for (entry, number) in open.iter().zip(&numbers).filter(|(_, number)| stored.contains(number)) {
                here.insert(key(entry), *number);
                fresh += 1;
            }
            let rest: Vec<Key<'_>> =
                open.iter().map(|entry| key(entry)).filter(|key| !here.contains_key(key)).collect();
            if rest.is_empty() {
                break;
            }
            // Known entries count once they are as durable as a commit can make them.
            let locked = self.lock(&rest).await?.ok_or_else(Fault::not_durable)?;
            for key in rest {
                if let Some(number) = locked.get(&(key.0.to_owned(), key.1.to_owned())) {
                    here.insert(key, *number);
                }
            }
            if tries >= TRIES_MAX && here.len() < entries.len() {
                return Err(Fault::not_durable().into());
            }
        }
        let of_entry = |entry: &'_ Carried| here.get(&key(entry)).copied();
        let orders = entries.iter().filter_map(|entry| of_entry(entry).map(|number| (number, entry)));
        let orders = orders.flat_map(|(number, entry)| entry.orders.iter().map(move |order| (number, order)));
        self.take_in_orders(orders.collect()).await?;
        self.look_again();
        Ok(fresh)
    }

    /// Inserts entries and returns the numbers of the new ones.
    async fn insert_carried(&self, entries: &[&Carried], numbers: &[i64]) -> Result<Vec<i64>, Fault> {
        let texts = |of: fn(&Carried) -> &str| entries.iter().map(|entry| of(entry)).collect::<Vec<&str>>();
        let maybe = |of: fn(&Carried) -> Option<&str>| {
            entries.iter().map(|entry| of(entry).map(text)).collect::<Vec<Option<Cow<'_, str>>>>()
        };
        let times = |of: fn(&Carried) -> Option<i64>| entries.iter().map(|entry| of(entry)).collect::<Vec<_>>();
        let small = |of: fn(&Carried) -> i64| {
            entries.iter().map(|entry| i32::try_from(of(entry)).unwrap_or(i32::MAX)).collect::<Vec<i32>>()
        };
        let modes: Vec<Option<bool>> = entries.iter().map(|entry| entry.livemode).collect();
        let received: Vec<i64> = entries.iter().map(|entry| entry.received_at).collect();
        let bodies: Vec<Option<&[u8]>> =
            entries.iter().map(|entry| entry.body.as_ref().map(|(body, _)| body.as_slice())).collect();
        let states: Vec<i16> =
            entries.iter().map(|entry| i16::try_from(entry.state.number()).unwrap_or_default()).collect();
        let due: Vec<i64> = entries.iter().map(|entry| entry.due_at.unwrap_or(entry.received_at)).collect();
        let sizes: Vec<i64> = entries.iter().map(|entry| size(entry)).collect();
        let steps = Steps::of(entries, numbers);
        let before = numbers.iter().min().map_or(i64::MAX, |first| first - 1);
        let answer = self
            .links
            .run_durably(
                INSERT,
                &[
                    (&self.time(), Type::INT8),
                    (&numbers, BIGINTS),
                    (&texts(|entry| &entry.endpoint), TEXTS),
                    (&texts(|entry| &entry.event_id), TEXTS),
                    (&texts(|entry| &entry.event_type), TEXTS),
                    (&maybe(|entry| entry.account.as_deref()), TEXTS),
                    (&modes, Type::BOOL_ARRAY),
                    (&texts(|entry| &entry.source), TEXTS),
                    (&texts(|entry| &entry.secret), TEXTS),
                    (&received, BIGINTS),
                    (&maybe(|entry| entry.traceparent.as_deref()), TEXTS),
                    (&bodies, Type::BYTEA_ARRAY),
                    (&times(|entry| entry.body.as_ref().and_then(|(_, bytes)| *bytes)), BIGINTS),
                    (&sizes, BIGINTS),
                    (&states, Type::INT2_ARRAY),
                    (&due, BIGINTS),
                    (&times(|entry| entry.ended_at), BIGINTS),
                    (&small(|entry| entry.attempts), Type::INT4_ARRAY),
                    (&small(|entry| entry.crashes), Type::INT4_ARRAY),
                    (&maybe(|entry| entry.process_id.as_deref()), TEXTS),
                    (&maybe(|entry| entry.code.as_deref()), TEXTS),
                    (&maybe(|entry| entry.reason.as_deref()), TEXTS),
                    (&times(|entry| entry.released_at), BIGINTS),
                    (&times(|entry| entry.replayed_at), BIGINTS),
                    (&maybe(|entry| entry.action.as_deref()), TEXTS),
                    (&times(|entry| entry.action_at), BIGINTS),
                    (&maybe(|entry| entry.action_by.as_deref()), TEXTS),
                    (&maybe(|entry| entry.action_note.as_deref()), TEXTS),
                    (&steps.entries, BIGINTS),
                    (&steps.places, Type::INT4_ARRAY),
                    (&steps.at, BIGINTS),
                    (&steps.last, BIGINTS),
                    (&steps.times, BIGINTS),
                    (&steps.kinds, TEXTS),
                    (&steps.codes, TEXTS),
                    (&steps.reasons, TEXTS),
                    (&before, Type::INT8),
                ],
            )
            .await?;
        Ok(answer.rows.iter().map(|row| row.get(0)).collect())
    }

    pub(in crate::inbox) async fn marks(&self) -> Result<Vec<(String, i64)>, InboxError> {
        let rows = self.links.run("SELECT name, value FROM gateway_inbox.marks", &[]).await?.rows;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub(in crate::inbox) async fn take_in_marks(&self, marks: &[(String, i64)]) -> Result<(), InboxError> {
        let (names, values): (Vec<&str>, Vec<i64>) = marks.iter().map(|(name, value)| (name.as_str(), *value)).unzip();
        self.links.run_durably(MARKS, &[(&names, TEXTS), (&values, BIGINTS)]).await?;
        // A separate commit. It makes everything before it as durable as the server can.
        self.set_mark("probe", 0).await
    }
}

/// The steps of entries, in columns.
#[derive(Default)]
struct Steps<'a> {
    entries: Vec<i64>,
    places: Vec<i32>,
    at: Vec<i64>,
    last: Vec<i64>,
    times: Vec<i64>,
    kinds: Vec<&'a str>,
    codes: Vec<Option<&'a str>>,
    reasons: Vec<Cow<'a, str>>,
}

impl<'a> Steps<'a> {
    fn of(entries: &[&'a Carried], numbers: &[i64]) -> Self {
        let mut steps = Self::default();
        for (entry, number) in entries.iter().zip(numbers) {
            for (place, step) in (0_i32..).zip(&entry.steps) {
                steps.entries.push(*number);
                steps.places.push(place);
                steps.at.push(step.at.millis());
                steps.last.push(step.last.millis());
                steps.times.push(i64::try_from(step.times).unwrap_or(i64::MAX));
                steps.kinds.push(step.kind.as_str());
                steps.codes.push(step.code.as_deref());
                steps.reasons.push(text(&step.reason));
            }
        }
        steps
    }
}

fn key(entry: &Carried) -> Key<'_> {
    (&entry.event_id, &entry.endpoint)
}

/// Length of a body as it was signed.
fn size(entry: &Carried) -> i64 {
    entry.body.as_ref().map_or(0, |(body, bytes)| bytes.unwrap_or_else(|| number_of(body.len())))
}

fn read(row: &Row) -> Carried {
    let state = i64::from(row.get::<_, i16>(10));
    let state = StateName::ALL.into_iter().find(|known| known.number() == state).unwrap_or(StateName::Waiting);
    let received_at = row.get(8);
    let code: Option<String> = row.get(16);
    let (state, due_at, code) = match state {
        // Its holder cannot conclude it any more.
        StateName::Leased => {
            (StateName::Waiting, Some(received_at), code.filter(|code| code != Awaited::Answer.as_str()))
        }
        state => (state, row.get(11), code),
    };
    Carried {
        number: row.get(0),
        endpoint: row.get(1),
        event_id: row.get(2),
        event_type: row.get(3),
        account: row.get(4),
        livemode: row.get(5),
        source: row.get(6),
        secret: row.get(7),
        received_at,
        traceparent: row.get(9),
        state,
        due_at,
        ended_at: row.get(12),
        attempts: row.get(13),
        crashes: row.get(14),
        process_id: row.get(15),
        code,
        reason: row.get(17),
        released_at: row.get(18),
        replayed_at: row.get(19),
        action: row.get(20),
        action_at: row.get(21),
        action_by: row.get(22),
        action_note: row.get(23),
        body: row.get::<_, Option<Vec<u8>>>(24).map(|body| (body, row.get(25))),
        orders: Vec::new(),
        steps: Vec::new(),
    }
}
