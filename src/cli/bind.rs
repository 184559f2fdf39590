//! `bind`: an operator's word about whose a subscription or a customer is.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use super::deeds;
use crate::admin::wire::{CommandAction, CommandDeed};
use crate::app;
use crate::app::bind::{Word, bind};
use crate::config::Sources;
use crate::domain::clock::Clock;
use crate::telemetry::logging;

/// For `--help`.
pub const NOTES: &str = "A binding of a subscription outranks everything that events say: metadata of the subscription, of its checkout session and
of its customer, and references. A binding of a customer outranks everything that events say of the customer. It does not
change subscriptions whose own metadata or session names a user, because a parent may pay for two children.

A later binding replaces an earlier one. The ledger keeps each binding with its time, author and reason as an event of type
gateway.bind, and the gateway's audit notes it. `inbox problems` lists subscriptions that need a binding.

The command writes to the ledger, so it works whether the gateway runs or not.";

/// Arguments of `bind`.
#[derive(Clone, Debug, clap::Args)]
pub struct BindArgs {
    /// The subscription or customer.
    #[arg(value_name = "sub_…|cus_…")]
    pub subject: String,

    /// The app's user to whom it belongs.
    #[arg(long, value_name = "ID")]
    pub user: String,

    /// Why; kept with the binding.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Writes the binding to the ledger.
pub async fn run(args: BindArgs, sources: &Sources, clock: Clock) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    logging::install(config.log.format, "warn,audit=info").context("log.format")?;
    let ledger = app::open_ledger(&config, &clock).await?;
    let by = deeds::who(sources);
    let BindArgs { subject, user, reason } = args;
    let bound_user = user.clone();
    let word = Word { subject: subject.clone(), user, by: by.clone(), reason: reason.clone() };
    let bound = bind(&config, &*ledger, &clock, word).await?;
    tracing::info!(
        target: "audit",
        action = "bind",
        subject = subject.as_str(),
        event_id = bound.event_id.as_str(),
        by = by.as_deref(),
        reason = reason.as_deref(),
        "command"
    );
    let told = CommandDeed {
        action: CommandAction::Bind,
        what: subject.clone(),
        result: Some(format!("kept as {}", bound.event_id)),
        note: reason,
    };
    deeds::keep(&config, sources, &clock, told).await;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{subject} belongs to {bound_user} now (kept as {})", bound.event_id)?;
    if !bound.known {
        writeln!(
            out,
            "No event about {subject} has arrived yet: check the id. The gateway keeps the binding, which takes \
             effect when an event arrives. If the id was wrong, bind the right one; the wrong one does no harm."
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
