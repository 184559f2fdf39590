//! How far a comparison looks, and how much of it is in hand at once.

use std::time::Duration;

/// How long Stripe lists an event.
pub const HORIZON: Duration = Duration::from_hours(30 * 24);

/// A cursor older than this deserves a warning: five days remain to fix whatever keeps it from moving.
pub const HORIZON_WARNING: Duration = Duration::from_hours(25 * 24);

/// How much is read again before the cursor, because an event can be listed later than its time suggests.
pub const OVERLAP: Duration = Duration::from_hours(1);

/// How far the cursor may be ahead of Stripe's own time: what is read again makes up for it.
pub(super) const AHEAD_MAX: Duration = Duration::from_mins(30);

/// Most pages of a window, unless it is a single second.
pub const WINDOW_PAGES_MAX: usize = 10;

/// Most pages of a single second, which is Stripe's resolution and cannot be divided.
pub const SECOND_PAGES_MAX: usize = 20;

/// Longest wait for one page, including all attempts of the client.
pub(super) const PAGE_TIME_MAX: Duration = Duration::from_secs(30);

/// Most subscriptions of one account that are compared.
pub const SUBSCRIPTIONS_MAX: usize = 2_000_000;

/// Most subscriptions for which Stripe is asked one by one because its list lacked them; more are counted as unknown to it.
pub const CONFIRMATIONS_MAX: usize = 100;
