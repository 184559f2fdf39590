//! Entry point of the `colony-gateway` binary: reads the environment once, starts the runtime, runs the command line.

use std::process::ExitCode;

use clap::Parser;
use colony_gateway::cli::{self, Cli};
use colony_gateway::domain::clock::Clock;
use colony_gateway::lifecycle;

fn main() -> ExitCode {
    // Before anything secret is read.
    if let Err(error) = lifecycle::forbid_core_dumps() {
        eprintln!("warning: core dumps cannot be switched off: {error}");
    }
    let cli = Cli::parse();
    // Variables that are not UTF-8 cannot be ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(cli, environment, Clock::system()));
    // What tasks still say while they are dropped.
    drop(runtime);
    colony_gateway::telemetry::logging::flush();
    code
}
