//! A gateway's surroundings in a scenario: directories, ledger, colony, settings.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use colony_gateway::stripe::simulator::Tier;
use tempfile::TempDir;

use crate::account::{Account, Figures};
use crate::bee::Bees;
use crate::book::Book;
use crate::colony::Colony;
use crate::gateway::{Gateway, Options, get, read_reply};
use crate::postgres::{Database, Flavour};

/// Everything but the processes under test.
pub(crate) struct World {
    directory: TempDir,
    /// The state of record.
    pub(crate) book: Book,
    /// The colony, where there is one.
    pub(crate) colony: Option<Colony>,
    /// Settings of every process.
    pub(crate) options: Options,
}

/// Settings that every gateway and bee of the scenarios has: short waits, and the simulator's prices.
fn settings(directory: &TempDir) -> Options {
    let prices = [
        ("STRIPE_PRICE_BRONZE", Tier::Bronze),
        ("STRIPE_PRICE_SILVER", Tier::Silver),
        ("STRIPE_PRICE_GOLD", Tier::Gold),
    ];
    let options = Options::new(&directory.path().join("data"))
        .with("GATEWAY_RETRY_FIRST", "20ms")
        .with("GATEWAY_RETRY_MAX", "200ms")
        .with("GATEWAY_LEDGER_TIMEOUT", "3s")
        .with("GATEWAY_LEASE", "10s")
        // A machine that is busy with other tests may stall a commit; that is not what is looked at.
        .with("GATEWAY_APPEND_TIMEOUT", "50s")
        .with("GATEWAY_LOG", "info,request=off");
    prices.iter().fold(options, |options, (name, tier)| options.with(name, tier.price_id()))
}

impl World {
    /// A ledger in a file outside of the gateway's data directory.
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.db");
        let options = settings(&directory).with("GATEWAY_LEDGER_SQLITE_PATH", path.display());
        Self { book: Book::Sqlite(path), colony: None, options, directory }
    }

    /// A ledger in PostgreSQL, with its tables.
    pub(crate) fn postgres() -> Self {
        let book = Book::postgres();
        let Book::Postgres(database) = &book else { unreachable!("made above") };
        let url = database.url();
        Self::migrated(book, &url)
    }

    /// Ledger and inbox in one database, on a server of this test's own.
    pub(crate) fn on(url: &str) -> Self {
        Self::migrated(Book::Own(url.to_owned()), url).with_inbox(url)
    }

    fn migrated(book: Book, url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = settings(&directory).with("DATABASE_URL", url);
        let migrated = options.command().arg("migrate").output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        Self { book, colony: None, options, directory }
    }

    /// With a colony, through which entries go.
    pub(crate) fn with_colony(self) -> Self {
        let colony = Colony::start();
        let options = colony.settings(self.options, colony.address());
        Self { options, colony: Some(colony), ..self }
    }

    /// With the inbox in a database. What a gateway held that died comes back to the others soon.
    pub(crate) fn with_inbox(self, url: &str) -> Self {
        let options = self.options.clone().with("GATEWAY_INBOX_URL", url);
        Self { options: options.with("GATEWAY_LEASE", "5s").with("GATEWAY_LEDGER_TIMEOUT", "2s"), ..self }
    }

    /// With the inbox in a database of its own on the tests' server, whose commits are synced.
    pub(crate) fn with_inbox_in_postgres(self) -> Self {
        let database = tokio::runtime::Runtime::new().unwrap().block_on(Database::create(Flavour::Durable));
        self.with_inbox(&database.url())
    }

    /// Puts the ledger's file elsewhere.
    pub(crate) fn move_ledger(&mut self, path: &Path) {
        self.options = self.options.clone().with("GATEWAY_LEDGER_SQLITE_PATH", path.display());
        self.book = Book::Sqlite(path.to_owned());
    }

    /// Settings of a further gateway with a data directory of its own.
    pub(crate) fn another(&self, name: &str) -> Options {
        Options { data: self.path(name), ..self.options.clone() }
    }

    /// Settings of bees with a key and a name of their own.
    pub(crate) fn bees(&self, name: &str) -> Options {
        let colony = self.colony.as_ref().expect("a colony");
        colony.settings(self.another(name), colony.address()).with("EXECUTOR_NAME", name)
    }

    /// A path in the world's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until these gateways have brought everything to its end, and takes the account.
    pub(crate) fn settle(&self, gateways: &[&Gateway], account: &Account, mut figures: Figures) -> Figures {
        for gateway in gateways {
            let health = until_idle(gateway);
            let held = (&health["inbox"]["dead"], &health["inbox"]["quarantined"]);
            assert_eq!(held, (&0.into(), &0.into()), "nothing was wrong with any event: {health}");
        }
        for place in std::fs::read_dir(self.directory.path()).unwrap() {
            figures.recognised += recognised(&place.unwrap().path().join("inbox.db"));
        }
        account.settle(&self.book, figures)
    }
}

/// Entries of an inbox that the ledger knew already.
fn recognised(inbox: &Path) -> u64 {
    // A disk's shadow has a file of this name too, and no lock.
    if !inbox.with_file_name("inbox.lock").exists() {
        return 0;
    }
    let connection = rusqlite::Connection::open(inbox).unwrap();
    connection
        .query_row("SELECT COUNT(*) FROM entries WHERE code = 'duplicate'", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .unsigned_abs()
}

/// Waits until nothing is on its way any more; as long as something moves, patience begins anew.
pub(crate) fn until_idle(gateway: &Gateway) -> serde_json::Value {
    let mut backlog = i64::MAX;
    loop {
        // Nothing is known of an inbox that is away.
        let left = |health: &serde_json::Value| {
            ["waiting", "leased", "submitted"].iter().map(|state| health["inbox"][state].as_i64()).sum::<Option<i64>>()
        };
        let health = gateway.until(|health| left(health).is_some_and(|left| left == 0 || left < backlog));
        backlog = left(&health).unwrap();
        if backlog == 0 {
            return health;
        }
    }
}

/// Bees that were killed are started again.
pub(crate) fn restart(bees: Bees, options: &Options) -> Bees {
    bees.kill();
    Bees::start(options)
}

/// Waits until a gateway that may die at any moment has died or has nothing on its way.
pub(crate) fn until_gone_or_idle(gateway: &Gateway) {
    let is_idle = || {
        let mut stream = std::net::TcpStream::connect(gateway.admin).ok()?;
        stream.write_all(&get("/health")).ok()?;
        let reply = read_reply(&mut stream)?;
        let health: serde_json::Value = serde_json::from_str(&reply.body).ok()?;
        Some(["waiting", "leased"].iter().all(|state| health["inbox"][state] == 0))
    };
    while is_idle() == Some(false) {
        std::thread::yield_now();
    }
}
