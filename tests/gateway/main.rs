//! The gateway as its users meet it: the real binary, real files, real sockets.

#[path = "../support/gateway.rs"]
mod gateway;

mod answers;
mod commands;
mod durability;
mod hostile;
mod shutdown;
