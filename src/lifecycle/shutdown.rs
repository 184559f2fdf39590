//! How tasks hear that the process is to end.

use tokio_util::sync::CancellationToken;

/// Tells tasks about the two phases of a shutdown. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
}

impl Shutdown {
    /// Resolves when draining begins: take nothing new, finish what is in hand, return.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// The token itself, for libraries that take one.
    pub fn token(&self) -> &CancellationToken {
        &self.drain
    }
}
