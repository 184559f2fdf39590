//! Bees at work on an embedded Colonies server: what they refuse, what they survive, and that every event is applied
//! once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hive;

mod leases;
mod membership;
mod network;
mod processes;
mod rotation;
mod trust;

use testkit::{collector, proxy};
