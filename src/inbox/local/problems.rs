//! What waits for a person: dead and quarantined entries, grouped by why.

use rusqlite::params;

use super::LocalInbox;
use crate::domain::clock::Timestamp;
use crate::domain::ids::EntryId;
use crate::inbox::error::InboxError;
use crate::inbox::problems::{GROUPS_MAX, ProblemCounts, ProblemGroup, Problems, advice};
use crate::inbox::state::StateName;

impl LocalInbox {
    /// Everything that waits for a person, with a sample of each kind.
    pub(in crate::inbox) async fn problems(&self) -> Result<Problems, InboxError> {
        self.read(|connection| {
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(
                "SELECT state, COALESCE(code, ''), event_type, COUNT(*), MIN(ended_at), MAX(ended_at)
                 FROM entries WHERE state > 3 GROUP BY state, code, event_type ORDER BY COUNT(*) DESC, state, COALESCE(code, ''), event_type",
            )?;
            let mut sample = transaction.prepare_cached(
                "SELECT id, reason FROM entries WHERE state > 3 AND state = ?1 AND code IS ?2 AND event_type = ?3
                 ORDER BY ended_at DESC, id DESC LIMIT 1",
            )?;
            let mut problems = Problems::default();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let state: StateName = row.get(0)?;
                let (code, event_type): (String, String) = (row.get(1)?, row.get(2)?);
                let count: u64 = row.get(3)?;
                problems.entries += count;
                if problems.groups.len() >= GROUPS_MAX {
                    continue;
                }
                let (id, reason): (Option<i64>, Option<String>) = sample
                    .query_row(params![state, code, event_type], |row| Ok((row.get(0)?, row.get(1)?)))
                    .or_else(|error| match error {
                        rusqlite::Error::QueryReturnedNoRows => Ok((None, None)),
                        error => Err(error),
                    })?;
                let time = |column| row.get::<_, Option<i64>>(column).map(|at| Timestamp::from_millis(at.unwrap_or(0)));
                problems.groups.push(ProblemGroup {
                    state,
                    count,
                    oldest: time(4)?,
                    newest: time(5)?,
                    sample_entry: id.map(EntryId),
                    sample_reason: reason,
                    advice: advice(state, &code).to_owned(),
                    code,
                    event_type,
                });
            }
            Ok(problems)
        })
        .await
    }

    /// How many entries wait for a person, by code and event type. Reads only an index.
    pub(in crate::inbox) async fn problem_counts(&self) -> Result<ProblemCounts, InboxError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT COALESCE(code, ''), event_type, COUNT(*) FROM entries WHERE state > 3
                 GROUP BY state, code, event_type",
            )?;
            let mut counts = ProblemCounts::new();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                *counts.entry((row.get(0)?, row.get(1)?)).or_default() += row.get::<_, u64>(2)?;
            }
            Ok(counts)
        })
        .await
    }
}
