//! Bees at work on an embedded Colonies server: what they refuse, what they survive, and that every event is applied
//! once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/collector.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod collector;
mod hive;
#[path = "../support/proxy.rs"]
mod proxy;

mod leases;
mod membership;
mod network;
mod processes;
mod rotation;
mod trust;
