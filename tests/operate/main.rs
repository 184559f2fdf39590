//! What whoever operates a gateway relies on: heartbeats, the service manager, keys that change, the report, exports, and
//! that nothing secret is ever shown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod gateway;
#[path = "../support/redis.rs"]
mod redis_server;

mod heartbeat;
mod manager;
mod reload;
