//! Orders of people, and what of them the ledger has still to be told.
//!
//! An order is checked on what an entry looks like and carried out only if it still looks so; one that has changed is looked at
//! again.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::entry::{DIGEST_PREFIX, NewEntry};
use super::super::error::InboxError;
use super::super::operate::{OrderedEntry, short};
use super::super::order::{Action, Order, Refusal, Standing};
use super::super::orders::{DROPS_TOLD_MAX, UntoldDrop};
use super::super::report::EntryReport;
use super::super::state::StateName;
use super::fault::{Fault, Unknown};
use super::links::Answer;
use super::schema::{durable, now};
use super::{BIGINTS, Core, TEXTS, number_of, text};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EntryId, EventId};
use crate::domain::outcome::ProblemCode;
use crate::postgres::Parameter;
use crate::stripe::event::Event;

/// How often an order is given whose effect is unknown.
const TRIES_MAX: u32 = 4;

/// How often an entry is looked at that keeps changing.
const LOOKS_MAX: usize = 3;

/// Records an order for the entries that a statement calls `moved`. `$2` ids, `$3` states and `$4` codes as they were seen,
/// `$5` the former states as text, `$6` numbers of the orders, `$7` action, `$8` operator, `$9` note.
macro_rules! ordered {
    ($move:expr, $untold:expr) => {
        concat!(
            "WITH t AS (SELECT ",
            now!(),
            " AS now), given AS (SELECT * FROM unnest($2, $3, $4, $5, $6) AS g (id, state, code, was, number)), ",
            $move,
            ", told AS (UPDATE gateway_inbox.orders o SET untold = false FROM moved m WHERE o.entry = m.id AND o.untold),
            recorded AS (
                INSERT INTO gateway_inbox.orders (id, entry, action, at, by, note, was, untold)
                SELECT g.number, m.id, $7, t.now, $8, $9, g.was, ",
            $untold,
            " FROM moved m JOIN given g ON g.id = m.id, t
            )
            SELECT id, ",
            durable!(),
            " FROM moved"
        )
    };
}

/// The entries of orders, with a lock on the records of these orders.
const FIND_ORDERS: &str =
    concat!("SELECT entry, ", durable!(), " FROM gateway_inbox.orders WHERE id = ANY ($1) ORDER BY id FOR UPDATE");

/// Makes ended entries wait again: replayed, released, or fetched again. Retention and erasures lock an entry in the same two tables, in
/// the same order, so that neither a body is removed from an entry that waits nor an entry taken up whose body is gone.
const TAKE_UP: &str = ordered!(
    "seen AS (
        SELECT d.id, g.was FROM gateway_inbox.ended d JOIN given g ON g.id = d.id
        WHERE d.state = g.state AND d.code IS NOT DISTINCT FROM g.code ORDER BY d.id FOR UPDATE OF d
    ), whole AS (
        SELECT e.id, s.was FROM gateway_inbox.entries e JOIN seen s ON s.id = e.id
        WHERE e.body IS NOT NULL ORDER BY e.id FOR UPDATE OF e
    ), moved AS (
        DELETE FROM gateway_inbox.ended d USING whole s
        WHERE d.id = s.id RETURNING d.id, d.released_at, d.replayed_at, s.was
    ), waiting AS (
        INSERT INTO gateway_inbox.work (id, state, due_at, size, reason, released_at, replayed_at, action, action_at, action_by,
                                        action_note)
        SELECT m.id, 0, t.now, coalesce(e.bytes, length(e.body), 0), m.was,
            CASE WHEN $7 = 'release' THEN t.now ELSE m.released_at END,
            CASE WHEN $7 IN ('replay', 'refetch') THEN t.now ELSE m.replayed_at END, $7, t.now, $8, $9
        FROM moved m JOIN gateway_inbox.entries e ON e.id = m.id, t
    )",
    "false"
);

/// Whether the event itself is dropped, and not just one delivery: no worker has it by another endpoint. Of several deliveries that one
/// statement drops, the last stands for the event.
macro_rules! is_dropped_event {
    () => {
        "EXISTS (SELECT 1 FROM gateway_inbox.entries e WHERE e.id = m.id AND e.event_id NOT LIKE 'sha256:%' AND NOT EXISTS (
            SELECT 1 FROM gateway_inbox.entries o LEFT JOIN gateway_inbox.ended x ON x.id = o.id LEFT JOIN moved y ON y.id = o.id
            WHERE o.event_id = e.event_id AND o.id <> e.id
              AND CASE WHEN y.id IS NULL THEN x.code IS DISTINCT FROM 'dropped' ELSE y.id > e.id END))"
    };
}

/// Has the ledger told of events of which every delivery is dropped, if no order says so: two orders at once, each for one delivery, do
/// not see each other.
const TELL_WHOLE: &str = concat!(
    "WITH dropped AS (
        SELECT e.event_id, max(o.id) AS last FROM gateway_inbox.entries g
        JOIN gateway_inbox.entries e ON e.event_id = g.event_id LEFT JOIN gateway_inbox.ended d ON d.id = e.id
        LEFT JOIN gateway_inbox.orders o ON o.entry = e.id AND o.action = 'drop'
        WHERE g.id = ANY ($1) AND g.event_id NOT LIKE 'sha256:%' GROUP BY e.event_id
        HAVING bool_and(d.code IS NOT DISTINCT FROM 'dropped') AND NOT coalesce(bool_or(o.untold), false)
            AND count(DISTINCT e.id) > 1
    ), told AS (UPDATE gateway_inbox.orders o SET untold = true FROM dropped d WHERE o.id = d.last RETURNING 1) SELECT ",
    durable!(),
    " FROM told"
);

const DROP_ENDED: &str = ordered!(
    "moved AS (
        UPDATE gateway_inbox.ended d SET state = 3, ended_at = t.now, code = 'dropped', reason = g.was, process_id = NULL,
            action = $7, action_at = t.now, action_by = $8, action_note = $9
        FROM given g, t WHERE d.id = g.id AND d.state = g.state AND d.code IS NOT DISTINCT FROM g.code
        RETURNING d.id
    )",
    is_dropped_event!()
);

const DROP_WAITING: &str = ordered!(
    "moved AS (
        DELETE FROM gateway_inbox.work w USING given g
        WHERE w.id = ANY (ARRAY(SELECT id FROM given)) AND w.id = g.id AND w.state = g.state AND w.state = 0
        RETURNING w.id, w.attempts, w.crashes, w.released_at, w.replayed_at, g.was
    ), dropped AS (
        INSERT INTO gateway_inbox.ended (id, state, ended_at, code, reason, attempts, crashes, released_at, replayed_at, action,
                                         action_at, action_by, action_note)
        SELECT m.id, 3, t.now, 'dropped', m.was, m.attempts, m.crashes, m.released_at, m.replayed_at, $7, t.now, $8, $9
        FROM moved m, t
    )",
    is_dropped_event!()
);

const BODY: &str = concat!(
    "WITH changed AS (UPDATE gateway_inbox.entries SET body = $2, bytes = $3 WHERE id = $1 RETURNING id), \
     sized AS (UPDATE gateway_inbox.work SET size = $4 WHERE id = $1) SELECT id, ",
    durable!(),
    " FROM changed"
);

const HASTEN: &str = concat!(
    "WITH changed AS (UPDATE gateway_inbox.work SET due_at = least(due_at, ",
    now!(),
    ") WHERE id = ANY ($2) AND state = 0 RETURNING id) SELECT count(*) FROM changed"
);

const UNTOLD: &str = "
    SELECT o.id, e.event_id, e.event_type, e.account, e.livemode, e.received_at, o.at, o.by, o.note
    FROM gateway_inbox.orders o JOIN gateway_inbox.entries e ON e.id = o.entry WHERE o.untold ORDER BY o.id LIMIT $1";

const TOLD: &str = concat!(
    "WITH told AS (UPDATE gateway_inbox.orders SET untold = false WHERE id = ANY ($1) RETURNING 1) SELECT ",
    durable!(),
    " FROM told"
);

const TELL_AGAIN: &str = concat!(
    "WITH last AS (
        SELECT max(o.id) AS id FROM gateway_inbox.orders o JOIN gateway_inbox.entries e ON e.id = o.entry
        JOIN gateway_inbox.ended d ON d.id = e.id
        WHERE o.action = 'drop' AND d.code = 'dropped' AND e.event_id = ANY ($1) GROUP BY e.event_id
    ), told AS (UPDATE gateway_inbox.orders o SET untold = true FROM last l WHERE o.id = l.id RETURNING 1) SELECT ",
    durable!(),
    " FROM told"
);

/// An entry, with the state in which it was seen.
struct Seen {
    entry: i64,
    state: StateName,
    code: Option<String>,
    was: String,
}

impl Core {
    /// What an order would do to entries.
    pub(in crate::inbox) async fn consider(
        &self,
        entries: &[EntryId],
        action: Action,
        is_named: bool,
    ) -> Result<Vec<OrderedEntry>, InboxError> {
        let mut considered = Vec::with_capacity(entries.len());
        for (report, has_body) in self.reports(entries).await? {
            let refused = self.refusal(&report, has_body, action, is_named).await?;
            considered.push(OrderedEntry {
                entry: report.entry,
                event_id: report.event_id,
                event_type: report.event_type,
                state: report.state,
                code: report.code.or(report.outcome),
                refused,
            });
        }
        Ok(considered)
    }

    async fn refusal(
        &self,
        report: &EntryReport,
        has_body: bool,
        action: Action,
        is_named: bool,
    ) -> Result<Option<Refusal>, InboxError> {
        let is_malformed = report.code.as_deref() == Some(ProblemCode::Malformed.as_str());
        if action == Action::Release && is_malformed {
            let body = self.bodies_of(&[report.entry]).await?.remove(&report.entry.0).unwrap_or_default();
            return Ok(Event::parse(&body).err().map(|_| Refusal::NothingToApply));
        }
        Ok(action.check(standing(report, has_body, is_named)).err())
    }

    /// Carries out an order. Returns for each entry, in order, whether it was changed, or why not.
    pub(in crate::inbox) async fn operate(
        &self,
        entries: &[EntryId],
        order: &Order,
        is_named: bool,
    ) -> Result<Vec<Result<(), Refusal>>, InboxError> {
        let mut done: Vec<Result<(), Refusal>> = vec![Err(Refusal::Gone); entries.len()];
        let mut open: Vec<EntryId> = entries.to_vec();
        for _ in 0..LOOKS_MAX {
            let mut seen = Vec::with_capacity(open.len());
            for (report, has_body) in self.reports(&open).await? {
                match order.action.check(standing(&report, has_body, is_named)) {
                    Ok(()) => seen.push(Seen::of(&report)),
                    Err(refusal) => set(&mut done, entries, report.entry, Err(refusal)),
                }
            }
            if seen.is_empty() {
                break;
            }
            let moved = self.carry_out(&seen, order).await?;
            for id in &moved {
                set(&mut done, entries, EntryId(*id), Ok(()));
            }
            open = seen.iter().filter(|seen| !moved.contains(&seen.entry)).map(|seen| EntryId(seen.entry)).collect();
            for entry in &open {
                set(&mut done, entries, *entry, Err(Refusal::OnItsWay));
            }
            if open.is_empty() {
                break;
            }
        }
        self.look_again();
        let ids: Vec<i64> = entries.iter().map(|entry| entry.0).collect();
        if order.action == Action::Drop
            && let Err(fault) = self.links.run_durably(TELL_WHOLE, &[(&ids, BIGINTS)]).await
        {
            // The order itself is carried out.
            let error = &InboxError::from(fault) as &dyn std::error::Error;
            tracing::warn!(error, "inbox: the ledger may hear of a drop only from the next comparison with Stripe");
        }
        Ok(done)
    }

    /// Moves entries that are still as they were seen. Returns which.
    async fn carry_out(&self, seen: &[Seen], order: &Order) -> Result<Vec<i64>, InboxError> {
        let is_waiting = |seen: &&Seen| seen.state == StateName::Waiting;
        let (waiting, ended): (Vec<&Seen>, Vec<&Seen>) = seen.iter().partition(is_waiting);
        let mut moved = Vec::with_capacity(seen.len());
        let statements = match order.action {
            Action::Drop => [(DROP_WAITING, waiting), (DROP_ENDED, ended)],
            Action::Replay | Action::Release | Action::Refetch => [(TAKE_UP, ended), (TAKE_UP, Vec::new())],
        };
        for (statement, seen) in statements.into_iter().filter(|(_, seen)| !seen.is_empty()) {
            let ids: Vec<i64> = seen.iter().map(|seen| seen.entry).collect();
            let states: Vec<i16> =
                seen.iter().map(|seen| i16::try_from(seen.state.number()).unwrap_or_default()).collect();
            let codes: Vec<Option<&str>> = seen.iter().map(|seen| seen.code.as_deref()).collect();
            let was: Vec<&str> = seen.iter().map(|seen| seen.was.as_str()).collect();
            let numbers = self.numbers.next(seen.len(), self.clock.now());
            let (by, note) = (order.by.as_deref().map(short).map(text), order.note.as_deref().map(short).map(text));
            let parameters: [Parameter<'_>; 9] = [
                (&self.time(), Type::INT8),
                (&ids, BIGINTS),
                (&states, Type::INT2_ARRAY),
                (&codes, TEXTS),
                (&was, TEXTS),
                (&numbers, BIGINTS),
                (&order.action.as_str(), Type::TEXT),
                (&by, Type::TEXT),
                (&note, Type::TEXT),
            ];
            moved.extend(self.order(statement, &parameters, &numbers).await?);
        }
        Ok(moved)
    }

    /// Carries out an order and returns the entries that it changed. If the answer was lost, or the server warned that it
    /// may not last, the rows of the order tell: a lock on them is as durable as a commit.
    async fn order(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
        numbers: &[i64],
    ) -> Result<Vec<i64>, InboxError> {
        let mut is_sure = true;
        for _ in 0..TRIES_MAX {
            match self.links.run(statement, parameters).await {
                Ok(answer) if is_sure && !answer.has_warned && !answer.is_again => return Ok(entries(&answer)),
                Ok(_) => {}
                Err(fault) if fault.unknown() == Some(Unknown::Connection) => {
                    is_sure = false;
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            }
            is_sure = false;
            let found = self.links.run(FIND_ORDERS, &[(&numbers, BIGINTS)]).await?;
            if !found.has_warned {
                return Ok(entries(&found));
            }
        }
        Err(Fault::not_durable().into())
    }

    pub(in crate::inbox) async fn refetched(
        &self,
        entry: EntryId,
        fetched: &NewEntry,
        order: &Order,
        is_named: bool,
    ) -> Result<Result<(), Refusal>, InboxError> {
        // The body goes first, because a gateway may take up the entry at once.
        let Some((report, has_body)) = self.reports(&[entry]).await?.pop() else { return Ok(Err(Refusal::Gone)) };
        if let Err(refusal) = order.action.check(standing(&report, has_body, is_named)) {
            return Ok(Err(refusal));
        }
        let (stored, bytes) = fetched.stored_body();
        let (bytes, size) = (bytes.map(number_of), number_of(bytes.unwrap_or(stored.len())));
        let parameters: [Parameter<'_>; 4] =
            [(&entry.0, Type::INT8), (&stored, Type::BYTEA), (&bytes, Type::INT8), (&size, Type::INT8)];
        self.links.run_durably(BODY, &parameters).await?;
        Ok(self.operate(&[entry], order, is_named).await?.pop().unwrap_or(Err(Refusal::Gone)))
    }

    pub(in crate::inbox) async fn hasten(&self, entries: &[EntryId]) -> Result<usize, InboxError> {
        let ids: Vec<i64> = entries.iter().map(|entry| entry.0).collect();
        let rows = self.links.run(HASTEN, &[(&self.time(), Type::INT8), (&ids, BIGINTS)]).await?.rows;
        self.look_again();
        Ok(rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
    }

    pub(in crate::inbox) async fn untold_drops(&self) -> Result<Vec<UntoldDrop>, InboxError> {
        let most = number_of(DROPS_TOLD_MAX);
        let rows = self.links.run(UNTOLD, &[(&most, Type::INT8)]).await?.rows;
        let drop = |row: &Row| UntoldDrop {
            order: row.get(0),
            event_id: EventId::new(row.get::<_, String>(1)),
            event_type: row.get(2),
            account: row.get(3),
            livemode: row.get(4),
            received: Timestamp::from_millis(row.get(5)),
            at: Timestamp::from_millis(row.get(6)),
            by: row.get(7),
            note: row.get(8),
        };
        Ok(rows.iter().map(drop).collect())
    }

    pub(in crate::inbox) async fn drops_told(&self, orders: &[i64]) -> Result<(), InboxError> {
        self.links.run_durably(TOLD, &[(&orders, BIGINTS)]).await?;
        Ok(())
    }

    pub(in crate::inbox) async fn tell_drops_again(&self, events: &[String]) -> Result<(), InboxError> {
        self.links.run_durably(TELL_AGAIN, &[(&events, TEXTS)]).await?;
        Ok(())
    }
}

impl Seen {
    fn of(report: &EntryReport) -> Self {
        let told = report.code.as_deref().or(report.outcome.as_deref());
        // Its former state is part of its story.
        let was = match (told, report.reason.as_deref()) {
            (Some(code), Some(reason)) => format!("was {}, {code}: {reason}", report.state),
            (Some(code), None) => format!("was {}, {code}", report.state),
            (None, _) => format!("was {}", report.state),
        };
        Self { entry: report.entry.0, state: report.state, code: told.map(str::to_owned), was: short(&was).to_owned() }
    }
}

fn standing(report: &EntryReport, has_body: bool, is_named: bool) -> Standing<'_> {
    let code = report.code.as_deref().or(report.outcome.as_deref());
    let is_event = !report.event_id.starts_with(DIGEST_PREFIX);
    Standing { state: report.state, code, has_body, is_event, is_named }
}

fn entries(answer: &Answer) -> Vec<i64> {
    answer.rows.iter().map(|row| row.get(0)).collect()
}

fn set(done: &mut [Result<(), Refusal>], entries: &[EntryId], entry: EntryId, result: Result<(), Refusal>) {
    if let Some(place) = entries.iter().position(|known| *known == entry).and_then(|place| done.get_mut(place)) {
        *place = result;
    }
}
