//! What ends `dev`: a signal, the last event, or the terminal that it was started in.
//!
//! A hangup makes it read its settings again, as `serve` does. A terminal that is closed sends the same signal, and a `dev` that
//! went on then would run unseen until the next restart of the machine; so it ends when its terminal is gone.

use std::io::IsTerminal as _;

use tokio_util::sync::CancellationToken;

use crate::lifecycle::{Hangups, Signals, Stop};

/// Ends `dev` by signal or when the events are through.
#[derive(Debug)]
pub(super) struct StopDev {
    pub(super) signals: Signals,
    pub(super) terminal: Terminal,
    /// Ends the traffic: the first signal leaves time for what is on its way.
    pub(super) deliveries: Option<CancellationToken>,
    /// The signal that ended it.
    pub(super) signal: Option<&'static str>,
    pub(super) finished: CancellationToken,
    /// Whether the end was told, so that another word of it would cut the rest short.
    pub(super) told: bool,
}

impl Stop for StopDev {
    async fn next(&mut self) -> &'static str {
        loop {
            let signal = tokio::select! {
                signal = self.signals.next() => signal,
                () = self.terminal.closed() => "SIGHUP",
                () = self.finished.cancelled(), if !self.told => {
                    self.told = true;
                    return self.signal.unwrap_or("all events delivered");
                }
            };
            match self.deliveries.take() {
                Some(deliveries) if !self.told => {
                    deliveries.cancel();
                    self.signal = Some(signal);
                }
                _ => {
                    // From here on only another signal is news: the session ends because the gateway drains.
                    self.told = true;
                    return signal;
                }
            }
        }
    }
}

/// The terminal that `dev` writes to, if it was started in one.
#[derive(Debug)]
pub(super) struct Terminal {
    hangups: Hangups,
    is_open: bool,
}

impl Terminal {
    pub(super) fn watch(hangups: Hangups) -> Self {
        Self { hangups, is_open: std::io::stdout().is_terminal() }
    }

    /// Resolves when a hangup comes because the terminal is gone.
    async fn closed(&mut self) {
        loop {
            self.hangups.next().await;
            if std::mem::replace(&mut self.is_open, std::io::stdout().is_terminal()) && !self.is_open {
                return;
            }
        }
    }
}
