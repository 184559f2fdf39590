//! Steps of entries, in the database.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::conclude::Conclusion;
use super::super::error::InboxError;
use super::super::steps::{PastStep, STEPS_KEPT, STEPS_MAX, STEPS_REMOVED_MAX, Step, StepKind};
use super::fault::Fault;
use super::schema::{forgettable, now};
use super::{BIGINTS, Core, TEXTS, millis, text};
use crate::domain::clock::Timestamp;
use crate::postgres::Parameter;

/// The table. Databases of earlier releases lack it until it is first needed.
pub(super) const CREATE: &str = "
CREATE TABLE IF NOT EXISTS gateway_inbox.steps (
    entry  bigint NOT NULL,
    number integer NOT NULL,
    at     bigint NOT NULL,
    last   bigint NOT NULL,
    times  bigint NOT NULL,
    kind   text NOT NULL,
    code   text,
    reason text NOT NULL,
    PRIMARY KEY (entry, number)
);
CREATE INDEX IF NOT EXISTS steps_last ON gateway_inbox.steps (last);";

/// `$1` the time of a test, `$2` to `$5` entries with kind, code and reason, `$6` most steps of an entry, `$7` how long
/// they are kept, `$8` how many are removed at once.
const NOTE: &str = concat!(
    "WITH moment AS (SELECT ",
    now!(),
    " AS at), given AS (SELECT * FROM unnest($2, $3, $4, $5) AS g (entry, kind, code, reason)),
    latest AS (
        SELECT DISTINCT ON (s.entry) s.entry, s.number, s.kind, s.code, s.reason
        FROM gateway_inbox.steps s JOIN given g ON g.entry = s.entry ORDER BY s.entry, s.number DESC
    ), again AS (
        UPDATE gateway_inbox.steps s SET times = s.times + 1, last = m.at FROM latest l, given g, moment m
        WHERE s.entry = l.entry AND s.number = l.number AND g.entry = l.entry AND g.kind = l.kind
          AND g.code IS NOT DISTINCT FROM l.code AND g.reason = l.reason RETURNING s.entry
    ), noted AS (
        INSERT INTO gateway_inbox.steps (entry, number, at, last, times, kind, code, reason)
        SELECT g.entry, coalesce(l.number + 1, 0), m.at, m.at, 1, g.kind, g.code, g.reason
        FROM given g CROSS JOIN moment m LEFT JOIN latest l ON l.entry = g.entry
        WHERE g.entry NOT IN (SELECT entry FROM again) AND coalesce(l.number + 1, 0) < $6
        ON CONFLICT (entry, number) DO NOTHING RETURNING 1
    ), removed AS (
        DELETE FROM gateway_inbox.steps WHERE (entry, number) IN (
            SELECT entry, number FROM gateway_inbox.steps WHERE last < (SELECT at FROM moment) - $7 ORDER BY last LIMIT $8)
        RETURNING 1
    )
    SELECT ",
    forgettable!(),
    ", (SELECT count(*) FROM noted), (SELECT count(*) FROM removed)"
);

const STEPS: &str =
    "SELECT at, last, times, kind, code, reason FROM gateway_inbox.steps WHERE entry = $1 ORDER BY number";

impl Core {
    /// Records the steps of those entries that were changed.
    pub(super) async fn note_steps(&self, told: &[(i64, i64, &Conclusion)], done: &HashSet<i64>) {
        let steps = told.iter().filter(|(entry, _, _)| done.contains(entry));
        let steps: Vec<_> = steps.filter_map(|(entry, _, told)| Some((*entry, told.step()?))).collect();
        self.note_all(&steps).await;
    }

    /// Records steps. If that fails, only the log says so, because the entries themselves are right.
    pub(super) async fn note_all(&self, steps: &[(i64, Step<'_>)]) {
        if steps.is_empty() {
            return;
        }
        let entries: Vec<i64> = steps.iter().map(|(entry, _)| *entry).collect();
        let kinds: Vec<&str> = steps.iter().map(|(_, step)| step.kind.as_str()).collect();
        let codes: Vec<Option<&str>> = steps.iter().map(|(_, step)| step.code).collect();
        let reasons: Vec<Cow<'_, str>> = steps.iter().map(|(_, step)| text(step.reason)).collect();
        let (most, removed) = (i64::from(STEPS_MAX), i64::from(STEPS_REMOVED_MAX));
        let parameters: [Parameter<'_>; 8] = [
            (&self.time(), Type::INT8),
            (&entries, BIGINTS),
            (&kinds, TEXTS),
            (&codes, TEXTS),
            (&reasons, TEXTS),
            (&most, Type::INT8),
            (&millis(STEPS_KEPT), Type::INT8),
            (&removed, Type::INT8),
        ];
        let noted = match self.links.run(NOTE, &parameters).await {
            Err(fault) if fault.is_missing_table() => match self.links.run_all(CREATE).await {
                Ok(()) => self.links.run(NOTE, &parameters).await.map(drop),
                Err(fault) => Err(fault),
            },
            noted => noted.map(drop),
        };
        if let Err(fault) = noted {
            let error = InboxError::from(fault);
            tracing::warn!(error = &error as &dyn std::error::Error, "inbox: steps of entries are not kept");
        }
    }

    /// As [`Self::steps`], for several entries.
    pub(super) async fn steps_of(&self, entries: &[i64]) -> Result<HashMap<i64, Vec<PastStep>>, Fault> {
        const STEPS_OF: &str = "
            SELECT at, last, times, kind, code, reason, entry FROM gateway_inbox.steps WHERE entry = ANY ($1)
            ORDER BY entry, number";
        let rows = match self.links.run(STEPS_OF, &[(&entries, BIGINTS)]).await {
            Ok(answer) => answer.rows,
            Err(fault) if fault.is_missing_table() => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let mut steps: HashMap<i64, Vec<PastStep>> = HashMap::new();
        for row in &rows {
            steps.entry(row.get(6)).or_default().push(step(row));
        }
        Ok(steps)
    }

    pub(super) async fn steps(&self, entry: i64) -> Result<Vec<PastStep>, Fault> {
        match self.links.run(STEPS, &[(&entry, Type::INT8)]).await {
            Ok(answer) => Ok(answer.rows.iter().map(step).collect()),
            Err(fault) if fault.is_missing_table() => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }
}

fn step(row: &Row) -> PastStep {
    PastStep {
        at: Timestamp::from_millis(row.get(0)),
        last: Timestamp::from_millis(row.get(1)),
        times: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
        kind: row.get::<_, &str>(3).parse().unwrap_or(StepKind::Retry),
        code: row.get(4),
        reason: row.get(5),
    }
}
