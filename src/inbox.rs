//! Durable journal of deliveries: the only thing between a 200 to Stripe and the ledger.
//!
//! Guarantees: an append resolves only after the commit that holds it has been fsynced; an event is stored once per
//! endpoint; an entry is worked on by one holder of a [`Lease`] at a time, and a lease that was lost cannot conclude
//! anything; no entry that has not been settled is ever removed, and the body of one that is dead or in quarantine only after
//! the time that an operator set for it.
//!
//! It does not know what an event means. It is owned by one process at a time, which a lock file enforces.
//!
//! One thread writes and commits what has queued up meanwhile in one transaction (group commit, with `synchronous=FULL` if any
//! of it must survive a power cut); another moves committed pages from the write-ahead log into the file, so that commits do not wait for it.

mod alerts;
mod append;
mod awaiting;
mod body;
mod breakage;
mod carry;
mod conclude;
mod counts;
mod database;
mod deeds;
mod entry;
mod erase;
mod error;
mod generation;
mod known;
mod lease;
mod list;
mod local;
mod marks;
mod moving;
mod newest;
mod operate;
mod order;
mod orders;
mod postgres;
mod probe;
mod problems;
mod reference;
mod report;
mod retention;
mod search;
mod selection;
mod spill;
mod state;
mod stats;
mod steps;
mod story;
pub mod subject;
mod submitted;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::InterruptHandle;
use tokio::sync::{Notify, watch};

pub use alerts::{AlertGroup, MessageTurns};
pub use awaiting::Suspects;
pub use conclude::{Concluded, Conclusion, Refused};
pub use counts::Counts;
pub use database::DatabaseReport;
pub use deeds::{DEEDS_KEPT, DEEDS_MAX, DEEDS_PAGE_MAX, Deed, PastDeed};
pub use entry::{Door, NewEntry, Receipt, Source};
pub use erase::{ERASE_BODIES_MAX, ERASED, EraseStep, Unsettled};
pub use error::{Cause, InboxError, OpenError};
pub use known::Held;
pub use lease::{CRASHES_MAX, Lease, LeaseRequest, Leased, Taken};
pub use list::{Listed, ListedPage, PAGE_BODY_BYTES_MAX};
pub use local::{
    Claim, Contents, FILE_NAME, FORMAT_KNOWN, claim, counts_in, inspect, is_half_filled, moved_from, restore_journal,
};
pub use moving::{MoveError, Moved, MovedTo};
pub use newest::{EntryState, EntryView};
pub use operate::{OrderStep, OrderedEntry, STEP_ENTRIES_MAX};
pub use order::{Action, NOTE_BYTES_MAX, Order, Refusal};
pub use orders::{DROPS_TOLD_MAX, PastOrder, UntoldDrop};
pub use postgres::{PostgresInboxOptions, Time};
pub use problems::{GROUPS_MAX, ProblemCounts, ProblemGroup, Problems, advice};
pub use reference::{INDEX_STEP_MAX, IndexStep, REFERENCES_MAX, is_reference, objects_of};
pub use report::{EntryReport, Intervention};
pub use retention::{Retention, Swept};
pub use search::{PAGE_ENTRIES_MAX, Page};
pub use selection::{Selection, SelectionError, VALUES_MAX};
pub use spill::Emptied;
pub use state::StateName;
pub use stats::WriterStats;
pub use steps::{PastStep, STEPS_KEPT, STEPS_MAX, StepKind};
pub use story::{BodyReport, EntryStory};
pub use submitted::{SubmittedEntry, SubmittedProcess};

use local::{AfterAMove, LocalInbox};
use postgres::PostgresInbox;
use spill::Spill;

use crate::domain::clock::Clock;

/// How to open an inbox.
#[derive(Clone, Debug)]
pub struct InboxOptions {
    /// Directory of the inbox file and its lock; created if it does not exist.
    pub directory: PathBuf,
    /// Most requests waiting for the writer. One more is refused with [`InboxError::Overloaded`].
    pub queue_max: usize,
    /// Most requests in one commit.
    pub group_max: usize,
    /// The inbox refuses to grow beyond this many bytes, as on a full disk. It keeps a part of them for work on the entries
    /// that it has. `None`: only the disk is the bound.
    pub bytes_max: Option<u64>,
    /// How long a commit waits for another program that holds the file's lock (`sqlite3`, a backup).
    pub busy_timeout: Duration,
}

impl InboxOptions {
    /// Defaults for an inbox in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            queue_max: 4096,
            group_max: 512,
            bytes_max: None,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// Handle on the inbox. Clones share it; the store closes when the last one is gone and [`InboxThreads::join`] returns.
#[derive(Clone, Debug)]
pub struct Inbox {
    store: Store,
    /// Takes deliveries while the database takes none.
    spill: Option<Arc<Spill>>,
    bells: Bells,
    clock: Clock,
}

/// The place of the entries. Both stores do the same under the same names; this folder's files have what they share.
#[derive(Clone, Debug)]
enum Store {
    /// A file that belongs to this gateway alone.
    Local(LocalInbox),
    /// A database that several gateways share.
    Postgres(PostgresInbox),
}

/// What wakes those who work on entries in this process.
#[derive(Clone, Debug, Default)]
struct Bells {
    arrivals: Arc<Notify>,
    /// Rings when a person waits.
    urgent: Arc<Notify>,
    /// Rings when the ledger may have to be told of drops.
    drops: Arc<Notify>,
}

/// The inbox's threads, for the supervisor of the process.
pub struct InboxThreads {
    threads: Vec<std::thread::JoinHandle<()>>,
    fatal: watch::Sender<Option<String>>,
    /// Ends a long check of the file.
    check: Option<InterruptHandle>,
}

impl std::fmt::Debug for InboxThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboxThreads").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl InboxThreads {
    /// Resolves with the reason when the inbox can no longer keep its promise and the process must stop. Never resolves
    /// otherwise.
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static {
        let mut fatal = self.fatal.subscribe();
        async move {
            loop {
                if let Some(reason) = fatal.borrow_and_update().clone() {
                    return reason;
                }
                if fatal.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Waits until everything in the queue is committed and the file is closed. Call this after the last [`Inbox`] was
    /// dropped.
    pub fn join(self) {
        if let Some(check) = &self.check {
            check.interrupt();
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("an inbox thread panicked");
            }
        }
    }
}

impl Inbox {
    /// Opens or creates the inbox file and starts its threads. Entries that an earlier process had leased wait again, each
    /// with one more crash on its record.
    pub fn open(options: &InboxOptions, clock: Clock) -> Result<(Self, InboxThreads), OpenError> {
        let (local, threads) = local::open(options, &clock, AfterAMove::Refuse)?;
        Ok((Self { store: Store::Local(local), spill: None, bells: Bells::default(), clock }, threads))
    }

    /// As [`Inbox::open`], for a move. This also opens a file that was left, which no gateway opens.
    pub fn open_for_move(options: &InboxOptions, clock: Clock) -> Result<(Self, InboxThreads), OpenError> {
        let (local, threads) = local::open(options, &clock, AfterAMove::Open)?;
        Ok((Self { store: Store::Local(local), spill: None, bells: Bells::default(), clock }, threads))
    }

    /// An inbox in PostgreSQL, and the thread that stores what arrives. It connects when it is first used; see
    /// [`Inbox::prepare`].
    pub fn shared(options: &PostgresInboxOptions, clock: Clock) -> Result<(Self, InboxThreads), OpenError> {
        let (spill, mut threads) = match &options.spill {
            Some(file) => {
                let (local, threads) = local::open(file, &clock, AfterAMove::Refuse)?;
                (Some(Arc::new(Spill::new(local))), threads)
            }
            // Whatever happens to a database, this process can go on.
            None => (None, InboxThreads { threads: Vec::new(), fatal: watch::Sender::new(None), check: None }),
        };
        let (postgres, thread) = PostgresInbox::open(options, clock.clone(), &threads.fatal)?;
        threads.threads.push(thread);
        Ok((Self { store: Store::Postgres(postgres), spill, bells: Bells::default(), clock }, threads))
    }

    /// Whether other gateways may work on the same entries.
    pub fn is_shared(&self) -> bool {
        matches!(self.store, Store::Postgres(_))
    }

    /// Makes the tables of an inbox in PostgreSQL if they are missing.
    ///
    /// # Errors
    /// [`InboxError::Unfit`] if a person has to change something first; after other errors the caller may try again.
    pub async fn prepare(&self) -> Result<(), InboxError> {
        match &self.store {
            Store::Local(_) => Ok(()),
            Store::Postgres(postgres) => postgres.core.prepare().await,
        }
    }

    /// Ends one wait for an [`Inbox::arrival`], now or the next one.
    pub fn wake(&self) {
        self.bells.arrivals.notify_one();
    }

    /// Resolves when an entry has arrived since the last call resolved.
    pub async fn arrival(&self) {
        self.bells.arrivals.notified().await;
    }

    /// As [`Inbox::wake`], for something that a person waits for: also ends one wait for [`Inbox::urged`].
    pub fn urge(&self) {
        self.bells.urgent.notify_one();
        self.wake();
    }

    /// Resolves when a person has asked for something since the last call resolved.
    pub async fn urged(&self) {
        self.bells.urgent.notified().await;
    }

    /// What the writer has done since the start.
    pub fn stats(&self) -> &WriterStats {
        match &self.store {
            Store::Local(local) => local.stats(),
            Store::Postgres(postgres) => &postgres.core.stats,
        }
    }

    /// The clock that times entries.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

#[cfg(test)]
mod tests;
