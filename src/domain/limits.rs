//! Bounds that no configuration may exceed. Each has a test that reaches it.

use std::time::Duration;

/// Largest webhook body, in bytes. Stripe publishes no limit; its events stay far below this.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Largest body that counts as small, in bytes. Nearly all events are small, and room for them is never given to larger
/// ones.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest token for the next page of a list of Stripe's API v2, in bytes.
pub const PAGE_TOKEN_BYTES_MAX: usize = 4096;

/// Shortest time for which to keep payloads and bodies that a late event, or a person, may need. It is longer than Stripe
/// lists events and repeats deliveries.
pub const KEEP_MIN: Duration = Duration::from_hours(35 * 24);

/// Most entries in one batch, one lease, one ledger call and one job.
pub const BATCH_ENTRIES_MAX: usize = 256;

/// Longest time that a batch waits for more events. It delays the moment from which an event counts.
pub const LINGER_MAX: Duration = Duration::from_secs(10);

/// Most bytes of event bodies in one batch, one ledger call and one job (uncompressed).
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
