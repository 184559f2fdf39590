//! The index of references of an inbox in PostgreSQL: a table that any gateway fills, behind a mark that all share.
//!
//! Guarantees: an inbox of before has the table made with the first step, and a role that may not make it searches without;
//! two gateways that take the same step do no harm, and entries that are carried in behind what it covers have it go back there.
//! Gateways make numbers before they store entries, so that one whose commit took long appears before others: the index waits a
//! minute for it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::super::body::Unpacker;
use super::super::error::InboxError;
use super::super::reference::{END_WAIT, INDEX_STEP_MAX, IndexStep, Reference, WINDOW_CANDIDATES, references};
use super::super::search::{Direction, Part, Window};
use super::super::selection::Selection;
use super::fault::Fault;
use super::schema::now;
use super::{BIGINTS, Core, millis, number_of};
use crate::domain::ids::EntryId;
use crate::postgres::Parameter;

/// A span has 2 to this power numbers, which are those of 18 hours.
const SPAN_BITS: i64 = 38;

/// How long the index waits for entries with lower numbers.
const STRAGGLERS: Duration = Duration::from_mins(1);

/// Bodies read in one go.
const READ_AT_ONCE: usize = 250;

const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS gateway_inbox.refs (
        span  integer NOT NULL,
        ref   bigint NOT NULL,
        entry bigint NOT NULL,
        PRIMARY KEY (span, ref, entry)
    );";

/// The mark with the last entry that the index covers.
const COVERED: &str = "refs.covered";

/// The mark that counts pages of entries carried in. An index step during which one arrived takes nothing.
const CARRIED: &str = "refs.carried";

/// Both marks, if there is a table.
const ASK_COVERED: &str = "
    SELECT coalesce((SELECT value FROM gateway_inbox.marks WHERE name = $1), 0),
        (SELECT value FROM gateway_inbox.marks WHERE name = $2)
    WHERE to_regclass('gateway_inbox.refs') IS NOT NULL";

/// Creates the counter if it is missing, so that it can be locked. Waits for a page that is being carried in.
const COUNT: &str = "INSERT INTO gateway_inbox.marks (name, value) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING";

const WAITING: &str = "SELECT count(*) FROM (SELECT 1 FROM gateway_inbox.entries WHERE id > $1 LIMIT $2) AS w";

/// The next `$3` entries after `$2`, and whether each may be taken in: it is at its end or has waited `$5`, and is older
/// than `$4`.
const NEXT: &str = concat!(
    "SELECT e.id, coalesce(w.process_id, d.process_id), e.body, e.bytes,
        e.received_at <= t.now - $4 AND (d.id IS NOT NULL OR e.received_at <= t.now - $5)
    FROM (SELECT ",
    now!(),
    " AS now) t CROSS JOIN gateway_inbox.entries e
    LEFT JOIN gateway_inbox.work w ON w.id = e.id LEFT JOIN gateway_inbox.ended d ON d.id = e.id
    WHERE e.id > $2 ORDER BY e.id LIMIT $3"
);

/// Takes a step, unless a page was carried in since the count was `$7`. Carrying in a page changes the count in the same
/// statement.
const TAKE: &str = "
    WITH same AS (
        SELECT 1 AS one FROM gateway_inbox.marks WHERE name = $6 AND value = $7 FOR UPDATE
    ), kept AS (
        INSERT INTO gateway_inbox.refs (span, ref, entry)
        SELECT r.span::integer, r.ref, r.entry FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS r (span, ref, entry)
        WHERE EXISTS (SELECT 1 FROM same)
        ON CONFLICT (span, ref, entry) DO NOTHING RETURNING 1)
    INSERT INTO gateway_inbox.marks (name, value) SELECT $4, $5::bigint FROM same
    ON CONFLICT (name) DO UPDATE SET value = greatest(gateway_inbox.marks.value, excluded.value)
    RETURNING 1";

const SPANS: &str = "SELECT coalesce(min(span), 0)::bigint, coalesce(max(span), -1)::bigint FROM gateway_inbox.refs";

/// Spans that hold no entry any more.
const EMPTY: &str = "
    DELETE FROM gateway_inbox.refs r WHERE r.span = $1::bigint
        AND NOT EXISTS (SELECT 1 FROM gateway_inbox.entries e WHERE e.id >= $1 << 38 AND e.id < ($1 + 1) << 38)";

const FORGET: &str = "
    DELETE FROM gateway_inbox.refs WHERE span = $1::bigint AND ref = ANY ($2)";

const AGAIN: &str = "
    INSERT INTO gateway_inbox.refs (span, ref, entry)
    SELECT $1::bigint::integer, r.ref, $2 FROM unnest($3::bigint[]) AS r (ref) ON CONFLICT (span, ref, entry) DO NOTHING";

impl Core {
    /// The last entry that the index covers; `None` without an index.
    async fn covered(&self) -> Result<Option<i64>, InboxError> {
        Ok(self.standing().await?.map(|(covered, _)| covered))
    }

    /// The last entry that the index covers, and how many pages were carried in, if they are counted.
    async fn standing(&self) -> Result<Option<(i64, Option<i64>)>, InboxError> {
        let rows = self.links.run(ASK_COVERED, &[(&COVERED, Type::TEXT), (&CARRIED, Type::TEXT)]).await?.rows;
        Ok(rows.first().map(|row| (row.get(0), row.get(1))))
    }

    /// Looks at the next entries of a selection that the index may lead to.
    pub(in crate::inbox) async fn window(
        &self,
        selection: &Selection,
        direction: Direction,
        after: Option<EntryId>,
        limit: usize,
    ) -> Result<Window, InboxError> {
        let Some(leads) = selection.leads() else {
            return self.plain(selection, direction, (after, None), limit).await;
        };
        let Some(covered) = self.covered().await? else {
            return self.plain(selection, direction, (after, None), limit).await;
        };
        match Part::next(direction, after.map(|after| after.0), covered) {
            Part::Rest => {
                let floor = (direction == Direction::Newest).then_some(covered);
                let Window { found, last } = self.plain(selection, direction, (after, floor), limit).await?;
                // The part that the index covers comes next.
                Ok(Window { found, last: last.or(floor.map(|covered| covered + 1)) })
            }
            Part::Indexed => {
                let ids = self.led_to(&leads, direction, after, covered).await?;
                let is_last = ids.len() < WINDOW_CANDIDATES;
                let Window { found, last } = self.among(selection, direction, &ids, limit).await?;
                let rest = (direction == Direction::Oldest).then_some(covered);
                Ok(Window { found, last: if last.is_none() && is_last { rest } else { last } })
            }
        }
    }

    async fn led_to(
        &self,
        leads: &[Reference],
        direction: Direction,
        after: Option<EntryId>,
        covered: i64,
    ) -> Result<Vec<i64>, InboxError> {
        let leads: Vec<i64> = leads.iter().map(|Reference(number)| *number).collect();
        let (compare, order) = if direction == Direction::Newest { ("<", "DESC") } else { (">", "ASC") };
        let start = after.map_or(if direction == Direction::Newest { i64::MAX } else { -1 }, |after| after.0);
        // One span after the other, each by its index: for all of them at once a database would read the whole index.
        let statement = format!(
            "SELECT DISTINCT f.entry
             FROM (SELECT coalesce(min(span), 0) AS first, coalesce(max(span), -1) AS last FROM gateway_inbox.refs) AS b
             CROSS JOIN LATERAL generate_series(b.first, b.last) AS s (span)
             CROSS JOIN LATERAL unnest($1::bigint[]) AS l (ref)
             CROSS JOIN LATERAL (
                 SELECT r.entry FROM gateway_inbox.refs r
                 WHERE r.span = s.span AND r.ref = l.ref AND r.entry {compare} $2 AND r.entry <= $3
                 ORDER BY r.entry {order} LIMIT $4) AS f
             ORDER BY f.entry {order} LIMIT $4"
        );
        let most = number_of(WINDOW_CANDIDATES);
        let parameters: [Parameter<'_>; 4] =
            [(&leads, BIGINTS), (&start, Type::INT8), (&covered, Type::INT8), (&most, Type::INT8)];
        Ok(self.links.run(&statement, &parameters).await?.rows.iter().map(|row| row.get(0)).collect())
    }

    pub(in crate::inbox) async fn index_step(&self, least: usize) -> Result<IndexStep, InboxError> {
        let (from, carried) = match self.standing().await? {
            Some((from, Some(carried))) => (from, carried),
            Some((_, None)) => {
                self.links.run(COUNT, &[(&CARRIED, Type::TEXT)]).await?;
                return Ok(IndexStep { entries: 0, more: true });
            }
            None => {
                self.links.run_all(CREATE).await?;
                return Ok(IndexStep { entries: 0, more: true });
            }
        };
        let most = number_of(INDEX_STEP_MAX);
        let rows = self.links.run(WAITING, &[(&from, Type::INT8), (&most, Type::INT8)]).await?.rows;
        let waiting: i64 = rows.first().map_or(0, |row| row.get(0));
        if waiting < number_of(least.max(1)) {
            return Ok(IndexStep::default());
        }
        let (mut spans, mut refs, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        let (mut last, mut taken, mut is_last) = (from, 0, false);
        while !is_last && taken < INDEX_STEP_MAX {
            let rows = self.next(last).await?;
            is_last = rows.len() < READ_AT_ONCE;
            let mut unpacker = Unpacker::default();
            for row in &rows {
                if !row.get::<_, bool>(4) {
                    is_last = true;
                    break;
                }
                let (entry, process, stored): (i64, Option<&str>, Option<&[u8]>) = (row.get(0), row.get(1), row.get(2));
                let body = stored.map(|stored| unpacker.unpack(entry, stored, row.get(3)));
                for Reference(number) in references(process, body.as_deref()) {
                    spans.push(entry >> SPAN_BITS);
                    refs.push(number);
                    entries.push(entry);
                }
                (last, taken) = (entry, taken + 1);
            }
        }
        if taken > 0 {
            let parameters: [Parameter<'_>; 7] = [
                (&spans, BIGINTS),
                (&refs, BIGINTS),
                (&entries, BIGINTS),
                (&COVERED, Type::TEXT),
                (&last, Type::INT8),
                (&CARRIED, Type::TEXT),
                (&carried, Type::INT8),
            ];
            let answer = self.links.run(TAKE, &parameters).await?;
            if answer.rows.is_empty() {
                // Entries carried in since may come before the entries that were read.
                return Ok(IndexStep { entries: 0, more: true });
            }
        }
        Ok(IndexStep { entries: taken, more: !is_last })
    }

    async fn next(&self, after: i64) -> Result<Vec<tokio_postgres::Row>, Fault> {
        let parameters: [Parameter<'_>; 5] = [
            (&self.time(), Type::INT8),
            (&after, Type::INT8),
            (&number_of(READ_AT_ONCE), Type::INT8),
            (&millis(STRAGGLERS), Type::INT8),
            (&millis(END_WAIT), Type::INT8),
        ];
        Ok(self.links.run(NEXT, &parameters).await?.rows)
    }

    /// Adds what leads to an entry with a new body, if the index has already passed it.
    pub(in crate::inbox) async fn index_again(&self, entry: i64, found: BTreeSet<Reference>) -> Result<(), InboxError> {
        if self.covered().await?.is_some_and(|covered| covered >= entry) {
            let (span, found) =
                (entry >> SPAN_BITS, found.iter().map(|Reference(number)| *number).collect::<Vec<i64>>());
            let parameters: [Parameter<'_>; 3] = [(&span, Type::INT8), (&entry, Type::INT8), (&found, BIGINTS)];
            self.links.run(AGAIN, &parameters).await?;
        }
        Ok(())
    }

    pub(in crate::inbox) async fn forget_references(&self, gone: Vec<Reference>) -> Result<(), InboxError> {
        if self.covered().await?.is_none() {
            return Ok(());
        }
        let rows = self.links.run(SPANS, &[]).await?.rows;
        let (first, last): (i64, i64) = rows.first().map_or((0, -1), |row| (row.get(0), row.get(1)));
        for span in first..=last {
            self.links.run(EMPTY, &[(&span, Type::INT8)]).await?;
        }
        let gone: Vec<i64> = gone.iter().map(|Reference(number)| *number).collect();
        if !gone.is_empty() {
            for span in first..=last {
                self.links.run(FORGET, &[(&span, Type::INT8), (&gone, BIGINTS)]).await?;
            }
        }
        Ok(())
    }
}
