//! `keys rotate`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use super::{file_of, public_file};
use crate::app;
use crate::config::Sources;
use crate::job::keys::Role;
use crate::job::keys::quiet::rotate_executor_at_rest;
use crate::job::keys::rotate::{
    Holder, Rotated, prepare_attestation, retire_attestation, rotate_executor, rotate_identity, switch_attestation,
};
use crate::job::keys::rotate_sealing::{prepare_sealing, retire_sealing, switch_sealing};
use crate::lifecycle::Signals;

/// How late a Colonies server ends leases.
const LEASE_LATE: Duration = Duration::from_secs(5);

pub(super) const STEPS: &str =
    "A user or an executor gets its new key in one run: the command writes the next key beside the current one (<file>.next), tells
the colony, and replaces the file. If bees have keys that are derived from the executor's key, the command replaces their ids too.
Bees and gateways read their files again within seconds.

With COLONIES_COLONY_PRVKEY, the rotation of an executor pauses the colony's assignments, waits until the executor's bees hold no
process (at most one lease), and resumes assignments afterwards, even if the rotation failed. The pause is needed because a
Colonies server of version 1.9.12 crashes if an executor's id changes while it closes a process. Without that key, stop the bees
before the rotation and start them afterwards. Until then, entries wait.

The attestation key needs an overlap, in three runs:
  prepare   makes the next key and adds it to the trusted ones; give ATTESTATION_PUBKEYS to all bees
  switch    the next key signs
  retire    no longer trusts the old key; run it when jobs from before the switch are done (the metric
            colony_gateway_key_uses_total of the old key does not grow)
The sealing key needs an overlap, too. Gateways seal jobs to all keys in SEALING_PUBKEYS. Bees that have their key in a file also
read the next and the previous key beside it:
  prepare   makes the next key and adds it to the public ones; give <file>.next to all bees, then SEALING_PUBKEYS to all gateways
  switch    the next key becomes the current one; give the files to all bees
  retire    no longer seals to the old key, and removes it; give SEALING_PUBKEYS to all gateways

Gateways and bees use new keys in files (ATTESTATION_PRVKEY_FILE, ATTESTATION_PUBKEYS_FILE) within seconds. If the keys are in the
environment, restart them.";

/// Arguments of `keys rotate`.
#[derive(Clone, Debug, clap::Args)]
pub struct RotateArgs {
    /// Which key.
    #[arg(value_enum)]
    pub key: RotatedKey,

    /// Step of the rotation, for `attestation` and `sealing`.
    #[arg(value_enum, required_if_eq_any([("key", "attestation"), ("key", "sealing")]))]
    pub step: Option<RotationStep>,

    /// File of the key. Without it, the file that the environment names (`COLONIES_USER_PRVKEY_FILE` and the like).
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// File of the public keys. Without it, `ATTESTATION_PUBKEYS_FILE` or `attestation_pubkeys` beside the key; for sealed jobs,
    /// `SEALING_PUBKEYS_FILE` or `sealing_pubkeys` beside the key.
    #[arg(long, value_name = "FILE")]
    pub trusted: Option<PathBuf>,
}

/// Keys that can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RotatedKey {
    /// The gateway's key, which submits jobs.
    User,
    /// The bees' key, which takes jobs.
    Executor,
    /// The gateway's signature over jobs.
    Attestation,
    /// The key that bees open sealed jobs with.
    Sealing,
}

/// Steps of a rotation with an overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RotationStep {
    /// Make the next key, and trust it or seal to it as well.
    Prepare,
    /// Sign or open with the next key.
    Switch,
    /// No longer trust the old key or seal to it.
    Retire,
}

pub(super) async fn run(args: &RotateArgs, sources: &Sources) -> anyhow::Result<ExitCode> {
    let role = match args.key {
        RotatedKey::User => Role::User,
        RotatedKey::Executor => Role::Executor,
        RotatedKey::Attestation => Role::Attestation,
        RotatedKey::Sealing => Role::Sealing,
    };
    let variable = role.secret_variable();
    let path = args.file.clone().or_else(|| file_of(sources, variable));
    let path = path.with_context(|| {
        format!("name the key's file with --file or {variable}_FILE: only a key in a file can be replaced")
    })?;
    match (args.key, args.step) {
        (RotatedKey::Attestation, Some(step)) => attestation(args, step, &path, sources),
        (RotatedKey::Sealing, Some(step)) => sealing(args, step, &path, sources),
        (RotatedKey::Attestation | RotatedKey::Sealing, None) => bail!("name the step: prepare, switch or retire"),
        (RotatedKey::User | RotatedKey::Executor, Some(_)) => {
            bail!("only attestations and the key of sealed jobs are rotated in steps")
        }
        (RotatedKey::User, None) => identity(Holder::User, &path, sources).await,
        (RotatedKey::Executor, None) => identity(Holder::Executor, &path, sources).await,
    }
}

async fn identity(holder: Holder, path: &std::path::Path, sources: &Sources) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?.colony;
    let (client, colony) = (app::colony::client(&config)?, app::colony::name(&config)?);
    let Rotated { old, new } = match holder {
        Holder::User => rotate_identity(&client, &colony, holder, path).await?,
        Holder::Executor => match &config.colony_key {
            Some(_) => {
                let owner = app::colony::key(config.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "")?;
                let mut signals = Signals::listen().context("cannot listen for signals")?;
                let stop = async {
                    signals.next().await;
                };
                eprintln!("assignments of {colony} are paused until this is done");
                let (owner, patience) = (client.owner(colony.as_str(), owner), config.lease + LEASE_LATE);
                rotate_executor_at_rest(&client, &owner, path, patience, stop).await?
            }
            None => rotate_executor(&client, &colony, path).await?,
        },
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "the id {old} is now {new}; the key is in {}", path.display())?;
    if holder == Holder::User {
        writeln!(out, "a gateway that reads this file uses the new key within seconds; restart the others")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn attestation(
    args: &RotateArgs,
    step: RotationStep,
    path: &std::path::Path,
    sources: &Sources,
) -> anyhow::Result<ExitCode> {
    let trusted = args.trusted.clone().unwrap_or_else(|| public_file(sources, Role::Attestation, path));
    let mut out = std::io::stdout().lock();
    match step {
        RotationStep::Prepare => {
            let overlap = prepare_attestation(path, &trusted)?;
            writeln!(out, "{} signs, {} will", overlap.current.kid(), overlap.next.kid())?;
            writeln!(
                out,
                "give {} to every bee (they take it over within seconds), then run `keys rotate attestation switch`",
                trusted.display()
            )?;
        }
        RotationStep::Switch => {
            let key = switch_attestation(path, &trusted)?;
            writeln!(
                out,
                "{} signs within seconds, or from the next start of gateways that do not read this file",
                key.kid()
            )?;
            writeln!(out, "when older jobs are done, run `keys rotate attestation retire`")?;
        }
        RotationStep::Retire => {
            let retired = retire_attestation(path, &trusted)?;
            for key in &retired {
                writeln!(out, "{} is no longer trusted", key.kid())?;
            }
            if retired.is_empty() {
                writeln!(out, "nothing to retire")?;
            } else {
                writeln!(out, "give {} to every bee", trusted.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn sealing(
    args: &RotateArgs,
    step: RotationStep,
    path: &std::path::Path,
    sources: &Sources,
) -> anyhow::Result<ExitCode> {
    let public = args.trusted.clone().unwrap_or_else(|| public_file(sources, Role::Sealing, path));
    let mut out = std::io::stdout().lock();
    match step {
        RotationStep::Prepare => {
            let overlap = prepare_sealing(path, &public)?;
            writeln!(out, "jobs are sealed to {} and {}", overlap.current.kid(), overlap.next.kid())?;
            writeln!(
                out,
                "give {}.next to every bee, then {} to every gateway, then run `keys rotate sealing switch`",
                path.display(),
                public.display()
            )?;
        }
        RotationStep::Switch => {
            let key = switch_sealing(path, &public)?;
            writeln!(out, "{} opens jobs; the key before is kept in {}.before", key.kid(), path.display())?;
            writeln!(out, "when older jobs are done, run `keys rotate sealing retire`")?;
        }
        RotationStep::Retire => {
            let retired = retire_sealing(path, &public)?;
            for key in &retired {
                writeln!(out, "nothing is sealed to {} any more", key.kid())?;
            }
            if retired.is_empty() {
                writeln!(out, "nothing to retire")?;
            } else {
                writeln!(out, "give {} to every gateway", public.display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
