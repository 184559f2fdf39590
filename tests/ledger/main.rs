//! The state of record: every store keeps the same contract.
//!
//! Tests here hand verdicts to the stores; what verdict an event deserves is tested elsewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agreement;
mod by_time;
mod cases;
mod contract;
mod desk;
mod direct;
mod doubt_cases;
mod erase;
mod expiry;
mod faults;
mod forms;
mod indexes;
mod lives;
mod migrations;
mod obstacles;
mod order_cases;
mod owner_cases;
mod readers;
mod recount;
mod renderings;
mod roles;
mod scale;
mod sqlite;
mod standby;
mod stores;
mod supabase;
mod takeover;
mod untold;
mod witness;

use testkit::{generations, plans, pooler, postgres, rest};
