//! A real Redis for tests, on a free loopback port, without files.
//!
//! A shell stands watch over it: when the test process ends, however it ends, the shell's standard input closes and it
//! stops the server. Dropping the value stops it too.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// How many starts to try, each on another port. Another process can take a free port first.
const START_ATTEMPTS: u32 = 5;

/// A running server.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    watch: Child,
    lifeline: Option<ChildStdin>,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        (0..START_ATTEMPTS)
            .find_map(|_| Self::start_on(free_port()))
            .expect("redis-server starts: is it installed and on PATH?")
    }

    /// Starts a server on this port; `None` if it does not answer there. For a server that comes back.
    pub fn start_on(port: u16) -> Option<Self> {
        const WATCH: &str = r#""$@" >/dev/null 2>&1 </dev/null & server=$!; cat >/dev/null; kill "$server"; wait"#;
        let mut watch = Command::new("/bin/sh")
            .current_dir("/")
            .args(["-c", WATCH, "watch", "redis-server", "--port", &port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let lifeline = watch.stdin.take();
        let redis = Self { port, watch, lifeline };
        (0..500)
            .any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                answers(port)
            })
            .then_some(redis)
    }

    /// The URL for a client.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watch.wait();
    }
}

fn answers(port: u16) -> bool {
    let mut answer = [0; 7];
    TcpStream::connect(("127.0.0.1", port)).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && stream.write_all(b"PING\r\n").is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer == *b"+PONG\r\n"
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    listener.local_addr().expect("a bound listener has an address").port()
}
