//! Whether a disk that refused writes takes them again.

use super::LocalInbox;
use super::file::InboxFile;
use super::queue::{Request, Weight};
use crate::domain::clock::Timestamp;
use crate::inbox::error::InboxError;

impl LocalInbox {
    /// Asks the writer to write and remove something, to learn whether a disk that refused writes takes them again.
    pub(in crate::inbox) async fn probe(&self) -> Result<(), InboxError> {
        self.ask(Probe).await
    }
}

/// Asks to write and remove as much as a large append would.
struct Probe;

impl Request for Probe {
    type Done = ();

    fn apply(&self, file: &mut InboxFile, _: Timestamp) -> rusqlite::Result<()> {
        file.check_room(65536)?;
        file.connection
            .prepare_cached("INSERT OR REPLACE INTO bodies (entry, body) VALUES (-1, zeroblob(65536))")?
            .execute([])?;
        file.connection.prepare_cached("DELETE FROM bodies WHERE entry = -1")?.execute([])?;
        Ok(())
    }

    fn weight(&self) -> Weight {
        Weight::Probe
    }
}
