//! From settings to the options of the parts.

use std::path::Path;

use super::former::{refuse_left_spill, tell_and_note};
use crate::config::Config;
use crate::dispatch::{Linger, PumpOptions};
use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::inbox::{
    FILE_NAME, Inbox, InboxOptions, InboxThreads, OpenError, PostgresInboxOptions, counts_in, moved_from,
};
use crate::telemetry::health::Board;

/// How to open the inbox, according to the configuration.
pub fn inbox_options(config: &Config) -> InboxOptions {
    InboxOptions {
        directory: config.inbox.data_dir.clone(),
        queue_max: config.inbox.queue_max,
        group_max: config.inbox.group_max,
        bytes_max: config.inbox.bytes_max,
        busy_timeout: config.inbox.busy_timeout,
    }
}

/// Opens the inbox that the configuration names: a file of the data directory, or a database, which is reached when it is
/// first used. Blocks for a moment on an earlier file.
///
/// # Errors
/// If it cannot be opened, or if a file still has entries that would be forgotten with these settings.
pub fn open_inbox(config: &Config, clock: Clock) -> Result<(Inbox, InboxThreads), OpenError> {
    refuse_left_spill(config)?;
    let Some(url) = &config.inbox.url else { return Inbox::open(&inbox_options(config), clock) };
    refuse_left_behind(&config.inbox.data_dir)?;
    Inbox::shared(&database_options(config, url), clock)
}

/// As [`open_inbox`], for a gateway, or to handle all deliveries. Also opens the file that takes deliveries while the
/// database is away, and makes it if it is missing.
///
/// # Errors
/// Those of [`open_inbox`]; [`OpenError::Locked`] while another gateway has that file.
pub fn open_receiving_inbox(config: &Config, clock: Clock) -> Result<(Inbox, InboxThreads), OpenError> {
    let (Some(url), Some(directory)) = (&config.inbox.url, &config.inbox.spill_dir) else {
        return open_inbox(config, clock);
    };
    refuse_left_spill(config)?;
    refuse_left_behind(&config.inbox.data_dir)?;
    let spill = InboxOptions { directory: directory.clone(), ..inbox_options(config) };
    Inbox::shared(&PostgresInboxOptions { spill: Some(spill), ..database_options(config, url) }, clock)
}

/// As [`open_receiving_inbox`], at the start of a gateway: it also notes where the inbox is, and says what the settings leave.
pub(super) fn open_and_note_inbox(
    config: &Config,
    board: &Board,
    clock: &Clock,
) -> Result<(Inbox, InboxThreads), OpenError> {
    let opened = open_receiving_inbox(config, clock.clone())?;
    tell_and_note(config, board, clock);
    Ok(opened)
}

/// How to use a database, according to the configuration.
pub(super) fn database_options(config: &Config, url: &Secret) -> PostgresInboxOptions {
    PostgresInboxOptions {
        queue_max: config.inbox.queue_max,
        group_max: config.inbox.group_max,
        deadline: config.inbox.busy_timeout,
        allows_unsafe: config.inbox.allows_unsafe,
        ..PostgresInboxOptions::new(url.clone())
    }
}

/// No gateway would work on an earlier file, and none would show it. So it must be empty or moved.
fn refuse_left_behind(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(FILE_NAME);
    if !path.exists() {
        return Ok(());
    }
    if let Some(moved) = moved_from(directory)? {
        return if moved.is_done { Ok(()) } else { Err(OpenError::Moving { path, place: moved.place }) };
    }
    let counts = counts_in(directory)?;
    match counts.backlog() + counts.dead + counts.quarantined {
        0 => Ok(()),
        left => Err(OpenError::LeftBehind { path, left }),
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
