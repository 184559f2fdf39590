//! `PgBouncer` before a server, in transaction mode, where it is installed. It can be killed and started again.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use crate::node::until;
use crate::postgres::{Account, free_port};

/// Ends the pooler when the test drops it or dies.
const WATCH: &str = r#"
    "$@" </dev/null >/dev/null 2>&1 &
    pooler=$!
    cat >/dev/null
    kill -KILL "$pooler" 2>/dev/null
    wait "$pooler"
"#;

/// A running pooler.
#[derive(Debug)]
pub struct Bouncer {
    directory: tempfile::TempDir,
    program: PathBuf,
    account: Account,
    port: u16,
    running: Option<(Child, ChildStdin)>,
}

impl Bouncer {
    /// Starts a pooler on a loopback port, in front of the server; `None` if the pooler is not installed.
    pub fn start(server: u16) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let program = program.iter().map(PathBuf::from).find(|path| path.is_file())?;
        let account = Account::for_server();
        let directory = tempfile::tempdir().unwrap();
        account.own(directory.path());
        let mut bouncer = Self { directory, program, account, port: free_port(), running: None };
        bouncer.run(server);
        Some(bouncer)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the pooler and starts it again, in front of the server on this port.
    pub fn restart(&mut self, server: u16) {
        self.end();
        self.run(server);
    }

    fn run(&mut self, server: u16) {
        let place = self.directory.path();
        let (settings, users) = (place.join("settings.ini"), place.join("users.txt"));
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 8\n\
             max_client_conn = 200\nserver_login_retry = 1\nquery_wait_timeout = 4\n",
            self.port,
            users.display()
        );
        fs::write(&settings, text).unwrap();
        let mut watch = self.account.command(Path::new("/bin/sh"));
        watch.current_dir("/").args(["-c", WATCH, "watch"]).arg(&self.program).arg(&settings);
        let mut watch = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let lifeline = watch.stdin.take().unwrap();
        self.running = Some((watch, lifeline));
        until("the pooler listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    fn end(&mut self) {
        if let Some((mut watch, lifeline)) = self.running.take() {
            drop(lifeline);
            let _ = watch.wait();
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        self.end();
    }
}
