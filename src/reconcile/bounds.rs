//! How far a comparison looks, and how much of it is in hand at once.

use std::time::Duration;

/// How long Stripe lists an event.
pub const HORIZON: Duration = Duration::from_hours(30 * 24);

/// A cursor older than this is a reason to warn: five days are left to mend whatever keeps it from moving.
pub const HORIZON_WARNING: Duration = Duration::from_hours(25 * 24);

/// What is read again before the cursor, because an event can be listed later than its time says.
pub const OVERLAP: Duration = Duration::from_hours(1);

/// Most pages of a window, unless it is a single second.
pub const WINDOW_PAGES_MAX: usize = 10;

/// Most pages of a single second, which is Stripe's resolution and cannot be cut.
pub const SECOND_PAGES_MAX: usize = 20;

/// Longest wait for one page, all attempts of the client included.
pub(super) const PAGE_TIME_MAX: Duration = Duration::from_secs(30);

/// Most subscriptions of one account that are compared.
pub const SUBSCRIPTIONS_MAX: usize = 2_000_000;

/// Most subscriptions that Stripe is asked for one by one because its list lacked them; more are counted as unknown to it.
pub const CONFIRMATIONS_MAX: usize = 100;
