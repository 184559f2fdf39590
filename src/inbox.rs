//! Durable journal of deliveries: the only thing between a 200 to Stripe and the ledger.
//!
//! Guarantees: an append resolves only after the commit that holds it has been fsynced; an event is stored once per
//! endpoint; an entry is worked on by one holder of a [`Lease`] at a time, and a lease that was lost cannot conclude
//! anything; nothing that has not been settled is ever removed.
//!
//! It does not know what an event means. It is owned by one process at a time, which a lock file enforces.
//!
//! One thread writes and commits what has queued up meanwhile in one transaction (group commit, `synchronous=FULL`);
//! another moves committed pages from the write-ahead log into the file, so that commits do not wait for it.

mod backup;
mod body;
mod checkpoint;
mod entry;
mod erase;
mod error;
mod event_ids;
mod lease;
mod listed;
mod open;
pub mod operate;
mod peek;
pub mod problems;
mod query;
pub mod report;
mod room;
mod schema;
pub mod select;
mod stats;
pub mod subject;
mod sweep;
mod write;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{Notify, mpsc, oneshot, watch};

pub use backup::{Claim, Contents, FORMAT_KNOWN, claim, inspect, restore_journal};
pub use entry::{Door, EntryState, NewEntry, Receipt, Source, StateName};
pub use erase::{ERASE_BODIES_MAX, EraseStep, Unsettled};
pub use error::{InboxError, OpenError};
pub use lease::{Concluded, Conclusion, Lease, LeaseRequest, Leased, Refused, SubmittedEntry, SubmittedProcess};
pub use listed::Held;
pub use peek::{FILE_NAME, peek};
pub use query::{Counts, EntryView};
pub use stats::WriterStats;
pub use sweep::{Retention, Swept};
pub use write::CRASHES_MAX;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{EntryId, ProcessId};
use writer::Command;

/// How to open an inbox.
#[derive(Clone, Debug)]
pub struct InboxOptions {
    /// Directory of the inbox file and its lock; made when it does not exist.
    pub directory: PathBuf,
    /// Most requests waiting for the writer. One more is refused with [`InboxError::Overloaded`].
    pub queue_max: usize,
    /// Most requests in one commit.
    pub group_max: usize,
    /// The inbox refuses to grow beyond this many bytes, as on a full disk; a part of them is kept for work on the
    /// entries that it has. `None`: the disk is the bound.
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

/// Handle on the inbox. Clones share it; the file closes when the last one is gone and [`InboxThreads::join`] returns.
#[derive(Clone, Debug)]
pub struct Inbox {
    commands: mpsc::Sender<Command>,
    reader: Arc<Mutex<Connection>>,
    arrivals: Arc<Notify>,
    stats: Arc<WriterStats>,
    clock: Clock,
}

/// The inbox's threads, for whoever supervises the process.
pub struct InboxThreads {
    threads: Vec<std::thread::JoinHandle<()>>,
    fatal: watch::Receiver<Option<String>>,
    /// Ends a long check of the file.
    check: Option<InterruptHandle>,
}

impl std::fmt::Debug for InboxThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboxThreads").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl InboxThreads {
    /// Resolves with the reason when the inbox can no longer keep its promise and the process has to stop.
    /// Never resolves otherwise.
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static {
        let mut fatal = self.fatal.clone();
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

    /// Waits until everything queued is committed and the file is closed. Call after the last [`Inbox`] was dropped.
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
    /// Opens or creates the inbox and starts its threads. Entries that a previous process held leases on are waiting
    /// again, each with one more crash on its record.
    pub fn open(options: &InboxOptions, clock: Clock) -> Result<(Self, InboxThreads), OpenError> {
        open::open(options, clock)
    }

    /// Stores a verified delivery. Resolves after the commit; the receipt is the permission to answer 2xx.
    /// A duplicate gets the receipt of the entry that is already durable.
    pub async fn append(&self, entry: NewEntry) -> Result<Receipt, InboxError> {
        let (reply, receipt) = oneshot::channel();
        self.try_send(Command::Append { entry: Box::new(entry), reply })?;
        let (receipt, _) = receipt.await.map_err(|_| InboxError::Closed)??;
        if !receipt.is_duplicate() {
            self.wake();
        }
        Ok(receipt)
    }

    /// Leases the entries that are due, oldest due first, with their bodies. An entry that was held during several
    /// crashes comes alone, so that it cannot take neighbours with it.
    pub async fn lease(&self, request: LeaseRequest) -> Result<Vec<Leased>, InboxError> {
        let (reply, leases) = oneshot::channel();
        self.send(Command::Lease { request, reply }).await?;
        let leases = leases.await.map_err(|_| InboxError::Closed)??;
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |connection| query::load(connection, leases)).await
    }

    /// Ends leases. Tells per lease, in order, whether it was still held; one that was lost changes nothing. A refusal
    /// gives the leases back, to be concluded later.
    pub async fn conclude(&self, conclusions: Vec<(Lease, Conclusion)>) -> Result<Vec<Concluded>, Refused> {
        if conclusions.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, concluded) = oneshot::channel();
        let closed = || Refused { error: InboxError::Closed, conclusions: Vec::new() };
        self.send(Command::Conclude { conclusions, reply }).await.map_err(|_| closed())?;
        concluded.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Ends the stay of entries with a process. Tells per entry, in order, whether that process still held it; one that
    /// is held by another, or by nobody, is not changed.
    pub async fn conclude_submitted(
        &self,
        process: ProcessId,
        conclusions: Vec<(EntryId, Conclusion)>,
    ) -> Result<Vec<Concluded>, InboxError> {
        if conclusions.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, concluded) = oneshot::channel();
        self.send(Command::ConcludeSubmitted { process, conclusions, reply }).await?;
        concluded.await.map_err(|_| InboxError::Closed)?
    }

    /// Sets when to ask about processes next.
    pub async fn postpone(&self, polls: Vec<(ProcessId, Timestamp)>) -> Result<(), InboxError> {
        if polls.is_empty() {
            return Ok(());
        }
        let (reply, postponed) = oneshot::channel();
        self.send(Command::Postpone { polls, reply }).await?;
        postponed.await.map_err(|_| InboxError::Closed)?
    }

    /// Processes that hold entries, at most `limit`, by the time at which to ask about them. They survive a restart.
    pub async fn submitted(&self, limit: u32) -> Result<Vec<SubmittedProcess>, InboxError> {
        self.read(move |connection| query::submitted(connection, limit)).await
    }

    /// The entries that a process holds.
    pub async fn entries_of(&self, process: ProcessId) -> Result<Vec<SubmittedEntry>, InboxError> {
        self.read(move |connection| query::entries_of(connection, &process)).await
    }

    /// When the oldest entry was received that is submitted, or waits without having failed. Tells whether entries
    /// get stuck on their route. Cheap at any size.
    pub async fn oldest_unattended(&self) -> Result<Option<Timestamp>, InboxError> {
        self.read(query::oldest_unattended).await
    }

    /// Ends one wait for an [`Inbox::arrival`], now or the next one.
    pub fn wake(&self) {
        self.arrivals.notify_one();
    }

    /// Removes what [`Retention`] no longer keeps, one bounded batch. Call again while it removed something.
    pub async fn sweep(&self, retention: Retention) -> Result<Swept, InboxError> {
        let (reply, swept) = oneshot::channel();
        self.send(Command::Sweep { retention, reply }).await?;
        swept.await.map_err(|_| InboxError::Closed)?
    }

    /// Asks the writer to write and remove something, to learn whether a disk that refused writes takes them again.
    pub async fn probe(&self) -> Result<(), InboxError> {
        let (reply, probed) = oneshot::channel();
        self.send(Command::Probe { reply }).await?;
        probed.await.map_err(|_| InboxError::Closed)?
    }

    /// Number of entries in each state and the age of the oldest that waits. Cheap at any size.
    pub async fn counts(&self) -> Result<Counts, InboxError> {
        self.read(query::counts).await
    }

    /// The newest entries, at most `limit`, newest first, without bodies.
    pub async fn newest(&self, limit: u32) -> Result<Vec<EntryView>, InboxError> {
        self.read(move |connection| query::newest(connection, limit)).await
    }

    /// When the next entry is due, if one waits.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, InboxError> {
        self.read(query::next_due).await
    }

    /// Resolves when an entry has arrived since the last call resolved.
    pub async fn arrival(&self) {
        self.arrivals.notified().await;
    }

    /// What the writer has done since the start.
    pub fn stats(&self) -> &WriterStats {
        &self.stats
    }

    /// The clock entries are timed with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn try_send(&self, command: Command) -> Result<(), InboxError> {
        self.commands.try_send(command).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => InboxError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => InboxError::Closed,
        })
    }

    async fn send(&self, command: Command) -> Result<(), InboxError> {
        self.commands.send(command).await.map_err(|_| InboxError::Closed)
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, InboxError> {
        let reader = Arc::clone(&self.reader);
        let answer = tokio::task::spawn_blocking(move || {
            let mut connection = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            question(&mut connection)
        })
        .await;
        match answer {
            Ok(answer) => answer.map_err(InboxError::from_sqlite),
            Err(_) => Err(InboxError::Closed),
        }
    }
}

#[cfg(test)]
mod tests;
