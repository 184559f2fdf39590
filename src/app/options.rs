//! From settings to the options of the parts.

use crate::config::Config;
use crate::dispatch::{Linger, PumpOptions};
use crate::domain::backoff::Backoff;
use crate::inbox::InboxOptions;

/// How the configuration wants the inbox opened.
pub fn inbox_options(config: &Config) -> InboxOptions {
    InboxOptions {
        directory: config.inbox.data_dir.clone(),
        queue_max: config.inbox.queue_max,
        group_max: config.inbox.group_max,
        bytes_max: config.inbox.bytes_max,
        busy_timeout: config.inbox.busy_timeout,
    }
}

pub(super) fn pump_options(config: &Config) -> PumpOptions {
    let dispatch = &config.dispatch;
    PumpOptions {
        batch_entries_max: dispatch.batch_entries_max,
        batch_bytes_max: dispatch.batch_bytes_max,
        linger: Linger { direct: dispatch.linger, colony: config.colony.linger },
        lease: dispatch.lease,
        call_timeout: dispatch.ledger_timeout,
        attempts_max: u32::try_from(dispatch.attempts_max).unwrap_or(u32::MAX),
        backoff: Backoff { first: dispatch.retry_first, max: dispatch.retry_max },
    }
}
