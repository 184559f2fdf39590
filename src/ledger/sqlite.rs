//! The ledger in one SQLite file, for `dev`, tests and single machines.
//!
//! One thread owns the connection; callers hand it work through a bounded queue, so an `await` never blocks a runtime
//! thread on the disk. A batch is one transaction, synced to disk before the call returns (`synchronous=FULL`).
//!
//! Keeps truth, claims, revenue and findings. The projections for legacy readers exist on PostgreSQL only.

mod apply;
mod attention;
mod audit;
mod bindings;
mod claims;
mod desk;
mod entries;
mod erase;
mod erased;
mod events;
mod expiry;
mod fault;
mod inspect;
mod recount;
mod reports;
mod schema;
mod settle;
mod truth;
mod vouched;
mod witness;

pub use self::inspect::inspect;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use self::fault::fault;
use super::audit::{Audit, LeaseAnswer, LeaseAsk, SubscriptionFacts, SubscriptionKey};
use super::desk::{
    Business, Desk, EventReport, EventWanted, Noted, PersonReport, SubscriptionPage, SubscriptionsWanted, Whom,
};
use super::report::{Attention, FindingLine, FindingsWanted, REPORT_LINES_MAX, Reports, SubscriptionLine, Summary};
use super::shadow::{OldOwner, Rehearsed, Shadow, ShadowReport, Switched};
use super::witness::{Testimony, Witness};
use super::{BoxFuture, Ledger, LedgerError, LedgerErrorKind, Outcome};
use crate::domain::clock::Clock;
use crate::domain::held_files::HeldFiles;
use crate::domain::ledger_id::LedgerId;
use crate::domain::private;
use crate::revenue::verdict::Verdict;

/// Name of this ledger in logs, metrics and errors.
const NAME: &str = "sqlite";

/// Most calls that wait for the thread. One more gets [`LedgerErrorKind::Overload`].
pub const QUEUE_CALLS_MAX: usize = 64;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// The ledger in one SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    clock: Clock,
    /// The file and its log; nothing for a ledger in memory.
    held: Arc<HeldFiles>,
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl SqliteLedger {
    /// Opens the file, creating it and its tables when they are not there.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, LedgerError> {
        // If the file cannot be made, SQLite's own error says better why.
        let _ = private::file(path);
        let connection = Connection::open(path).map_err(fault)?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Self::start(connection, clock, [path.to_owned(), log.into()])
    }

    /// A ledger in memory, which ends with this value.
    pub fn in_memory(clock: Clock) -> Result<Self, LedgerError> {
        let connection = Connection::open_in_memory().map_err(fault)?;
        Self::start(connection, clock, [])
    }

    fn start(
        mut connection: Connection,
        clock: Clock,
        files: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self, LedgerError> {
        schema::prepare(&mut connection)?;
        let held = Arc::new(HeldFiles::opened(files));
        let (queue, mut work) = mpsc::channel::<Work>(QUEUE_CALLS_MAX);
        let thread = std::thread::Builder::new()
            .name("ledger-sqlite".to_owned())
            .spawn(move || {
                while let Some(work) = work.blocking_recv() {
                    work(&mut connection);
                }
            })
            .map_err(|error| {
                LedgerError::new(NAME, LedgerErrorKind::Unavailable, "cannot start its thread").caused_by(error)
            })?;
        Ok(Self { clock, held, queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` on the thread that owns the connection, as long as the file has its name. What is written to a file without one is
    /// lost at the end, and what is read there is no longer the record.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, answered) = oneshot::channel();
        let held = Arc::clone(&self.held);
        let work: Work = Box::new(move |connection| {
            let done = match held.displaced() {
                Some(path) => Err(displaced(path)),
                None => work(connection),
            };
            // The caller may have given up waiting; the work is done in any case.
            let _ = answer.send(done);
        });
        let ended = || LedgerError::new(NAME, LedgerErrorKind::Unavailable, "its thread has ended: restart");
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::new(NAME, LedgerErrorKind::Overload, "too many calls wait"),
            TrySendError::Closed(_) => ended(),
        })?;
        answered.await.map_err(|_| ended())?
    }
}

fn displaced(path: &Path) -> LedgerError {
    let message = format!("{} was removed, or another file has its name: put it back, or restart", path.display());
    LedgerError::new(NAME, LedgerErrorKind::Storage, message)
}

impl Drop for SqliteLedger {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Ledger for SqliteLedger {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_in_this_program(&self) -> bool {
        true
    }

    fn apply_for<'a>(
        &'a self,
        meant_for: Option<&'a LedgerId>,
        batch: &'a [Verdict],
    ) -> BoxFuture<'a, Result<Vec<Outcome>, LedgerError>> {
        Box::pin(async move {
            let (batch, now) = (batch.to_vec(), self.clock.now());
            let meant_for = meant_for.cloned();
            let apply = move |connection: &mut Connection| {
                if let Some(meant_for) = &meant_for {
                    witness::refuse_other(connection, meant_for)?;
                }
                apply::apply(connection, &batch, now)
            };
            self.call(apply).await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(self.call(schema::check))
    }
}

impl Reports for SqliteLedger {
    fn summary(&self, days: u32) -> BoxFuture<'_, Result<Summary, LedgerError>> {
        Box::pin(self.call(move |connection| reports::summary(connection, days.min(REPORT_LINES_MAX))))
    }

    fn subscriptions(&self, limit: u32) -> BoxFuture<'_, Result<Vec<SubscriptionLine>, LedgerError>> {
        Box::pin(self.call(move |connection| reports::subscriptions(connection, limit.min(REPORT_LINES_MAX))))
    }

    fn attention(&self, most: u32) -> BoxFuture<'_, Result<Attention, LedgerError>> {
        let now = self.clock.now();
        Box::pin(self.call(move |connection| attention::attention(connection, most.min(REPORT_LINES_MAX), now)))
    }

    fn findings<'a>(
        &'a self,
        wanted: &'a FindingsWanted,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<FindingLine>, LedgerError>> {
        let wanted = wanted.clone();
        Box::pin(self.call(move |connection| attention::findings(connection, &wanted, most.min(REPORT_LINES_MAX))))
    }
}

impl Audit for SqliteLedger {
    fn known_events<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<String>, LedgerError>> {
        let ids = ids.to_vec();
        Box::pin(self.call(move |connection| audit::known_events(connection, &ids)))
    }

    fn subscription_facts<'a>(
        &'a self,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<SubscriptionFacts>, LedgerError>> {
        let ids = ids.to_vec();
        Box::pin(self.call(move |connection| audit::facts(connection, &ids)))
    }

    fn subscriptions_after<'a>(
        &'a self,
        after: &'a str,
        livemode: bool,
    ) -> BoxFuture<'a, Result<Vec<SubscriptionKey>, LedgerError>> {
        let after = after.to_owned();
        Box::pin(self.call(move |connection| audit::after(connection, &after, livemode)))
    }

    fn lease<'a>(&'a self, ask: &'a LeaseAsk) -> BoxFuture<'a, Result<LeaseAnswer, LedgerError>> {
        let (ask, now) = (ask.clone(), self.clock.now());
        Box::pin(self.call(move |connection| audit::lease(connection, &ask, now)))
    }
}

impl Desk for SqliteLedger {
    fn person<'a>(&'a self, whom: &'a Whom) -> BoxFuture<'a, Result<PersonReport, LedgerError>> {
        let whom = whom.clone();
        Box::pin(self.call(move |connection| desk::person(connection, &whom)))
    }

    fn business(&self, days: u32) -> BoxFuture<'_, Result<Business, LedgerError>> {
        let now = self.clock.now();
        Box::pin(self.call(move |connection| desk::business(connection, days, now)))
    }

    fn subscription_page<'a>(
        &'a self,
        wanted: &'a SubscriptionsWanted,
    ) -> BoxFuture<'a, Result<SubscriptionPage, LedgerError>> {
        let wanted = wanted.clone();
        Box::pin(self.call(move |connection| desk::page(connection, &wanted)))
    }

    fn event<'a>(&'a self, wanted: &'a EventWanted) -> BoxFuture<'a, Result<EventReport, LedgerError>> {
        let wanted = wanted.clone();
        Box::pin(self.call(move |connection| desk::event(connection, &wanted)))
    }

    fn note_recurring(&self) -> BoxFuture<'_, Result<Noted, LedgerError>> {
        let now = self.clock.now();
        Box::pin(self.call(move |connection| desk::note(connection, now)))
    }
}

impl Witness for SqliteLedger {
    fn witness<'a>(&'a self, events: &'a [String]) -> BoxFuture<'a, Result<Testimony, LedgerError>> {
        let events = events.to_vec();
        Box::pin(self.call(move |connection| witness::witness(connection, &events)))
    }
}

/// A file has no public tables, so there is nothing to switch, show or compare.
impl Shadow for SqliteLedger {
    fn is_shadow(&self) -> BoxFuture<'_, Result<Option<bool>, LedgerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn set_shadow(&self, _: bool) -> BoxFuture<'_, Result<Switched, LedgerError>> {
        Box::pin(std::future::ready(Ok(Switched::default())))
    }

    fn refresh<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<String>, LedgerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn old_owners(&self) -> BoxFuture<'_, Result<Vec<OldOwner>, LedgerError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn rehearse<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Rehearsed, LedgerError>> {
        Box::pin(std::future::ready(Ok(Rehearsed::default())))
    }

    fn shadow_report(&self, _: u32) -> BoxFuture<'_, Result<ShadowReport, LedgerError>> {
        Box::pin(std::future::ready(Ok(ShadowReport::default())))
    }
}
