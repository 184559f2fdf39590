//! The domain: from the bodies of events to rows, for every API version, in any order, whatever the events hold.
//!
//! What the stores make of the rows is tested elsewhere; here a map that keeps the greatest version stands for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/merge.rs"]
mod merge;
#[path = "../support/stripe_api.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod stripe_api;

mod api;
mod findings;
mod lookup;
mod money;
mod robustness;
mod states;
mod story;
