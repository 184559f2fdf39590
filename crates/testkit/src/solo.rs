//! One PostgreSQL server of a test's own, whose files the test may look at and replace while it is down.

use std::fs;
use std::path::{Path, PathBuf};

use crate::node::{House, Node, ask, kill, postmaster};
use crate::postgres::free_port;

/// The database on the server.
const DATABASE: &str = "gateway";

/// Settings of every start. Segments of the log are small and checkpoints frequent, so that a short life has everything
/// that a long one has. Shared memory that lasts only as long as the server is kept in its files, not in the machine's
/// memory.
const SETTINGS: [&str; 6] = [
    "shared_buffers=32MB",
    "max_wal_size=4MB",
    "min_wal_size=2MB",
    "checkpoint_timeout=30s",
    "dynamic_shared_memory_type=mmap",
    "restart_after_crash=on",
];

/// A server that may be down.
#[derive(Debug)]
pub struct Solo {
    house: House,
    node: Node,
    /// The port on which the test looks into the server, apart from the port for others.
    look: u16,
}

impl Solo {
    /// A cluster with an empty database. Its server is not running.
    pub fn new() -> Self {
        let house = House::new("gateway-solo-");
        let node = house.node("data");
        house.fill(&node);
        let solo = Self { house, node, look: free_port() };
        let data = solo.node.data.display().to_string();
        solo.house.run("pg_resetwal", &["--wal-segsize=1", "-D", &data]);
        solo.start(&["fsync=off"], &[]).expect("the server starts");
        ask(solo.node.port, "postgres", &format!("CREATE DATABASE {DATABASE}"));
        solo.stop();
        solo
    }

    /// Stops the server in order.
    pub fn stop(&self) {
        self.house.control(&self.node, &["-w", "-m", "fast", "stop"], &[]).expect("it ends");
    }

    /// Its directory, which the server's account owns. A subdirectory holds the data.
    pub fn dir(&self) -> &Path {
        &self.house.dir
    }

    /// The directory with its data.
    pub fn data(&self) -> PathBuf {
        self.node.data.canonicalize().expect("it has data")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.node.port
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", self.node.port)
    }

    /// Starts the server. The error is its log if it does not come up.
    pub fn start(&self, settings: &[&str], environment: &[(String, String)]) -> Result<(), String> {
        self.house.serve(&self.node, &[&SETTINGS, settings].concat(), environment)
    }

    /// Whether it runs or is starting.
    pub fn is_up(&self) -> bool {
        postmaster(&self.node).is_some()
    }

    /// Kills all its processes with SIGKILL.
    pub fn kill(&self) {
        kill(&self.node);
    }

    /// Sends a query to its database. Returns one line per row.
    pub fn ask(&self, sql: &str) -> Vec<String> {
        ask(self.node.port, DATABASE, sql)
    }

    /// Starts it where nothing else finds it, asks these questions and stops it.
    pub fn look(&self, questions: &[&str]) -> Vec<Vec<String>> {
        let node = Node { data: self.node.data.clone(), port: self.look };
        self.house.serve(&node, &[&SETTINGS[..], &["fsync=off"]].concat(), &[]).expect("the server starts");
        let answers = questions.iter().map(|question| ask(self.look, DATABASE, question)).collect();
        kill(&node);
        answers
    }

    /// Gives a file or directory, with everything in it, to the server's account, as the server demands.
    pub fn give(&self, path: &Path) {
        self.house.account.give(path);
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.node.data.with_extension("log")).unwrap_or_default()
    }
}

impl Default for Solo {
    fn default() -> Self {
        Self::new()
    }
}
