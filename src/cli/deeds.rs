//! What a command did to the ledger by itself, told to the audit beside the inbox: there stands what people do through a gateway.
//!
//! Guarantees: nothing fails by it, and what could not be kept is said. It names no user.

use anyhow::Context as _;

use super::admin::{AdminClient, local, runs_at};
use crate::admin::wire::{CommandDeed, DeedNoted};
use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::inbox::{Deed, FILE_NAME, Inbox, InboxThreads, OpenError};

/// Who runs a command, as the shell says.
pub(super) fn who(sources: &Sources) -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| sources.environment.get(*name)).cloned()
}

/// Has the gateway that runs here keep a deed; without one, keeps it in the inbox of this configuration.
pub(super) async fn keep(config: &Config, sources: &Sources, clock: &Clock, deed: CommandDeed) {
    if let Err(error) = try_to_keep(config, sources, clock, deed).await {
        eprintln!("note: the gateway's audit does not have this: {error:#}");
    }
}

async fn try_to_keep(config: &Config, sources: &Sources, clock: &Clock, deed: CommandDeed) -> anyhow::Result<()> {
    if runs_at(config.http.admin_listen).await {
        let DeedNoted { .. } = AdminClient::new(config)?.post("/admin/audit", &deed).await?;
        return Ok(());
    }
    let deed = done_here(deed, who(sources));
    let nowhere = || format!("no gateway answers at {}", local(config.http.admin_listen));
    let (inbox, threads) = open(config, clock).await.with_context(nowhere)?;
    let kept = inbox.note_deed(deed).await;
    drop(inbox);
    // Nothing is left to say when the thread that waits breaks.
    let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    Ok(kept?)
}

/// The inbox of this configuration. Makes none, and takes none that a gateway has.
async fn open(config: &Config, clock: &Clock) -> anyhow::Result<(Inbox, InboxThreads)> {
    if config.inbox.url.is_none() {
        let file = config.inbox.data_dir.join(FILE_NAME);
        anyhow::ensure!(file.exists(), "there is no inbox at {}", file.display());
        app::finish_restore(config)?;
    }
    let (config, clock) = (config.clone(), clock.clone());
    match tokio::task::spawn_blocking(move || app::open_inbox(&config, clock)).await? {
        Err(OpenError::Locked { .. }) => {
            anyhow::bail!("a gateway elsewhere has the inbox: set GATEWAY_ADMIN_LISTEN as it has it")
        }
        opened => opened.context("cannot open the inbox"),
    }
}

/// Of a command that no gateway answers for, the shell says who ran it.
pub(super) fn done_here(deed: CommandDeed, who: Option<String>) -> Deed {
    let CommandDeed { action, what, result, note } = deed;
    Deed {
        who: who.unwrap_or_else(|| "unknown".to_owned()),
        role: "operator".to_owned(),
        peer: None,
        via: "command".to_owned(),
        action: action.as_str().to_owned(),
        what,
        dry_run: false,
        result,
        note,
    }
}
