//! Carrying a restore that was interrupted to its end.

use crate::backup::{self, BackupError, KeyPlace, Target};
use crate::config::{Config, LedgerConfig};
use crate::job::keys::rotate::next_path;

/// Call this before the inbox or the embedded ledger is opened.
///
/// # Errors
/// If another program holds the data directory, if a file to move belongs to another user, or if a file cannot be moved.
pub fn finish_restore(config: &Config) -> Result<(), BackupError> {
    if backup::finish(&target(config))? {
        tracing::warn!("a restore had been interrupted; it is finished now");
    }
    Ok(())
}

/// The places of an archive's files in this configuration.
fn target(config: &Config) -> Target {
    let ledger = match &config.ledger {
        LedgerConfig::Sqlite { path } => Some(path.clone()),
        LedgerConfig::Postgres { .. } | LedgerConfig::Supabase { .. } => None,
    };
    let keys = config.files.iter().flat_map(|file| {
        let name = file.setting.to_ascii_lowercase();
        let next = KeyPlace { name: format!("{name}.next"), path: next_path(&file.path) };
        [KeyPlace { name, path: file.path.clone() }, next]
    });
    Target { data_dir: config.inbox.data_dir.clone(), ledger, keys: keys.collect() }
}
