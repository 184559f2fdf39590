//! The writer thread: takes what has queued up, commits it in one transaction, then answers.
//!
//! No answer leaves before the commit that makes it true. A commit waits for the disk if one of its requests must survive a power
//! cut: leases and outcomes need not, and are most of what is asked at ordinary traffic. When a group fails, its requests are tried one by one, so that
//! one that cannot be stored does not refuse its neighbours.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use tokio::sync::{mpsc, watch};

use super::checkpoint::Extent;
use super::claim::Claim;
use super::file::InboxFile;
use super::queue::{Message, Queued, Weight};
use super::schema::PAGE_BYTES;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::held_files::HeldFiles;
use crate::inbox::error::{FSYNC_FAILED, InboxError, displaced, is_failed_fsync};
use crate::inbox::stats::WriterStats;

/// Pages are moved into the file whenever the log has grown by about this many bytes. Commits wait for the disk while it
/// syncs what was moved.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// The log is to start over when it has about this many bytes.
const LOG_BYTES: u64 = 32 * 1024 * 1024;

/// Pages that a commit writes besides bodies: leaves of the tables and indexes, tally, counters.
const COMMIT_PAGES: u64 = 8;

/// Why the process has to end when its lock file was removed and another gateway made one. Both know the next free numbers, and each
/// would give out those of the other.
const TAKEN: &str = "another gateway runs on the data directory, because the lock file was removed";

/// Requests of one commit.
type Group = Vec<Box<dyn Queued>>;

pub(super) struct Writer {
    pub(super) file: InboxFile,
    pub(super) queue: mpsc::Receiver<Message>,
    pub(super) group_max: usize,
    pub(super) checkpoints: SyncSender<Extent>,
    pub(super) stats: Arc<WriterStats>,
    pub(super) fatal: watch::Sender<Option<String>>,
    pub(super) clock: Clock,
    /// The file and its log.
    pub(super) held: Arc<HeldFiles>,
    /// Held for as long as the file is open.
    pub(super) claim: Claim,
}

impl Writer {
    /// Runs until every handle is gone and the queue is empty, or until something fatal happened, here or on another
    /// thread. Then nothing more is written or moved: a checkpoint after a failed fsync could seem to succeed and would
    /// discard the only good copy, the log. What is queued is answered as closed.
    pub(super) fn run(mut self) {
        let (mut log_bytes, mut step_bytes) = (0, 0);
        let mut group = Group::with_capacity(self.group_max);
        while let Some(first) = self.queue.blocking_recv() {
            let finish_checkpoint = self.gather(first, &mut group);
            if self.is_over() {
                return;
            }
            if !group.is_empty() {
                if self.claim.keep().is_err() {
                    self.fatal.send_replace(Some(TAKEN.to_owned()));
                    return;
                }
                let bytes = group_bytes(&group);
                (log_bytes, step_bytes) = (log_bytes + bytes, step_bytes + bytes);
                if let Err(fatal) = self.commit_group(&mut group) {
                    self.fatal.send_replace(Some(fatal));
                    return;
                }
            }
            if finish_checkpoint && !self.is_over() {
                match self.file.checkpoint() {
                    Ok(()) => (log_bytes, step_bytes) = (0, 0),
                    Err(error) => self.checkpoint_failed(&error),
                }
            }
            if step_bytes > STEP_BYTES {
                let extent = if log_bytes > LOG_BYTES { Extent::Finish } else { Extent::Step };
                if self.checkpoints.try_send(extent).is_ok() {
                    step_bytes = 0;
                }
            }
        }
        if !self.is_over()
            && let Err(error) = self.file.finish()
        {
            self.checkpoint_failed(&error);
        }
    }

    /// Takes what has queued up behind the first message. Tells whether the rest of the log is to be moved.
    fn gather(&mut self, first: Message, group: &mut Group) -> bool {
        let mut finish_checkpoint = false;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Request(request) => group.push(request),
                Message::FinishCheckpoint => finish_checkpoint = true,
            }
            next = if group.len() < self.group_max { self.queue.try_recv().ok() } else { None };
        }
        finish_checkpoint
    }

    /// Only a restart, which replays the log, is safe.
    fn is_over(&self) -> bool {
        self.fatal.borrow().is_some()
    }

    fn checkpoint_failed(&self, error: &rusqlite::Error) {
        if is_failed_fsync(error) {
            self.fatal.send_replace(Some(FSYNC_FAILED.to_owned()));
        } else {
            tracing::warn!(error = error as &dyn std::error::Error, "inbox: checkpoint failed, will be tried again");
        }
    }

    /// Commits the group and answers it. An error is one that only a restart can mend.
    fn commit_group(&mut self, group: &mut Group) -> Result<(), String> {
        let now = self.clock.now();
        let Err(error) = self.try_group(group, now) else { return Ok(()) };
        let error = self.undo(error)?;
        if group.len() == 1 || matches!(error, InboxError::Busy(_)) {
            group.drain(..).for_each(|request| request.refuse(&error));
            return Ok(());
        }
        for request in group.drain(..) {
            let mut alone = vec![request];
            if let Err(error) = self.try_group(&mut alone, now) {
                let error = self.undo(error)?;
                alone.drain(..).for_each(|request| request.refuse(&error));
            }
        }
        Ok(())
    }

    /// Applies, commits and answers. After a failure the requests are still in the group.
    fn try_group(&mut self, group: &mut Group, now: Timestamp) -> rusqlite::Result<()> {
        let must_survive = group.iter().any(|request| request.must_survive());
        // Work on what the file holds goes on without its name: a lease need not survive, and an outcome is in the ledger.
        if must_survive && let Some(path) = self.held.displaced() {
            return Err(displaced(path));
        }
        self.file.sync(must_survive)?;
        self.file.begin()?;
        if self.file.note_time(now) {
            self.file.clock_went_back(now)?;
        }
        for request in group.iter_mut() {
            request.apply(&mut self.file, now)?;
        }
        self.file.commit()?;
        self.succeeded(group);
        group.drain(..).for_each(Queued::answer);
        Ok(())
    }

    fn succeeded(&self, group: &Group) {
        let appended = group.iter().filter(|request| matches!(request.weight(), Weight::Append(_))).count();
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.appended.fetch_add(appended as u64, Ordering::Relaxed);
        let wrote_much = group.iter().any(|request| request.weight() != Weight::Little);
        if wrote_much && !self.stats.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("inbox: writes succeed again");
        }
    }

    /// Takes back what a group did that failed, and says why it failed.
    fn undo(&mut self, error: rusqlite::Error) -> Result<InboxError, String> {
        self.file.rollback();
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        if self.stats.writable.swap(false, Ordering::Relaxed) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "inbox: cannot write; webhooks are answered 503");
        }
        if is_failed_fsync(&error) {
            return Err(FSYNC_FAILED.to_owned());
        }
        Ok(InboxError::from_sqlite(error))
    }
}

/// About how much the log grows by committing the group.
fn group_bytes(group: &Group) -> u64 {
    let bodies: usize = group
        .iter()
        .map(|request| match request.weight() {
            Weight::Append(bytes) => bytes,
            Weight::Probe | Weight::Little => 0,
        })
        .sum();
    COMMIT_PAGES * PAGE_BYTES + bodies as u64
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::claim::claim;
    use super::super::queue::Asked;
    use super::super::schema::CREATE;
    use super::super::{checkpoint, lease};
    use super::*;
    use crate::domain::ids::EndpointName;
    use crate::inbox::entry::{Door, NewEntry};
    use crate::stripe::envelope::Envelope;
    use crate::stripe::tests::delivery;

    const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn after_a_fatal_fault_nothing_is_written_or_moved_and_requests_are_refused() {
        let body = br#"{"id":"evt_1","object":"event","type":"invoice.paid","livemode":true}"#;
        let envelope = Envelope::read(body).unwrap();
        let entry = NewEntry::event(EndpointName::new("stripe"), envelope, Door::Open, delivery(body));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inbox.db");
        let connection = Connection::open(&path).unwrap();
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch(CREATE).unwrap();
        let wal = directory.path().join("inbox.db-wal");
        let (messages, queue) = mpsc::channel(8);
        let (checkpoints, requests) = std::sync::mpsc::sync_channel(1);
        let fatal = watch::Sender::new(Some("the disk failed".to_owned()));
        let writer = Writer {
            file: lease::recover(connection, START).unwrap(),
            queue,
            group_max: 8,
            checkpoints,
            stats: Arc::default(),
            fatal: fatal.clone(),
            clock: Clock::manual(START),
            held: Arc::default(),
            claim: claim(directory.path()).unwrap(),
        };
        let log_before = std::fs::read(&wal).unwrap();
        let (asked, mut receipt) = Asked::new(entry);
        messages.try_send(Message::Request(asked)).unwrap();
        let (asks, asked) = std::sync::mpsc::sync_channel(1);
        asks.send(checkpoint::Extent::Finish).unwrap();
        drop(asks);
        let checkpointer = Connection::open(&path).unwrap();
        checkpointer.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        checkpoint::run(&checkpointer, &asked, &messages.downgrade(), &fatal);
        drop(messages);
        writer.run();
        assert!(!receipt.is_answered(), "acknowledged after the disk failed");
        assert!(!log_before.is_empty() && std::fs::read(&wal).unwrap() == log_before, "the log was touched");
        drop(requests);
    }
}
