//! Carrying a restore that was interrupted to its end.

use crate::backup::{self, BackupError};
use crate::config::Config;

/// To be called before the inbox or the embedded ledger is opened.
///
/// # Errors
/// When somebody holds the data directory, or a file cannot be moved.
pub fn finish_restore(config: &Config) -> Result<(), BackupError> {
    if backup::finish(&config.inbox.data_dir)? {
        tracing::warn!("a restore had been interrupted; it is finished now");
    }
    Ok(())
}
