//! What `dev` says at its start: where it listens, and what to try.

use std::io::Write as _;

use super::colony::DevColony;
use super::{DEV_SECRET, DevArgs, console};
use crate::app::Gateway;
use crate::config::Config;
use crate::domain::counted::counted;

/// Prints the addresses, the link into the console, and example commands.
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
        writeln!(out, "  problems  a held event, a payment that two users claim{bee}: solve them in the console")?;
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
    writeln!(out, "\nUse the commands in another terminal:")?;
    let data_dir = std::path::absolute(&config.inbox.data_dir)?;
    writeln!(out, "  export GATEWAY_DATA_DIR='{}'", data_dir.display())?;
    writeln!(out, "  export GATEWAY_LISTEN={} GATEWAY_ADMIN_LISTEN={}", gateway.webhooks, gateway.admin)?;
    writeln!(out, "  export STRIPE_WEBHOOK_SECRET={DEV_SECRET}")?;
    if let Some(token) = console::token(config) {
        writeln!(out, "  export GATEWAY_ADMIN_TOKEN={token}")?;
    }
    writeln!(out, "  colony-gateway inbox problems")?;
    writeln!(out, "  colony-gateway send customer.subscription.updated --user ada --tier gold --set status=active")?;
    writeln!(out, "  colony-gateway person ada")?;
    if args.secret.is_none() {
        writeln!(
            out,
            "\nTake events of your Stripe test account: stop this run, and have the Stripe CLI pass the events on\n  \
             colony-gateway dev --no-simulator --secret \"$(stripe listen --print-secret)\"\n  stripe listen --forward-to {url}\n"
        )?;
    } else {
        writeln!(out, "\nPass on events of your Stripe test account:\n  stripe listen --forward-to {url}\n")?;
    }
    out.flush()?;
    Ok(())
}
