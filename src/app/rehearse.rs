//! What `serve` does with its settings before it serves, without serving: for `config check`.
//!
//! Guarantees: what is refused here is what a start refuses; nothing is made, opened for writing, or asked over the network.
//! Does not tell whether an address is free, since the gateway that has it may be running.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{StartError, pipeline, route};
use crate::config::{Config, ConfigError, Fault, LedgerConfig};
use crate::domain::causes::chain;
use crate::domain::clock::Clock;

/// Every reason for which `serve` would not start. Steps that depend on a failed one are left out.
pub fn rehearse(config: &Config, clock: &Clock) -> Vec<Fault> {
    steps(config, clock).into_iter().flat_map(|error| faults(error, &config.ledger)).collect()
}

fn steps(config: &Config, clock: &Clock) -> Vec<StartError> {
    let mut refused = Vec::new();
    let stripe = pipeline::stripe(config, clock).unwrap_or_else(|error| {
        refused.push(error);
        None
    });
    let ledger = match &config.ledger {
        LedgerConfig::Sqlite { path } => writable(path.parent().unwrap_or(Path::new("."))),
        LedgerConfig::Postgres { .. } | LedgerConfig::Supabase { .. } => pipeline::ledger(config, clock).map(drop),
    };
    let others = [
        pipeline::validator(config, stripe, clock).map(drop),
        ledger,
        route::check(config).map_err(StartError::Config),
        writable(&config.inbox.data_dir),
    ];
    refused.extend(others.into_iter().filter_map(Result::err));
    refused
}

/// The faults to correct, each by the name of its setting.
fn faults(error: StartError, ledger: &LedgerConfig) -> Vec<Fault> {
    let setting = match &error {
        StartError::Config(_) => "",
        StartError::Stripe(_) => "STRIPE_SECRET_KEY",
        StartError::Rules(_) => "GATEWAY_GUARDIAN_RULES",
        StartError::Ledger(_) => match ledger {
            LedgerConfig::Postgres { .. } => "DATABASE_URL",
            LedgerConfig::Supabase { .. } => "SUPABASE_URL",
            LedgerConfig::Sqlite { .. } => "GATEWAY_LEDGER_SQLITE_PATH",
        },
        StartError::Directory { .. } => "GATEWAY_DATA_DIR",
        _ => "settings",
    };
    let message = match error {
        StartError::Config(ConfigError(faults)) => return faults,
        StartError::Stripe(source) => chain(&source),
        StartError::Rules(source) => chain(&source),
        StartError::Ledger(source) => chain(&source),
        other => chain(&other),
    };
    vec![Fault { setting: setting.to_owned(), message }]
}

/// Whether files can be created in a directory, or the directory itself if it does not exist yet.
fn writable(directory: &Path) -> Result<(), StartError> {
    let refused = |source: io::Error| StartError::Directory { path: directory.to_owned(), source };
    let there = directory.ancestors().find(|path| path.as_os_str().is_empty() || path.symlink_metadata().is_ok());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !std::fs::metadata(there).map_err(refused)?.is_dir() {
        return Err(refused(io::ErrorKind::NotADirectory.into()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| refused(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    const KEY: &str = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05";

    fn rehearsed(directory: &Path, settings: &[(&str, &str)]) -> Result<(), StartError> {
        let mut environment = std::collections::BTreeMap::new();
        let directory = directory.display().to_string();
        for (name, value) in [("STRIPE_WEBHOOK_SECRET", "whsec_one"), ("GATEWAY_DATA_DIR", &*directory)] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::for_serve(&Sources { environment, file: None }).expect("well-formed settings");
        steps(&config, &Clock::system()).into_iter().next().map_or(Ok(()), Err)
    }

    #[tokio::test]
    async fn what_serve_would_refuse_is_refused_and_a_restart_would_not_help() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("a file");
        std::fs::write(&file, "[builtin.no_such_rule]").expect("written");
        let below = file.join("data").display().to_string();
        let refused: [&[(&str, &str)]; 7] = [
            &[("GATEWAY_GUARDIAN_RULES", "/no/such/rules.toml")],
            &[("GATEWAY_GUARDIAN_RULES", file.to_str().expect("UTF-8"))],
            &[("DATABASE_URL", "postgress://u:p@h/x")],
            &[("STRIPE_SECRET_KEY", "abc")],
            &[("GATEWAY_DATA_DIR", &below)],
            &[("GATEWAY_LEDGER_SQLITE_PATH", &below)],
            &[
                ("COLONIES_SERVER_HOST", "ftp://127.0.0.1:9"),
                ("COLONIES_COLONY_NAME", "revenue"),
                ("COLONIES_USER_PRVKEY", KEY),
                ("COLONIES_EXECUTOR_PRVKEY", KEY),
                ("ATTESTATION_PRVKEY", KEY),
            ],
        ];
        for settings in refused {
            let error = rehearsed(directory.path(), settings).expect_err("refused");
            assert!(error.is_misconfiguration(), "{settings:?}: {error:?}");
        }
        let data = directory.path().join("not/there/yet");
        rehearsed(&data, &[]).expect("it can be made");
        assert!(!data.exists(), "and is not made");
    }
}
