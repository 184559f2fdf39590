//! `colony setup`: makes the colony and the gateway's user on a Colonies server, or finds that they are there and ours.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use colonies::client::ClientError;

use crate::app::colony::{client, key, name};
use crate::config::{Config, Sources};

/// What to do with the colony.
#[derive(Clone, Debug, Subcommand)]
pub enum ColonyCommand {
    /// Add the colony and the gateway's user where they are missing. Running it again changes nothing.
    #[command(after_help = SETTINGS)]
    Setup(SetupArgs),
}

const SETTINGS: &str = "Settings that it needs:
  COLONIES_SERVER_HOST, COLONIES_COLONY_NAME
  COLONIES_SERVER_PRVKEY   the server owner's key, to add the colony; not needed when it exists
  COLONIES_COLONY_PRVKEY   the colony owner's key
  COLONIES_USER_PRVKEY     the gateway's key
Executors are added by the bees when they have COLONIES_COLONY_PRVKEY.";

/// Arguments of `colony setup`.
#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// Name of the gateway's user in the colony.
    #[arg(long, default_value = "colony-gateway")]
    pub user_name: String,
}

pub async fn run(command: ColonyCommand, sources: &Sources) -> anyhow::Result<ExitCode> {
    let ColonyCommand::Setup(args) = command;
    let config = Config::for_tools(sources)?.colony;
    let (client, colony) = (client(&config)?, name(&config)?);
    let owner_key = key(config.colony_key.as_ref(), "COLONIES_COLONY_PRVKEY", "the key of the colony's owner")?;
    let user_key = key(config.user_key.as_ref(), "COLONIES_USER_PRVKEY", "the key of the gateway's user")?;
    if owner_key.id() == user_key.id() {
        bail!("COLONIES_COLONY_PRVKEY and COLONIES_USER_PRVKEY are the same key; each needs its own");
    }
    let version = client.version().await.context("cannot reach the Colonies server")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "server    {}", if version.buildversion.is_empty() { "reached" } else { &version.buildversion })?;

    let made = match &config.server_key {
        Some(_) => {
            let server_key = key(config.server_key.as_ref(), "COLONIES_SERVER_PRVKEY", "")?;
            match client.add_colony(&server_key, &colony, owner_key.id()).await {
                Ok(_) => true,
                Err(ClientError::AlreadyExists { .. }) => false,
                Err(error @ ClientError::AccessDenied { .. }) => {
                    return Err(error).context("COLONIES_SERVER_PRVKEY is not the key of this server's owner");
                }
                Err(error) => return Err(error).context("cannot add the colony"),
            }
        }
        None => false,
    };
    // Adding the user is signed by the colony's owner, so that it also shows whose the colony is.
    let owner = client.owner(colony.as_str(), Arc::clone(&owner_key));
    let added = match owner.add_user(&args.user_name, user_key.id()).await {
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
    writeln!(out, "colony    {colony}, owner {}: {}", owner_key.id(), if made { "added" } else { "there, and ours" })?;

    // Whoever has the name already may be somebody else.
    let user = client.member(colony.as_str(), Arc::clone(&user_key));
    match user.statistics().await {
        Ok(_) => {}
        Err(error @ ClientError::NotMember { .. }) => {
            return Err(error).with_context(|| {
                format!(
                    "the name {} belongs to a user with another key than COLONIES_USER_PRVKEY; choose another --user-name",
                    args.user_name
                )
            });
        }
        Err(error) => return Err(error).context("cannot ask as the user"),
    }
    let verb = if added { "added" } else { "there, and ours" };
    writeln!(out, "user      {}, id {}: {verb}", args.user_name, user_key.id())?;
    Ok(ExitCode::SUCCESS)
}
