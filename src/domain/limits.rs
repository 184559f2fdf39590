//! Bounds that no configuration may exceed. Each has a test that reaches it.

/// Largest webhook body, in bytes. Stripe publishes none; its events stay far below.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Largest `Stripe-Signature` header, in bytes.
pub const SIGNATURE_HEADER_BYTES_MAX: usize = 4096;

/// Most comma-separated items looked at in a `Stripe-Signature` header.
pub const SIGNATURE_ITEMS_MAX: usize = 32;

/// Longest identifier of a Stripe event or object, in bytes.
pub const STRIPE_ID_BYTES_MAX: usize = 255;

/// Most entries in one batch, one lease, one ledger call and one job.
pub const BATCH_ENTRIES_MAX: usize = 256;

/// Most bytes of event bodies in one batch, one ledger call and one job (uncompressed).
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
