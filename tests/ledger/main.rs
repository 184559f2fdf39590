//! The state of record: every store keeps the same contract.
//!
//! Tests here hand verdicts to the stores; what verdict an event deserves is tested elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/plans.rs"]
mod plans;

mod contract;
mod sqlite;
mod stores;
