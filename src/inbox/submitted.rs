//! Processes of a Colonies server that hold entries. They survive a restart; only the process that holds an entry ends its
//! stay.

use std::time::Duration;

use super::conclude::{Concluded, Conclusion};
use super::{Inbox, InboxError, Store};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{EntryId, EventId, ProcessId};
use crate::domain::trace::TraceContext;

/// A process that holds entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedProcess {
    pub process: ProcessId,
    /// How many entries it holds.
    pub entries: u64,
    /// When the oldest of them was received that could go another way; `None` if none could.
    pub oldest: Option<Timestamp>,
    /// When to ask the server about it.
    pub poll: Timestamp,
}

/// An entry that a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedEntry {
    pub entry: EntryId,
    pub event_id: EventId,
    pub event_type: String,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When it became durable.
    pub received: Timestamp,
    /// The delivery's position in its trace.
    pub trace: Option<TraceContext>,
}

impl Inbox {
    /// Processes that hold entries, at most `limit`, by the time of the next question about them. If several gateways share
    /// the inbox, only those that this one should ask about.
    pub async fn submitted(&self, limit: u32) -> Result<Vec<SubmittedProcess>, InboxError> {
        match &self.store {
            Store::Local(local) => local.submitted(limit).await,
            Store::Postgres(postgres) => postgres.core.submitted(limit).await,
        }
    }

    /// The entries that a process holds.
    pub async fn entries_of(&self, process: ProcessId) -> Result<Vec<SubmittedEntry>, InboxError> {
        match &self.store {
            Store::Local(local) => local.entries_of(process).await,
            Store::Postgres(postgres) => postgres.core.entries_of(&process).await,
        }
    }

    /// Ends the stay of entries with a process. Returns for each entry, in order, whether that process still held it. An
    /// entry that another process or none holds is not changed.
    pub async fn conclude_submitted(
        &self,
        process: ProcessId,
        conclusions: Vec<(EntryId, Conclusion)>,
    ) -> Result<Vec<Concluded>, InboxError> {
        if conclusions.is_empty() {
            return Ok(Vec::new());
        }
        match &self.store {
            Store::Local(local) => local.conclude_submitted(process, conclusions).await,
            Store::Postgres(postgres) => postgres.core.conclude_submitted(&process, &conclusions).await,
        }
    }

    /// Sets how long to wait before asking about processes again.
    pub async fn postpone(&self, polls: Vec<(ProcessId, Duration)>) -> Result<(), InboxError> {
        if polls.is_empty() {
            return Ok(());
        }
        match &self.store {
            Store::Local(local) => local.postpone(polls).await,
            Store::Postgres(postgres) => postgres.core.postpone(&polls).await,
        }
    }
}
