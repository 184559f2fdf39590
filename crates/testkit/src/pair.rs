//! Two PostgreSQL servers of one cluster: a primary whose commits wait for its standby, which can be cut off, promoted and made
//! anew. For tests of what is acknowledged while that happens.
//!
//! As with [`crate::postgres`], a shell stands watch: nothing outlives the tests.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::{Account, binary, free_port};

/// Longest wait for a state of the servers.
const PATIENCE: Duration = Duration::from_mins(1);

/// The database of both.
const DATABASE: &str = "inbox";

/// Ends the servers and removes their files when the test process is gone.
const WATCH: &str = r#"
    dir=$1
    cat >/dev/null
    for file in "$dir"/*/postmaster.pid; do
        if [ -f "$file" ]; then kill -INT "$(head -n 1 "$file")"; fi
    done
    tries=0
    while [ $tries -lt 100 ] && ls "$dir"/*/postmaster.pid >/dev/null 2>&1; do sleep 0.1; tries=$((tries + 1)); done
    rm -rf "$dir"
"#;

/// A server of the pair.
#[derive(Debug)]
struct Node {
    data: PathBuf,
    port: u16,
}

/// A primary and its standby.
#[derive(Debug)]
pub struct Pair {
    dir: PathBuf,
    account: Account,
    nodes: [Node; 2],
    primary: usize,
    is_synchronous: bool,
    _watch: Child,
    _lifeline: ChildStdin,
}

impl Pair {
    /// Starts both; commits of the primary wait for the standby from here on. Blocks, as all of this does.
    pub fn start() -> Self {
        Self::start_as(true)
    }

    /// Starts both; commits of the primary wait for nothing, and the standby follows as it can.
    pub fn start_asynchronous() -> Self {
        Self::start_as(false)
    }

    fn start_as(is_synchronous: bool) -> Self {
        let account = Account::for_server();
        let dir = tempfile::Builder::new().prefix("gateway-pair-").tempdir().expect("a temporary directory").keep();
        account.own(&dir);
        let mut watch = account.command(Path::new("/bin/sh"));
        watch.current_dir("/").args(["-c", WATCH, "watch"]).arg(&dir);
        let mut watch =
            watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
        let lifeline = watch.stdin.take().expect("standard input is piped");
        let node = |name: &str| Node { data: dir.join(name), port: free_port() };
        let nodes = [node("one"), node("two")];
        account.copy(&account.template(&dir), &nodes[0].data);
        let pair = Self { dir, account, nodes, primary: 0, is_synchronous, _watch: watch, _lifeline: lifeline };
        pair.serve(0);
        pair.ask_in(0, "postgres", &format!("CREATE DATABASE {DATABASE}"));
        // Copied with all else, so that it holds for each of them as the primary; read once there is a standby.
        if is_synchronous {
            pair.ask(0, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        }
        pair.make_standby();
        pair.ask(0, "SELECT pg_reload_conf()");
        pair.until_in_sync();
        pair
    }

    /// The URL of both, of which the primary takes writes.
    pub fn url(&self) -> String {
        let [one, two] = &self.nodes;
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{DATABASE}", one.port, two.port)
    }

    fn standby(&self) -> usize {
        1 - self.primary
    }

    /// Asks the primary. One line a row.
    pub fn ask_primary(&self, sql: &str) -> Vec<String> {
        self.ask(self.primary, sql)
    }

    /// Statements that wait for the standby.
    pub fn waiting(&self) -> usize {
        self.ask_primary("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'").len()
    }

    /// Waits until some statement waits for the standby.
    pub fn until_waiting(&self) {
        until("a commit waits for the standby", || self.waiting() > 0);
    }

    /// Waits until the standby follows, and commits wait for it where they do.
    pub fn until_in_sync(&self) {
        let state = if self.is_synchronous { "sync" } else { "async" };
        let question =
            format!("SELECT 1 FROM pg_stat_replication WHERE sync_state = '{state}' AND state = 'streaming'");
        until("the standby follows", || !self.ask_primary(&question).is_empty());
    }

    /// Waits until the standby has all that was written so far.
    pub fn until_caught_up(&self) {
        let written = self.ask_primary("SELECT pg_current_wal_lsn()").concat();
        let question = format!("SELECT 1 FROM pg_stat_replication WHERE flush_lsn >= '{written}'");
        until("the standby has caught up", || !self.ask_primary(&question).is_empty());
    }

    /// Has the primary cancel what its clients run, or end their connections: about one in two.
    pub fn disturb(&self, is_gentle: bool) {
        let function = if is_gentle { "pg_cancel_backend" } else { "pg_terminate_backend" };
        self.ask_primary(&format!(
            "SELECT {function}(pid) FROM pg_stat_activity
             WHERE application_name = 'colony-gateway' AND pid <> pg_backend_pid() AND (random() < 0.5 OR wait_event = 'SyncRep')"
        ));
    }

    /// Cuts the standby off: nothing that the primary writes reaches it any more.
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

    /// Ends the primary at once, as a crash does, and starts it again.
    pub fn restart_primary(&self) {
        self.crash(self.primary);
        self.serve(self.primary);
    }

    /// Ends the primary at once and makes the standby the primary; what was the primary becomes its standby, from nothing.
    pub fn fail_over(&mut self) {
        self.crash(self.primary);
        let standby = self.standby();
        self.control(standby, &["-w", "promote"]);
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
        let copied = self
            .account
            .command(&binary("pg_basebackup"))
            .current_dir("/")
            .args(["--no-sync", "--checkpoint=fast", "--wal-method=stream", "-d", &self.primary_address(), "-D"])
            .arg(&node.data)
            .output()
            .expect("pg_basebackup runs");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let settings = node.data.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).expect("a server has settings");
        writeln!(text, "primary_conninfo = '{}'", self.primary_address()).expect("a text takes text");
        fs::write(&settings, text).expect("settings can be written");
        let signal = node.data.join("standby.signal");
        fs::write(&signal, "").expect("the data directory can be written");
        self.account.own(&signal);
        self.serve(self.standby());
    }

    fn serve(&self, node: usize) {
        let Node { data, port } = &self.nodes[node];
        let options = format!(
            "-p {port} -h 127.0.0.1 -k {} -c fsync=on -c full_page_writes=on -c synchronous_commit=on -c max_connections=200 \
             -c shared_buffers=64MB",
            self.dir.display()
        );
        let log = data.with_extension("log").display().to_string();
        self.control(node, &["-w", "-t", "60", "-l", &log, "-o", &options, "start"]);
    }

    fn crash(&self, node: usize) {
        self.control(node, &["-w", "-m", "immediate", "stop"]);
    }

    fn control(&self, node: usize, arguments: &[&str]) {
        let done = self
            .account
            .command(&binary("pg_ctl"))
            .current_dir("/")
            .arg("-D")
            .arg(&self.nodes[node].data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        let log = fs::read_to_string(self.nodes[node].data.with_extension("log")).unwrap_or_default();
        assert!(done.success(), "pg_ctl {arguments:?}: {log}");
    }

    fn ask(&self, node: usize, sql: &str) -> Vec<String> {
        self.ask_in(node, DATABASE, sql)
    }

    fn ask_in(&self, node: usize, database: &str, sql: &str) -> Vec<String> {
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", self.nodes[node].port);
        let mut psql = Command::new(binary("psql"));
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &url]);
        let output = psql.args(["--command", sql]).stdin(Stdio::null()).output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits by the machine's own clock")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it is not so yet: {what}");
        std::thread::yield_now();
    }
}
