//! The targets, compiled once for all fuzzers.

#[path = "../targets.rs"]
pub mod targets;
