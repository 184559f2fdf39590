//! What is told of the database that an inbox is in.

use super::{Inbox, InboxError, Store};

/// The database of an inbox, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseReport {
    /// Version of the server.
    pub version: String,
    /// Whether it takes writes: a standby does not.
    pub is_writable: bool,
    /// Whether the tables of the inbox are there.
    pub is_prepared: bool,
    /// The standbys that a commit waits for, as the server's setting names them; `None` when it waits for none.
    pub standbys: Option<String>,
}

impl Inbox {
    /// What the database says of itself; `None` for an inbox in a file. Changes nothing.
    ///
    /// # Errors
    /// When it gives no answer, or is not to be used.
    pub async fn database(&self) -> Result<Option<DatabaseReport>, InboxError> {
        match &self.store {
            Store::Local(_) => Ok(None),
            Store::Postgres(postgres) => postgres.core.database().await.map(Some),
        }
    }
}
