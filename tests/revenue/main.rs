//! The domain: from the bodies of events to rows, for every API version, in any order, whatever the events hold.
//!
//! What the stores make of the rows is tested elsewhere; here a map that keeps the greatest version stands for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod findings;
mod lookup;
mod lost;
mod money;
mod robustness;
mod states;
mod story;
mod thin;

use testkit::{merge, stripe_api};
