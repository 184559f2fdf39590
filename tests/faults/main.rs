//! What breaks in production, done to the real binary on purpose: kills, power cuts, full and failing disks, clocks that
//! jump, networks that lie, servers that are gone for long. After each, one account is taken: of what was acknowledged,
//! what was applied, what was lost, what took effect twice.
//!
//! The figures are printed, and appended as one line of JSON each to the file that `COLONY_GATEWAY_FAULTS_FIGURES` names.
//! `COLONY_GATEWAY_FAULTS_ROUNDS` multiplies the rounds of each test, `COLONY_GATEWAY_FAULTS_SEED` repeats a run's random
//! choices (not its timing). `scripts/soak.sh` uses all three.

#![cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "the disk and the clock that fail are made for Linux")
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod account;
mod book;
#[cfg(target_os = "linux")]
mod clocks;
mod colony;
#[cfg(target_os = "linux")]
mod cuts;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod disks;
#[cfg(target_os = "linux")]
mod drive;
mod flood;
#[cfg(target_os = "linux")]
mod hand;
mod kills;
mod liars;
#[cfg(target_os = "linux")]
mod lines;
mod load;
mod network;
mod outages;
mod rounds;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod site;
mod standby;
mod stripe;
#[cfg(target_os = "linux")]
mod told;
mod world;

use testkit::{bees as bee, gateway, postgres, proxy, redis, rest, stripe_api};
