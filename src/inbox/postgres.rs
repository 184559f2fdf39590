//! The inbox in PostgreSQL, for gateways that are many or whose disks do not outlive them.
//!
//! Guarantees: those of the inbox (see [`super`]), for all gateways that share the database together. Any of them works on what any
//! received. Time is the database's. A gateway that dies loses its leases when their time is over; one that stalls concludes
//! nothing.
//!
//! It needs what PostgreSQL-compatible engines share: transactions, row locks with `SKIP LOCKED`, and a retry where another
//! transaction was in the way. Each statement is one trip and one transaction, so that a pooler may stand between.

mod alerts;
mod append;
mod away;
mod carry;
mod carry_orders;
mod conclude;
mod database;
mod deeds;
mod due;
mod fault;
mod insert;
mod kept;
mod lease;
mod leave;
mod links;
mod look;
mod numbers;
mod operate;
mod pace;
mod references;
mod retain;
mod schema;
mod steps;
mod story;
mod time;

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use self::append::Arrival;
use self::due::Mark;
use self::fault::Fault;
use self::kept::Kept;
use self::links::{LinkOptions, Links};
use self::numbers::Numbers;
use self::retain::Cursor;
use self::time::Clocks;
use super::InboxOptions;
use super::breakage::watched;
use super::entry::{NewEntry, Receipt};
use super::error::{InboxError, OpenError};
use super::moving::MOVED_MARK;
use super::stats::WriterStats;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::secret::Secret;
use crate::postgres::{Address, Pool};

const TEXTS: Type = Type::TEXT_ARRAY;
const BIGINTS: Type = Type::INT8_ARRAY;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How to reach an inbox in PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresInboxOptions {
    /// `postgres://…`; several hosts between commas are tried until one can be written to.
    pub url: Secret,
    /// Most connections at once.
    pub connections: usize,
    /// Longest wait for the answer to a statement.
    pub deadline: Duration,
    /// Most events waiting to be stored. One more is refused with [`InboxError::Overloaded`].
    pub queue_max: usize,
    /// Most events in one commit.
    pub group_max: usize,
    /// Whether to accept a server that loses commits when the power fails.
    pub allows_unsafe: bool,
    /// Whose clock counts: the database's, or in tests their own.
    pub time: Time,
    /// How long what arrives may be kept for the pumps of this gateway before it is offered to all.
    pub keep: Duration,
    /// A file on this machine that takes deliveries while the database takes none.
    pub spill: Option<InboxOptions>,
}

/// Whose clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The database's.
    Database,
    /// The clock that the inbox is opened with.
    Clock,
}

impl PostgresInboxOptions {
    /// With eight connections, five seconds for a statement, and one for what is kept.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            connections: 8,
            deadline: Duration::from_secs(5),
            queue_max: 4096,
            group_max: 512,
            allows_unsafe: false,
            time: Time::Database,
            keep: kept::KEEP,
            spill: None,
        }
    }
}

/// What all parts of the store share.
pub(super) struct Core {
    links: Links,
    numbers: Numbers,
    /// For entries from another inbox, by the time of their receipt.
    carried: Numbers,
    mark: Mark,
    kept: Kept,
    /// When this gateway last had the server count rows.
    counted: Mutex<Option<Instant>>,
    /// Tokens of leases whose answers were lost.
    lost_leases: Mutex<Vec<i64>>,
    swept: Cursor,
    clocks: Clocks,
    /// Identifies this run of the gateway.
    run: i64,
    clock: Clock,
    time: Time,
    pub(super) stats: Arc<WriterStats>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("run", &self.run).finish_non_exhaustive()
    }
}

/// An entry that was not stored, and why.
#[derive(Debug)]
pub(super) struct NotStored {
    pub(super) error: InboxError,
    /// The entry, to store elsewhere; `None` if the store is closed.
    pub(super) entry: Option<Box<NewEntry>>,
}

impl From<NotStored> for InboxError {
    fn from(refused: NotStored) -> Self {
        refused.error
    }
}

/// Handle on an inbox in PostgreSQL. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct PostgresInbox {
    pub(super) core: Arc<Core>,
    arrivals: mpsc::Sender<Arrival>,
}

impl PostgresInbox {
    /// Reads the options. Connects when it is first used. The thread stores arrivals until every handle is gone.
    pub(super) fn open(
        options: &PostgresInboxOptions,
        clock: Clock,
        fatal: &watch::Sender<Option<String>>,
    ) -> Result<(Self, std::thread::JoinHandle<()>), OpenError> {
        let address = Address::read(options.url.expose()).map_err(|error| unusable(&error))?;
        let address = address.within(CONNECT_TIMEOUT, options.deadline);
        let stats: Arc<WriterStats> = Arc::default();
        let links = LinkOptions {
            pool: Pool::new(address, options.connections).map_err(|error| unusable(&error))?,
            deadline: options.deadline,
            allows_unsafe: options.allows_unsafe,
        };
        let core = Arc::new(Core {
            links: Links::new(links, Arc::clone(&stats)),
            numbers: Numbers::default(),
            carried: Numbers::default(),
            mark: Mark::default(),
            kept: Kept::new(options.keep),
            counted: Mutex::default(),
            lost_leases: Mutex::default(),
            swept: Cursor::default(),
            clocks: Clocks::default(),
            run: fastrand::i64(1..i64::MAX),
            clock,
            time: options.time,
            stats,
        });
        let (arrivals, queue) = mpsc::channel(options.queue_max);
        let (writer, group_max) = (Arc::clone(&core), options.group_max);
        let cannot = |source| OpenError::Thread { source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let run = watched(fatal, move || runtime.block_on(append::run(writer, queue, group_max)));
        let thread = std::thread::Builder::new().name("inbox-writer".to_owned()).spawn(run).map_err(cannot)?;
        Ok((Self { core, arrivals }, thread))
    }

    /// Stores an entry, unless too many are waiting.
    pub(super) async fn store(&self, entry: NewEntry) -> Result<Receipt, NotStored> {
        let (reply, answer) = oneshot::channel();
        self.arrivals.try_send(Arrival { entry, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(Arrival { entry, .. }) => {
                NotStored { error: InboxError::Overloaded, entry: Some(Box::new(entry)) }
            }
            mpsc::error::TrySendError::Closed(_) => NotStored { error: InboxError::Closed, entry: None },
        })?;
        answer.await.unwrap_or(Err(NotStored { error: InboxError::Closed, entry: None }))
    }

    /// Asks to store an entry as soon as there is room. The result comes later.
    pub(super) async fn append(
        &self,
        entry: NewEntry,
    ) -> Result<oneshot::Receiver<Result<Receipt, NotStored>>, InboxError> {
        let (reply, answer) = oneshot::channel();
        self.arrivals.send(Arrival { entry, reply }).await.map_err(|_| InboxError::Closed)?;
        Ok(answer)
    }
}

impl Core {
    /// Makes the tables if they are missing.
    pub(super) async fn prepare(&self) -> Result<(), InboxError> {
        let prepared = self.make_ready().await;
        if let Err(error) = &prepared {
            self.links.failed(error);
        }
        prepared
    }

    async fn make_ready(&self) -> Result<(), InboxError> {
        const QUESTION: &str = "
            SELECT name, value FROM gateway_inbox.marks WHERE name = $1 OR starts_with(name, $2) ORDER BY name = $1 DESC";
        let ask = || async {
            self.links.run(QUESTION, &[(&schema::FORMAT_MARK, Type::TEXT), (&MOVED_MARK, Type::TEXT)]).await
        };
        let mut asked = ask().await;
        if asked.as_ref().is_err_and(Fault::is_missing_table) {
            // If several gateways do this at once, one may see what another has made only by half.
            let made = self.make_tables().await;
            asked = ask().await;
            if asked.as_ref().is_err_and(Fault::is_missing_table) {
                made?;
            }
        }
        let rows = asked?.rows;
        if let Some(moved) = rows.get(1).map(leave::moved) {
            return Err(leave::refusal(moved).into());
        }
        let found: Option<i64> = rows.first().map(|row| row.get(1));
        match found {
            Some(schema::FORMAT) => Ok(()),
            found => {
                let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
                let why = format!(
                    "its tables have format {found}, this program knows {}: run the program that made them",
                    schema::FORMAT
                );
                Err(Fault::unfit(why).into())
            }
        }
    }

    /// Makes the schema and the tables. A role that owns the schema need not own the database.
    async fn make_tables(&self) -> Result<(), Fault> {
        let tables = [schema::CREATE, deeds::CREATE, steps::CREATE].concat();
        let rows = self.links.run("SELECT to_regnamespace('gateway_inbox') IS NOT NULL", &[]).await?.rows;
        if rows.first().is_some_and(|row| row.get(0)) {
            return self.links.run_all(&tables).await;
        }
        self.links.run_all(&[schema::CREATE_SCHEMA, &tables].concat()).await
    }

    /// The time for a statement; `None` if the database's counts.
    fn time(&self) -> Option<i64> {
        match self.time {
            Time::Database => None,
            Time::Clock => Some(self.clock.now().millis()),
        }
    }

    /// How far this machine's clock is ahead of the database's, in milliseconds.
    pub(super) async fn ask_time(&self) -> Result<i64, InboxError> {
        let question = concat!("SELECT ", schema::now!());
        let rows = self.links.run(question, &[(&self.time(), Type::INT8)]).await?.rows;
        Ok(rows.first().map_or_else(|| self.clocks.ahead(), |row| self.clock.now().millis() - row.get::<_, i64>(0)))
    }

    /// A time of the database as this machine's clock showed it, for comparison with that clock.
    fn here(&self, database: i64) -> Timestamp {
        Timestamp::from_millis(database.saturating_add(self.clocks.ahead()))
    }

    /// Notes whether the last write succeeded.
    fn wrote(&self, error: Option<&InboxError>) {
        match error {
            None => {
                self.stats.commits.fetch_add(1, Ordering::Relaxed);
                self.links.away.is_back();
                if !self.stats.writable.swap(true, Ordering::Relaxed) {
                    tracing::info!("inbox: writes succeed again");
                }
            }
            Some(error) => {
                self.stats.failures.fetch_add(1, Ordering::Relaxed);
                self.links.failed(error);
            }
        }
    }

    /// Whether the database is known to be away, so that arrivals may go into the file beside it.
    pub(super) fn is_away(&self) -> bool {
        self.links.away.is_known()
    }

    /// Whether an arrival that is refused with this error may go into the file beside the database.
    pub(super) fn may_stand_beside(&self, error: &InboxError) -> bool {
        error.is_away() && self.links.away.may_be()
    }

    /// The number under a name, if it was ever set.
    pub(super) async fn mark(&self, name: &str) -> Result<Option<i64>, InboxError> {
        let question = "SELECT value FROM gateway_inbox.marks WHERE name = $1";
        match self.links.run(question, &[(&name, Type::TEXT)]).await {
            Ok(answer) => Ok(answer.rows.first().map(|row| row.get(0))),
            // The first gateway has not made the tables yet.
            Err(fault) if fault.is_missing_table() => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    pub(super) async fn set_mark(&self, name: &str, value: i64) -> Result<(), InboxError> {
        let statement = concat!(
            "WITH kept AS (INSERT INTO gateway_inbox.marks (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING 1) SELECT ",
            schema::durable!(),
            " FROM kept"
        );
        self.links.run_durably(statement, &[(&name, Type::TEXT), (&value, Type::INT8)]).await?;
        Ok(())
    }

    /// Whether the database takes writes.
    pub(super) async fn probe(&self) -> Result<(), InboxError> {
        let mut probed = self.set_mark("probe", 0).await;
        // After a move away the entries' tables are gone, but this one is not.
        if probed.is_ok()
            && let Some(moved) = self.moved_to().await?
        {
            probed = Err(leave::refusal(moved).into());
        }
        self.wrote(probed.as_ref().err());
        probed
    }
}

/// The statements that take and end leases, for tests of their plans.
#[cfg(test)]
pub(super) const LEASES_AND_END: [&str; 3] = [due::LEASE_ALL, due::LEASE, conclude::END];

/// The error for the URL of an inbox in PostgreSQL that cannot be used.
fn unusable(error: &impl std::error::Error) -> OpenError {
    OpenError::Url { message: error.to_string() }
}

/// Milliseconds of a duration, in the type of the columns.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A number of things, in the type of the columns.
fn number_of(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// A text that PostgreSQL accepts: without zero bytes.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) }
}
