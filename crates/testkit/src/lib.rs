//! What tests and benchmarks of the gateway run against: PostgreSQL and Redis as real servers, stand-ins for the services
//! that cannot be had (Stripe's API, Supabase's REST layer, a pooler, a collector), a line that breaks as told, and the
//! gateway and its bees as processes.
//!
//! Everything listens on free ports of loopback and ends with the test process, however that ends.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::return_self_not_must_use,
    reason = "a builder whose result is dropped does nothing in a test that asserts"
)]

use std::path::PathBuf;

pub mod bees;
pub mod bouncer;
pub mod collector;
pub mod examples;
pub mod gateway;
pub mod generations;
pub mod merge;
pub mod namespace;
mod node;
pub mod pair;
pub mod plans;
pub mod pooler;
pub mod postgres;
pub mod proxy;
pub mod raw_http;
pub mod redis;
pub mod rest;
pub mod solo;
pub mod sql;
pub mod stripe_api;
pub mod stripe_endpoints;

/// The folder of the profile that built this test or benchmark, such as `target/debug`.
fn profile_dir() -> PathBuf {
    let executable = std::env::current_exe().expect("a process knows its program");
    let deps = executable.parent().expect("a program has a folder");
    deps.parent().expect("Cargo builds tests and benchmarks in `deps`").to_owned()
}

/// The gateway's program. Cargo builds it before the tests and benchmarks of its package.
pub fn program() -> PathBuf {
    profile_dir().join(format!("colony-gateway{}", std::env::consts::EXE_SUFFIX))
}
