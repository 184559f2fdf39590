//! Ending leases, and the stay of entries with processes.
//!
//! What an entry comes to changes other tables than what has it wait again, so that a batch with both takes two statements. Entries
//! are independent of each other: that one of the two was stored says nothing about the other.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::super::conclude::{Concluded, Conclusion};
use super::super::error::InboxError;
use super::super::lease::{CRASHES_ALONE, Lease};
use super::super::state::StateName;
use super::super::submitted::{SubmittedEntry, SubmittedProcess};
use super::schema::{durable, forgettable, now};
use super::{BIGINTS, Core, TEXTS, millis, text};
use crate::domain::ids::{EntryId, EventId, ProcessId};
use crate::domain::outcome::Awaited;
use crate::domain::trace::TraceContext;
use crate::postgres::Parameter;

/// Time after which another gateway asks about a process if its own gateway does not.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// Most processes that are taken over at once.
const TAKE_OVER_MAX: i64 = 256;

/// The end of an entry.
struct End<'a> {
    state: StateName,
    code: &'a str,
    reason: Option<&'a str>,
}

/// How an entry goes on.
struct Wait<'a> {
    state: StateName,
    after: Duration,
    attempts: i32,
    crashes: i32,
    code: Option<&'a str>,
    reason: Option<&'a str>,
    process: Option<&'a str>,
}

enum Next<'a> {
    End(End<'a>),
    Wait(Wait<'a>),
}

fn next(conclusion: &Conclusion) -> Next<'_> {
    let wait = |after: &Duration, attempts, crashes, code, reason| {
        Next::Wait(Wait { state: StateName::Waiting, after: *after, attempts, crashes, code, reason, process: None })
    };
    match conclusion {
        Conclusion::Settle { outcome } => {
            Next::End(End { state: StateName::Settled, code: outcome.as_str(), reason: None })
        }
        Conclusion::Quarantine { code, reason } => {
            Next::End(End { state: StateName::Quarantined, code, reason: Some(reason) })
        }
        Conclusion::Dead { code, reason } => Next::End(End { state: StateName::Dead, code, reason: Some(reason) }),
        Conclusion::Retry { after, counted, reason } => wait(after, i32::from(*counted), 0, None, Some(reason)),
        Conclusion::RetryAlone { after, reason } => {
            wait(after, 1, i32::try_from(CRASHES_ALONE).unwrap_or(2), None, Some(reason))
        }
        Conclusion::AwaitStripe { after, reason } => wait(after, 0, 0, Some(Awaited::Stripe.as_str()), Some(reason)),
        Conclusion::AwaitBee { after, reason } => wait(after, 0, 0, Some(Awaited::Bee.as_str()), Some(reason)),
        Conclusion::Submitted { process, poll_after } => Next::Wait(Wait {
            state: StateName::Submitted,
            after: *poll_after,
            attempts: 0,
            crashes: 0,
            code: None,
            reason: None,
            process: Some(process.as_str()),
        }),
    }
}

/// Whether a conclusion must survive a crash of the database. A warning that a standby may lack it is ignored: what is
/// forgotten is done once more, and the ledger knows it.
fn must_survive(conclusion: &Conclusion) -> bool {
    matches!(conclusion, Conclusion::Submitted { .. } | Conclusion::Quarantine { .. } | Conclusion::Dead { .. })
}

/// The holder of the entries: leases by their tokens, or a process.
#[derive(Clone, Copy)]
enum Holder<'a> {
    Leases,
    Process(&'a str),
}

/// The condition on the holder. `$2` is the ids, `$3` the tokens, `$4` the process.
macro_rules! held {
    () => {
        "w.id = ANY (ARRAY(SELECT id FROM given)) AND w.id = g.id AND (($4::text IS NULL AND w.state = 1 AND w.token = g.token) OR (w.state = 2 AND w.process_id = $4))"
    };
}

/// The rows are found by [`super::schema`]'s rule for ids.
macro_rules! end {
    ($commit:expr) => {
        concat!(
            "WITH given AS (SELECT * FROM unnest($2, $3, $5, $6, $7) AS g (id, token, state, code, reason) ORDER BY id),
            gone AS (
                DELETE FROM gateway_inbox.work w USING given g WHERE ",
            held!(),
            " RETURNING w.id, g.state, g.code, g.reason, w.process_id, w.attempts, w.crashes, w.released_at, w.replayed_at,
                w.action, w.action_at, w.action_by, w.action_note
            ), ended AS (
                INSERT INTO gateway_inbox.ended (id, state, ended_at, code, reason, process_id, attempts, crashes, released_at,
                                                 replayed_at, action, action_at, action_by, action_note)
                SELECT id, state, ",
            now!(),
            ", code, reason, process_id, attempts, crashes, released_at, replayed_at, action, action_at, action_by, action_note
                FROM gone
            )
            SELECT id, ",
            $commit,
            " FROM gone"
        )
    };
}

#[cfg(test)]
pub(super) const END: &str = end!(forgettable!());

macro_rules! wait {
    ($commit:expr) => {
        concat!(
            "WITH given AS (
                SELECT * FROM unnest($2, $3, $5, $6, $7, $8, $9, $10, $11)
                    AS g (id, token, state, after, attempts, crashes, code, reason, process)),
            changed AS (
                UPDATE gateway_inbox.work w SET state = g.state, due_at = ",
            now!(),
            " + g.after, token = NULL, attempts = w.attempts + g.attempts, crashes = g.crashes, reason = g.reason,
                    code = CASE WHEN g.state = 2 AND w.code = 'awaits_bee' THEN w.code ELSE g.code END, process_id = g.process, holder = CASE WHEN g.state = 2 THEN $12::bigint END
                FROM given g WHERE ",
            held!(),
            " RETURNING w.id
            )
            SELECT id, ",
            $commit,
            " FROM changed"
        )
    };
}

const POSTPONE: &str = concat!(
    "WITH changed AS (
        UPDATE gateway_inbox.work w SET due_at = ",
    now!(),
    " + g.after FROM unnest($2, $3) AS g (process, after) WHERE w.state = 2 AND w.process_id = g.process RETURNING 1)
    SELECT ",
    forgettable!(),
    " FROM changed"
);

/// Takes over processes that another gateway no longer asks about. The lowest entry of a process stands for it, so that two
/// gateways do not get a part each.
const TAKE_OVER_PROCESSES: &str = concat!(
    "WITH late AS (
        SELECT process_id, min(id) AS id FROM gateway_inbox.work WHERE state = 2 AND holder IS DISTINCT FROM $2
        GROUP BY process_id HAVING min(due_at) < ",
    now!(),
    " - $3 LIMIT $4
    ), locked AS (
        SELECT w.process_id FROM gateway_inbox.work w JOIN late l ON l.id = w.id
        WHERE w.state = 2 AND w.due_at < ",
    now!(),
    " - $3 FOR UPDATE OF w SKIP LOCKED
    ), taken AS (
        UPDATE gateway_inbox.work w SET holder = $2, due_at = ",
    now!(),
    " FROM locked l WHERE w.state = 2 AND w.process_id = l.process_id RETURNING 1
    )
    SELECT ",
    forgettable!(),
    " FROM taken"
);

const SUBMITTED: &str = "
    SELECT w.process_id, count(*), min(e.received_at) FILTER (WHERE w.code IS DISTINCT FROM 'awaits_bee'), min(w.due_at) AS poll
    FROM gateway_inbox.work w JOIN gateway_inbox.entries e ON e.id = w.id
    WHERE w.state = 2 AND w.holder = $1 GROUP BY w.process_id ORDER BY poll LIMIT $2";

const ENTRIES_OF: &str = "
    SELECT w.id, e.event_id, e.event_type, w.attempts, e.received_at, e.traceparent
    FROM gateway_inbox.work w JOIN gateway_inbox.entries e ON e.id = w.id
    WHERE w.state = 2 AND w.process_id = $1 ORDER BY w.id";

impl Core {
    pub(in crate::inbox) async fn conclude(
        &self,
        conclusions: &[(Lease, Conclusion)],
    ) -> Result<Vec<Concluded>, InboxError> {
        let told = conclusions.iter().map(|(lease, conclusion)| (lease.entry.0, lease.token, conclusion)).collect();
        self.conclude_held(Holder::Leases, told).await
    }

    pub(in crate::inbox) async fn conclude_submitted(
        &self,
        process: &ProcessId,
        conclusions: &[(EntryId, Conclusion)],
    ) -> Result<Vec<Concluded>, InboxError> {
        let told = conclusions.iter().map(|(entry, conclusion)| (entry.0, 0, conclusion)).collect();
        self.conclude_held(Holder::Process(process.as_str()), told).await
    }

    async fn conclude_held(
        &self,
        holder: Holder<'_>,
        told: Vec<(i64, i64, &Conclusion)>,
    ) -> Result<Vec<Concluded>, InboxError> {
        let survives = told.iter().any(|(_, _, conclusion)| must_survive(conclusion));
        let (mut ends, mut waits) = (Vec::new(), Vec::new());
        for (id, token, conclusion) in &told {
            match next(conclusion) {
                Next::End(end) => ends.push((*id, *token, end)),
                Next::Wait(wait) => waits.push((*id, *token, wait)),
            }
        }
        let mut done: HashSet<i64> = HashSet::with_capacity(told.len());
        if !ends.is_empty() {
            done.extend(self.end(holder, &ends, survives).await?);
        }
        if !waits.is_empty() {
            done.extend(self.wait(holder, &waits, survives).await?);
            self.look_again();
        }
        self.note_steps(&told, &done).await;
        let concluded = |(id, _, _): &(i64, i64, &Conclusion)| {
            if done.contains(id) { Concluded::Done } else { Concluded::LeaseLost }
        };
        Ok(told.iter().map(concluded).collect())
    }

    async fn end(
        &self,
        holder: Holder<'_>,
        ends: &[(i64, i64, End<'_>)],
        survives: bool,
    ) -> Result<Vec<i64>, InboxError> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = ends.iter().map(|(id, token, _)| (*id, *token)).unzip();
        let states: Vec<i16> = ends.iter().map(|(_, _, end)| state(end.state)).collect();
        let codes: Vec<&str> = ends.iter().map(|(_, _, end)| end.code).collect();
        let reasons: Vec<Option<Cow<'_, str>>> = ends.iter().map(|(_, _, end)| end.reason.map(text)).collect();
        let statement = if survives { end!(durable!()) } else { end!(forgettable!()) };
        let parameters: [Parameter<'_>; 7] = [
            (&self.time(), Type::INT8),
            (&ids, BIGINTS),
            (&tokens, BIGINTS),
            (&process(holder), Type::TEXT),
            (&states, Type::INT2_ARRAY),
            (&codes, TEXTS),
            (&reasons, TEXTS),
        ];
        let answer = self.links.run(statement, &parameters).await?;
        Ok(answer.rows.iter().map(|row| row.get(0)).collect())
    }

    async fn wait(
        &self,
        holder: Holder<'_>,
        waits: &[(i64, i64, Wait<'_>)],
        survives: bool,
    ) -> Result<Vec<i64>, InboxError> {
        let (ids, tokens): (Vec<i64>, Vec<i64>) = waits.iter().map(|(id, token, _)| (*id, *token)).unzip();
        let states: Vec<i16> = waits.iter().map(|(_, _, wait)| state(wait.state)).collect();
        let afters: Vec<i64> = waits.iter().map(|(_, _, wait)| millis(wait.after)).collect();
        let attempts: Vec<i32> = waits.iter().map(|(_, _, wait)| wait.attempts).collect();
        let crashes: Vec<i32> = waits.iter().map(|(_, _, wait)| wait.crashes).collect();
        let codes: Vec<Option<&str>> = waits.iter().map(|(_, _, wait)| wait.code).collect();
        let reasons: Vec<Option<Cow<'_, str>>> = waits.iter().map(|(_, _, wait)| wait.reason.map(text)).collect();
        let processes: Vec<Option<&str>> = waits.iter().map(|(_, _, wait)| wait.process).collect();
        let statement = if survives { wait!(durable!()) } else { wait!(forgettable!()) };
        let parameters: [Parameter<'_>; 12] = [
            (&self.time(), Type::INT8),
            (&ids, BIGINTS),
            (&tokens, BIGINTS),
            (&process(holder), Type::TEXT),
            (&states, Type::INT2_ARRAY),
            (&afters, BIGINTS),
            (&attempts, Type::INT4_ARRAY),
            (&crashes, Type::INT4_ARRAY),
            (&codes, TEXTS),
            (&reasons, TEXTS),
            (&processes, TEXTS),
            (&self.run, Type::INT8),
        ];
        let answer = self.links.run(statement, &parameters).await?;
        Ok(answer.rows.iter().map(|row| row.get(0)).collect())
    }

    pub(in crate::inbox) async fn submitted(&self, limit: u32) -> Result<Vec<SubmittedProcess>, InboxError> {
        let take_over: [Parameter<'_>; 4] = [
            (&self.time(), Type::INT8),
            (&self.run, Type::INT8),
            (&millis(TAKE_OVER), Type::INT8),
            (&TAKE_OVER_MAX, Type::INT8),
        ];
        self.links.run(TAKE_OVER_PROCESSES, &take_over).await?;
        let rows = self.links.run(SUBMITTED, &[(&self.run, Type::INT8), (&i64::from(limit), Type::INT8)]).await?.rows;
        let process = |row: &tokio_postgres::Row| SubmittedProcess {
            process: ProcessId::new(row.get::<_, Option<String>>(0).unwrap_or_default()),
            entries: u64::try_from(row.get::<_, i64>(1)).unwrap_or(0),
            oldest: row.get::<_, Option<i64>>(2).map(|at| self.here(at)),
            poll: self.here(row.get(3)),
        };
        Ok(rows.iter().map(process).collect())
    }

    pub(in crate::inbox) async fn entries_of(&self, process: &ProcessId) -> Result<Vec<SubmittedEntry>, InboxError> {
        let rows = self.links.run(ENTRIES_OF, &[(&process.as_str(), Type::TEXT)]).await?.rows;
        let entry = |row: &tokio_postgres::Row| SubmittedEntry {
            entry: EntryId(row.get(0)),
            event_id: EventId::new(row.get::<_, String>(1)),
            event_type: row.get(2),
            attempts: u32::try_from(row.get::<_, i32>(3)).unwrap_or(0),
            received: self.here(row.get(4)),
            trace: row.get::<_, Option<&str>>(5).and_then(TraceContext::parse),
        };
        Ok(rows.iter().map(entry).collect())
    }

    pub(in crate::inbox) async fn postpone(&self, polls: &[(ProcessId, Duration)]) -> Result<(), InboxError> {
        let processes: Vec<&str> = polls.iter().map(|(process, _)| process.as_str()).collect();
        let afters: Vec<i64> = polls.iter().map(|(_, after)| millis(*after)).collect();
        self.links.run(POSTPONE, &[(&self.time(), Type::INT8), (&processes, TEXTS), (&afters, BIGINTS)]).await?;
        Ok(())
    }
}

fn process(holder: Holder<'_>) -> Option<&str> {
    match holder {
        Holder::Leases => None,
        Holder::Process(process) => Some(process),
    }
}

fn state(state: StateName) -> i16 {
    i16::try_from(state.number()).unwrap_or(0)
}
