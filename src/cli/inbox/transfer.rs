//! `inbox move`: from the file into a database that gateways share, and back.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use crate::app::transfer::{Direction, give_up, transfer};
use crate::config::Sources;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::inbox::Moved;

pub(super) const NOTES: &str = "For --to, stop the gateway of the file first. For --from, stop all gateways of the database; one that still runs answers 503
from then on. The command moves entries in every state with their bodies and orders, the audit, and the cursor of the comparison
with Stripe. If a kill or a power cut interrupts it, run it again; it moves nothing twice. The inbox that was left records where its
entries went, and no gateway starts on it until they are moved back. No gateway starts on a file that is only partly filled.

You can move several files into one database. If the database knows an event already, it keeps its own entry.

Entries that are moved back replace those that the other side still has. If that side's entries never arrived here, because the
database is a new one or an older copy, the command changes nothing: give the move up on that side, then move again. If the new
place of an inbox is lost altogether, --give-up --lost lets gateways work again on the inbox that was left.";

/// Arguments of `inbox move`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("direction").required(true)))]
pub struct MoveArgs {
    /// Move the file of the data directory into this PostgreSQL (`postgres://…`). Without a URL, into that of
    /// `GATEWAY_INBOX_URL`.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", group = "direction")]
    to: Option<String>,
    /// Move everything in this PostgreSQL into the file of the data directory. Without a URL, from that of `GATEWAY_INBOX_URL`.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", group = "direction")]
    from: Option<String>,
    /// Give up a move that cannot be finished, or whose entries the database has lost. Gateways may then work again on the
    /// inbox that the entries were leaving, and on a file that was being filled.
    #[arg(long)]
    give_up: bool,
    /// With --give-up: the inbox that all entries went to is lost altogether, such as a file with its disk. Gateways may then work
    /// again on the inbox that was left, with the entries that it had at the move. Refused if the other inbox is found with all
    /// entries.
    #[arg(long, requires = "give_up")]
    lost: bool,
}

pub(super) async fn run(args: MoveArgs, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let (direction, url) = match (args.to, args.from) {
        (Some(url), _) => (Direction::ToDatabase, Some(url)),
        (None, url) => (Direction::FromDatabase, url),
    };
    let mut sources = sources.clone();
    if let Some(url) = url.filter(|url| !url.is_empty()) {
        sources.environment.remove("GATEWAY_INBOX_URL_FILE");
        sources.environment.insert("GATEWAY_INBOX_URL".to_owned(), url);
    }
    let config = crate::cli::tools(&sources)?;
    let mut out = std::io::stdout();
    if args.give_up {
        match give_up(&config, direction, clock, args.lost).await? {
            Some(to) if to.is_done && args.lost => writeln!(
                out,
                "given up: gateways may work on this inbox again, with the entries that it had when they were moved to {}. Entries that \
                 arrived there later are lost: start the gateway, then run `colony-gateway reconcile events --since 30d` to fetch \
                 those that Stripe still lists",
                to.place
            )?,
            Some(to) => writeln!(
                out,
                "given up: gateways may work on this inbox again. Entries that were moved to {} stay there too; the ledger takes \
                 each event once",
                to.place
            )?,
            None => writeln!(out, "no move from here has begun")?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    let told = |moved: Moved| eprintln!("{} carried", counted(moved.entries + moved.known, "entry", "entries"));
    let (moved, from, into) = transfer(&config, direction, clock, told).await?;
    let Moved { entries, known } = moved;
    let carried = counted(entries, "entry was carried", "entries were carried");
    writeln!(out, "all of {from} is in {into}: {carried} now; known there: {known}")?;
    let next = match direction {
        Direction::ToDatabase => "set GATEWAY_INBOX_URL to that database and start the gateway",
        Direction::FromDatabase => "remove GATEWAY_INBOX_URL from its settings and start the one gateway of that file",
    };
    writeln!(out, "next: {next}")?;
    Ok(ExitCode::SUCCESS)
}
