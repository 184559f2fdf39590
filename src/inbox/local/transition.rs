//! The ways from one state to another, each with its count. Who may take them is decided by those who ask.

use rusqlite::params;

use super::file::InboxFile;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProcessId;
use crate::domain::outcome::Awaited;
use crate::inbox::state::StateName;

impl InboxFile {
    /// Back to waiting until `due`, with so many more failed attempts and crashes on record.
    pub(super) fn wait(
        &mut self,
        id: i64,
        from: StateName,
        due: Timestamp,
        (attempts, crashes): (i64, i64),
        awaited: Option<Awaited>,
        reason: &str,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = 0, due_at = ?2, lease_token = NULL, process_id = NULL,
                                    attempts = attempts + ?3, crashes = ?4, reason = ?5, code = ?6 WHERE id = ?1",
            )?
            .execute(params![id, due.millis(), attempts, crashes, reason, awaited.map(Awaited::as_str)])?;
        self.moved(from, StateName::Waiting);
        Ok(())
    }

    /// To a process of a Colonies server, which is asked about at `poll`.
    pub(super) fn submit(
        &mut self,
        id: i64,
        from: StateName,
        process: &ProcessId,
        poll: Timestamp,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = 2, process_id = ?2, due_at = ?3, lease_token = NULL, crashes = 0,
                                    code = iif(code IS 'awaits_bee', code, NULL), reason = NULL WHERE id = ?1",
            )?
            .execute(params![id, process.as_str(), poll.millis()])?;
        self.moved(from, StateName::Submitted);
        Ok(())
    }

    /// To an end. For a settled entry, `code` is the outcome.
    pub(super) fn end(
        &mut self,
        id: i64,
        (from, to): (StateName, StateName),
        now: Timestamp,
        code: &str,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "UPDATE entries SET state = ?2, due_at = NULL, lease_token = NULL, ended_at = ?3, code = ?4, reason = ?5
                 WHERE id = ?1",
            )?
            .execute(params![id, to, now.millis(), code, reason])?;
        self.moved(from, to);
        Ok(())
    }
}
