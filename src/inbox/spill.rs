//! A local file that takes deliveries while the database of an inbox takes none, and is emptied into it afterwards.
//!
//! Guarantees: those of an inbox file for what it holds: a delivery is acknowledged after its fsync. What is emptied leaves the file only
//! after the commit in the database, which knows an event that comes twice; so a kill at any point costs nothing but the repetition.
//! Nothing is worked on in the file.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::carry::{Carried, Extent};
use super::entry::{NewEntry, Receipt};
use super::erase::Unsettled;
use super::error::InboxError;
use super::local::LocalInbox;
use super::postgres::PostgresInbox;
use super::{Inbox, Store};

/// The file, beside the database's handle.
#[derive(Debug)]
pub(super) struct Spill {
    local: LocalInbox,
    /// Only one task empties it at a time, and knows which deliveries the database refused before.
    emptying: Mutex<BTreeSet<i64>>,
}

/// The result of emptying the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Deliveries that are in the database now.
    pub carried: u64,
    /// Deliveries that the database refuses. They stay in the file.
    pub refused: u64,
}

impl Spill {
    pub(super) fn new(local: LocalInbox) -> Self {
        Self { local, emptying: Mutex::default() }
    }

    /// How many deliveries are in it.
    async fn standing(&self) -> Result<u64, InboxError> {
        let counts = self.local.counts().await?;
        Ok(counts.backlog() + counts.settled + counts.dead + counts.quarantined)
    }

    async fn empty(&self, postgres: &PostgresInbox) -> Result<Emptied, InboxError> {
        let mut refused_before = self.emptying.lock().await;
        let mut refused = BTreeSet::new();
        let (mut emptied, mut after) = (Emptied::default(), i64::MIN);
        loop {
            let mut page = self.local.carried(after, Extent::All).await?;
            let Some(last) = page.last() else {
                refused_before.retain(|number| refused.contains(number));
                return Ok(emptied);
            };
            after = last.number;
            // The database keeps times by its own clock.
            let ahead = postgres.core.ask_time().await?;
            for entry in &mut page {
                entry.put_back(ahead);
            }
            match postgres.core.take_in(&page).await {
                Ok(_) => emptied.carried += self.remove(&page).await?,
                // A refused delivery must not take its neighbours with it.
                Err(InboxError::Storage(_)) => {
                    for entry in &page {
                        let alone = std::slice::from_ref(entry);
                        match postgres.core.take_in(alone).await {
                            Ok(_) => emptied.carried += self.remove(alone).await?,
                            Err(error @ InboxError::Storage(_)) => {
                                if refused_before.insert(entry.number) {
                                    tell_refused(entry, &error);
                                }
                                refused.insert(entry.number);
                                emptied.refused += 1;
                            }
                            Err(error) => return Err(error),
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn remove(&self, entries: &[Carried]) -> Result<u64, InboxError> {
        self.local.remove(entries.iter().map(|entry| entry.number).collect()).await
    }
}

fn tell_refused(entry: &Carried, error: &InboxError) {
    let (error, event_id) = (error as &dyn std::error::Error, entry.event_id.as_str());
    tracing::error!(
        error,
        event_id,
        "inbox: the database refuses a delivery from inbox.spill_dir; the gateway keeps it there and tries again"
    );
}

impl Carried {
    /// The entry with its times by a clock that is so many milliseconds behind the one that wrote it.
    fn put_back(&mut self, ahead: i64) {
        self.received_at = self.received_at.saturating_sub(ahead);
        for time in [&mut self.due_at, &mut self.ended_at].into_iter().flatten() {
            *time = time.saturating_sub(ahead);
        }
    }
}

impl Inbox {
    /// Stores a delivery in the database, or in the file while the database takes none.
    pub(super) async fn append_or_spill(
        &self,
        postgres: &PostgresInbox,
        entry: NewEntry,
    ) -> Result<Receipt, InboxError> {
        let Some(spill) = &self.spill else { return Ok(postgres.store(entry).await?) };
        // Once the database is known to be away, no delivery waits for it.
        if postgres.core.is_away() {
            return spill.local.append(entry).await;
        }
        match postgres.store(entry).await {
            Ok(receipt) => Ok(receipt),
            Err(refused) => match refused.entry {
                Some(entry) if postgres.core.may_stand_beside(&refused.error) => spill.local.append(*entry).await,
                _ => Err(refused.error),
            },
        }
    }

    /// Deliveries in the file that lead to a person.
    pub(super) async fn unsettled_in_spill<F>(&self, leads: &Arc<F>) -> Result<Vec<Unsettled>, InboxError>
    where
        F: Fn(&[u8]) -> bool + Send + Sync + 'static,
    {
        let (mut found, mut after) = (Vec::new(), 0);
        let Some(spill) = &self.spill else { return Ok(found) };
        loop {
            let leads = Arc::clone(leads);
            let step = spill.local.erase_step(move |body: &[u8]| leads(body), after, true).await?;
            found.extend(step.unsettled);
            match step.last {
                Some(last) => after = last,
                None => return Ok(found),
            }
        }
    }

    /// Whether deliveries are accepted: by the store itself, or by the file beside it.
    pub fn takes_deliveries(&self) -> bool {
        match (&self.store, &self.spill) {
            (Store::Postgres(postgres), Some(spill)) if postgres.core.is_away() => spill.local.stats().writable(),
            _ => self.stats().writable(),
        }
    }

    /// Whether to ask the database again whether it takes writes, because it did not when last used, or is taken to be
    /// away.
    pub fn is_to_be_probed(&self) -> bool {
        match &self.store {
            Store::Postgres(postgres) => !self.stats().writable() || postgres.core.is_away(),
            Store::Local(_) => !self.stats().writable(),
        }
    }

    /// Asks the file beside the database again, if it refused a delivery or is gone.
    ///
    /// # Errors
    /// If it still takes none.
    pub async fn probe_spill(&self) -> Result<(), InboxError> {
        match &self.spill {
            Some(spill) if !spill.local.seems_writable() => spill.local.probe().await,
            _ => Ok(()),
        }
    }

    /// How many deliveries are in the file beside the database; `None` without such a file.
    ///
    /// # Errors
    /// Those of the file.
    pub async fn spilled(&self) -> Result<Option<u64>, InboxError> {
        match &self.spill {
            Some(spill) => spill.standing().await.map(Some),
            None => Ok(None),
        }
    }

    /// Carries the deliveries in the file into the database. Can be interrupted at any point.
    ///
    /// # Errors
    /// If the database or the file fails. The remaining deliveries stay in the file.
    pub async fn empty_spill(&self) -> Result<Emptied, InboxError> {
        match (&self.store, &self.spill) {
            (Store::Postgres(postgres), Some(spill)) => {
                let emptied = spill.empty(postgres).await?;
                if emptied.carried > 0 {
                    self.wake();
                }
                Ok(emptied)
            }
            _ => Ok(Emptied::default()),
        }
    }
}
