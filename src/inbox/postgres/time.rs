//! What time it is in the database, as its answers tell, and what is done when that goes back.
//!
//! Waits and leases are times of the database's clock. Where that is set back, or where a standby takes over whose clock is behind, all of
//! them would be longer by as much: an entry would wait for an hour that was received an hour ahead. A gateway that notices moves them
//! back too. Several gateways may do so at once: nothing is due earlier than now for it, and no lease is shorter than a new one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::schema::{forgettable, now};
use super::{Core, Time, millis};
use crate::postgres::Parameter;

/// How far a clock may go back before anything is done about it: a shorter time is waited for.
const BACK_MIN: i64 = 2000;

/// Entries that one statement looks at.
const PAGE: i64 = 5000;

/// `$2` how far the clock went back, `$3` duration of a lease, `$4` the last entry that was looked at, `$5` how many are.
const MOVE_BACK: &str = concat!(
    "WITH t AS (SELECT ",
    now!(),
    " AS now), page AS MATERIALIZED (
        SELECT w.id FROM gateway_inbox.work w WHERE w.id > $4 ORDER BY w.id LIMIT $5
    ), moved AS (
        UPDATE gateway_inbox.work w
        SET due_at = CASE WHEN w.state = 1 THEN t.now + $3 ELSE greatest(t.now, w.due_at - $2) END
        FROM t, page p WHERE w.id = p.id AND w.due_at > t.now + CASE WHEN w.state = 1 THEN $3 ELSE 0 END RETURNING 1)
    SELECT (SELECT max(id) FROM page), (SELECT count(*) FROM moved), ",
    forgettable!()
);

/// When the newest entry was received.
const NEWEST: &str = "SELECT received_at FROM gateway_inbox.entries ORDER BY id DESC LIMIT 1";

/// The database's clock, as far as it is known here.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// How far this machine's clock is before the database's, in milliseconds.
    ahead: AtomicI64,
    /// The latest answer, and when it came.
    last: Mutex<Option<(Instant, i64)>>,
}

/// What time it should be in the database at least.
enum Least {
    At(i64),
    /// It was asked before the latest answer came.
    Unsure,
    /// There was no answer yet.
    Unknown,
}

impl Clocks {
    /// How far this machine's clock is before the database's, in milliseconds.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    fn least(&self, asked: Instant, time: Time) -> Least {
        match *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Least::Unknown,
            Some((since, _)) if asked < since => Least::Unsure,
            Some((since, told)) if time == Time::Database => Least::At(told.saturating_add(millis(asked - since))),
            Some((_, told)) => Least::At(told),
        }
    }
}

impl Core {
    /// Takes note of what time it is in the database, by an answer to what was asked at `asked`, and has nothing wait longer where its
    /// clock went back. `lease` is the duration of one. Tells whether it went back.
    pub(super) async fn follow_clock(&self, database: i64, asked: Instant, lease: Duration) -> Result<bool, Fault> {
        self.clocks.ahead.store(self.clock.now().millis().saturating_sub(database), Ordering::Relaxed);
        let least = match self.clocks.least(asked, self.time) {
            Least::At(least) => least,
            Least::Unsure => return Ok(false),
            // It may have gone back while this gateway did not run.
            Least::Unknown => {
                let rows = self.links.run(NEWEST, &[]).await?.rows;
                rows.first().map_or(database, |row| row.get(0))
            }
        };
        let back = least.saturating_sub(database);
        if back > BACK_MIN {
            let entries = self.move_back(back, lease).await?;
            let seconds = back / 1000;
            tracing::warn!(
                seconds,
                entries,
                "inbox: the clock of the database went back, and so does what waits for a time"
            );
        }
        // Not before: what was not done is found out again.
        *self.clocks.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), database));
        Ok(back > BACK_MIN)
    }

    /// How many entries were moved.
    async fn move_back(&self, back: i64, lease: Duration) -> Result<i64, Fault> {
        let (time, lease) = (self.time(), millis(lease));
        let (mut after, mut entries) = (i64::MIN, 0);
        loop {
            let parameters: [Parameter<'_>; 5] = [
                (&time, Type::INT8),
                (&back, Type::INT8),
                (&lease, Type::INT8),
                (&after, Type::INT8),
                (&PAGE, Type::INT8),
            ];
            let rows = self.links.run(MOVE_BACK, &parameters).await?.rows;
            let Some((Some(last), moved)) =
                rows.first().map(|row| (row.get::<_, Option<i64>>(0), row.get::<_, i64>(1)))
            else {
                self.mark.forget();
                return Ok(entries);
            };
            after = last;
            entries += moved;
        }
    }
}
