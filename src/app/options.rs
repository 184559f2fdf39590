//! From settings to the options of the parts.

use std::time::Duration;

use crate::config::Config;
use crate::dispatch::PumpOptions;
use crate::domain::backoff::Backoff;
use crate::door::{ServerOptions, WebhookOptions};
use crate::inbox::InboxOptions;

/// How long a connection may have been silent when the gateway stops and still be about to speak: some round trips.
const FRESH_FOR: Duration = Duration::from_secs(1);

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

pub(super) fn webhook_options(config: &Config) -> WebhookOptions {
    WebhookOptions {
        requests_max: config.http.requests_max,
        body_bytes_in_hand_max: config.http.body_bytes_in_hand_max,
        body_timeout: config.http.body_timeout,
        append_timeout: config.http.append_timeout,
    }
}

pub(super) fn server_options(config: &Config) -> ServerOptions {
    ServerOptions {
        connections_max: config.http.connections_max,
        head_bytes_max: config.http.head_bytes_max,
        headers_max: config.http.headers_max,
        head_timeout: config.http.head_timeout,
        fresh_for: FRESH_FOR,
    }
}

pub(super) fn pump_options(config: &Config) -> PumpOptions {
    let dispatch = &config.dispatch;
    PumpOptions {
        batch_entries_max: dispatch.batch_entries_max,
        batch_bytes_max: dispatch.batch_bytes_max,
        lease: dispatch.lease,
        call_timeout: dispatch.ledger_timeout,
        attempts_max: u32::try_from(dispatch.attempts_max).unwrap_or(u32::MAX),
        backoff: Backoff { first: dispatch.retry_first, max: dispatch.retry_max },
    }
}
