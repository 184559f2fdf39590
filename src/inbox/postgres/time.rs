//! Follows the database's clock by its answers, and moves times back when that clock goes back.
//!
//! Waits and leases are times of the database's clock. If that clock is set back, or if a standby with a slower clock takes over, all of
//! them get longer by the difference: after an hour back, a retry that was due now waits for another hour. A gateway that notices
//! this moves the times back too. Several gateways may do so at once: this makes no entry due before now, and no lease shorter than a
//! new one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::fault::Fault;
use super::schema::{forgettable, now};
use super::{Core, Time, millis};
use crate::domain::clock::Timestamp;
use crate::postgres::Parameter;

/// How far the clock may go back, in milliseconds, before the times are moved. A shorter difference is just waited for.
const BACK_MIN: i64 = 2000;

/// Most entries that one statement looks at.
const PAGE: i64 = 5000;

/// Parameters: `$2` how far the clock went back, `$3` duration of a lease, `$4` the last entry of the previous page, `$5` entries in a
/// page.
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

/// The time at which the newest entry was received.
const NEWEST: &str = "SELECT received_at FROM gateway_inbox.entries ORDER BY id DESC LIMIT 1";

/// What this gateway knows of the database's clock.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// How far this machine's clock is ahead of the database's, in milliseconds.
    ahead: AtomicI64,
    /// The latest answer, and when it came.
    last: Mutex<Option<(Instant, i64)>>,
    /// The answer to the first question about the time alone, before the first lease.
    first: OnceLock<(Instant, i64)>,
}

/// The earliest time that the database's clock should show.
enum Least {
    At(i64),
    /// The question was asked before the latest answer came.
    Unsure,
    /// There was no answer yet.
    Unknown,
}

impl Clocks {
    /// How far this machine's clock is ahead of the database's, in milliseconds.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// The database's time, as its last answer and the time since then tell it. This machine's clock may be wrong, and jump.
    fn database(&self) -> Option<Timestamp> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, told) = last.or_else(|| self.first.get().copied())?;
        Some(Timestamp::from_millis(told.saturating_add(millis(since.elapsed()))))
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
    /// Notes the database's time from the answer to a question that was asked at `asked`. If the clock went back, moves waits and leases
    /// back too. `lease` is the duration of a lease. Returns whether the clock went back.
    pub(super) async fn follow_clock(&self, database: i64, asked: Instant, lease: Duration) -> Result<bool, Fault> {
        self.clocks.ahead.store(self.clock.now().millis().saturating_sub(database), Ordering::Relaxed);
        let least = match self.clocks.least(asked, self.time) {
            Least::At(least) => least,
            Least::Unsure => return Ok(false),
            // The clock may have gone back while this gateway did not run.
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
                "inbox: the database's clock went back, so the times that entries wait for were moved back too"
            );
        }
        // Only now: if moving them fails, the next answer shows the jump again.
        *self.clocks.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), database));
        Ok(back > BACK_MIN)
    }

    /// The time from which numbers of new entries are made: the database's, so that the entries of all gateways are in the order
    /// in which they came, whatever a machine's clock shows. Asks for it once, before the first lease tells it.
    pub(super) async fn time_for_numbers(&self) -> Result<Timestamp, Fault> {
        if self.time == Time::Clock {
            return Ok(self.clock.now());
        }
        if let Some(time) = self.clocks.database() {
            return Ok(time);
        }
        let question = concat!("SELECT ", now!());
        let rows = self.links.run(question, &[(&self.time(), Type::INT8)]).await?.rows;
        let told = rows.first().map_or_else(|| self.clock.now().millis(), |row| row.get(0));
        let (since, told) = *self.clocks.first.get_or_init(|| (Instant::now(), told));
        Ok(Timestamp::from_millis(told.saturating_add(millis(since.elapsed()))))
    }

    /// Moves waits and leases back. Returns the number of entries that it changed.
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
                self.look_again();
                return Ok(entries);
            };
            after = last;
            entries += moved;
        }
    }
}
