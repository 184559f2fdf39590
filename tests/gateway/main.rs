//! The gateway as its users meet it: the real binary, real files, real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod answers;
mod backup;
mod commands;
mod dev;
mod durability;
mod erase;
mod hostile;
mod inbox;
mod json;
mod operators;
mod person;
mod place;
mod route;
mod rules;
mod send;
mod shared;
mod shutdown;
mod start;
mod stores;
mod traces;
mod transfer;

use testkit::{collector, gateway, postgres};
