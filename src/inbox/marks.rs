//! Marks: numbers under a name, in the same file as the entries and written by the same thread.
//!
//! A cursor kept here speaks of the entries that are here: an older copy of the file brings its older cursor back, and a lost
//! file takes the cursor with it.

use super::{Inbox, InboxError, Store};

impl Inbox {
    /// The number under a name, if it was ever set.
    pub async fn mark(&self, name: impl Into<String>) -> Result<Option<i64>, InboxError> {
        match &self.store {
            Store::Local(local) => local.mark(name.into()).await,
            Store::Postgres(postgres) => postgres.core.mark(&name.into()).await,
        }
    }

    /// Sets the number under a name. Resolves when it is durable, together with everything before it.
    pub async fn set_mark(&self, name: impl Into<String>, value: i64) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.set_mark(name.into(), value).await,
            Store::Postgres(postgres) => postgres.core.set_mark(&name.into(), value).await,
        }
    }
}
