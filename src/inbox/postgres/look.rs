//! Looking at entries: lists, stories, problems, counts.
//!
//! Guarantees: a search looks at a bounded number of rows and bodies in one go, so that gateways do not wait for it; a count reads
//! a bounded number of rows, and says when it is an estimate.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::body::Unpacker;
use super::super::counts::Counts;
use super::super::error::InboxError;
use super::super::known::Held;
use super::super::newest::{EntryState, EntryView};
use super::super::order::HELD_AT_DOOR;
use super::super::problems::{GROUPS_MAX, ProblemCounts, ProblemGroup, Problems, advice};
use super::super::reference::WINDOW_CANDIDATES;
use super::super::report::{EntryReport, Intervention};
use super::super::search::{Direction, WINDOW_BODIES, WINDOW_ROWS, Window};
use super::super::selection::Selection;
use super::super::state::StateName;
use super::{BIGINTS, Core, TEXTS, number_of};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EndpointName, EntryId, EventId, ProcessId};
use crate::domain::outcome::{Awaited, ProblemCode};
use crate::postgres::Parameter;

/// Rows that a count reads; a larger count is an estimate.
const COUNTED_MAX: i64 = 10_000;

/// An entry in any state, in the columns that [`report`] reads. Conditions follow the joins.
const REPORTS: &str = "
    SELECT e.id, e.endpoint, e.event_id, e.event_type, e.account, e.livemode, e.source, e.secret, e.received_at,
        coalesce(w.state, d.state, 0::smallint), w.due_at, coalesce(w.attempts, d.attempts, 0), coalesce(w.crashes, d.crashes, 0),
        coalesce(w.process_id, d.process_id), d.ended_at, coalesce(w.code, d.code), coalesce(w.reason, d.reason),
        coalesce(w.released_at, d.released_at), coalesce(w.replayed_at, d.replayed_at), coalesce(w.action, d.action),
        coalesce(w.action_at, d.action_at), coalesce(w.action_by, d.action_by), coalesce(w.action_note, d.action_note),
        e.body IS NOT NULL
    FROM gateway_inbox.entries e
    LEFT JOIN gateway_inbox.work w ON w.id = e.id LEFT JOIN gateway_inbox.ended d ON d.id = e.id";

const BODIES: &str = "SELECT e.id, e.body, e.bytes FROM gateway_inbox.entries e WHERE e.id = ANY ($1)";

/// `$2` codes of entries that the door holds back. They say nothing about an event that came to its end by another endpoint.
const HOLDS: &str = "
    SELECT e.event_id, bool_or(w.id IS NOT NULL OR d.state > 3 AND NOT coalesce(d.code = ANY ($2), false))
            OR NOT bool_or(coalesce(d.state = 3 AND d.code IS DISTINCT FROM 'dropped', false)) AND bool_or(coalesce(d.state > 3, false)),
        bool_or(d.code IS DISTINCT FROM 'dropped')
    FROM gateway_inbox.entries e
    LEFT JOIN gateway_inbox.work w ON w.id = e.id LEFT JOIN gateway_inbox.ended d ON d.id = e.id
    WHERE e.event_id = ANY ($1) GROUP BY e.event_id";

const PROBLEMS: &str = "
    SELECT d.state, coalesce(d.code, ''), e.event_type, count(*), min(d.ended_at), max(d.ended_at),
        (array_agg(d.id ORDER BY d.ended_at DESC, d.id DESC))[1], (array_agg(d.reason ORDER BY d.ended_at DESC, d.id DESC))[1]
    FROM gateway_inbox.ended d JOIN gateway_inbox.entries e ON e.id = d.id WHERE d.state > 3
    GROUP BY d.state, d.code, e.event_type ORDER BY count(*) DESC, d.state, coalesce(d.code, '') COLLATE \"C\", e.event_type COLLATE \"C\"";

const PROBLEM_COUNTS: &str = "
    SELECT coalesce(d.code, ''), e.event_type, count(*)
    FROM gateway_inbox.ended d JOIN gateway_inbox.entries e ON e.id = d.id WHERE d.state > 3
    GROUP BY d.state, d.code, e.event_type";

/// Entries in work by state, among the first so many; ended ones by state.
const COUNTS: &str = "
    SELECT state, count(*) FROM (SELECT state FROM gateway_inbox.work LIMIT $1) AS w GROUP BY state
    UNION ALL SELECT 3::smallint, count(*) FROM (SELECT 1 FROM gateway_inbox.ended WHERE state = 3 LIMIT $1) AS d
    UNION ALL SELECT state, count(*) FROM (SELECT state FROM gateway_inbox.ended WHERE state > 3 LIMIT $1) AS d GROUP BY state";

/// The number of rows as the last vacuum knew it.
const ESTIMATES: &str = "
    SELECT relname::text, reltuples::bigint FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'gateway_inbox' AND c.relname IN ('work', 'ended')";

const OLDEST: &str = "
    SELECT coalesce(w.replayed_at, w.released_at, e.received_at)
    FROM gateway_inbox.work w JOIN gateway_inbox.entries e ON e.id = w.id ORDER BY w.id LIMIT 1";

const OLDEST_UNATTENDED: &str = "
    SELECT e.received_at FROM gateway_inbox.work w JOIN gateway_inbox.entries e ON e.id = w.id
    WHERE (w.state = 2 OR (w.state = 0 AND w.attempts = 0 AND w.replayed_at IS NULL AND w.released_at IS NULL
                           AND w.code IS DISTINCT FROM 'awaits_stripe')) AND w.code IS DISTINCT FROM 'awaits_bee'
    ORDER BY w.id LIMIT 1";

impl Core {
    /// Looks at the next rows after `after` and above `floor`, oldest or newest first. Stops early once it has found
    /// `limit` entries.
    pub(super) async fn plain(
        &self,
        selection: &Selection,
        direction: Direction,
        (after, floor): (Option<EntryId>, Option<i64>),
        limit: usize,
    ) -> Result<Window, InboxError> {
        let (compare, order) = match direction {
            Direction::Newest => ("<", "DESC"),
            Direction::Oldest => (">", "ASC"),
        };
        let start = after.map_or(if direction == Direction::Newest { i64::MAX } else { i64::MIN }, |after| after.0);
        let within = |states: &[StateName]| {
            !selection.states.is_empty() && selection.states.iter().all(|state| states.contains(state))
        };
        let place = if selection.is_by_id() {
            "AND (e.id = ANY ($3) OR e.event_id = ANY ($4))"
        } else if within(&[StateName::Dead, StateName::Quarantined]) {
            "AND d.state > 3"
        } else if within(&[StateName::Waiting, StateName::Leased, StateName::Submitted]) {
            "AND w.id IS NOT NULL"
        } else {
            ""
        };
        let named: Vec<i64> = selection.entries.iter().map(|entry| entry.0).collect();
        let rows_max = number_of(WINDOW_ROWS.max(named.len() + selection.events.len() * ENDPOINTS_MAX));
        let statement = format!(
            "{REPORTS} WHERE e.id {compare} $1 AND e.id > $5 {place} AND (cardinality($3::bigint[]) >= 0 OR cardinality($4::text[]) >= 0)
             ORDER BY e.id {order} LIMIT $2"
        );
        let parameters: [Parameter<'_>; 5] = [
            (&start, Type::INT8),
            (&rows_max, Type::INT8),
            (&named, BIGINTS),
            (&selection.events, TEXTS),
            (&floor.unwrap_or(-1), Type::INT8),
        ];
        let rows = self.links.run(&statement, &parameters).await?.rows;
        let is_full = number_of(rows.len()) == rows_max;
        self.chosen(selection, (&rows, is_full), selection.wants_bodies(), limit).await
    }

    /// Looks at the entries that the index leads to.
    pub(super) async fn among(
        &self,
        selection: &Selection,
        direction: Direction,
        ids: &[i64],
        limit: usize,
    ) -> Result<Window, InboxError> {
        let order = if direction == Direction::Newest { "DESC" } else { "ASC" };
        let statement = format!("{REPORTS} WHERE e.id = ANY ($1) ORDER BY e.id {order}");
        let rows = self.links.run(&statement, &[(&ids, BIGINTS)]).await?.rows;
        let mut window = self.chosen(selection, (&rows, false), selection.wants_bodies_of_indexed(), limit).await?;
        if window.last.is_none() && ids.len() == WINDOW_CANDIDATES {
            window.last = ids.last().copied();
        }
        Ok(window)
    }

    /// The rows that the selection means, and the last row looked at if there may be more. If a window is full, more rows
    /// follow.
    async fn chosen(
        &self,
        selection: &Selection,
        (rows, is_full): (&[Row], bool),
        wants_bodies: bool,
        limit: usize,
    ) -> Result<Window, InboxError> {
        let (mut found, mut last, mut bodies) = (Vec::new(), None, 0);
        for row in rows {
            let entry = report(row);
            last = Some(entry.entry.0);
            let mut fits = selection.fits(&entry);
            if fits && wants_bodies {
                bodies += 1;
                let body = self.bodies_of(&[entry.entry]).await?.remove(&entry.entry.0);
                fits = body.is_some_and(|body| selection.fits_body(&entry, &body));
            }
            if fits {
                found.push(entry);
            }
            if found.len() >= limit || bodies >= WINDOW_BODIES {
                return Ok(Window { found, last });
            }
        }
        Ok(Window { found, last: last.filter(|_| is_full) })
    }

    /// Bodies of entries that still have them, by their numbers.
    pub(in crate::inbox) async fn bodies_of(&self, entries: &[EntryId]) -> Result<BTreeMap<i64, Vec<u8>>, InboxError> {
        let ids: Vec<i64> = entries.iter().map(|entry| entry.0).collect();
        let rows = self.links.run(BODIES, &[(&ids, BIGINTS)]).await?.rows;
        let mut unpacker = Unpacker::default();
        let body = |row: &Row| {
            let (id, stored): (i64, Option<&[u8]>) = (row.get(0), row.get(1));
            stored.map(|stored| (id, unpacker.unpack(id, stored, row.get(2))))
        };
        Ok(rows.iter().filter_map(body).collect())
    }

    /// As [`Inbox::bodies`](super::super::Inbox::bodies).
    pub(in crate::inbox) async fn bodies(
        &self,
        entries: &[EntryId],
        bytes_max: usize,
    ) -> Result<Vec<Option<Vec<u8>>>, InboxError> {
        let (mut bodies, mut bytes) = (Vec::new(), 0_usize);
        for entry in entries {
            let body = self.bodies_of(&[*entry]).await?.remove(&entry.0);
            bytes = bytes.saturating_add(body.as_ref().map_or(0, Vec::len));
            if bytes > bytes_max && !bodies.is_empty() {
                break;
            }
            bodies.push(body);
        }
        Ok(bodies)
    }

    pub(in crate::inbox) async fn reports(&self, entries: &[EntryId]) -> Result<Vec<(EntryReport, bool)>, InboxError> {
        let ids: Vec<i64> = entries.iter().map(|entry| entry.0).collect();
        let statement = format!("{REPORTS} WHERE e.id = ANY ($1) ORDER BY e.id");
        let rows = self.links.run(&statement, &[(&ids, BIGINTS)]).await?.rows;
        Ok(rows.iter().map(|row| (report(row), row.get(23))).collect())
    }

    pub(in crate::inbox) async fn newest(&self, limit: u32) -> Result<Vec<EntryView>, InboxError> {
        let statement = format!("{REPORTS} ORDER BY e.id DESC LIMIT $1");
        let rows = self.links.run(&statement, &[(&i64::from(limit), Type::INT8)]).await?.rows;
        Ok(rows.iter().map(|row| view(report(row))).collect())
    }

    pub(in crate::inbox) async fn holds(&self, ids: &[String]) -> Result<BTreeMap<String, Held>, InboxError> {
        let at_door = HELD_AT_DOOR.map(ProblemCode::as_str);
        let rows = self.links.run(HOLDS, &[(&ids, TEXTS), (&at_door.as_slice(), TEXTS)]).await?.rows;
        let held = |row: &Row| {
            let (is_open, is_applied): (Option<bool>, Option<bool>) = (row.get(1), row.get(2));
            let how = match (is_open, is_applied) {
                (Some(true), _) => Held::Open,
                (_, Some(false)) => Held::Dropped,
                _ => Held::Settled,
            };
            (row.get(0), how)
        };
        Ok(rows.iter().map(held).collect())
    }

    pub(in crate::inbox) async fn entries_of_event(&self, event_id: &str) -> Result<Vec<EntryId>, InboxError> {
        let question = "SELECT id FROM gateway_inbox.entries WHERE event_id = $1 ORDER BY id";
        let rows = self.links.run(question, &[(&event_id, Type::TEXT)]).await?.rows;
        Ok(rows.iter().map(|row| EntryId(row.get(0))).collect())
    }

    pub(in crate::inbox) async fn problems(&self) -> Result<Problems, InboxError> {
        let rows = self.links.run(PROBLEMS, &[]).await?.rows;
        let mut problems = Problems::default();
        for row in &rows {
            let count = u64::try_from(row.get::<_, i64>(3)).unwrap_or(0);
            problems.entries += count;
            if problems.groups.len() < GROUPS_MAX {
                let (state, code): (StateName, String) = (state(row.get(0)), row.get(1));
                problems.groups.push(ProblemGroup {
                    state,
                    event_type: row.get(2),
                    count,
                    oldest: Timestamp::from_millis(row.get(4)),
                    newest: Timestamp::from_millis(row.get(5)),
                    sample_entry: row.get::<_, Option<i64>>(6).map(EntryId),
                    sample_reason: row.get(7),
                    advice: advice(state, &code).to_owned(),
                    code,
                });
            }
        }
        Ok(problems)
    }

    pub(in crate::inbox) async fn problem_counts(&self) -> Result<ProblemCounts, InboxError> {
        let rows = self.links.run(PROBLEM_COUNTS, &[]).await?.rows;
        let mut counts = ProblemCounts::new();
        for row in &rows {
            *counts.entry((row.get(0), row.get(1))).or_default() += u64::try_from(row.get::<_, i64>(2)).unwrap_or(0);
        }
        Ok(counts)
    }

    pub(in crate::inbox) async fn counts(&self) -> Result<Counts, InboxError> {
        let rows = self.links.run(COUNTS, &[(&(COUNTED_MAX + 1), Type::INT8)]).await?.rows;
        let mut counts = Counts::default();
        for row in &rows {
            let count = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
            *counts.of_mut(state(row.get(0))) += count;
        }
        let bound = u64::try_from(COUNTED_MAX).unwrap_or(u64::MAX);
        let is_much_work = counts.backlog() > bound;
        if is_much_work || counts.settled > bound {
            let rows = self.links.run(ESTIMATES, &[]).await?.rows;
            for row in &rows {
                let estimate = u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
                match row.get::<_, &str>(0) {
                    "work" if is_much_work => {
                        let others = counts.leased + counts.submitted;
                        counts.waiting = counts.waiting.max(estimate.saturating_sub(others));
                    }
                    "ended" if counts.settled > bound => {
                        counts.settled = counts.settled.max(estimate.saturating_sub(counts.dead + counts.quarantined));
                    }
                    _ => {}
                }
            }
            counts.is_estimate = true;
        }
        counts.oldest = self.time_of(OLDEST).await?;
        Ok(counts)
    }

    pub(in crate::inbox) async fn oldest_unattended(&self) -> Result<Option<Timestamp>, InboxError> {
        self.time_of(OLDEST_UNATTENDED).await
    }

    async fn time_of(&self, question: &str) -> Result<Option<Timestamp>, InboxError> {
        let rows = self.links.run(question, &[]).await?.rows;
        Ok(rows.first().map(|row| self.here(row.get(0))))
    }
}

/// How many endpoints one event may have come in by, as far as a window makes room for them.
const ENDPOINTS_MAX: usize = 64;

fn state(number: i16) -> StateName {
    StateName::ALL.into_iter().find(|state| state.number() == i64::from(number)).unwrap_or(StateName::Waiting)
}

fn report(row: &Row) -> EntryReport {
    let time = |column: usize| row.get::<_, Option<i64>>(column).map(Timestamp::from_millis);
    let number = |column: usize| u32::try_from(row.get::<_, i32>(column)).unwrap_or(0);
    let state = state(row.get(9));
    let told: Option<String> = row.get(15);
    let is_held = matches!(state, StateName::Dead | StateName::Quarantined);
    let action: Option<String> = row.get(19);
    let (at, by, note) = (time(20), row.get(21), row.get(22));
    EntryReport {
        entry: EntryId(row.get(0)),
        endpoint: row.get(1),
        event_id: row.get(2),
        event_type: row.get(3),
        account: row.get(4),
        livemode: row.get(5),
        source: row.get(6),
        secret: row.get(7),
        received: Timestamp::from_millis(row.get(8)),
        state,
        due: time(10),
        attempts: number(11),
        crashes: number(12),
        process: row.get(13),
        ended: time(14),
        outcome: told.clone().filter(|_| state == StateName::Settled),
        code: told.filter(|_| is_held),
        reason: row.get(16),
        released: time(17),
        replayed: time(18),
        intervention: action.map(|action| Intervention { action, at: at.unwrap_or_default(), by, note }),
    }
}

fn view(report: EntryReport) -> EntryView {
    let due = report.due.unwrap_or_default();
    let at = report.ended.unwrap_or_default();
    let (code, reason) = (report.code.unwrap_or_default(), report.reason.unwrap_or_default());
    let state = match report.state {
        StateName::Waiting => EntryState::Waiting { due },
        StateName::Leased => EntryState::Leased { until: due },
        StateName::Submitted => {
            EntryState::Submitted { process: ProcessId::new(report.process.unwrap_or_default()), poll: due }
        }
        StateName::Settled => EntryState::Settled { at, outcome: report.outcome.unwrap_or_default() },
        StateName::Dead => EntryState::Dead { at, code, reason },
        StateName::Quarantined => EntryState::Quarantined { at, code, reason },
    };
    EntryView {
        entry: report.entry,
        endpoint: EndpointName::new(report.endpoint),
        event_id: EventId::new(report.event_id),
        event_type: report.event_type,
        received: report.received,
        attempts: report.attempts,
        state,
    }
}

/// The statements compare with what rows hold.
const _: () = assert!(Awaited::Stripe.as_str().len() == "awaits_stripe".len());
