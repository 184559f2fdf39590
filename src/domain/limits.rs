//! Bounds that no configuration may exceed. Each has a test that reaches it.

use std::time::Duration;

/// Largest webhook body, in bytes. Stripe publishes none; its events stay far below.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Largest body that counts as small, in bytes: room for small ones is never given to larger ones. Nearly all events are.
pub const SMALL_BODY_BYTES_MAX: usize = 64 * 1024;

/// Longest token of the next page of a list of Stripe's API v2, in bytes.
pub const PAGE_TOKEN_BYTES_MAX: usize = 4096;

/// Shortest time for which payloads and bodies can be kept that a late event, or a person, may need: longer than Stripe lists
/// events and repeats deliveries.
pub const KEEP_MIN: Duration = Duration::from_hours(35 * 24);

/// Most entries in one batch, one lease, one ledger call and one job.
pub const BATCH_ENTRIES_MAX: usize = 256;

/// Longest time that a batch waits for more events. It adds to the time until an event counts.
pub const LINGER_MAX: Duration = Duration::from_secs(10);

/// Most bytes of event bodies in one batch, one ledger call and one job (uncompressed).
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
