//! `restore`: from a backup back to files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::backup::{embedded_ledger, named_keys, refuse_shared, say_contents};
use crate::backup::age::Age;
use crate::backup::keys::Identities;
use crate::backup::restore::{FileFate, Restored, rehearse, restore};
use crate::backup::{INBOX, KEYS, LEDGER, Target};
use crate::config::Sources;
use crate::domain::clock::{Clock, Timestamp};

/// How late Stripe may still deliver an event.
const STRIPE_RETRIES: Duration = Duration::from_hours(72);

pub const NOTES: &str = "Stop the gateway first. The command checks everything before it replaces anything: the encryption, every digest, both
databases and their formats. It keeps each replaced file as <name>.before-restore-<time>. If it is killed, the gateway has
either the old files or the new ones; the next start finishes the restore.

It keeps existing key files that differ from the backup, because you may have rotated a key since; --force replaces them too.

Afterwards run `reconcile --since <time>`, which fetches the events that were acknowledged after the backup from Stripe. Stripe
keeps events for 30 days. The gateway works again on entries that were waiting at the time of the backup; the ledger takes each
event once. Inbox and embedded ledger of one archive fit together: the ledger has every event that the inbox calls settled.

The backup brings back the data of persons who were erased after it: run `erase` for them again.";

/// Arguments of `restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The archive.
    #[arg(value_name = "FILE")]
    pub archive: PathBuf,

    /// File with the key that opens it, as `age-keygen -o` writes it.
    #[arg(long, value_name = "KEYFILE")]
    pub identity: PathBuf,

    /// Check everything and change nothing. The gateway may be running. The databases are unpacked into TMPDIR.
    #[arg(long)]
    pub dry_run: bool,

    /// Replace existing files. The old ones are kept under another name.
    #[arg(long)]
    pub force: bool,
}

/// Checks the archive, puts its files into place and says what to do next.
pub async fn run(args: RestoreArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let keys = named_keys(sources);
    let config = crate::cli::tools(&without_missing(sources, &keys))?;
    refuse_shared(
        &config,
        "what an archive holds would be read by no gateway. Unset it to restore a gateway with a file",
    )?;
    let target = Target {
        data_dir: config.inbox.data_dir.clone(),
        ledger: embedded_ledger(&config),
        keys: keys.into_iter().map(|(_, place)| place).collect(),
    };
    let age = Age::find(&sources.environment)?;
    let dry_run = args.dry_run;
    let restored = tokio::task::spawn_blocking(move || {
        let identities = Identities::read(&args.identity)?;
        if args.dry_run {
            rehearse(&age, &args.archive, &identities, &target, (args.force, &std::env::temp_dir()), &clock)
        } else {
            restore(&age, &args.archive, &identities, &target, args.force, &clock)
        }
    })
    .await??;
    let mut out = std::io::stdout().lock();
    say(&mut out, &restored, dry_run)?;
    if !dry_run {
        say_next(&mut out, &restored)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A machine that lost its files also lacks those that the environment names, because they are about to be restored.
fn without_missing(sources: &Sources, keys: &[(String, crate::backup::KeyPlace)]) -> Sources {
    let mut sources = sources.clone();
    for (variable, place) in keys {
        if !is_next(&place.name) && !place.path.exists() {
            sources.environment.remove(variable);
        }
    }
    sources
}

/// Whether a key file is the next one of a rotation, which no variable names.
fn is_next(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "next")
}

fn say(out: &mut impl std::io::Write, restored: &Restored, dry_run: bool) -> std::io::Result<()> {
    let version = &restored.manifest.version;
    let verb = if dry_run { "the archive is good" } else { "restored" };
    writeln!(out, "{verb}, written by colony-gateway {version}:")?;
    say_contents(out, &restored.manifest)?;
    for line in &restored.lines {
        let place = line.path.display();
        match &line.fate {
            FileFate::Placed if dry_run => writeln!(out, "  would write {place}")?,
            FileFate::Placed => writeln!(out, "  {place}")?,
            FileFate::Replaced(aside) if dry_run => {
                writeln!(out, "  would replace {place} (needs --force), keeping it as {}", aside.display())?;
            }
            FileFate::Replaced(aside) => writeln!(out, "  {place}; the old one is {}", aside.display())?,
            FileFate::Same => writeln!(out, "  {place} is the same already")?,
            FileFate::Kept => writeln!(out, "  {place} differs from the backup and was kept (--force replaces it)")?,
            FileFate::LeftOut => {
                writeln!(out, "  {} is left out: the ledger is configured to be elsewhere", line.name)?;
            }
        }
    }
    Ok(())
}

fn say_next(out: &mut impl std::io::Write, restored: &Restored) -> std::io::Result<()> {
    let manifest = &restored.manifest;
    let made = Timestamp::parse_rfc3339(&manifest.created).unwrap_or_default();
    writeln!(out, "\nNext:")?;
    for line in restored.lines.iter().filter(|line| line.name.starts_with(KEYS) && line.fate == FileFate::Placed) {
        let name = line.name.trim_start_matches(KEYS);
        if !is_next(name) {
            writeln!(out, "  check that {}_FILE is {}", name.to_ascii_uppercase(), line.path.display())?;
        }
    }
    if !restored.lines.iter().any(|line| line.name == LEDGER && line.fate != FileFate::LeftOut) {
        writeln!(
            out,
            "  the ledger is in a database, which this does not restore; the archive's {INBOX} fits it as it is"
        )?;
    }
    writeln!(out, "  colony-gateway serve")?;
    writeln!(out, "  colony-gateway reconcile --since {}", whole_second(made.minus(STRIPE_RETRIES)))?;
    writeln!(out, "  colony-gateway erase … for every person whose data was erased after {}", manifest.created)?;
    writeln!(
        out,
        "`reconcile` fetches from Stripe the events that were acknowledged after the backup. It begins three days \
         earlier, because Stripe may deliver that late. No event is applied twice."
    )
}

fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_seconds(moment.seconds())
}
