//! What is removed: bodies and entries whose time is over, and bodies that lead to an erased person.

use std::sync::{Mutex, PoisonError};

use tokio_postgres::types::Type;

use super::super::body::Unpacker;
use super::super::erase::{ERASE_BODIES_MAX, ERASE_BYTES_MAX, ERASED, EraseStep, Unsettled};
use super::super::error::InboxError;
use super::super::retention::{Retention, SWEEP_ROWS_MAX, Swept};
use super::super::state::StateName;
use super::schema::now;
use super::{BIGINTS, Core, millis, number_of};
use crate::postgres::Parameter;

/// Removes bodies of entries that came to one of the states `$3` at least `$2` ago, at most `$4`.
const BODIES: &str = concat!(
    "WITH old AS (
        SELECT id FROM gateway_inbox.ended
        WHERE has_body AND state = ANY ($3) AND ended_at <= ",
    now!(),
    " - $2 ORDER BY ended_at LIMIT $4 FOR UPDATE SKIP LOCKED
    ), noted AS (UPDATE gateway_inbox.ended d SET has_body = false FROM old o WHERE d.id = o.id),
    emptied AS (
        UPDATE gateway_inbox.entries e SET body = NULL, bytes = NULL FROM old o
        WHERE e.id = o.id AND e.body IS NOT NULL RETURNING 1)
    SELECT (SELECT count(*) FROM emptied), (SELECT count(*) FROM old)"
);

/// The next `$2` entries after `$1`, with their ends.
const OLD: &str = "
    SELECT e.id, e.received_at, d.state, d.ended_at,
        EXISTS (SELECT 1 FROM gateway_inbox.orders o WHERE o.entry = e.id AND o.untold)
    FROM gateway_inbox.entries e LEFT JOIN gateway_inbox.ended d ON d.id = e.id
    WHERE e.id > $1 ORDER BY e.id LIMIT $2";

/// Removes entries that are still settled.
const FORGET: &str = "
    WITH gone AS (DELETE FROM gateway_inbox.ended WHERE id = ANY ($1) AND state = 3 RETURNING id),
    orders AS (DELETE FROM gateway_inbox.orders o USING gone g WHERE o.entry = g.id),
    entries AS (DELETE FROM gateway_inbox.entries e USING gone g WHERE e.id = g.id)
    SELECT count(*) FROM gone";

const NOW: &str = concat!("SELECT ", now!());

const LOOK: &str = "
    SELECT e.id, coalesce(w.state, d.state, 0::smallint), e.event_id, e.event_type, e.body, e.bytes
    FROM gateway_inbox.entries e
    LEFT JOIN gateway_inbox.work w ON w.id = e.id LEFT JOIN gateway_inbox.ended d ON d.id = e.id
    WHERE e.id > $1 AND e.body IS NOT NULL ORDER BY e.id LIMIT $2";

/// Empties entries `$2`, and notes it under the numbers `$3` as an order `$4`. If another gateway was quicker to use a
/// number, the note is lost, but not the erasure.
const ERASE: &str = concat!(
    "WITH t AS (SELECT ",
    now!(),
    " AS now), given AS (SELECT * FROM unnest($2, $3) AS g (id, number)),
    settled AS (
        UPDATE gateway_inbox.ended d SET has_body = false FROM given g WHERE d.id = g.id AND d.state = 3
        RETURNING d.id, d.code, g.number),
    emptied AS (
        UPDATE gateway_inbox.entries e SET body = NULL, bytes = NULL FROM settled s
        WHERE e.id = s.id AND e.body IS NOT NULL RETURNING e.id, s.code, s.number),
    noted AS (
        INSERT INTO gateway_inbox.orders (id, entry, action, at, was)
        SELECT m.number, m.id, $4, t.now, 'was settled' || coalesce(', ' || m.code, '') FROM emptied m, t
        ON CONFLICT (id) DO NOTHING)
    SELECT count(*) FROM emptied"
);

/// The place where the search for entries to remove continues.
#[derive(Debug, Default)]
pub(super) struct Cursor(Mutex<i64>);

impl Core {
    pub(in crate::inbox) async fn sweep(&self, retention: Retention) -> Result<Swept, InboxError> {
        let mut swept = Swept::default();
        let (removed, looked) = self.sweep_bodies(&[StateName::Settled], retention.bodies).await?;
        swept.bodies = removed;
        swept.more |= looked == SWEEP_ROWS_MAX;
        if let Some(keep) = retention.held_bodies {
            let (removed, looked) = self.sweep_bodies(&[StateName::Dead, StateName::Quarantined], keep).await?;
            swept.held_bodies = removed;
            swept.more |= looked == SWEEP_ROWS_MAX;
        }
        let now = self.links.run(NOW, &[(&self.time(), Type::INT8)]).await?.rows;
        let now: i64 = now.first().map_or(i64::MIN, |row| row.get(0));
        let cutoff = now.saturating_sub(millis(retention.entries));
        let after = *self.swept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = self.links.run(OLD, &[(&after, Type::INT8), (&number_of(SWEEP_ROWS_MAX), Type::INT8)]).await?.rows;
        let is_last = rows.len() < SWEEP_ROWS_MAX;
        let (mut old, mut next, mut is_over) = (Vec::new(), after, is_last);
        for row in &rows {
            let (id, received): (i64, i64) = (row.get(0), row.get(1));
            // Numbers grow with the time of receipt, except within seconds in which several gateways wrote.
            if received > cutoff {
                is_over = true;
                break;
            }
            next = id;
            let (state, ended): (Option<i16>, Option<i64>) = (row.get(2), row.get(3));
            let is_settled = state.map(i64::from) == Some(StateName::Settled.number());
            if is_settled && ended.is_some_and(|ended| ended <= cutoff) && !row.get::<_, bool>(4) {
                old.push(id);
            }
        }
        if !old.is_empty() {
            let rows = self.links.run(FORGET, &[(&old, BIGINTS)]).await?.rows;
            swept.entries = rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0));
        }
        *self.swept.0.lock().unwrap_or_else(PoisonError::into_inner) = if is_over { 0 } else { next };
        swept.more |= !is_over;
        Ok(swept)
    }

    async fn sweep_bodies(
        &self,
        states: &[StateName],
        keep: std::time::Duration,
    ) -> Result<(usize, usize), InboxError> {
        let states: Vec<i16> = states.iter().filter_map(|state| i16::try_from(state.number()).ok()).collect();
        let parameters: [Parameter<'_>; 4] = [
            (&self.time(), Type::INT8),
            (&millis(keep), Type::INT8),
            (&states, Type::INT2_ARRAY),
            (&number_of(SWEEP_ROWS_MAX), Type::INT8),
        ];
        let rows = self.links.run(BODIES, &parameters).await?.rows;
        let count =
            |column: usize| rows.first().map_or(0, |row| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0));
        Ok((count(0), count(1)))
    }

    pub(in crate::inbox) async fn erase_step(
        &self,
        leads: impl Fn(&[u8]) -> bool + Send + 'static,
        after: i64,
        dry_run: bool,
    ) -> Result<EraseStep, InboxError> {
        let rows =
            self.links.run(LOOK, &[(&after, Type::INT8), (&number_of(ERASE_BODIES_MAX), Type::INT8)]).await?.rows;
        let (mut step, mut settled) = (EraseStep::default(), Vec::new());
        let (mut bytes, mut unpacker) = (0, Unpacker::default());
        for row in &rows {
            if bytes >= ERASE_BYTES_MAX {
                break;
            }
            let (entry, number): (i64, i16) = (row.get(0), row.get(1));
            let body = unpacker.unpack(entry, row.get(4), row.get(5));
            bytes += body.len();
            step.last = Some(entry);
            if !leads(&body) {
                continue;
            }
            let state = StateName::ALL.into_iter().find(|state| state.number() == i64::from(number));
            if state == Some(StateName::Settled) {
                settled.push(entry);
            } else {
                let (event_id, event_type) = (row.get(2), row.get(3));
                step.unsettled.push(Unsettled {
                    entry,
                    event_id,
                    event_type,
                    state: state.unwrap_or(StateName::Waiting),
                });
            }
        }
        step.erased = settled.len() as u64;
        if !dry_run && !settled.is_empty() {
            let numbers = self.numbers.next(settled.len(), self.clock.now());
            let parameters: [Parameter<'_>; 4] =
                [(&self.time(), Type::INT8), (&settled, BIGINTS), (&numbers, BIGINTS), (&ERASED, Type::TEXT)];
            let rows = self.links.run(ERASE, &parameters).await?.rows;
            step.erased = rows.first().map_or(0, |row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0));
        }
        Ok(step)
    }
}
