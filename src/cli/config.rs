//! `config`: check, show, begin, and describe the configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use crate::app;
use crate::config::{Config, ConfigError, Fault, Sources, reference};
use crate::domain::clock::Clock;
use crate::domain::private;
use crate::ledger::postgres::PostgresConfig;

/// Characters of a password that must be escaped in a URL.
const ESCAPES: &str =
    "In user and password write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20";

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read and check all settings, rules, keys and directories as `serve` does, without starting anything or connecting to
    /// anything. Names every fault at once, and warns of settings that are in order and may still surprise in production.
    Check,
    /// Print every setting with its value and where it came from. Secrets are not shown.
    Show,
    /// Write a configuration file to start from: every setting with its default and its purpose, commented out.
    Init {
        /// File to make, readable only by you. An existing file is not changed. Without it, print the file.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the JSON schema of the configuration file, for editors that check and complete TOML.
    Schema,
}

/// Runs the command. The exit code of `check` is 2 if something is refused.
pub fn run(command: &ConfigCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check => check(sources, clock),
        ConfigCommand::Show => show(sources),
        ConfigCommand::Init { file } => init(file.as_deref()),
        ConfigCommand::Schema => {
            let mut out = std::io::stdout().lock();
            serde_json::to_writer_pretty(&mut out, &reference::schema())?;
            writeln!(out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (config, mut faults) = Config::examine(sources);
    let mut add = |fault: Fault| {
        let bare = |name: &str| name.strip_suffix("_FILE").unwrap_or(name).to_owned();
        // The fault of this setting is already reported; its consequences need not be.
        if !faults.iter().any(|known| bare(&known.setting) == bare(&fault.setting)) {
            faults.push(fault);
        }
    };
    for warning in &config.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for note in &config.unencrypted {
        writeln!(out, "note: {note}")?;
    }
    for (setting, url) in [
        ("DATABASE_URL", config.ledger.database()),
        ("GATEWAY_LEDGER_OWNER_URL", config.ledger_expectation.owner_url.as_ref()),
    ] {
        let Some(url) = url else { continue };
        let database = PostgresConfig::new(url.clone());
        if let Err(error) = database.address() {
            let doubt = database.url_doubt().map(|doubt| format!(" ({doubt})")).unwrap_or_default();
            add(Fault { setting: setting.to_owned(), message: format!("{}{doubt}. {ESCAPES}", error.message) });
        } else if let Some(doubt) = database.url_doubt() {
            writeln!(out, "warning: {setting}: {doubt}. {ESCAPES}")?;
        }
    }
    let told = app::advice(&config);
    for warning in &told.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    for note in &told.notes {
        writeln!(out, "note: {note}")?;
    }
    app::rehearse(&config, clock).into_iter().for_each(add);
    if !faults.is_empty() {
        return Err(ConfigError(faults).into());
    }
    writeln!(out, "ok: {} endpoint(s), ready to serve", config.endpoints.len())?;
    Ok(ExitCode::SUCCESS)
}

fn show(sources: &Sources) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let config = crate::cli::tools(sources)?;
    let width =
        |text: fn(&crate::config::Shown) -> &str| config.shown.iter().map(|shown| text(shown).len()).max().unwrap_or(0);
    let (key, variable) = (width(|shown| shown.key), width(|shown| shown.variable));
    for shown in &config.shown {
        let value = if shown.value.is_empty() { "-" } else { &shown.value };
        writeln!(out, "{:key$}  {:variable$}  {value}  ({})", shown.key, shown.variable, shown.origin)?;
    }
    for note in &config.unencrypted {
        writeln!(out, "note: {note}")?;
    }
    for endpoint in &config.endpoints {
        let fingerprints: Vec<String> =
            endpoint.secrets.get().iter().map(|secret| secret.fingerprint().to_string()).collect();
        writeln!(
            out,
            "endpoint {}: {} ({:?}, {:?}), secrets {}",
            endpoint.name,
            endpoint.paths.join(" "),
            endpoint.mode,
            endpoint.payload,
            fingerprints.join(" ")
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the file to start from, or writes it.
fn init(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (text, mut out) = (reference::file(), std::io::stdout().lock());
    let Some(file) = file else {
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    private::new_file(file, text.as_bytes()).with_context(|| {
        if file.exists() {
            format!("{} exists already and was not changed: name another file, or remove this one", file.display())
        } else {
            format!("cannot write {}", file.display())
        }
    })?;
    let file = file.display();
    writeln!(out, "wrote {file}: remove the # before each setting that you change, then run")?;
    writeln!(out, "  colony-gateway --config {file} config check")?;
    Ok(ExitCode::SUCCESS)
}
