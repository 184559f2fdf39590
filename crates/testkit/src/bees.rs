//! Bees in a process of their own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use crate::gateway::{Options, PATIENCE};

/// A `bee` process. Killed when dropped.
pub struct Bees {
    /// Address of metrics and health.
    pub admin: SocketAddr,
    child: Child,
    reader: Option<std::thread::JoinHandle<Vec<String>>>,
}

fn ready_line(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    if line["message"] == "ready" { line["admin"].as_str()?.parse().ok() } else { None }
}

impl Bees {
    /// Starts the process and waits until it reports that it is ready.
    pub fn start(options: &Options) -> Self {
        let mut child = options.command().arg("bee").stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (ready, is_ready) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut log = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(admin) = ready_line(&line) {
                    let _ = ready.send(admin);
                }
                log.push(line);
            }
            log
        });
        if let Ok(admin) = is_ready.recv_timeout(PATIENCE) {
            return Self { admin, child, reader: Some(reader) };
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the bees did not become ready:\n{}", reader.join().unwrap_or_default().join("\n"));
    }

    /// Kills the process, as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for Bees {
    fn drop(&mut self) {
        let log = self.end();
        if std::thread::panicking() {
            eprintln!("--- log of the bees ---\n{}", log.join("\n"));
        }
    }
}
