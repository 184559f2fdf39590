//! The writer thread: takes what has queued up, commits it in one transaction, then answers.
//!
//! No answer leaves before the commit that makes it true. When a group fails, its requests are tried one by one, so that
//! one that cannot be stored does not refuse its neighbours.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use tokio::sync::{mpsc, oneshot, watch};

use super::checkpoint::Request;
use super::entry::{NewEntry, Receipt};
use super::error::{InboxError, is_failed_fsync};
use super::lease::{Concluded, Conclusion, Lease, LeaseRequest, Refused};
use super::operate::{Operated, Order};
use super::schema::PAGE_BYTES;
use super::stats::WriterStats;
use super::sweep::{Retention, Swept};
use super::write::Writes;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::{EntryId, ProcessId};

/// Pages are moved into the file whenever the log has grown by about this many bytes. Commits wait for the disk while it
/// syncs what was moved.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// The log is to start over when it has about this many bytes.
const LOG_BYTES: u64 = 32 * 1024 * 1024;

/// Pages that a commit writes besides bodies: leaves of the tables and indexes, tally, counters.
const COMMIT_PAGES: u64 = 8;

type Reply<T> = oneshot::Sender<Result<T, InboxError>>;

/// The entry goes back to whoever made it, to be freed there: the writer would contend for that thread's heap, and everybody
/// waits for the writer.
type AppendReply = Reply<(Receipt, Box<NewEntry>)>;

type ConcludeReply = oneshot::Sender<Result<Vec<Concluded>, Refused>>;

/// A request to the writer.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        entry: Box<NewEntry>,
        reply: AppendReply,
    },
    Lease {
        request: LeaseRequest,
        reply: Reply<Vec<Lease>>,
    },
    Conclude {
        conclusions: Vec<(Lease, Conclusion)>,
        reply: ConcludeReply,
    },
    ConcludeSubmitted {
        process: ProcessId,
        conclusions: Vec<(EntryId, Conclusion)>,
        reply: Reply<Vec<Concluded>>,
    },
    Postpone {
        polls: Vec<(ProcessId, Timestamp)>,
        reply: Reply<()>,
    },
    Sweep {
        retention: Retention,
        reply: Reply<Swept>,
    },
    Erase {
        entries: Vec<EntryId>,
        reply: Reply<u64>,
    },
    Probe {
        reply: Reply<()>,
    },
    Operate {
        entries: Vec<EntryId>,
        order: Order,
        reply: Reply<Vec<Operated>>,
    },
    Mark {
        name: String,
        value: i64,
        reply: Reply<()>,
    },
    /// The checkpoint thread has moved the bulk of the log; the rest is quick.
    FinishCheckpoint,
}

/// An answer, held back until the commit.
enum Answer {
    Append(AppendReply, Receipt, Box<NewEntry>),
    Lease(Reply<Vec<Lease>>, Vec<Lease>),
    Conclude(ConcludeReply, Vec<Concluded>),
    ConcludeSubmitted(Reply<Vec<Concluded>>, Vec<Concluded>),
    Postpone(Reply<()>),
    Sweep(Reply<Swept>, Swept),
    Erase(Reply<u64>, u64),
    Probe(Reply<()>),
    Operate(Reply<Vec<Operated>>, Vec<Operated>),
    None,
}

pub(super) struct Writer {
    pub(super) writes: Writes,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) group_max: usize,
    pub(super) checkpoints: SyncSender<Request>,
    pub(super) stats: Arc<WriterStats>,
    pub(super) fatal: watch::Sender<Option<String>>,
    pub(super) clock: Clock,
    /// Held for as long as the file is open.
    pub(super) _lock: File,
}

impl Writer {
    /// Runs until every handle is gone and the queue is empty, or until something fatal happened, here or on another
    /// thread. Then nothing more is written or moved: a checkpoint after a failed fsync could seem to succeed and would
    /// discard the only good copy, the log. What is queued is answered as closed.
    pub(super) fn run(mut self) {
        let (mut log_bytes, mut step_bytes) = (0, 0);
        let mut group = Vec::with_capacity(self.group_max);
        while let Some(first) = self.queue.blocking_recv() {
            group.push(first);
            self.take_queued(&mut group);
            if self.is_over() {
                return;
            }
            let before = group.len();
            group.retain(|command| !matches!(command, Command::FinishCheckpoint));
            let finish_checkpoint = group.len() < before;
            if !group.is_empty() {
                let bytes = group_bytes(&group);
                (log_bytes, step_bytes) = (log_bytes + bytes, step_bytes + bytes);
                if let Err(fatal) = self.commit_group(&mut group) {
                    self.fatal.send_replace(Some(fatal));
                    return;
                }
            }
            if finish_checkpoint && !self.is_over() {
                match self.writes.checkpoint() {
                    Ok(()) => (log_bytes, step_bytes) = (0, 0),
                    Err(error) => self.checkpoint_failed(&error),
                }
            }
            if step_bytes > STEP_BYTES {
                let request = if log_bytes > LOG_BYTES { Request::Finish } else { Request::Step };
                if self.checkpoints.try_send(request).is_ok() {
                    step_bytes = 0;
                }
            }
        }
        if !self.is_over()
            && let Err(error) = self.writes.finish()
        {
            self.checkpoint_failed(&error);
        }
    }

    fn take_queued(&mut self, group: &mut Vec<Command>) {
        while group.len() < self.group_max
            && let Ok(next) = self.queue.try_recv()
        {
            group.push(next);
        }
    }

    /// Only a restart, which replays the log, is safe.
    fn is_over(&self) -> bool {
        self.fatal.borrow().is_some()
    }

    fn checkpoint_failed(&self, error: &rusqlite::Error) {
        if is_failed_fsync(error) {
            self.fatal.send_replace(Some("the disk failed to store the inbox; restarting replays its log".to_owned()));
        } else {
            tracing::warn!(error = error as &dyn std::error::Error, "inbox: checkpoint failed, will be tried again");
        }
    }

    /// Commits the group and answers it. An error is one that only a restart can mend.
    fn commit_group(&mut self, group: &mut Vec<Command>) -> Result<(), String> {
        let now = self.clock.now();
        match self.try_group(group, now) {
            Ok(answers) => {
                self.succeeded(&answers);
                group.clear();
                answers.into_iter().for_each(Answer::send);
                return Ok(());
            }
            Err(error) => {
                self.writes.rollback();
                self.check_failure(&error)?;
                let error = InboxError::from_sqlite(error);
                if group.len() == 1 || matches!(error, InboxError::Busy(_)) {
                    group.drain(..).for_each(|command| command.refuse(&error));
                    return Ok(());
                }
            }
        }
        for command in group.drain(..) {
            let mut alone = vec![command];
            match self.try_group(&mut alone, now) {
                Ok(answers) => {
                    self.succeeded(&answers);
                    answers.into_iter().for_each(Answer::send);
                }
                Err(error) => {
                    self.writes.rollback();
                    self.check_failure(&error)?;
                    let error = InboxError::from_sqlite(error);
                    alone.drain(..).for_each(|command| command.refuse(&error));
                }
            }
        }
        Ok(())
    }

    /// Applies and commits. The commands stay in the group until the commit, so that a failure can still answer them.
    fn try_group(&mut self, group: &mut Vec<Command>, now: Timestamp) -> rusqlite::Result<Vec<Answer>> {
        self.writes.begin()?;
        let mut done = Vec::with_capacity(group.len());
        for command in group.iter() {
            done.push(self.apply(command, now)?);
        }
        self.writes.commit()?;
        Ok(group.drain(..).zip(done).map(|(command, done)| command.answer(done)).collect())
    }

    fn apply(&mut self, command: &Command, now: Timestamp) -> rusqlite::Result<Done> {
        Ok(match command {
            Command::Append { entry, .. } => Done::Append(self.writes.append(entry, now)?),
            Command::Lease { request, .. } => Done::Lease(self.writes.lease(request, now)?),
            Command::Conclude { conclusions, .. } => {
                let mut concluded = Vec::with_capacity(conclusions.len());
                for (lease, conclusion) in conclusions {
                    concluded.push(self.writes.conclude(lease, conclusion, now)?);
                }
                Done::Conclude(concluded)
            }
            Command::ConcludeSubmitted { process, conclusions, .. } => {
                let mut concluded = Vec::with_capacity(conclusions.len());
                for (entry, conclusion) in conclusions {
                    concluded.push(self.writes.conclude_submitted(process, *entry, conclusion, now)?);
                }
                Done::Conclude(concluded)
            }
            Command::Postpone { polls, .. } => {
                for (process, poll) in polls {
                    self.writes.postpone(process, *poll)?;
                }
                Done::Nothing
            }
            Command::Sweep { retention, .. } => Done::Sweep(self.writes.sweep(retention, now)?),
            Command::Erase { entries, .. } => Done::Erase(self.writes.erase(entries)?),
            Command::Probe { .. } => {
                self.writes.probe()?;
                Done::Nothing
            }
            Command::Operate { entries, order, .. } => Done::Operate(self.writes.operate(entries, order, now)?),
            Command::Mark { name, value, .. } => {
                self.writes.mark(name, *value)?;
                Done::Nothing
            }
            Command::FinishCheckpoint => Done::Nothing,
        })
    }

    fn succeeded(&self, answers: &[Answer]) {
        let appended = answers.iter().filter(|answer| matches!(answer, Answer::Append(..))).count();
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.stats.appended.fetch_add(appended as u64, Ordering::Relaxed);
        let wrote_much = answers.iter().any(|answer| matches!(answer, Answer::Append(..) | Answer::Probe(_)));
        if wrote_much && !self.stats.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("inbox: writes succeed again");
        }
    }

    fn check_failure(&self, error: &rusqlite::Error) -> Result<(), String> {
        self.stats.failures.fetch_add(1, Ordering::Relaxed);
        if self.stats.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(error = error as &dyn std::error::Error, "inbox: cannot write; webhooks are answered 503");
        }
        if is_failed_fsync(error) {
            return Err("the disk failed to store the inbox; restarting replays its log".to_owned());
        }
        Ok(())
    }
}

/// What a command did, before the commit.
enum Done {
    Append(Receipt),
    Lease(Vec<Lease>),
    Conclude(Vec<Concluded>),
    Sweep(Swept),
    Operate(Vec<Operated>),
    Erase(u64),
    Nothing,
}

impl Command {
    fn answer(self, done: Done) -> Answer {
        match (self, done) {
            (Self::Append { reply, entry }, Done::Append(receipt)) => Answer::Append(reply, receipt, entry),
            (Self::Lease { reply, .. }, Done::Lease(leases)) => Answer::Lease(reply, leases),
            (Self::Conclude { reply, .. }, Done::Conclude(concluded)) => Answer::Conclude(reply, concluded),
            (Self::ConcludeSubmitted { reply, .. }, Done::Conclude(concluded)) => {
                Answer::ConcludeSubmitted(reply, concluded)
            }
            (Self::Postpone { reply, .. } | Self::Mark { reply, .. }, _) => Answer::Postpone(reply),
            (Self::Sweep { reply, .. }, Done::Sweep(swept)) => Answer::Sweep(reply, swept),
            (Self::Erase { reply, .. }, Done::Erase(erased)) => Answer::Erase(reply, erased),
            (Self::Probe { reply }, _) => Answer::Probe(reply),
            (Self::Operate { reply, .. }, Done::Operate(done)) => Answer::Operate(reply, done),
            // `apply` gives each command its own kind; a reply that is dropped reads as `Closed`, never as success.
            _ => Answer::None,
        }
    }

    fn refuse(self, error: &InboxError) {
        let error = error.clone();
        // Whoever asked may have gone; there is nobody to tell then.
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
            Self::Lease { reply, .. } => drop(reply.send(Err(error))),
            Self::Conclude { conclusions, reply } => drop(reply.send(Err(Refused { error, conclusions }))),
            Self::ConcludeSubmitted { reply, .. } => drop(reply.send(Err(error))),
            Self::Sweep { reply, .. } => drop(reply.send(Err(error))),
            Self::Operate { reply, .. } => drop(reply.send(Err(error))),
            Self::Erase { reply, .. } => drop(reply.send(Err(error))),
            Self::Postpone { reply, .. } | Self::Probe { reply } | Self::Mark { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::FinishCheckpoint => {}
        }
    }
}

impl Answer {
    /// Whoever asked may have gone; what is committed stays committed.
    fn send(self) {
        match self {
            Self::Append(reply, receipt, entry) => drop(reply.send(Ok((receipt, entry)))),
            Self::Lease(reply, leases) => drop(reply.send(Ok(leases))),
            Self::Conclude(reply, concluded) => drop(reply.send(Ok(concluded))),
            Self::ConcludeSubmitted(reply, concluded) => drop(reply.send(Ok(concluded))),
            Self::Sweep(reply, swept) => drop(reply.send(Ok(swept))),
            Self::Operate(reply, done) => drop(reply.send(Ok(done))),
            Self::Erase(reply, erased) => drop(reply.send(Ok(erased))),
            Self::Postpone(reply) | Self::Probe(reply) => drop(reply.send(Ok(()))),
            Self::None => {}
        }
    }
}

/// About how much the log grows by committing the group.
fn group_bytes(group: &[Command]) -> u64 {
    let bodies: usize = group
        .iter()
        .map(|command| match command {
            Command::Append { entry, .. } => entry.stored_body().0.len(),
            Command::Lease { .. }
            | Command::Conclude { .. }
            | Command::ConcludeSubmitted { .. }
            | Command::Postpone { .. }
            | Command::Sweep { .. }
            | Command::Erase { .. }
            | Command::Probe { .. }
            | Command::Operate { .. }
            | Command::Mark { .. }
            | Command::FinishCheckpoint => 0,
        })
        .sum();
    COMMIT_PAGES * PAGE_BYTES + bodies as u64
}
