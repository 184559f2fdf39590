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
}
