//! `colony setup`: adds the colony, the gateway's user and its bees on a Colonies server, or checks that existing ones are
//! ours.

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use colonies::client::{Client, ClientError};
use colonies::identity::{IdentityId, PrivateKey};

use crate::app::bees::{Approval, Approver, Candidate, candidates};
use crate::app::colony::{client, key, name};
use crate::config::{ColonyConfig, Sources};
use crate::domain::causes::chain;
use crate::lifecycle::Signals;

/// What to do with the colony.
#[derive(Clone, Debug, Subcommand)]
pub enum ColonyCommand {
    /// Add the colony, the gateway's user and its bees if they are missing. You can run it again at any time.
    #[command(after_help = SETTINGS)]
    Setup(SetupArgs),
}

const SETTINGS: &str = "Settings that it needs:
  COLONIES_SERVER_HOST, COLONIES_COLONY_NAME
  COLONIES_SERVER_PRVKEY   the server owner's key, to add the colony; not needed if the colony exists
  COLONIES_COLONY_PRVKEY   the colony owner's key; only this command needs it
  COLONIES_USER_PRVKEY     the gateway's key
and, to approve bees:
  COLONIES_EXECUTOR_PRVKEY the bees' key, from which the ids of all bees follow
  EXECUTOR_TYPE, BEE_COUNT as in the bees' settings, and their EXECUTOR_NAME, unless --bees names them
A bee that waits for approval prints its --executor. The server removes a bee that is silent for ten minutes, and the bee then waits
until you run this command again. With --every, the command keeps running and approves such bees.";

/// Arguments of `colony setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// Name of the gateway's user in the colony.
    #[arg(long, default_value = "colony-gateway")]
    pub user_name: String,
    /// Approve the bees of these names (their `EXECUTOR_NAME`s), `BEE_COUNT` of each. Needs `COLONIES_EXECUTOR_PRVKEY`.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub bees: Vec<String>,
    /// Approve one executor by its name and id, as a waiting bee prints them. May be given several times.
    #[arg(long, value_name = "NAME=ID")]
    pub executor: Vec<NamedId>,
    /// Keep running, and every so many seconds approve bees again that the server has removed.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: Option<u64>,
}

/// An executor's name with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedId {
    name: String,
    id: IdentityId,
}

impl FromStr for NamedId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, id) = text.split_once('=').ok_or("must be a name and an id: NAME=ID")?;
        let id = IdentityId::parse(id).map_err(|error| error.to_string())?;
        if name.is_empty() {
            Err("the name is missing: NAME=ID".to_owned())
        } else {
            Ok(Self { name: name.to_owned(), id })
        }
    }
}

pub async fn run(command: ColonyCommand, sources: &Sources) -> anyhow::Result<ExitCode> {
    let ColonyCommand::Setup(args) = command;
    let config = crate::cli::tools(sources)?.colony;
    let (client, colony) = (client(&config)?, name(&config)?);
    let owner_key = key(config.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "the key of the colony's owner")?;
    let user_key = key(config.user_key.as_ref(), "COLONIES_USER_PRVKEY", "the key of the gateway's user")?;
    if owner_key.id() == user_key.id() {
        bail!("COLONIES_COLONY_PRVKEY and COLONIES_USER_PRVKEY are the same key; each needs its own");
    }
    let bees = named(&config, &args)?;
    let version = client.version().await.context("cannot reach the Colonies server")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "server    {}", if version.buildversion.is_empty() { "reached" } else { &version.buildversion })?;

    let made = add_colony(&config, &client, &colony, &owner_key).await?;
    // The colony's owner signs the addition of the user, so this also shows whose colony it is.
    let added = add_user(&client, &colony, (&args.user_name, &owner_key, &user_key)).await?;
    writeln!(out, "colony    {colony}, owner {}: {}", owner_key.id(), if made { "added" } else { "there, and ours" })?;
    let verb = if added { "added" } else { "there, and ours" };
    writeln!(out, "user      {}, id {}: {verb}", args.user_name, user_key.id())?;

    let approver = Approver {
        user: client.member(colony.as_str(), user_key),
        owner: client.owner(colony.as_str(), owner_key),
        executor_type: config.executor_type.clone(),
    };
    let whole = approve(&mut out, &approver, &bees, false).await?;
    if let Some(seconds) = args.every {
        keep_approved(&mut out, &approver, (&config, &args), Duration::from_secs(seconds)).await?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bees to approve.
fn named(config: &ColonyConfig, args: &SetupArgs) -> anyhow::Result<Vec<Candidate>> {
    let mut bees = candidates(config, &args.bees)?;
    bees.extend(args.executor.iter().map(|executor| Candidate::known(&executor.name, executor.id.clone())));
    Ok(bees)
}

/// Adds the colony, if the key of the server's owner is given. Returns whether it was added.
async fn add_colony(
    config: &ColonyConfig,
    client: &Client,
    colony: &str,
    owner_key: &PrivateKey,
) -> anyhow::Result<bool> {
    if config.server_key.is_none() {
        return Ok(false);
    }
    let server_key = key(config.server_key.as_ref(), "COLONIES_SERVER_PRVKEY", "")?;
    match client.add_colony(&server_key, colony, owner_key.id()).await {
        Ok(_) => Ok(true),
        Err(ClientError::AlreadyExists { .. }) => Ok(false),
        Err(error @ ClientError::AccessDenied { .. }) => {
            Err(error).context("COLONIES_SERVER_PRVKEY is not the key of this server's owner")
        }
        Err(error) => Err(error).context("cannot add the colony"),
    }
}

/// Adds the gateway's user. Returns whether it was added.
async fn add_user(
    client: &Client,
    colony: &str,
    (user_name, owner_key, user_key): (&str, &Arc<PrivateKey>, &Arc<PrivateKey>),
) -> anyhow::Result<bool> {
    let owner = client.owner(colony, Arc::clone(owner_key));
    let added = match owner.add_user(user_name, user_key.id()).await {
        Ok(_) => true,
        Err(ClientError::AlreadyExists { .. }) => false,
        Err(error @ ClientError::UnknownColony { .. }) => {
            return Err(error).context("the colony does not exist; set COLONIES_SERVER_PRVKEY to add it");
        }
        Err(error @ (ClientError::AccessDenied { .. } | ClientError::NotMember { .. })) => {
            return Err(error).with_context(|| {
                format!("the colony {colony} belongs to another key than COLONIES_COLONY_PRVKEY; choose another name or set its key")
            });
        }
        Err(error) => return Err(error).context("cannot add the user"),
    };
    // The present holder of the name may be another member.
    match client.member(colony, Arc::clone(user_key)).statistics().await {
        Ok(_) => Ok(added),
        Err(error @ ClientError::NotMember { .. }) => Err(error).with_context(|| {
            format!(
                "the name {user_name} belongs to a user with another key than COLONIES_USER_PRVKEY; choose another --user-name"
            )
        }),
        Err(error) => Err(error).context("cannot ask as the user"),
    }
}

/// Approves bees and reports what was done for each; with `changes_only`, not for those already approved. Returns whether
/// all of them may work.
async fn approve(
    out: &mut impl Write,
    approver: &Approver,
    bees: &[Candidate],
    changes_only: bool,
) -> anyhow::Result<bool> {
    if bees.is_empty() {
        return Ok(true);
    }
    let mut whole = true;
    for (name, approval) in approver.approve(bees).await.context("cannot ask for the executors")? {
        match approval {
            Ok(Approval::There) if changes_only => {}
            Ok(approval) => writeln!(out, "bee       {name}: {}", approval.as_str())?,
            Err(error) => {
                whole = false;
                writeln!(out, "bee       {name}: NOT approved: {}", chain(&error))?;
            }
        }
    }
    Ok(whole)
}

/// Approves bees again that the server removed, until a signal. Retries a server that does not answer.
async fn keep_approved(
    out: &mut impl Write,
    approver: &Approver,
    (config, args): (&ColonyConfig, &SetupArgs),
    every: Duration,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let mut is_away = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = signals.next() => return Ok(()),
        }
        // A rotation may have changed their key.
        let bees = named(config, args)?;
        match approve(out, approver, &bees, true).await {
            Ok(_) => is_away = false,
            Err(error) if !is_away => {
                is_away = true;
                writeln!(out, "cannot look at the bees, trying again in {} s: {error:#}", every.as_secs())?;
            }
            Err(_) => {}
        }
        out.flush()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_is_a_name_and_an_id() {
        let id = "a".repeat(64);
        assert_eq!(format!("bees-1={id}").parse::<NamedId>().unwrap().name, "bees-1");
        for bad in ["bees-1", "bees-1=", "bees-1=abc", &format!("={id}")] {
            assert!(bad.parse::<NamedId>().is_err(), "{bad}");
        }
    }
}
