//! `keys show`: what tells keys and secrets apart, where they come from, and how old they are. Never a secret.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::file_of;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::domain::counted::lasting;
use crate::job::attestation::PublicKey;
use crate::job::keys::files::{self, KeyFileError};
use crate::job::keys::{KeyPair, Role};
use crate::job::sealing::RecipientKey;

/// Setting of the endpoint's signing secrets.
const WEBHOOK: &str = "STRIPE_WEBHOOK_SECRET";

/// Arguments of `keys show`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    /// Show the key files of this directory; without it, the keys that the configuration names.
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
}

pub(super) fn run(args: &ShowArgs, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let mut shown = 0_usize;
    let config = match &args.dir {
        Some(_) => None,
        None => Some(crate::cli::tools(sources)?),
    };
    if let Some(config) = &config {
        webhook_secrets(&mut out, config, clock)?;
    }
    let config = config.map(|config| config.colony);
    for role in Role::ALL {
        let file = match &args.dir {
            Some(directory) => Some(directory.join(role.file_name())),
            None => file_of(sources, role.secret_variable()),
        };
        let given = config.as_ref().and_then(|config| match role {
            Role::Server => config.server_key.as_ref(),
            Role::Colony => config.colony_key.as_ref(),
            Role::User => config.user_key.as_ref(),
            Role::Executor => config.executor_key.as_ref(),
            Role::Attestation => config.attestation_key.as_ref(),
            Role::Sealing => config.sealing_key.as_ref(),
        });
        let (pair, notes) = match (file, given) {
            (Some(path), _) => match of_file(role, &path, clock)? {
                Some(found) => found,
                None => continue,
            },
            (None, Some(secret)) => (KeyPair::read(role, secret)?, vec!["from the environment".to_owned()]),
            (None, None) => continue,
        };
        line(&mut out, &pair, notes)?;
        shown += 1;
    }
    if let Some(keys) = config.as_ref().and_then(|config| config.sealing_pubkeys.as_deref()) {
        for key in RecipientKey::parse_list(keys)? {
            writeln!(out, "{:<12} {}  kid {}", "sealed to", key.to_hex(), key.kid())?;
            shown += 1;
        }
    }
    if let Some(keys) = config.and_then(|config| config.attestation_pubkeys) {
        for key in PublicKey::parse_list(&keys)? {
            writeln!(out, "{:<12} {}  kid {}", "trusted", key.to_hex(), key.kid())?;
            shown += 1;
        }
    }
    if shown == 0 {
        writeln!(
            out,
            "no colony keys are set, and the direct route needs none (`keys generate` makes them for a colony)"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The signing secrets of each endpoint, by the fingerprints that entries, metrics and the console name.
fn webhook_secrets(out: &mut impl std::io::Write, config: &Config, clock: &Clock) -> std::io::Result<()> {
    let has_default = config.shown.iter().any(|shown| shown.variable == WEBHOOK && !shown.value.is_empty());
    for (place, endpoint) in config.endpoints.iter().enumerate() {
        let source = if has_default && place == 0 {
            given(config, clock)
        } else {
            "from its table in the configuration file".to_owned()
        };
        for secret in endpoint.secrets.get().iter() {
            writeln!(
                out,
                "{:<12} fingerprint {}  endpoint {}, {source}",
                "webhook",
                secret.fingerprint(),
                endpoint.name
            )?;
        }
    }
    Ok(())
}

/// Where the secrets of the endpoint come from that is described by settings and not by a table.
fn given(config: &Config, clock: &Clock) -> String {
    let Some(file) = config.files.iter().find(|file| file.setting == WEBHOOK) else {
        let origin = config.shown.iter().find(|shown| shown.variable == WEBHOOK).map(|shown| shown.origin.as_str());
        return match origin {
            Some("file") => "from the configuration file".to_owned(),
            _ => "from the environment".to_owned(),
        };
    };
    let written = file.mark.and_then(|mark| mark.written);
    let age = written.map(|written| format!(", {} old", lasting(clock.now().since(written)))).unwrap_or_default();
    format!("{}{age}", file.path.display())
}

fn of_file(role: Role, path: &Path, clock: &Clock) -> anyhow::Result<Option<(KeyPair, Vec<String>)>> {
    let file = match files::read(path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let pair = KeyPair::read(role, &file.secret)?;
    let mut notes = vec![path.display().to_string()];
    notes.extend(file.age(clock.now()).map(|age| format!("{} old", lasting(age))));
    if file.exposed {
        notes.push("WARNING: others can read this file (chmod 600)".to_owned());
    }
    Ok(Some((pair, notes)))
}

fn line(out: &mut impl std::io::Write, pair: &KeyPair, mut notes: Vec<String>) -> std::io::Result<()> {
    if let Some(kid) = &pair.kid {
        notes.insert(0, format!("kid {kid}"));
    }
    if pair.is_published() {
        notes.push("WARNING: everybody has this key, it is in the examples of Colonies".to_owned());
    }
    writeln!(out, "{:<12} {}  {}", pair.role.as_str(), pair.public, notes.join(", "))
}
