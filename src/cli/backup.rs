//! `backup`: a consistent copy of the gateway's files, encrypted.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::backup::age::Age;
use crate::backup::keys::Recipients;
use crate::backup::{self, KEYS, KeyPlace};
use crate::config::{Config, LedgerConfig, Sources};
use crate::domain::clock::Clock;
use crate::job::keys::{Role, rotate};

pub const NOTES: &str = "The archive contains the inbox, the embedded ledger, and the key files that the environment names (COLONIES_*_PRVKEY_FILE,
ATTESTATION_*_FILE, SEALING_*_FILE). It does not contain a ledger in PostgreSQL or Supabase, which the database's own tools back up. Nor
does it contain Stripe's secrets, database URLs, the configuration file, the Guardian's rules and the file of operators: keep these in
your secret store.

The program `age` encrypts the archive and must be on PATH (apt install age, brew install age).

Run the command as the gateway's user; the gateway may be running. The data directory needs room for the copies. For a timer,
set GATEWAY_BACKUP_RECIPIENTS and see deploy/systemd. `age-keygen -o KEYFILE` makes a key and prints its public half, which is
the recipient. Keep KEYFILE, which opens the backups, on another machine. Try a restore now and then: `restore --dry-run`.";

/// Arguments of `backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackupArgs {
    /// The archive to write.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// Public key to encrypt it for, `age1…`; may be given several times. More come from `GATEWAY_BACKUP_RECIPIENTS`.
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,

    /// A file of recipients, one per line. Lines that begin with # are comments.
    #[arg(long, value_name = "FILE")]
    pub recipients_file: Option<PathBuf>,

    /// Overwrite the archive if it exists.
    #[arg(long)]
    pub force: bool,
}

/// Writes the archive and reports its contents.
pub async fn run(args: BackupArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    refuse_shared(
        &config,
        "a backup of this machine would hold no event: back up that database (the schema gateway_inbox), from one moment with \
         the ledger's where both are one database. Key files belong into your secret store",
    )?;
    let mut texts = args.recipient.clone();
    if let Some(path) = &args.recipients_file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        texts.extend(
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
        );
    }
    texts.extend(config.backup.recipients.iter().cloned());
    let recipients = Recipients::parse(texts.iter().map(String::as_str))?;
    let age = Age::find(&sources.environment)?;
    let (count, to, force) = (recipients.len(), args.to.clone(), args.force);
    let what = backup::Sources {
        data_dir: config.inbox.data_dir.clone(),
        ledger: embedded_ledger(&config),
        keys: existing_keys(sources),
    };
    let written =
        tokio::task::spawn_blocking(move || backup::write(&age, &what, &to, &recipients, force, &clock)).await??;
    let manifest = &written.manifest;
    let mut out = std::io::stdout().lock();
    writeln!(out, "wrote {}: {} bytes, recipients: {count}", args.to.display(), written.bytes)?;
    say_contents(&mut out, manifest)?;
    writeln!(out, "  key files: {}", manifest.files.iter().filter(|note| note.name.starts_with(KEYS)).count())?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses an inbox in a database, whose backups are the database's business.
pub(super) fn refuse_shared(config: &Config, what: &str) -> anyhow::Result<()> {
    anyhow::ensure!(config.inbox.url.is_none(), "the inbox is in the database of GATEWAY_INBOX_URL: {what}");
    Ok(())
}

/// The contents of an archive, for people.
pub(super) fn say_contents(out: &mut impl std::io::Write, manifest: &backup::Manifest) -> std::io::Result<()> {
    let total: u64 = manifest.entries.values().sum();
    let by_state = manifest.entries.iter().filter(|(_, count)| **count > 0);
    let by_state: Vec<String> = by_state.map(|(state, count)| format!("{count} {state}")).collect();
    let by_state = if by_state.is_empty() { String::new() } else { format!(" ({})", by_state.join(", ")) };
    writeln!(out, "  inbox of {}, entries: {total}{by_state}", manifest.created)?;
    match manifest.ledger_events {
        Some(events) => writeln!(out, "  embedded ledger, events: {events}"),
        None => writeln!(out, "  no ledger: it is in a database, back it up there"),
    }
}

pub(super) fn embedded_ledger(config: &Config) -> Option<PathBuf> {
    match &config.ledger {
        LedgerConfig::Sqlite { path } => Some(path.clone()),
        LedgerConfig::Postgres { .. } | LedgerConfig::Supabase { .. } => None,
    }
}

/// The key files: variable, name in the archive, place.
pub(super) fn named_keys(sources: &Sources) -> Vec<(String, KeyPlace)> {
    let aliases = |role: Role| if role == Role::User { Some("COLONIES_PRVKEY") } else { None };
    let variables = Role::ALL.into_iter().map(|role| (role.file_name(), [Some(role.secret_variable()), aliases(role)]));
    let public = ["ATTESTATION_PUBKEYS", "SEALING_PUBKEYS"];
    let variables = variables.chain(public.map(|name| (name.to_ascii_lowercase(), [Some(name), None])));
    let mut found = Vec::new();
    for (name, names) in variables {
        let file = names.into_iter().flatten().find_map(|variable| {
            let variable = format!("{variable}_FILE");
            let path = sources.environment.get(&variable).map(|path| path.trim()).filter(|path| !path.is_empty())?;
            Some((variable, PathBuf::from(path)))
        });
        let Some((variable, path)) = file else { continue };
        let next = KeyPlace { name: format!("{name}.next"), path: rotate::next_path(&path) };
        found.push((variable.clone(), KeyPlace { name, path }));
        found.push((variable, next));
    }
    found
}

/// The existing ones. A missing file that is named is refused along with the configuration, except for the next key of a
/// rotation.
fn existing_keys(sources: &Sources) -> Vec<KeyPlace> {
    named_keys(sources).into_iter().map(|(_, place)| place).filter(|place| place.path.exists()).collect()
}
