//! What the service manager (systemd) is told while the process runs.

use std::convert::Infallible;
use std::time::Duration;

use crate::inbox::{Inbox, InboxError};
use crate::lifecycle::{Notifier, Shutdown};

/// The part that must answer for the process to count as alive, besides the runtime.
pub(super) enum LifeSign {
    /// The writer of the inbox. Any answer counts, even that its disk is full. A hanging database is no reason to restart
    /// the process, which would not help.
    Inbox(Inbox),
    Runtime,
}

impl LifeSign {
    async fn beats(&self, patience: Duration) -> bool {
        match self {
            Self::Runtime => true,
            Self::Inbox(inbox) => match tokio::time::timeout(patience, inbox.probe()).await {
                Ok(Err(InboxError::Closed)) => false,
                Ok(Ok(()) | Err(_)) => true,
                Err(_) => inbox.is_shared(),
            },
        }
    }
}

/// Reports that the process is ready, feeds the watchdog while there is a sign of life, and reports when draining begins.
pub(super) async fn tell(
    manager: Notifier,
    status: String,
    pulse: LifeSign,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    manager.ready(&status);
    if let Some(patience) = manager.watchdog() {
        let every = patience / 2;
        let feed = async {
            loop {
                tokio::time::sleep(every / 2).await;
                if pulse.beats(every).await {
                    manager.alive();
                } else {
                    tracing::error!("the inbox does not answer: the watchdog is not fed");
                }
            }
        };
        tokio::select! {
            () = feed => {}
            () = shutdown.draining() => {}
        }
    } else {
        shutdown.draining().await;
    }
    manager.stopping();
    Ok(())
}
