//! The inbox in a file of this gateway: SQLite, owned by one process at a time, which a lock file enforces.
//!
//! One thread writes and commits what has queued up meanwhile in one transaction (group commit, with `synchronous=FULL` if any
//! of it must survive a power cut); another moves committed pages from the write-ahead log into the file, so that commits do
//! not wait for it.

mod append;
mod awaiting;
mod body;
mod carry;
mod checkpoint;
mod checks;
mod claim;
mod conclude;
mod counts;
mod deeds;
mod erase;
mod event_ids;
mod file;
mod inspect;
mod known;
mod lease;
mod leave;
mod marks;
mod newest;
pub(super) mod open;
mod operate;
mod orders;
mod probe;
mod problems;
mod queue;
mod references;
mod report;
mod retention;
pub(super) mod schema;
mod search;
mod size_bound;
mod state;
mod steps;
mod story;
mod submitted;
mod transition;
mod writer;

use std::sync::{Arc, Mutex};

use rusqlite::Connection;
use tokio::sync::mpsc;

pub use checks::FILE_NAME;
pub use claim::{Claim, claim, restore_journal};
pub use inspect::{Contents, FORMAT_KNOWN, counts_in, inspect};
pub(super) use leave::AfterAMove;
pub use leave::{is_half_filled, moved_from};
pub(super) use open::open;

use self::queue::{Asked, Message, Pending, Request};
use self::references::References;
use super::error::InboxError;
use super::stats::WriterStats;
use crate::domain::held_files::HeldFiles;

/// Handle on an inbox file. Clones share it; the file closes when the last one is gone.
#[derive(Clone, Debug)]
pub(super) struct LocalInbox {
    messages: mpsc::Sender<Message>,
    reader: Arc<Mutex<Connection>>,
    /// `None` if the index could not be made.
    references: Option<Arc<References>>,
    stats: Arc<WriterStats>,
    /// The file and its log.
    held: Arc<HeldFiles>,
}

impl LocalInbox {
    /// What the writer has done since the start.
    pub(super) fn stats(&self) -> &WriterStats {
        &self.stats
    }

    /// Whether the writer takes deliveries, as far as can be told without writing: the last write succeeded, and the file is there.
    /// Looks at the disk, so it may block for a moment.
    pub(super) fn seems_writable(&self) -> bool {
        self.stats.writable() && self.held.displaced().is_none()
    }

    /// Asks the writer, unless its queue is full.
    fn try_send(&self, message: Message) -> Result<(), InboxError> {
        self.messages.try_send(message).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => InboxError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => InboxError::Closed,
        })
    }

    /// Asks the writer as soon as its queue has room, and does not wait for the answer.
    async fn send<R: Request>(&self, request: R) -> Result<Pending<R>, InboxError> {
        let (asked, pending) = Asked::new(request);
        self.messages.send(Message::Request(asked)).await.map_err(|_| InboxError::Closed)?;
        Ok(pending)
    }

    /// Asks the writer and waits for the answer.
    async fn ask<R: Request>(&self, request: R) -> Result<R::Done, InboxError> {
        self.send(request).await?.done().await
    }

    /// Asks a question on a connection that cannot write.
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
