//! One at a time: work that takes much of the machine or of the ledger, from several people at once.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::door::Problem;

/// A turn that only one caller has at a time. Clones are the same turn.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Mutex<()>>);

impl Turn {
    /// Takes the turn until the result is dropped.
    ///
    /// # Errors
    /// [`Problem::Busy`] while another caller has it.
    pub fn take(&self) -> Result<OwnedMutexGuard<()>, Problem> {
        Arc::clone(&self.0).try_lock_owned().map_err(|_| Problem::Busy)
    }

    /// Waits for the turn, after all who asked before.
    pub async fn wait(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.0).lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_had_once() {
        let turn = Turn::default();
        let taken = turn.take().unwrap();
        assert!(matches!(turn.clone().take(), Err(Problem::Busy)));
        drop(taken);
        assert!(turn.take().is_ok());
    }
}
