//! What `dev` says at its start: where it listens, and what to try.

use std::io::Write as _;

use super::colony::DevColony;
use super::{DEV_SECRET, DevArgs, console};
use crate::app::Gateway;
use crate::config::Config;
use crate::domain::counted::counted;

/// Prints the addresses, the way into the console, and what to send.
pub(super) fn print(
    args: &DevArgs,
    gateway: &Gateway,
    config: &Config,
    colony: Option<&DevColony>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "colony-gateway {} (dev)", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  webhooks  http://{}/webhooks/stripe", gateway.webhooks)?;
    writeln!(out, "  health    http://{}/health", gateway.admin)?;
    writeln!(out, "  metrics   http://{}/metrics", gateway.admin)?;
    console::print(&mut out, gateway, config, args.events.is_some())?;
    match colony {
        Some(colony) => {
            writeln!(out, "  colony    {} (embedded, {})", colony.url(), counted(colony.bees, "bee", "bees"))?;
        }
        None => writeln!(out, "  colony    none: events are applied directly")?,
    }
    if args.makes_problems() {
        let bee = if colony.is_some() { ", a bee that dies with a job" } else { "" };
        writeln!(out, "  problems  a held event, a payer whom two users claim{bee}: solve them in the console")?;
    }
    writeln!(out, "  secret    {DEV_SECRET}")?;
    if let Some(traces) = &config.traces {
        writeln!(out, "  traces    to {}", traces.url)?;
    }
    writeln!(out, "  data      {}", config.inbox.data_dir.display())?;
    if !args.no_simulator && args.events.is_some() {
        return Ok(out.flush()?);
    }
    let url = format!("http://{}/webhooks/stripe", gateway.webhooks);
    writeln!(
        out,
        "\nSend one event of your own:\n  colony-gateway send invoice.paid --user ada --url {url} --secret {DEV_SECRET}"
    )?;
    if args.secret.is_none() {
        writeln!(
            out,
            "Take events of your Stripe test account: end this, and let the Stripe CLI pass them on\n  \
             colony-gateway dev --no-simulator --secret \"$(stripe listen --print-secret)\"\n  stripe listen --forward-to {url}\n"
        )?;
    } else {
        writeln!(out, "Pass on events of your Stripe test account:\n  stripe listen --forward-to {url}\n")?;
    }
    out.flush()?;
    Ok(())
}
