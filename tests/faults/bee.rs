//! Bees in a process of their own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;

use crate::gateway::{Options, PATIENCE};

/// A `bee` process. Killed when dropped.
pub(crate) struct Bees {
    child: Child,
    reader: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Bees {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(options: &Options) -> Self {
        let mut child = options.command().arg("bee").stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (ready, is_ready) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut log = Vec::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains(r#""message":"ready""#) {
                    let _ = ready.send(());
                }
                log.push(line);
            }
            log
        });
        let mut bees = Self { child, reader: Some(reader) };
        let is_ready = is_ready.recv_timeout(PATIENCE).is_ok();
        assert!(is_ready, "the bees did not become ready:\n{}", bees.end().join("\n"));
        bees
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
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
