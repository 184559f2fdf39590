//! PostgreSQL servers of a test's own, which it starts, ends and asks as it likes.
//!
//! As with [`crate::postgres`], a shell stands watch: nothing outlives the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::postgres::{Account, binary, free_port};

/// Longest wait for the servers to reach a state.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ends the servers and removes their files when the test process dies.
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

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
}

/// A directory with servers, and the account that runs them.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) dir: PathBuf,
    pub(crate) account: Account,
    _watch: Child,
    _lifeline: ChildStdin,
}

impl House {
    pub(crate) fn new(prefix: &str) -> Self {
        let account = Account::for_server();
        let dir = tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary directory").keep();
        account.own(&dir);
        let mut watch = account.command(Path::new("/bin/sh"));
        watch.current_dir("/").args(["-c", WATCH, "watch"]).arg(&dir);
        let mut watch =
            watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh runs");
        let lifeline = watch.stdin.take().expect("standard input is piped");
        Self { dir, account, _watch: watch, _lifeline: lifeline }
    }

    /// A place for a server, still without data.
    pub(crate) fn node(&self, name: &str) -> Node {
        Node { data: self.dir.join(name), port: free_port() }
    }

    /// Makes a fresh data directory for a server.
    pub(crate) fn fill(&self, node: &Node) {
        self.account.copy(&self.account.template(&self.dir), &node.data);
    }

    /// Starts a server. The error is its log if it does not come up.
    pub(crate) fn serve(&self, node: &Node, settings: &[&str], environment: &[(String, String)]) -> Result<(), String> {
        let settings = settings.join(" -c ");
        let options =
            format!("-p {} -h 127.0.0.1 -k {} -c max_connections=200 -c {settings}", node.port, self.dir.display());
        let log = node.data.with_extension("log").display().to_string();
        self.control(node, &["-w", "-t", "60", "-l", &log, "-o", &options, "start"], environment)
    }

    /// Kills a server, as a crash would.
    pub(crate) fn crash(&self, node: &Node) {
        self.control(node, &["-w", "-m", "immediate", "stop"], &[]).expect("it ends");
    }

    pub(crate) fn control(
        &self,
        node: &Node,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<(), String> {
        let done = self
            .account
            .command(&binary("pg_ctl"))
            .current_dir("/")
            .envs(environment.iter().cloned())
            .arg("-D")
            .arg(&node.data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        let log = || fs::read_to_string(node.data.with_extension("log")).unwrap_or_default();
        if done.success() { Ok(()) } else { Err(format!("pg_ctl {arguments:?}: {}", log())) }
    }

    /// Runs one of PostgreSQL's own programs.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.account.command(&binary(program));
        let output = command.current_dir("/").args(arguments).output().expect("the program runs");
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Kills every process of a server with SIGKILL.
pub(crate) fn kill(node: &Node) {
    let Some(first) = postmaster(node) else { return };
    // Once stopped, the first process starts no further ones.
    signal("STOP", &[first]);
    let processes = [children(first), vec![first]].concat();
    signal("KILL", &processes);
    until("every process of the server is gone", || {
        !processes.iter().any(|process| Path::new(&format!("/proc/{process}")).exists())
    });
    let _ = fs::remove_file(node.data.join("postmaster.pid"));
}

/// The server's first process.
pub(crate) fn postmaster(node: &Node) -> Option<u32> {
    let text = fs::read_to_string(node.data.join("postmaster.pid")).ok()?;
    let process: u32 = text.lines().next()?.parse().ok()?;
    Path::new(&format!("/proc/{process}")).exists().then_some(process)
}

/// Processes that a process started and that still run.
fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    processes.filter(|process| parent(*process) == Some(of)).collect()
}

/// The process that started this one.
fn parent(of: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
    // The name comes first and may contain anything. After it come the state and then the parent.
    text.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// Sends a signal by name. It does not matter if a process has ended meanwhile.
fn signal(name: &str, processes: &[u32]) {
    let listed = processes.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{name}")).args(listed).stderr(Stdio::null()).status();
}

/// Sends a query to a server. Returns one line per row.
pub(crate) fn ask(port: u16, database: &str, sql: &str) -> Vec<String> {
    let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let mut psql = Command::new(binary("psql"));
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", &url]);
    let output = psql.args(["--command", sql]).stdin(Stdio::null()).output().expect("psql runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test waits by the machine's own clock")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it is not so yet: {what}");
        std::thread::yield_now();
    }
}
