//! `config check` and `config show`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use super::MISCONFIGURED;
use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::ledger::postgres::PostgresConfig;

/// What of a password has to be escaped in a URL.
const ESCAPES: &str =
    "In user and password write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20";

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Do what `serve` does, short of serving: read and check everything, rules, keys and directories among it. Starts nothing,
    /// makes nothing, and asks nobody.
    Check,
    /// Print every setting with its value and where it came from. Secrets are not shown.
    Show,
}

/// Runs the command. The exit code of `check` is 2 when something is refused.
pub fn run(command: &ConfigCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match command {
        ConfigCommand::Check => {
            let config = Config::for_serve(sources)?;
            for warning in &config.warnings {
                writeln!(out, "warning: {warning}")?;
            }
            for note in &config.unencrypted {
                writeln!(out, "note: {note}")?;
            }
            if let Some(url) = config.ledger.database() {
                let database = PostgresConfig::new(url.clone());
                if let Err(error) = database.options() {
                    let doubt = database.url_doubt().map(|doubt| format!(" ({doubt})")).unwrap_or_default();
                    writeln!(out, "refused: {}{doubt}. {ESCAPES}", error.message)?;
                    return Ok(ExitCode::from(MISCONFIGURED));
                }
                if let Some(doubt) = database.url_doubt() {
                    writeln!(out, "warning: DATABASE_URL: {doubt}. {ESCAPES}")?;
                }
            }
            app::rehearse(&config, clock)?;
            writeln!(out, "ok: {} endpoint(s), ready to serve", config.endpoints.len())?;
        }
        ConfigCommand::Show => {
            let config = Config::for_tools(sources)?;
            let width = |text: fn(&crate::config::Shown) -> &str| {
                config.shown.iter().map(|shown| text(shown).len()).max().unwrap_or(0)
            };
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
        }
    }
    Ok(ExitCode::SUCCESS)
}
