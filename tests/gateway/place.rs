//! The places of inbox and ledger in these tests: files of the gateway's own, or one database for both.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rusqlite::Connection;
use tempfile::TempDir;
use testkit::sql::Session;
use tokio::runtime::Runtime;

use crate::commands::run;
use crate::gateway::Options;
use crate::postgres::{Database, Flavour};

/// Bytes on a small disk that a test can free.
const FILLER: usize = 2 * 1024 * 1024;

/// Size of an empty database, and some more, in bytes.
const DATABASE_BYTES: usize = 12 * 1024 * 1024;

/// A place for one gateway.
pub(crate) struct Place {
    directory: TempDir,
    store: Store,
}

enum Store {
    File,
    Postgres { inbox: Database, ledger: Database },
}

/// An obstacle that lasts until it is dropped.
pub(crate) enum Held {
    /// A lock of a file.
    File(#[expect(dead_code, reason = "kept for its lock")] Connection),
    /// A lock of a table.
    Table(Option<Box<Session>>),
    /// A database that refuses writes.
    ReadOnly(Database),
}

/// Runs the tests' own queries and locks.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
}

impl Place {
    /// Inbox and ledger in files.
    pub(crate) fn file() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), store: Store::File }
    }

    /// Inbox and ledger in one database.
    pub(crate) fn postgres() -> Self {
        let database = runtime().block_on(Database::create(Flavour::Durable));
        Self::of(database.clone(), database)
    }

    fn of(inbox: Database, ledger: Database) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), store: Store::Postgres { inbox, ledger } };
        let (code, _, stderr) = run(&place.options(), &["migrate"]);
        assert_eq!(code, 0, "{stderr}");
        place
    }

    /// The options of a gateway at this place.
    pub(crate) fn options(&self) -> Options {
        let options = Options::new(self.directory.path());
        match &self.store {
            Store::File => options,
            // Entries that a killed gateway held come back soon.
            Store::Postgres { inbox, ledger } => options
                .with("DATABASE_URL", ledger.url())
                .with("GATEWAY_INBOX_URL", inbox.url())
                .with("GATEWAY_LEASE", "4s")
                .with("GATEWAY_LEDGER_TIMEOUT", "2s"),
        }
    }

    /// A short timeout of the store that is still long enough without an obstacle.
    pub(crate) fn short_wait(&self) -> &'static str {
        match &self.store {
            Store::File => "50ms",
            Store::Postgres { .. } => "2s",
        }
    }

    /// Number of rounds, for tests that start a gateway in each round.
    pub(crate) fn rounds(&self) -> u64 {
        match &self.store {
            Store::File => 5,
            Store::Postgres { .. } => 3,
        }
    }

    /// Ids of the events in the inbox, whether the gateway runs or not.
    pub(crate) fn stored(&self) -> BTreeSet<String> {
        match &self.store {
            Store::File => ids(&self.file_of("inbox.db"), "SELECT event_id FROM entries"),
            Store::Postgres { inbox, .. } => values(inbox, "SELECT event_id FROM gateway_inbox.entries"),
        }
    }

    /// Ids of the events in the ledger.
    pub(crate) fn applied(&self) -> BTreeSet<String> {
        match &self.store {
            Store::File => ids(&self.file_of("ledger.db"), "SELECT id FROM events"),
            Store::Postgres { ledger, .. } => values(ledger, "SELECT id FROM gateway.events"),
        }
    }

    /// Blocks commits to the inbox until the result is dropped.
    pub(crate) fn hold_inbox(&self) -> Held {
        match &self.store {
            Store::File => hold(&self.file_of("inbox.db")),
            Store::Postgres { inbox, .. } => hold_table(inbox, "gateway_inbox.entries, gateway_inbox.marks"),
        }
    }

    /// Blocks commits to the ledger until the result is dropped.
    pub(crate) fn hold_ledger(&self) -> Held {
        match &self.store {
            Store::File => hold(&self.file_of("ledger.db")),
            Store::Postgres { ledger, .. } => hold_table(ledger, "gateway.events"),
        }
    }

    /// Makes the database of the inbox read-only until the result is dropped.
    pub(crate) fn make_read_only(&self) -> Held {
        let Store::Postgres { inbox, .. } = &self.store else { unreachable!("asked of a database") };
        set_read_only(inbox, true);
        Held::ReadOnly(inbox.clone())
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A place like this on a disk of a few megabytes, at least for the inbox. `None` if the tests may not mount a disk.
    pub(crate) fn on_a_small_disk(&self) -> Option<SmallDisk> {
        match &self.store {
            Store::File => SmallDisk::mount(2 * FILLER, |_| Self::file()),
            Store::Postgres { .. } => SmallDisk::mount(DATABASE_BYTES + FILLER, |disk| {
                let name = format!("small_{}", std::process::id());
                let (inbox, ledger) = runtime().block_on(async {
                    let inbox = Database::create_at(Flavour::Durable, &name, disk).await;
                    (inbox, Database::create(Flavour::Durable).await)
                });
                Self::of(inbox, ledger)
            }),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::File(_) => {}
            Self::Table(session) => {
                if let Some(session) = session.take() {
                    runtime().block_on(session.close());
                }
            }
            Self::ReadOnly(database) => set_read_only(database, false),
        }
    }
}

/// Holds the write lock of a file, which blocks commits.
fn hold(file: &Path) -> Held {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(crate::gateway::PATIENCE).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    Held::File(connection)
}

fn hold_table(database: &Database, tables: &str) -> Held {
    let session = runtime().block_on(async {
        let mut session = database.session().await;
        session.execute(format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE")).await.unwrap();
        session
    });
    Held::Table(Some(Box::new(session)))
}

/// Makes a database read-only as providers do: for new connections, and it ends the existing ones.
fn set_read_only(database: &Database, is_so: bool) {
    let is_so = if is_so { "on" } else { "off" };
    runtime().block_on(async {
        let mut session = database.session().await;
        let name: String = session.value("SELECT current_database()").await.unwrap();
        session.execute("SET default_transaction_read_only = off").await.unwrap();
        session.execute(format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_so}")).await.unwrap();
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        session.rows(others).await.unwrap();
        session.close().await;
    });
}

fn ids(file: &Path, question: &str) -> BTreeSet<String> {
    let connection = Connection::open(file).unwrap();
    let mut statement = connection.prepare(question).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn values(database: &Database, question: &str) -> BTreeSet<String> {
    let ids: Vec<String> = runtime().block_on(database.sessions().values(question)).unwrap();
    ids.into_iter().collect()
}

/// A place on a file system of a few megabytes. If the inbox is a file, the ledger is on another disk.
pub(crate) struct SmallDisk {
    place: Place,
    disk: TempDir,
}

impl SmallDisk {
    fn mount(bytes: usize, make: impl FnOnce(&Path) -> Place) -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(disk.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            return None;
        }
        fs::set_permissions(disk.path(), Permissions::from_mode(0o777)).unwrap();
        let place = make(disk.path());
        // Last, so that the first files have room.
        fs::write(disk.path().join("filler"), vec![0; FILLER]).unwrap();
        Some(Self { place, disk })
    }

    /// The options of a gateway at this place.
    pub(crate) fn options(&self) -> Options {
        let options = self.place.options();
        match &self.place.store {
            Store::File => {
                let ledger = self.place.file_of("ledger.db");
                Options { data: self.disk.path().join("data"), ..options }
                    .with("GATEWAY_LEDGER_SQLITE_PATH", ledger.display())
            }
            Store::Postgres { .. } => options,
        }
    }

    /// Ids of the events in the ledger.
    pub(crate) fn applied(&self) -> BTreeSet<String> {
        self.place.applied()
    }

    /// Frees some space.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.disk.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Store::Postgres { inbox, .. } = &self.place.store {
            runtime().block_on(inbox.remove());
        }
        let _ = Command::new("umount").arg(self.disk.path()).status();
    }
}
