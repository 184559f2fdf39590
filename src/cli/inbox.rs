//! `inbox`: what waits for a person, and what a person decides about it. Works on a running gateway, here or elsewhere,
//! over its admin listener, and on a stopped one by its file.

mod change;
pub(in crate::cli) mod desk;
mod export;
mod filter;
mod show;
mod transfer;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::deeds;
use crate::config::Sources;
use crate::domain::clock::Clock;
use desk::Desk;
pub(super) use filter::Filter;
pub(super) use show::line as entry_line;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  not done, or only in part: refused entries are listed
  2  the command line or the configuration is refused";

/// Subcommands of `inbox`.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub enum InboxCommand {
    #[command(flatten)]
    Entries(EntriesCommand),
    /// Move the inbox of a stopped gateway from its file into a database that gateways share, or back.
    #[command(after_help = transfer::NOTES)]
    Move(transfer::MoveArgs),
}

/// Subcommands of `inbox` that are about entries.
#[derive(Debug, Subcommand)]
pub enum EntriesCommand {
    /// List entries, newest first.
    List(ListArgs),
    /// List what waits for a person, grouped by reason, with what to do.
    Problems(ProblemsArgs),
    /// Show everything about one entry, named by its number or by its event's id.
    Show(ShowArgs),
    /// Try entries again, also ones that were applied: what the state of record lost is written again, nothing is
    /// counted twice.
    ///
    /// Without --state or ids, this selects dead and quarantined entries. It selects dropped entries only if you name them.
    #[command(after_help = EXIT_CODES)]
    Replay(ChangeArgs),
    /// Apply quarantined entries whatever the rules say. The users that they name replace earlier bindings.
    #[command(after_help = EXIT_CODES)]
    Release(ChangeArgs),
    /// Decide that entries are never applied. They stay in the inbox, with the reason. Nothing applies them later, except
    /// `inbox replay` with the event's id.
    ///
    /// Without --state or ids, this selects dead and quarantined entries.
    #[command(after_help = EXIT_CODES)]
    Drop(DropArgs),
    /// Fetch bodies from Stripe again in place of damaged or removed ones, and try the entries again.
    ///
    /// Needs `STRIPE_SECRET_KEY`. Stripe has the events of 30 days. Without --state or ids, this selects dead and quarantined
    /// entries. It selects dropped entries only if you name them.
    #[command(after_help = EXIT_CODES)]
    Refetch(ChangeArgs),
    /// Have a paused gateway try at once.
    Resume(Connection),
    /// Write entries as JSON, one per line.
    Export(export::ExportArgs),
}

/// How to reach the inbox.
#[derive(Clone, Debug, Default, Args)]
pub struct Connection {
    /// Admin address of a gateway elsewhere
    #[arg(
        long,
        value_name = "URL",
        help = "Admin address of a gateway elsewhere, such as http://10.0.0.5:9090 (https beyond private networks); GATEWAY_ADMIN_TOKEN is its \
                token"
    )]
    pub admin: Option<String>,
}

/// Arguments of `inbox list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Group dead and quarantined entries by reason, as `inbox problems` does.
    #[arg(long, conflicts_with_all = ["limit", "after", "reveal"])]
    groups: bool,
    /// Most entries.
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Continue after this entry, as the last line of the list before says.
    #[arg(long, value_name = "ENTRY")]
    after: Option<i64>,
    /// Show bodies too, with all personal data in them. Needs --json.
    #[arg(long, requires = "json")]
    reveal: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    filter: Filter,
}

/// Arguments of `inbox problems`.
#[derive(Clone, Debug, Args)]
pub struct ProblemsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Arguments of `inbox show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Number of the entry, or id of its event.
    #[arg(value_name = "ENTRY|EVENT")]
    which: String,
    /// Show the body, with all personal data in it.
    #[arg(long)]
    reveal: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Arguments of `inbox replay`, `inbox release` and `inbox refetch`.
#[derive(Clone, Debug, Args)]
pub struct ChangeArgs {
    /// Select all entries that the command can change. Required if nothing else selects entries.
    #[arg(long)]
    all: bool,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; kept with the entries.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    filter: Filter,
}

/// Arguments of `inbox drop`.
#[derive(Clone, Debug, Args)]
pub struct DropArgs {
    /// Select all dead and quarantined entries. Required if nothing else selects entries.
    #[arg(long)]
    all: bool,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; kept with the entries.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    filter: Filter,
}

pub async fn run(command: InboxCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let command = match command {
        InboxCommand::Entries(command) => command,
        InboxCommand::Move(args) => return transfer::run(args, sources, clock).await,
    };
    let config = crate::cli::tools(sources)?;
    let by = deeds::who(sources);
    let connection = match &command {
        EntriesCommand::List(args) => &args.connection,
        EntriesCommand::Problems(args) => &args.connection,
        EntriesCommand::Show(args) => &args.connection,
        EntriesCommand::Replay(args) | EntriesCommand::Release(args) | EntriesCommand::Refetch(args) => {
            &args.connection
        }
        EntriesCommand::Drop(args) => &args.connection,
        EntriesCommand::Resume(connection) => connection,
        EntriesCommand::Export(args) => &args.connection,
    };
    let desk = Desk::open(connection, &config, clock).await?;
    let result = work(command, &desk, by, clock).await;
    desk.close().await;
    result
}

async fn work(command: EntriesCommand, desk: &Desk, by: Option<String>, clock: &Clock) -> anyhow::Result<ExitCode> {
    use crate::inbox::Action;
    match command {
        EntriesCommand::List(args) if args.groups => show::problems(desk, args.json).await,
        EntriesCommand::List(args) => show::list(desk, &args, clock).await,
        EntriesCommand::Problems(args) => show::problems(desk, args.json).await,
        EntriesCommand::Show(args) => show::one(desk, &args).await,
        EntriesCommand::Replay(args) => change::run(desk, Action::Replay, args, by, clock).await,
        EntriesCommand::Release(args) => change::run(desk, Action::Release, args, by, clock).await,
        EntriesCommand::Refetch(args) => change::run(desk, Action::Refetch, args, by, clock).await,
        EntriesCommand::Drop(args) => {
            let DropArgs { filter, all, dry_run, reason, json, connection } = args;
            let args = ChangeArgs { filter, all, dry_run, note: Some(reason), json, connection };
            change::run(desk, Action::Drop, args, by, clock).await
        }
        EntriesCommand::Resume(_) => desk.resume().await,
        EntriesCommand::Export(args) => export::run(desk, &args, clock).await,
    }
}
