//! `keys generate`, `keys show`, `keys rotate` and `keys export`.

mod export;
mod generate;
mod rotate;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use crate::config::Sources;
use crate::domain::clock::Clock;
use crate::domain::private::exposed_file;
use crate::job::keys::Role;

/// What to do with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Make the keys of an installation. Prints a file of environment variables, or writes one private file a key.
    Generate(generate::GenerateArgs),
    /// Show ids, public keys and ages, and the signing secrets of endpoints by their fingerprints. Secret parts are not shown.
    Show(show::ShowArgs),
    /// Replace a key without a gap. If it is interrupted at any step, run it again.
    #[command(after_help = rotate::STEPS)]
    Rotate(rotate::RotateArgs),
    /// Write the secrets of this configuration in the form that systemd, Kubernetes, GitHub or a file of variables needs.
    #[command(after_help = export::FORMATS)]
    Export(export::ExportArgs),
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Owner of a Colonies server.
    Server,
    /// Owner of a colony.
    Colony,
    /// The gateway, which submits jobs.
    User,
    /// The bees, which take jobs.
    Executor,
    /// The gateway's signature over jobs.
    Attestation,
    /// What bees open sealed jobs with.
    Sealing,
}

impl RoleName {
    const fn role(self) -> Role {
        match self {
            Self::Server => Role::Server,
            Self::Colony => Role::Colony,
            Self::User => Role::User,
            Self::Executor => Role::Executor,
            Self::Attestation => Role::Attestation,
            Self::Sealing => Role::Sealing,
        }
    }
}

/// Name of the file of public keys, beside the files of the keys.
const fn public_file_name(role: Role) -> &'static str {
    match role {
        Role::Sealing => "sealing_pubkeys",
        Role::Server | Role::Colony | Role::User | Role::Executor | Role::Attestation => "attestation_pubkeys",
    }
}

pub async fn run(command: KeysCommand, sources: &Sources, clock: &Clock) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Generate(args) => generate::run(&args),
        KeysCommand::Show(args) => show::run(&args, sources, clock),
        KeysCommand::Rotate(args) => rotate::run(&args, sources).await,
        KeysCommand::Export(args) => export::run(&args, sources),
    }
}

/// Refuses to write secrets into a file that others can read. A redirection creates the file before this program starts.
fn refuse_exposed(out: &impl std::os::fd::AsFd) -> anyhow::Result<()> {
    let Some(mode) = exposed_file(out) else { return Ok(()) };
    anyhow::bail!(
        "the output is a file that others can read (mode {mode:04o}), and these are secrets: nothing was written. Let the \
         program make the files itself (`keys generate --dir DIRECTORY`, `keys export --out FILE`), or make the file private \
         first: `(umask 077; colony-gateway keys … > NEW_FILE)`"
    )
}

/// The file that the environment variable `<variable>_FILE` names.
fn file_of(sources: &Sources, variable: &str) -> Option<PathBuf> {
    let path = sources.environment.get(&format!("{variable}_FILE"))?.trim();
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// The file of the public keys of attestations or of sealed jobs: as the environment says, or beside the key's file.
fn public_file(sources: &Sources, role: Role, key: &Path) -> PathBuf {
    let named = role.public_variable().and_then(|variable| file_of(sources, variable));
    named.unwrap_or_else(|| key.with_file_name(public_file_name(role)))
}
