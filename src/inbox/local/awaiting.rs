//! A note on leases: their holder only waits for the answer of another program.
//!
//! A process that dies then was not killed by what it waited with. The note is a commit more, so it is for entries that were held
//! during a crash before; of the others one crash too many is counted, which has them noted from then on.

use rusqlite::params;

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::domain::outcome::Awaited;
use crate::inbox::error::InboxError;

impl LocalInbox {
    /// Notes what the holder of leases (entries with their tokens) waits for.
    pub(in crate::inbox) async fn note(
        &self,
        held: Vec<(i64, i64)>,
        awaited: Option<Awaited>,
    ) -> Result<(), InboxError> {
        self.ask(Note { held, awaited }).await
    }
}

/// Asks to note what the holder of leases waits for.
struct Note {
    held: Vec<(i64, i64)>,
    awaited: Option<Awaited>,
}

impl Request for Note {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        let mut statement = file
            .connection
            .prepare_cached("UPDATE entries SET code = ?3 WHERE id = ?1 AND state = 1 AND lease_token = ?2")?;
        for (entry, token) in &self.held {
            statement.execute(params![entry, token, self.awaited.map(Awaited::as_str)])?;
        }
        Ok(())
    }

    /// The note is about processes that die; a power cut is no entry's fault either.
    fn must_survive(&self) -> bool {
        false
    }
}
