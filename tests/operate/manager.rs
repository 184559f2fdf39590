//! The service manager's side: a socket that the gateway inherits, and what it tells.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use crate::gateway::{Options, PATIENCE, event, get, post, request, signature};

/// A manager that hears what services say.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    fn options(&self) -> Options {
        let socket = self.directory.path().join("notify");
        Options::new(&self.directory.path().join("data")).with("NOTIFY_SOCKET", socket.display())
    }

    /// Waits for a message that begins like this.
    fn hears(&self, beginning: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {beginning}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.starts_with(beginning) {
                return message;
            }
        }
    }
}

#[test]
fn the_manager_is_told_of_start_reload_life_and_end() {
    let manager = Manager::new();
    let mut gateway = manager.options().with("WATCHDOG_USEC", 400_000).serve();
    let ready = manager.hears("READY=1");
    assert!(ready.contains(&format!("STATUS=receiving webhooks on {}", gateway.webhooks)), "{ready}");
    manager.hears("WATCHDOG=1");
    gateway.signal("HUP");
    assert!(manager.hears("RELOADING=1").contains("\nMONOTONIC_USEC="));
    manager.hears("READY=1\nSTATUS=settings read again");
    gateway.signal("TERM");
    manager.hears("STOPPING=1");
    assert!(gateway.wait().success());
}

#[test]
fn the_watchdog_is_not_fed_while_the_inbox_cannot_answer() {
    let manager = Manager::new();
    let gateway = manager.options().with("WATCHDOG_USEC", 400_000).serve();
    manager.hears("WATCHDOG=1");
    // Another program holds the file, as a disk that hangs would.
    let inbox = rusqlite::Connection::open(manager.directory.path().join("data/inbox.db")).unwrap();
    inbox.execute_batch("BEGIN IMMEDIATE").unwrap();
    gateway.until(|_| gateway.log().iter().any(|line| line.contains("the watchdog is not fed")));
    inbox.execute_batch("ROLLBACK").unwrap();
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.hears("WATCHDOG=1");
}

/// A gateway on a socket that this test keeps open, as systemd does.
struct OnSocket {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl OnSocket {
    /// The shell gives the socket the number that the protocol asks for and becomes the gateway.
    fn start(options: &Options, listener: &TcpListener, names: &str) -> Self {
        let gateway = options.command();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@""#, "sh"])
            .arg(gateway.get_program())
            .arg("serve")
            .env_clear()
            .envs(gateway.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", names)
            .stdin(Stdio::from(listener.as_fd().try_clone_to_owned().unwrap()))
            .stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The address it says it receives webhooks on; its log when it ends before.
    fn ready(&mut self) -> Result<SocketAddr, String> {
        let mut all = String::new();
        for line in (&mut self.log).lines().map_while(Result::ok) {
            let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if json["message"] == "ready" {
                return Ok(json["webhooks"].as_str().unwrap().parse().unwrap());
            }
            all.push_str(&line);
            all.push('\n');
        }
        Err(all)
    }

    fn stop(&mut self) {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_webhook_that_comes_during_a_restart_waits_at_the_inherited_socket() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options::new(directory.path());
    let mut first = OnSocket::start(&options, &listener, "webhooks");
    assert_eq!(first.ready().unwrap(), address, "it listens nowhere else");
    first.stop();
    // Nobody serves now, and yet the connection is not refused.
    let body = event("evt_between");
    let delivery = std::thread::spawn(move || {
        let header = signature(&body);
        request(address, &post("/webhooks/stripe", &[("stripe-signature", &header)], body.as_bytes()))
    });
    let mut second = OnSocket::start(&options, &listener, "webhooks");
    second.ready().unwrap();
    assert_eq!(delivery.join().unwrap().status, 200);
    second.stop();
}

#[test]
fn a_single_socket_needs_no_name_and_several_do() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut gateway = OnSocket::start(&Options::new(directory.path()), &listener, "colony-gateway.socket");
    let address = gateway.ready().unwrap();
    assert_eq!(address, listener.local_addr().unwrap());
    assert_eq!(request(address, &get("/readyz")).status, 200);
    gateway.stop();
}

#[test]
fn what_is_inherited_must_be_a_tcp_socket() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Options::new(directory.path()).command();
    // Number 3 is no socket at all.
    let output = command.arg("serve").env("LISTEN_FDS", "1").stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("inherited socket"), "{text}");
}

#[test]
fn systemds_own_tool_hands_over_both_sockets() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        eprintln!(
            "skipped: systemd-socket-activate is not installed; the other tests hand a socket over by themselves"
        );
        return;
    }
    let manager = Manager::new();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (webhooks, admin) = (free(), free());
    let gateway = manager.options().command();
    let mut tool = Command::new("systemd-socket-activate");
    tool.args(["--listen", &webhooks.to_string(), "--listen", &admin.to_string(), "--fdname", "webhooks:admin"]);
    for (name, value) in gateway.get_envs() {
        if let Some(value) = value {
            tool.arg(format!("--setenv={}={}", name.to_str().unwrap(), value.to_str().unwrap()));
        }
    }
    tool.arg(gateway.get_program()).arg("serve").env_remove("NOTIFY_SOCKET").stderr(Stdio::piped());
    let mut child = tool.spawn().unwrap();
    // The first connection starts the gateway, which inherits it with the socket.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("Listening on")), "it listens");
    let rest = std::thread::spawn(move || said.for_each(drop));
    assert_eq!(request(webhooks, &get("/livez")).status, 200);
    assert_eq!(request(admin, &get("/metrics")).status, 200);
    let status = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(status.success() && child.wait().unwrap().success());
    rest.join().unwrap();
}
