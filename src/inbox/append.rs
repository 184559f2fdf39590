//! Taking in events. An answer comes after the commit that made the entry durable.

use super::entry::{NewEntry, Receipt};
use super::{Inbox, InboxError, Store};

impl Inbox {
    /// Stores a verified delivery. Resolves after the commit; the receipt is the permission to answer 2xx.
    /// A duplicate gets the receipt of the entry that is already durable.
    ///
    /// # Errors
    /// [`InboxError::Overloaded`] at once if the queue is full; otherwise the reason why the entry is not durable.
    pub async fn append(&self, entry: NewEntry) -> Result<Receipt, InboxError> {
        let receipt = match &self.store {
            Store::Local(local) => local.append(entry).await?,
            Store::Postgres(postgres) => self.append_or_spill(postgres, entry).await?,
        };
        if !receipt.is_duplicate() {
            self.wake();
        }
        Ok(receipt)
    }

    /// Stores listed events in this order, and resolves when all of them are durable. It waits for room in the queue, so
    /// that it does not crowd out webhooks. After an error some events may be durable; storing them again does no harm.
    pub async fn append_listed(&self, entries: Vec<NewEntry>) -> Result<Vec<Receipt>, InboxError> {
        let receipts = match &self.store {
            Store::Local(local) => local.append_listed(entries).await?,
            Store::Postgres(postgres) => {
                let mut pending = Vec::with_capacity(entries.len());
                for entry in entries {
                    pending.push(postgres.append(entry).await?);
                }
                let mut receipts = Vec::with_capacity(pending.len());
                for receipt in pending {
                    receipts.push(receipt.await.map_err(|_| InboxError::Closed)??);
                }
                receipts
            }
        };
        if !receipts.is_empty() {
            self.wake();
        }
        Ok(receipts)
    }
}
