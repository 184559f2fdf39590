//! Two PostgreSQL servers of one cluster: a primary whose commits wait for its standby, which can be cut off, promoted and made
//! anew. For tests of what is acknowledged while that happens.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::node::{House, Node, ask, until};

/// The database on both servers.
const DATABASE: &str = "inbox";

/// Settings of both servers.
const SETTINGS: [&str; 4] = ["fsync=on", "full_page_writes=on", "synchronous_commit=on", "shared_buffers=64MB"];

/// A primary and its standby.
#[derive(Debug)]
pub struct Pair {
    house: House,
    nodes: [Node; 2],
    primary: usize,
    is_synchronous: bool,
    environment: Vec<(String, String)>,
}

impl Pair {
    /// Starts both. From then on, commits on the primary wait for the standby. Like everything here, it blocks.
    pub fn start() -> Self {
        Self::start_as(true, |_| Vec::new())
    }

    /// As [`Self::start`], with further environment variables for the servers. They own the directory.
    pub fn start_with(environment: impl FnOnce(&Path) -> Vec<(String, String)>) -> Self {
        Self::start_as(true, environment)
    }

    /// Starts both. Commits on the primary wait for nothing, and the standby follows as fast as it can.
    pub fn start_asynchronous() -> Self {
        Self::start_as(false, |_| Vec::new())
    }

    fn start_as(is_synchronous: bool, environment: impl FnOnce(&Path) -> Vec<(String, String)>) -> Self {
        let house = House::new("gateway-pair-");
        let nodes = [house.node("one"), house.node("two")];
        house.fill(&nodes[0]);
        let environment = environment(&house.dir);
        let pair = Self { house, nodes, primary: 0, is_synchronous, environment };
        pair.serve(0);
        pair.ask_in(0, "postgres", &format!("CREATE DATABASE {DATABASE}"));
        // Every copy gets this setting, so it holds for whichever server is the primary. The server reads it once there is
        // a standby.
        if is_synchronous {
            pair.ask(0, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        }
        pair.make_standby();
        pair.ask(0, "SELECT pg_reload_conf()");
        pair.until_in_sync();
        pair
    }

    /// A URL with both servers, which leads to the primary for writes.
    pub fn url(&self) -> String {
        let [one, two] = &self.nodes;
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{DATABASE}", one.port, two.port)
    }

    /// The ports of both servers.
    pub fn ports(&self) -> [u16; 2] {
        [self.nodes[0].port, self.nodes[1].port]
    }

    /// The port of the primary.
    pub fn primary_port(&self) -> u16 {
        self.nodes[self.primary].port
    }

    /// The name of the database on both servers.
    pub fn database(&self) -> &'static str {
        DATABASE
    }

    fn standby(&self) -> usize {
        1 - self.primary
    }

    /// Sends a query to the primary. Returns one line per row.
    pub fn ask_primary(&self, sql: &str) -> Vec<String> {
        self.ask(self.primary, sql)
    }

    /// How many statements wait for the standby.
    pub fn waiting(&self) -> usize {
        self.ask_primary("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'").len()
    }

    /// Waits until a statement waits for the standby.
    pub fn until_waiting(&self) {
        until("a commit waits for the standby", || self.waiting() > 0);
    }

    /// Waits until the standby follows and, if commits wait for it, until they do.
    pub fn until_in_sync(&self) {
        let state = if self.is_synchronous { "sync" } else { "async" };
        let question =
            format!("SELECT 1 FROM pg_stat_replication WHERE sync_state = '{state}' AND state = 'streaming'");
        until("the standby follows", || !self.ask_primary(&question).is_empty());
    }

    /// Waits until the standby has everything that was written so far.
    pub fn until_caught_up(&self) {
        let written = self.ask_primary("SELECT pg_current_wal_lsn()").concat();
        let question = format!("SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= '{written}'");
        until("the standby has caught up", || !self.ask_primary(&question).is_empty());
    }

    /// Makes the primary cancel its clients' statements or end their connections: those that wait for the standby, and
    /// about half of the others.
    pub fn disturb(&self, is_gentle: bool) {
        let function = if is_gentle { "pg_cancel_backend" } else { "pg_terminate_backend" };
        self.ask_primary(&format!(
            "SELECT {function}(pid) FROM pg_stat_activity
             WHERE application_name = 'colony-gateway' AND pid <> pg_backend_pid() AND (random() < 0.5 OR wait_event = 'SyncRep')"
        ));
    }

    /// Cuts the standby off: it gets nothing more of what the primary writes.
    pub fn cut_off(&self) {
        self.ask(self.standby(), "ALTER SYSTEM SET primary_conninfo = ''");
        self.ask(self.standby(), "SELECT pg_reload_conf()");
        until("the standby is gone", || self.ask_primary("SELECT 1 FROM pg_stat_replication").is_empty());
    }

    /// Lets the standby follow again.
    pub fn join_again(&self) {
        self.ask(self.standby(), &format!("ALTER SYSTEM SET primary_conninfo = '{}'", self.primary_address()));
        self.ask(self.standby(), "SELECT pg_reload_conf()");
        self.until_in_sync();
    }

    /// Kills the primary, as a crash would, and starts it again.
    pub fn restart_primary(&self) {
        self.crash(self.primary);
        self.serve(self.primary);
    }

    /// Kills the primary and promotes the standby. The former primary becomes its standby, built from scratch.
    pub fn fail_over(&mut self) {
        self.crash(self.primary);
        let standby = self.standby();
        self.house.control(&self.nodes[standby], &["-w", "promote"], &[]).expect("it is promoted");
        self.primary = standby;
        self.make_standby();
        self.until_in_sync();
    }

    fn primary_address(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.nodes[self.primary].port)
    }

    /// Makes the other server a standby of the primary.
    fn make_standby(&self) {
        let node = &self.nodes[self.standby()];
        let _ = fs::remove_dir_all(&node.data);
        let (from, to) = (self.primary_address(), node.data.display().to_string());
        let copy = ["--no-sync", "--checkpoint=fast", "--wal-method=stream", "-d", &from, "-D", &to];
        self.house.run("pg_basebackup", &copy);
        let settings = node.data.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).expect("a server has settings");
        writeln!(text, "primary_conninfo = '{}'", self.primary_address()).expect("a text takes text");
        fs::write(&settings, text).expect("settings can be written");
        let signal = node.data.join("standby.signal");
        fs::write(&signal, "").expect("the data directory can be written");
        self.house.account.own(&signal);
        self.serve(self.standby());
    }

    fn serve(&self, node: usize) {
        self.house.serve(&self.nodes[node], &SETTINGS, &self.environment).expect("the server starts");
    }

    fn crash(&self, node: usize) {
        self.house.crash(&self.nodes[node]);
    }

    fn ask(&self, node: usize, sql: &str) -> Vec<String> {
        self.ask_in(node, DATABASE, sql)
    }

    fn ask_in(&self, node: usize, database: &str, sql: &str) -> Vec<String> {
        ask(self.nodes[node].port, database, sql)
    }
}
