//! A note on leases: their holder only waits for the answer of another program.
//!
//! A process that dies then was not killed by what it waited with. The note is a commit more, so it is for entries that were held
//! during a crash before; of the others one crash too many is counted, which has them noted from then on.
//!
//! So an entry whose answer kills the process while it is decoded is never given up. Counting deaths in which one entry was alone in
//! flight, however many, would not tell it from an innocent one: entries with crashes on record come alone and first, so that in an
//! outage of the ledger in which the process is killed again and again (a service manager, a person, want of memory) it is the same
//! entry each time that is alone with the ledger. What would tell them apart is a note made between the arrival of an answer and its
//! decoding, and the drivers do both in one call. An answer is a few words per event and bounded in size, so this case is left.

use super::lease::{Lease, Leased};
use super::{Inbox, Store};
use crate::domain::outcome::Awaited;

/// The leases of a batch for which a note is worthwhile.
#[derive(Clone, Debug)]
pub struct Suspects {
    inbox: Inbox,
    /// Entry and token.
    held: Vec<(i64, i64)>,
}

impl Suspects {
    /// The leases of a batch whose entries were held during an earlier crash.
    pub fn among(inbox: &Inbox, leased: &[Leased]) -> Self {
        let suspects = leased.iter().filter(|leased| leased.crashes > 0);
        let held = suspects.map(|Leased { lease: Lease { entry, token }, .. }| (entry.0, *token)).collect();
        Self { inbox: inbox.clone(), held }
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Notes that another program has the batch, and that this one only waits for its answer.
    pub async fn wait(&self) {
        self.note(Some(Awaited::Answer)).await;
    }

    /// Notes that this process works on them again.
    pub async fn work(&self) {
        self.note(None).await;
    }

    /// If the inbox cannot take the note, the worst is that it counts a crash too many.
    async fn note(&self, awaited: Option<Awaited>) {
        if self.is_empty() {
            return;
        }
        let noted = match &self.inbox.store {
            Store::Local(local) => local.note(self.held.clone(), awaited).await,
            Store::Postgres(postgres) => postgres.core.note(&self.held, awaited).await,
        };
        if let Err(error) = noted {
            tracing::debug!(error = &error as &dyn std::error::Error, "inbox takes no note of what is waited for");
        }
    }
}
