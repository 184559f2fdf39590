//! What whoever operates a gateway relies on: heartbeats, the service manager, keys that change, the report, exports, and
//! that nothing secret is ever shown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../support/bees.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod bees;
#[path = "../support/gateway.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod gateway;
#[path = "../support/redis.rs"]
mod redis_server;
#[path = "../support/stripe_api.rs"]
#[expect(dead_code, reason = "shared with tests that need more of it")]
mod stripe_api;

mod check;
mod export;
mod heartbeat;
mod leaks;
mod manager;
mod reload;
mod rotation;

/// Runs a command to its end: exit code, output, errors.
fn run(options: &gateway::Options, arguments: &[&str]) -> (i32, String, String) {
    let output = options.command().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}
