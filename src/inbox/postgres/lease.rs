//! Leases: the gateway that asks first works on due entries, even if another one received them.
//!
//! A token is random and only compared: a counter could give the same one twice, since leases wait for no disk. A lease whose time
//! is over is taken by the next who asks, with one more crash on record.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::body::Unpacker;
use super::super::conclude::Conclusion;
use super::super::error::InboxError;
use super::super::lease::{CRASHES_MAX, Lease, LeaseRequest, Leased, Taken};
use super::super::steps::Step;
use super::due::{LEASE, LEASE_ALL};
use super::fault::Fault;
use super::schema::{forgettable, now};
use super::{BIGINTS, Core, Time, millis};
use crate::domain::ids::{EndpointName, EntryId, EventId};
use crate::domain::outcome::{Awaited, ProblemCode};
use crate::domain::trace::TraceContext;
use crate::postgres::Parameter;

/// Gives back what leases took whose answers were lost. `$2` tokens.
const GIVE_BACK: &str = concat!(
    "WITH given AS (
        UPDATE gateway_inbox.work SET state = 0, token = NULL, due_at = ",
    now!(),
    " WHERE state = 1 AND token = ANY ($2) RETURNING 1)
    SELECT ",
    forgettable!(),
    " FROM given"
);

/// Gives back kept entries that no pump has taken. `$2` ids, `$3` tokens.
const GIVE_BACK_KEPT: &str = concat!(
    "WITH given AS (
        UPDATE gateway_inbox.work w SET state = 0, token = NULL, due_at = ",
    now!(),
    " FROM unnest($2, $3) AS g (id, token)
        WHERE w.id = ANY (ARRAY(SELECT unnest($2))) AND w.id = g.id AND w.state = 1 AND w.token = g.token RETURNING 1)
    SELECT ",
    forgettable!(),
    " FROM given"
);

/// Has the server count the rows of `work`. Without that it plans for the table as it was before a burst, or for one that it
/// knows nothing of, and sorts all due entries for each lease. Nothing depends on it, so its errors do not matter.
const COUNT: &str = "ANALYZE gateway_inbox.work";

/// A lease of so many entries shows a burst, as does one of fewer that may hold no more. One alone shows nothing.
const BURST: usize = 64;

/// Least time between two counts.
const COUNT_AGAIN: Duration = Duration::from_mins(1);

/// Longest wait for a count: the server's own vacuum may hold the table.
const COUNT_WAIT: Duration = Duration::from_millis(500);

/// The latest time after which an entry that another gateway received is found.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Beyond all due times, in milliseconds.
const FAR: i64 = 1 << 60;

/// How many leases with lost answers are remembered. Entries of others come back when their time is over.
const LOST_MAX: usize = 64;

/// `$2` ids, `$3` tokens, `$4` what the holder waits for.
const NOTE: &str = concat!(
    "WITH noted AS (
        UPDATE gateway_inbox.work w SET code = $3 FROM unnest($1, $2) AS g (id, token)
        WHERE w.id = ANY (ARRAY(SELECT unnest($1))) AND w.id = g.id AND w.state = 1 AND w.token = g.token RETURNING 1)
    SELECT ",
    forgettable!(),
    " FROM noted"
);

impl Core {
    /// A pump leases again soon: what arrives until then may be kept for it.
    pub(in crate::inbox) fn keep_arrivals(&self, request: LeaseRequest) {
        self.kept.want(request);
    }

    /// Leases what is due. Entries of the database come first, but it is asked only as often as something may be due there.
    pub(in crate::inbox) async fn lease(&self, request: LeaseRequest) -> Result<Taken, InboxError> {
        if let Some(next_look) = self.kept.next_look(self.clock.now()) {
            let entries = self.kept.take(request);
            if !entries.is_empty() {
                return Ok(self.beside_kept(Taken { entries, next_due: Some(next_look) }));
            }
        }
        let changes = self.kept.changes();
        let mut taken = self.lease_due(request).await?;
        let now = self.clock.now();
        let left_nothing = taken.entries.len() < request.entries_max && taken.next_due.is_none_or(|due| due > now);
        self.kept.looked(changes, left_nothing, taken.next_due);
        if taken.entries.is_empty() {
            taken.entries = self.kept.take(request);
        } else if taken.entries.len() >= BURST.min(request.entries_max.max(2)) {
            self.count_rows().await;
        }
        Ok(self.beside_kept(taken))
    }

    /// See [`COUNT`].
    async fn count_rows(&self) {
        {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            if counted.is_some_and(|at| at.elapsed() < COUNT_AGAIN) {
                return;
            }
            *counted = Some(Instant::now());
        }
        if let Ok(Err(fault)) = tokio::time::timeout(COUNT_WAIT, self.links.run(COUNT, &[])).await {
            let error = &InboxError::from(fault) as &dyn std::error::Error;
            tracing::debug!(error, "the database does not count the rows of the inbox");
        }
    }

    /// While entries are kept, the next lease finds something.
    fn beside_kept(&self, taken: Taken) -> Taken {
        if self.kept.is_empty() { taken } else { Taken { next_due: Some(self.clock.now()), ..taken } }
    }

    /// Gives back what no pump has taken in time. If that fails, the leases end in theirs.
    pub(super) async fn give_back_kept(&self) {
        let (ids, tokens) = pairs(self.kept.take_overdue(false));
        if ids.is_empty() {
            return;
        }
        let parameters: [Parameter<'_>; 3] = [(&self.time(), Type::INT8), (&ids, BIGINTS), (&tokens, BIGINTS)];
        let given = self.links.run(GIVE_BACK_KEPT, &parameters).await.map(drop);
        self.gave_back(ids.len(), given);
    }

    /// Gives back all that is kept, at the end. On a new connection: others may belong to a runtime that no longer turns.
    pub(super) async fn give_back_all(&self) {
        let (ids, tokens) = pairs(self.kept.take_overdue(true));
        if ids.is_empty() {
            return;
        }
        let array = |numbers: &[i64]| {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            format!("'{{{}}}'::bigint[]", numbers.join(","))
        };
        let time = self.time().map_or_else(|| "NULL".to_owned(), |time| time.to_string());
        let statement = GIVE_BACK_KEPT.replace("$1", &time).replace("$2", &array(&ids)).replace("$3", &array(&tokens));
        let given = self.links.run_all(&statement).await;
        self.gave_back(ids.len(), given);
    }

    fn gave_back(&self, entries: usize, given: Result<(), Fault>) {
        if let Err(fault) = given {
            let error = &InboxError::from(fault) as &dyn std::error::Error;
            tracing::warn!(error, entries, "inbox: entries that no pump took wait for the end of their leases");
        }
        self.look_again();
    }

    /// Makes the next lease ask the database, and look everywhere.
    pub(super) fn look_again(&self) {
        self.mark.forget();
        self.kept.look_again();
    }

    async fn lease_due(&self, request: LeaseRequest) -> Result<Taken, InboxError> {
        self.give_back_lost().await?;
        let (token, mark, asked) = (draw_token(), self.mark.low(), Instant::now());
        let within = match self.time {
            Time::Database => millis(LOOK_AGAIN),
            Time::Clock => FAR,
        };
        let parameters: [Parameter<'_>; 7] = [
            (&self.time(), Type::INT8),
            (&count(request.entries_max), Type::INT8),
            (&count(request.bytes_max), Type::INT8),
            (&token, Type::INT8),
            (&millis(request.duration), Type::INT8),
            (&mark, Type::INT8),
            (&within, Type::INT8),
        ];
        let at_once = |entries| Taken { entries, next_due: Some(self.clock.now()) };
        let Some(mut rows) = self.take(LEASE_ALL, token, &parameters).await? else { return Ok(at_once(Vec::new())) };
        // The one row that tells only the time is no entry.
        let found = rows.iter().filter(|row| row.get::<_, Option<i64>>(13).is_some()).count();
        let (mut next_due, mut is_part) = (None, found > 0 && found >= request.entries_max);
        if let Some(look) = rows.first() {
            let database = look.get(16);
            next_due = look.get::<_, Option<i64>>(17);
            let is_refused = found > 0 && look.get::<_, Option<i64>>(0).is_none();
            match self.follow_clock(database, asked, request.duration).await {
                Ok(has_moved) => is_part |= has_moved,
                Err(fault) => {
                    self.lose(token);
                    return Err(fault.into());
                }
            }
            if is_refused {
                is_part = true;
                match self.take(LEASE, token, &parameters[..6]).await? {
                    Some(taken) => rows = taken,
                    None => return Ok(at_once(Vec::new())),
                }
            } else if found > 0 {
                let end = database + millis(request.duration);
                next_due = Some(next_due.map_or(end, |due| due.min(end)));
            }
        }
        // Without an entry behind it, a row of `work` leads to nothing.
        rows.retain(|row| row.get::<_, Option<&str>>(1).is_some());
        rows.sort_unstable_by_key(|row| (row.get::<_, i64>(13), row.get::<_, i64>(0)));
        self.mark.looked(mark, rows.first().map(|row| row.get(13)));
        let entries = self.read_all(rows, token).await?;
        if is_part {
            return Ok(at_once(entries));
        }
        let next_due = next_due.map(|due| self.here(due));
        let look_again = self.clock.now().plus(LOOK_AGAIN);
        let next_due = match self.time {
            Time::Clock => next_due,
            Time::Database => Some(next_due.map_or(look_again, |due| due.min(look_again))),
        };
        Ok(Taken { entries, next_due })
    }

    /// Runs a statement that leases. `None` if its first answer was lost: then what it took is given back.
    async fn take(
        &self,
        statement: &str,
        token: i64,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Vec<Row>>, InboxError> {
        let answer = self.links.run(statement, parameters).await;
        // Otherwise the entries would wait for the end of a lease that has no holder, and a crash would be counted.
        if !matches!(&answer, Ok(answer) if !answer.is_again) {
            self.lose(token);
        }
        match answer {
            // The token also holds entries that are unknown here.
            Ok(answer) if answer.is_again => {
                self.give_back_lost().await?;
                Ok(None)
            }
            Ok(answer) => Ok(Some(answer.rows)),
            Err(fault) => {
                let is_without_tables = fault.is_missing_table();
                let error = InboxError::from(fault);
                // Its entries may have been moved. The next look finds that out, before a delivery goes into the file
                // beside it.
                if is_without_tables {
                    self.wrote(Some(&error));
                }
                Err(error)
            }
        }
    }

    /// The entries of a lease. Gives up those that seem to kill their gateway.
    async fn read_all(&self, rows: Vec<Row>, token: i64) -> Result<Vec<Leased>, InboxError> {
        let left: Vec<_> = rows.iter().filter(|row| row.get(14)).map(|row| (row.get(0), Step::LEASE_ENDED)).collect();
        self.note_all(&left).await;
        let mut unpacker = Unpacker::default();
        let (mut entries, mut crashing) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let leased = self.read(&row, token, &mut unpacker);
            if i64::from(leased.crashes) >= CRASHES_MAX {
                let reason = format!("worked on alone when the gateway died, {CRASHES_MAX} times");
                let code = ProblemCode::CrashLoop.as_str().to_owned();
                crashing.push((leased.lease, Conclusion::Dead { code, reason }));
            } else {
                entries.push(leased);
            }
        }
        if !crashing.is_empty()
            && let Err(error) = self.conclude(&crashing).await
        {
            // No worker will know of the entries it took.
            self.lose(token);
            return Err(error);
        }
        Ok(entries)
    }

    /// Remembers a token without a holder.
    pub(super) fn lose(&self, token: i64) {
        let mut lost = self.lost_leases.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() < LOST_MAX {
            lost.push(token);
        }
    }

    /// Gives back entries whose lease has no holder.
    async fn give_back_lost(&self) -> Result<(), InboxError> {
        let lost = self.lost_leases.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if lost.is_empty() {
            return Ok(());
        }
        self.links.run(GIVE_BACK, &[(&self.time(), Type::INT8), (&lost, BIGINTS)]).await?;
        self.look_again();
        self.lost_leases.lock().unwrap_or_else(PoisonError::into_inner).retain(|token| !lost.contains(token));
        Ok(())
    }

    pub(in crate::inbox) async fn note(&self, held: &[(i64, i64)], awaited: Option<Awaited>) -> Result<(), InboxError> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = held.iter().copied().unzip();
        let awaited = awaited.map(Awaited::as_str);
        self.links.run(NOTE, &[(&ids, BIGINTS), (&tokens, BIGINTS), (&awaited, Type::TEXT)]).await?;
        Ok(())
    }

    fn read(&self, row: &Row, token: i64, unpacker: &mut Unpacker) -> Leased {
        let entry: i64 = row.get(0);
        let time = |column: usize| row.get::<_, Option<i64>>(column).map(|at| self.here(at));
        let (received, released, replayed) = (self.here(row.get(7)), time(8), time(9));
        let received = [Some(received), released, replayed].into_iter().flatten().max().unwrap_or(received);
        let body: Option<&[u8]> = row.get(11);
        Leased {
            lease: Lease { entry: EntryId(entry), token },
            endpoint: EndpointName::new(row.get::<_, String>(1)),
            event_id: EventId::new(row.get::<_, String>(2)),
            event_type: row.get(3),
            attempts: u32::try_from(row.get::<_, i32>(4)).unwrap_or(0),
            crashes: u32::try_from(row.get::<_, i32>(5)).unwrap_or(0),
            awaited_stripe: row.get::<_, Option<&str>>(6) == Some(Awaited::Stripe.as_str()),
            awaits_bee: row.get::<_, Option<&str>>(6) == Some(Awaited::Bee.as_str()),
            received,
            released,
            replayed: replayed.is_some(),
            trace: row.get::<_, Option<&str>>(10).and_then(TraceContext::parse),
            body: Bytes::from(unpacker.unpack(entry, body.unwrap_or_default(), row.get(12))),
        }
    }
}

fn pairs(leases: Vec<Lease>) -> (Vec<i64>, Vec<i64>) {
    leases.into_iter().map(|lease| (lease.entry.0, lease.token)).unzip()
}

/// A token that was never given out, only for comparison.
pub(super) fn draw_token() -> i64 {
    fastrand::i64(1..i64::MAX)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
