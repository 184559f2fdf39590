//! Whether a disk that refused writes takes them again.

use super::{Inbox, InboxError, Store};

impl Inbox {
    /// Asks the store to write something, to learn whether one that refused writes takes them again.
    pub async fn probe(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) => local.probe().await,
            Store::Postgres(postgres) => postgres.core.probe().await,
        }
    }

    /// As [`Self::probe`], unless a file seems to take writes: so a quiet inbox learns too that its file is gone.
    ///
    /// # Errors
    /// Why it takes none.
    pub async fn probe_file(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(local) if !local.seems_writable() => local.probe().await,
            Store::Local(_) | Store::Postgres(_) => Ok(()),
        }
    }
}
