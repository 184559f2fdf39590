//! Marks: numbers under a name, in the same file as the entries and written by the same thread.
//!
//! A cursor kept here speaks of the entries that are here: an older copy of the file brings its older cursor back, and a lost
//! file takes the cursor with it.

use rusqlite::{OptionalExtension, params};

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::Request;
use crate::domain::clock::Timestamp;
use crate::inbox::error::InboxError;

impl LocalInbox {
    /// The number under a name, if it was ever set.
    pub(in crate::inbox) async fn mark(&self, name: String) -> Result<Option<i64>, InboxError> {
        let question = "SELECT value FROM counters WHERE name = 'mark.' || ?1";
        self.read(move |connection| connection.query_row(question, [&name], |row| row.get(0)).optional()).await
    }

    /// Sets the number under a name. Resolves when it is durable, together with everything before it.
    pub(in crate::inbox) async fn set_mark(&self, name: String, value: i64) -> Result<(), InboxError> {
        self.ask(Mark { name, value }).await
    }
}

/// Asks to keep a number under a name.
struct Mark {
    name: String,
    value: i64,
}

impl Request for Mark {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        file.connection
            .prepare_cached(
                "INSERT INTO counters (name, value) VALUES ('mark.' || ?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![self.name, self.value])?;
        Ok(())
    }
}
