//! The statements that lease what is due, and the mark from which they look.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::lease::{CRASHES_ALONE, CRASHES_MAX};
use super::schema::{began, forgettable};

/// How long leases look only above the mark below which nothing was due.
const MARK_FOR: Duration = Duration::from_secs(2);

/// The crashes of an entry, with that of the holder whose lease has ended.
macro_rules! crashes {
    () => {
        "w.crashes + CASE WHEN w.state = 1 AND NOT (w.code IS NOT DISTINCT FROM 'awaits_answer' AND w.crashes >= 2)
                     THEN 1 ELSE 0 END"
    };
}

/// Locks what is due from the mark `$6` on, `$2` entries at most. The end of the statement unlocks what was not taken.
macro_rules! due {
    () => {
        concat!(
            "WITH due AS MATERIALIZED (
                SELECT w.id, w.size, w.due_at, w.state, ",
            crashes!(),
            " AS crashes
                FROM gateway_inbox.work w
                WHERE w.state IN (0, 1) AND w.due_at <= ",
            began!(),
            " AND w.due_at >= $6
                ORDER BY w.due_at LIMIT $2 FOR UPDATE OF w SKIP LOCKED)"
        )
    };
}

/// Gives the chosen entries the token `$4` for `$5`. The rows are found by [`super::schema`]'s rule for ids.
macro_rules! taken {
    ($chosen:literal) => {
        concat!(
            "taken AS (
                UPDATE gateway_inbox.work w SET state = 1, token = $4, due_at = ",
            began!(),
            " + $5, crashes = ",
            crashes!(),
            ", code = nullif(w.code, 'awaits_answer')
                WHERE w.id = ANY (ARRAY(",
            $chosen,
            "))
                RETURNING w.id, w.attempts, w.crashes, w.code, w.released_at, w.replayed_at)"
        )
    };
}

/// The columns from which an entry of a lease is read, and what follows them.
macro_rules! leased {
    () => {
        "k.id, e.endpoint, e.event_id, e.event_type, k.attempts, k.crashes, k.code, e.received_at, k.released_at,
        k.replayed_at, e.traceparent, e.body, e.bytes, d.due_at, d.state = 1, "
    };
}

/// Takes all that is due, unless entries are among it that a lease may not hold together: those that killed their gateway,
/// or more than `$3` bytes. Then the rows have no id. One row at least tells the time, and when the next entry is due within `$7`
/// unless there are `$2` rows.
pub(super) const LEASE_ALL: &str = concat!(
    due!(),
    ", ",
    taken!("SELECT id FROM due WHERE (SELECT max(crashes) < 2 AND sum(size) <= $3 FROM due)"),
    " SELECT ",
    leased!(),
    forgettable!(),
    ", look.now, look.next_due
    FROM (SELECT ",
    began!(),
    " AS now, CASE WHEN (SELECT count(*) FROM due) < $2 THEN (
            SELECT min(due_at) FROM gateway_inbox.work WHERE state IN (0, 1) AND due_at > ",
    began!(),
    " AND due_at <= ",
    began!(),
    " + $7) END AS next_due) AS look
    LEFT JOIN due d ON true LEFT JOIN taken k ON k.id = d.id LEFT JOIN gateway_inbox.entries e ON e.id = k.id"
);

/// Takes what a lease may hold: `$3` bytes at most, and an entry that killed its gateway alone.
pub(super) const LEASE: &str = concat!(
    due!(),
    ", able AS (
        SELECT id, crashes, row_number() OVER (ORDER BY due_at, id) AS place,
            sum(size) OVER (PARTITION BY crashes >= 2 ORDER BY due_at, id) AS bytes
        FROM due WHERE crashes < 8
    ), chosen AS (
        SELECT id FROM able
        WHERE CASE WHEN (SELECT crashes >= 2 FROM able WHERE place = 1) THEN place = 1
                   ELSE crashes < 2 AND (place = 1 OR bytes <= $3) END
        UNION ALL SELECT id FROM due WHERE crashes >= 8
    ), ",
    taken!("SELECT id FROM chosen"),
    " SELECT ",
    leased!(),
    forgettable!(),
    " FROM taken k JOIN gateway_inbox.entries e ON e.id = k.id JOIN due d ON d.id = k.id"
);

const _: () = assert!(CRASHES_ALONE == 2 && CRASHES_MAX == 8);

/// Below this due time, the last look found nothing due.
///
/// An open snapshot (of a dump or a report) keeps the rows of entries settled since, and each lease would walk over all of
/// them. An entry that becomes due below the mark in the meantime, such as one whose commit took long, is found by the next
/// look without the mark.
#[derive(Debug, Default)]
pub(super) struct Mark(Mutex<Option<(Instant, i64)>>);

impl Mark {
    pub(super) fn low(&self) -> i64 {
        let mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mark.filter(|(since, _)| since.elapsed() < MARK_FOR).map_or(i64::MIN, |(_, mark)| mark)
    }

    pub(super) fn looked(&self, from: i64, first: Option<i64>) {
        let mut mark = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (from == i64::MIN, first) {
            (true, Some(first)) => *mark = Some((Instant::now(), first)),
            (false, Some(first)) => {
                if let Some((_, mark)) = mark.as_mut() {
                    *mark = first;
                }
            }
            (_, None) => *mark = None,
        }
    }

    /// Makes the next lease look everywhere.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
