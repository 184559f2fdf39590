//! Notes in the audit beside the inbox what a command did to the ledger by itself. The gateway notes there what people do through it.
//!
//! Guarantees: a command never fails because of this; if the audit cannot keep the deed, a note says so. It names no user.

use anyhow::Context as _;

use super::admin::{AdminClient, local, runs_at};
use crate::admin::wire::{CommandDeed, DeedNoted};
use crate::app;
use crate::config::{Config, Sources};
use crate::domain::clock::Clock;
use crate::inbox::{Deed, FILE_NAME, Inbox, InboxThreads, OpenError};

/// The user who runs the command, according to the shell.
pub(super) fn who(sources: &Sources) -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| sources.environment.get(*name)).cloned()
}

/// Gives a deed to the gateway that runs here. Without one, writes it into the inbox of this configuration.
pub(super) async fn keep(config: &Config, sources: &Sources, clock: &Clock, deed: CommandDeed) {
    if let Err(error) = try_to_keep(config, sources, clock, deed).await {
        eprintln!("note: the gateway's audit does not contain this: {error:#}");
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
    // If the waiting thread breaks, there is nothing left to report.
    let _ = tokio::task::spawn_blocking(move || threads.join()).await;
    Ok(kept?)
}

/// Opens the inbox of this configuration. Makes none, and opens none that a gateway uses.
async fn open(config: &Config, clock: &Clock) -> anyhow::Result<(Inbox, InboxThreads)> {
    if config.inbox.url.is_none() {
        let file = config.inbox.data_dir.join(FILE_NAME);
        anyhow::ensure!(file.exists(), "there is no inbox at {}", file.display());
        app::finish_restore(config)?;
    }
    let (config, clock) = (config.clone(), clock.clone());
    match tokio::task::spawn_blocking(move || app::open_inbox(&config, clock)).await? {
        Err(OpenError::Locked { .. }) => {
            anyhow::bail!(
                "a gateway with another admin address uses the inbox: set GATEWAY_ADMIN_LISTEN to that gateway's address"
            )
        }
        opened => opened.context("cannot open the inbox"),
    }
}

/// The deed of a command without a gateway, which knows its user only from the shell.
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
