//! A start waits for the inbox and for nothing else.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use crate::gateway::{Options, connect, event, post, read_reply, signature};

/// A process that a failing test takes along.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn webhooks_are_taken_before_a_ledger_that_hangs_has_said_anything() {
    let directory = tempfile::tempdir().unwrap();
    // It takes connections, and says nothing on them.
    let ledger = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://gateway:secret@{}/gateway", ledger.local_addr().unwrap());
    let options = Options::new(directory.path()).with("DATABASE_URL", url).with("GATEWAY_LISTEN", free);
    let mut child = Killed(options.command().arg("serve").stderr(Stdio::piped()).spawn().unwrap());
    let stderr = child.0.stderr.take().unwrap();
    let log = std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).collect::<Vec<_>>());
    let (held, _) = ledger.accept().expect("the gateway asks the ledger");
    // It waits for an answer now.
    let mut stream = connect(free);
    let body = event("evt_before_the_ledger");
    let request = post("/webhooks/stripe", &[("stripe-signature", &signature(&body))], body.as_bytes());
    std::io::Write::write_all(&mut stream, &request).unwrap();
    assert_eq!(read_reply(&mut stream).expect("an answer").status, 200);
    drop(held);
    drop(child);
    drop(log.join());
}
