//! How entries come from the inbox to the ledger: workers, batches, waits.

use std::time::Duration;

use super::parse::{bytes, duration, linger, number};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX};

const WORKERS: Setting =
    setting("dispatch.workers", "GATEWAY_DISPATCH_WORKERS", "Batches that the gateway works on at once.")
        .takes(Form::Integer { min: 1, max: 64 });
const BATCH_ENTRIES: Setting =
    setting("dispatch.batch_entries_max", "GATEWAY_BATCH_ENTRIES_MAX", "Most entries in a batch.")
        .takes(Form::Integer { min: 1, max: 256 });
const BATCH_BYTES: Setting =
    setting("dispatch.batch_bytes_max", "GATEWAY_BATCH_BYTES_MAX", "Most bytes of bodies in a batch: at most 4MiB.")
        .takes(Form::Bytes);
const LINGER: Setting = setting(
    "dispatch.linger",
    "GATEWAY_LINGER",
    "Least time between batches on the direct route while events keep coming: at most 10s, or `off`. After a batch of \
     eight or more, three quarters of it. A lone event never waits.",
)
.takes(Form::DurationOr(&["off"]));
const LEASE: Setting = setting(
    "dispatch.lease",
    "GATEWAY_LEASE",
    "How long a worker may hold an entry: at least twice `dispatch.ledger_timeout`.",
)
.takes(Form::Duration);
const LEDGER_TIMEOUT: Setting =
    setting("dispatch.ledger_timeout", "GATEWAY_LEDGER_TIMEOUT", "Longest wait for one answer of the ledger.")
        .takes(Form::Duration);
const ATTEMPTS_MAX: Setting = setting(
    "dispatch.attempts_max",
    "GATEWAY_ATTEMPTS_MAX",
    "Failed attempts after which an entry is dead and waits for a person.",
)
.takes(Form::Integer { min: 1, max: 1000 });
const RETRY_FIRST: Setting =
    setting("dispatch.retry_first", "GATEWAY_RETRY_FIRST", "Longest wait after the first failed attempt.")
        .takes(Form::Duration);
const RETRY_MAX: Setting =
    setting("dispatch.retry_max", "GATEWAY_RETRY_MAX", "Longest wait between any two attempts.").takes(Form::Duration);

/// From the inbox to the ledger.
#[derive(Clone, Copy, Debug)]
pub struct DispatchConfig {
    /// Batches that the gateway works on at once.
    pub workers: usize,
    /// Most entries in a batch.
    pub batch_entries_max: usize,
    /// Most bytes of bodies in a batch.
    pub batch_bytes_max: usize,
    /// Least time between batches on the direct route while events keep coming; zero: none.
    pub linger: Duration,
    /// How long a leased entry is left to its holder.
    pub lease: Duration,
    /// Longest ledger call; shorter than the lease.
    pub ledger_timeout: Duration,
    /// Failed attempts after which an entry is dead.
    pub attempts_max: usize,
    /// Ceiling of the wait after the first failed attempt.
    pub retry_first: Duration,
    /// No wait between attempts is longer.
    pub retry_max: Duration,
}

pub(super) fn read(r: &mut Reader) -> DispatchConfig {
    let dispatch = DispatchConfig {
        workers: r.or(WORKERS, "2", number(1, 64)),
        batch_entries_max: r.or(BATCH_ENTRIES, "256", number(1, BATCH_ENTRIES_MAX)),
        batch_bytes_max: r.or(BATCH_BYTES, "4MiB", |text| match bytes(text).map(usize::try_from)? {
            Ok(bytes) if bytes <= BATCH_BYTES_MAX => Ok(bytes),
            _ => Err("must be at most 4MiB".to_owned()),
        }),
        linger: r.or(LINGER, "33ms", linger),
        lease: r.or(LEASE, "60s", duration),
        ledger_timeout: r.or(LEDGER_TIMEOUT, "20s", duration),
        attempts_max: r.or(ATTEMPTS_MAX, "16", number(1, 1000)),
        retry_first: r.or(RETRY_FIRST, "1s", duration),
        retry_max: r.or(RETRY_MAX, "5m", duration),
    };
    if dispatch.lease < dispatch.ledger_timeout * 2 {
        let message = "must be at least twice dispatch.ledger_timeout, or work outlives its lease and is done twice";
        r.fault("dispatch.lease", message);
    }
    if dispatch.retry_max < dispatch.retry_first {
        r.fault("dispatch.retry_max", "must not be shorter than dispatch.retry_first");
    }
    dispatch
}
