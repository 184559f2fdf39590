//! What whoever operates a gateway relies on: heartbeats, the service manager, keys that change, the report, exports, and
//! that nothing secret is ever shown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod export;
mod heartbeat;
mod leaks;
mod manager;
mod notify;
mod reload;
mod rotation;
mod setup;
mod stranger;

use testkit::{bees, gateway, redis as redis_server, stripe_api, stripe_endpoints};

/// Runs a command to its end: exit code, output, errors.
fn run(options: &gateway::Options, arguments: &[&str]) -> (i32, String, String) {
    let output = options.command().args(arguments).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}
