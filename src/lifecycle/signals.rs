//! SIGTERM and SIGINT, which end the process, and SIGHUP, which makes it read its settings again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals that end the process.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts listening. From here on these signals no longer kill the process.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves with the name of the next signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Listens for the signal to read settings again.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Starts listening. From here on this signal no longer kills the process.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Resolves at the next signal. Several at once may count as one.
    pub async fn next(&mut self) {
        self.0.recv().await;
    }
}
