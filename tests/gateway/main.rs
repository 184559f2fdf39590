//! The gateway as its users meet it: the real binary, real files, real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/collector.rs"]
mod collector;
#[path = "../support/gateway.rs"]
mod gateway;
#[path = "../support/postgres.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod postgres;

mod access;
mod answers;
mod backup;
mod commands;
mod durability;
mod erase;
mod hostile;
mod inbox;
mod route;
mod rules;
mod shutdown;
mod stores;
mod traces;
