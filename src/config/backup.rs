//! Whom backups are encrypted for.

use super::reader::Reader;
use super::setting::{Setting, setting};

const RECIPIENTS: Setting = setting(
    "backup.recipients",
    "GATEWAY_BACKUP_RECIPIENTS",
    "Public age keys (age1…) to encrypt backups for, separated by commas.",
);

#[derive(Clone, Debug, Default)]
pub struct BackupConfig {
    /// Recipients, `age1…`; those of the command line come on top.
    pub recipients: Vec<String>,
}

pub(super) fn read(r: &mut Reader) -> BackupConfig {
    let recipients = r.optional(RECIPIENTS, |text| {
        let recipients: Vec<String> =
            text.split([',', ' ']).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
        if recipients.iter().any(|text| text.starts_with("AGE-SECRET-KEY-")) {
            return Err("holds a secret key: put in the public one, which begins with age1".to_owned());
        }
        if recipients.iter().all(|text| text.starts_with("age1")) {
            Ok(recipients)
        } else {
            Err("must be age recipients (age1…), several between commas".to_owned())
        }
    });
    BackupConfig { recipients: recipients.unwrap_or_default() }
}
