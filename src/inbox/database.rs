//! What is told of the database that an inbox is in.

use super::{Inbox, InboxError, Store};

/// The state of an inbox's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseReport {
    /// Version of the server.
    pub version: String,
    /// Whether it takes writes, which a standby does not.
    pub is_writable: bool,
    /// Whether the tables of the inbox exist.
    pub is_prepared: bool,
    /// The standbys that a commit waits for, as the server's setting names them; `None` if it waits for none.
    pub standbys: Option<String>,
}

impl Inbox {
    /// What the database reports about itself; `None` for an inbox in a file. Changes nothing.
    ///
    /// # Errors
    /// If it does not answer, or must not be used.
    pub async fn database(&self) -> Result<Option<DatabaseReport>, InboxError> {
        match &self.store {
            Store::Local(_) => Ok(None),
            Store::Postgres(postgres) => postgres.core.database().await.map(Some),
        }
    }
}
