//! The command line: one file a subcommand. Arguments in, exit code out; the work is done elsewhere.

mod admin;
pub mod backup;
pub mod bee;
pub mod bind;
pub mod check;
pub mod colony;
pub mod completions;
pub mod config;
pub mod console;
mod deeds;
pub mod dev;
pub mod erase;
pub mod findings;
mod hidden;
pub mod inbox;
pub mod keys;
mod left_to_build;
pub mod migrate;
pub mod moment;
pub mod notify;
pub mod person;
pub mod projections;
pub mod reconcile;
pub mod reference;
pub mod restore;
pub mod revenue;
pub mod send;
pub mod serve;
pub mod shadow;
pub mod simulate;
pub mod stripe;
pub mod tail;
pub mod traffic;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::app::StartError;
use crate::config::{Config, ConfigError, Sources};
use crate::domain::clock::Clock;

/// Exit code for a refused configuration, and for wrong arguments.
const MISCONFIGURED: u8 = 2;

/// Exit code of a command that did everything it was asked and found something that a person has to decide about. A script
/// must not take that for an error, nor an error for that.
const SOMETHING_LEFT: u8 = 3;

/// The meaning of exit codes, unless a command's own help is more specific.
const EXIT_CODES: &str = "Exit codes:
  0  done, or in order; commands that list end so whatever they list
  1  not done, or only in part: an error says why
  2  the command line or the configuration is refused
  3  done, and something is left to decide about: changes that `migrate --plan` names, differences that `reconcile` found,
     a no go of `shadow report`, a refusal that `erase --dry-run` foresees. After `serve` and `bee`: stopped with work in hand,
     which resumes at the next start

`check` has 0, 1 and 2 for healthy, degraded and down, as monitoring tools know them.";

/// Version, commit and day of the commit.
pub const VERSION: &str = env!("COLONY_GATEWAY_VERSION");

/// From Stripe webhooks to verified revenue records.
///
/// Every setting is an environment variable or a key of the configuration file; `config show` lists all of them.
#[derive(Debug, Parser)]
#[command(version = VERSION, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file (TOML). The environment wins over it.
    #[arg(long, global = true, env = "GATEWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway: receive webhooks and write their events to the ledger.
    #[command(after_help = serve::EXIT_CODES)]
    Serve,
    /// Run only bees: take jobs from the colony and write their events to the ledger.
    #[command(after_help = bee::SETTINGS)]
    Bee,
    /// Run everything embedded, with simulated traffic: nothing to install, nothing to configure.
    Dev(dev::DevArgs),
    /// Post signed Stripe-shaped events to a webhook endpoint and check the answers.
    Simulate(simulate::SimulateArgs),
    /// Post one signed event to a webhook endpoint, by its type or from a file, and print the answer.
    #[command(after_help = send::NOTES)]
    Send(send::SendArgs),
    /// Show entries as they arrive and as they end, until interrupted.
    Tail(tail::TailArgs),
    /// Bring the ledger's database up to date.
    #[command(after_help = migrate::EXIT_CODES)]
    Migrate(migrate::MigrateArgs),
    /// Show which public tables the gateway keeps up to date for the app, and change it.
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// Look at the inbox, and decide about entries that wait for a person.
    #[command(subcommand)]
    Inbox(inbox::InboxCommand),
    /// Compare with Stripe and repair the differences: events that never arrived, subscriptions that changed unseen.
    #[command(after_help = reconcile::EXIT_CODES)]
    Reconcile(reconcile::ReconcileArgs),
    /// Run beside another system without writing what it writes, and compare.
    #[command(subcommand)]
    Shadow(shadow::ShadowCommand),
    /// Print monthly recurring revenue and the money of each day.
    Revenue(revenue::RevenueArgs),
    /// Say what access a person has and why, or why the person has none.
    Person(person::PersonArgs),
    /// List what does not add up, and paid subscriptions that give no user access.
    Findings(findings::FindingsArgs),
    /// Give a subscription or a customer to a user.
    #[command(after_help = bind::NOTES)]
    Bind(bind::BindArgs),
    /// Write a consistent, encrypted copy of the gateway's files. The gateway may be running.
    #[command(after_help = backup::NOTES)]
    Backup(backup::BackupArgs),
    /// Restore the gateway's files from a backup.
    #[command(after_help = restore::NOTES)]
    Restore(restore::RestoreArgs),
    /// Remove a person's data, on request (GDPR, Law 25). What accounting needs stays.
    #[command(after_help = erase::NOTES)]
    Erase(erase::EraseArgs),
    /// Print a link that opens the console of a running gateway.
    #[command(after_help = console::NOTES)]
    Console(console::ConsoleArgs),
    /// Report the state of every component.
    #[command(visible_alias = "doctor", after_help = check::EXIT_CODES)]
    Check(check::CheckArgs),
    /// Make, show, replace and export keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Prepare the colony on a Colonies server.
    #[command(subcommand)]
    Colony(colony::ColonyCommand),
    /// Set up the webhook endpoint at Stripe.
    #[command(subcommand)]
    Stripe(stripe::StripeCommand),
    /// Try the messages that the gateway sends about problems.
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Check or show the configuration, or write a first one.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = completions::NOTES)]
    Completions(completions::CompletionsArgs),
    /// Write manual pages into a directory.
    Man(completions::ManArgs),
    /// Print a page of the manual: every setting, or every command.
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Starts the runtime and runs a command line in it. `environment` is the process's; it is passed in so that no other code
/// reads it.
///
/// The runtime is here and not in `main.rs` because async code is compiled where it is polled: there, the whole gateway
/// would be compiled a second time, as part of the binary.
pub fn main(cli: Cli, environment: BTreeMap<String, String>, clock: Clock) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli, environment, clock));
    // Tasks may still log while they are dropped.
    drop(runtime);
    crate::telemetry::logging::flush();
    code
}

/// The settings for a command. Reports secrets that were left out.
fn tools(sources: &Sources) -> Result<Config, ConfigError> {
    let config = Config::for_tools(sources)?;
    tell_unusable(&config);
    Ok(config)
}

/// Names the secrets that a command does without, so that the user knows what it may miss.
fn tell_unusable(config: &Config) {
    for fault in &config.unusable {
        eprintln!("warning: {fault}. This command goes on without it; a gateway that runs keeps the old one");
    }
}

async fn run(cli: Cli, environment: BTreeMap<String, String>, clock: Clock) -> ExitCode {
    let sources = Sources { environment, file: cli.config };
    let result = match cli.command {
        Command::Serve => serve::run(&sources, clock).await,
        Command::Bee => bee::run(&sources, clock).await,
        Command::Console(args) => console::run(args, &sources).await,
        Command::Check(args) => check::run(args, &sources, clock).await,
        Command::Keys(command) => keys::run(command, &sources, &clock).await,
        Command::Colony(command) => colony::run(command, &sources).await,
        Command::Dev(args) => dev::run(args, sources, clock).await,
        Command::Simulate(args) => simulate::run(args, &sources, clock).await,
        Command::Send(args) => send::run(args, &sources, &clock).await,
        Command::Tail(args) => tail::run(args, &sources, &clock).await,
        Command::Inbox(command) => inbox::run(command, &sources, &clock).await,
        Command::Migrate(args) => migrate::run(args, &sources, &clock).await,
        Command::Projections(command) => projections::run(command, &sources, &clock).await,
        Command::Reconcile(args) => reconcile::run(args, &sources, clock).await,
        Command::Shadow(command) => shadow::run(command, &sources, clock).await,
        Command::Revenue(args) => revenue::run(args, &sources, clock).await,
        Command::Person(args) => person::run(args, &sources, clock).await,
        Command::Findings(args) => findings::run(args, &sources, clock).await,
        Command::Bind(args) => bind::run(args, &sources, clock).await,
        Command::Erase(args) => erase::run(args, &sources, clock).await,
        Command::Backup(args) => backup::run(args, &sources, clock).await,
        Command::Restore(args) => restore::run(args, &sources, clock).await,
        Command::Config(command) => config::run(&command, &sources, &clock),
        Command::Stripe(command) => stripe::run(command, &sources).await,
        Command::Notify(command) => notify::run(command, &sources, &clock).await,
        Command::Completions(args) => completions::completions(args, Cli::command()),
        Command::Man(args) => completions::man(&args, Cli::command()),
        Command::Reference(args) => reference::run(args, Cli::command()),
    };
    crate::telemetry::logging::flush();
    match result {
        Ok(code) => code,
        // The reader of the output has seen enough, such as `head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes, one per line, for people. A terminal that is gone takes none of it, which is no panic.
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "error: {error}");
            for cause in error.chain().skip(1) {
                let _ = writeln!(out, "  because: {cause}");
            }
            drop(out);
            let starting = error.downcast_ref::<StartError>();
            if error.is::<ConfigError>() || starting.is_some_and(StartError::is_misconfiguration) {
                ExitCode::from(MISCONFIGURED)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Only for output that this program wrote: a broken connection to a server has an error of its own.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let plain = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let json = error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    plain.or(json) == Some(std::io::ErrorKind::BrokenPipe)
}
