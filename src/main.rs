//! Entry point of the `colony-gateway` binary: reads the environment once and hands the command line to the library.

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
    cli::main(cli, environment, Clock::system())
}
