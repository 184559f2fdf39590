//! The gateway as its users meet it: the real binary, real files, real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/gateway.rs"]
mod gateway;

mod answers;
mod commands;
mod durability;
mod hostile;
mod route;
mod shutdown;
