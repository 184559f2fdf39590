//! The way into `dev`'s console: an operator where none is configured, and a link.

use std::io::{self, Write};

use anyhow::Context as _;

use crate::app::Gateway;
use crate::config::{Config, OperatorConfig, OperatorRole};
use crate::domain::secret::Secret;

/// Name of the operator whom `dev` makes.
const OPERATOR: &str = "dev";

/// Adds an operator with a token of this run, unless some are configured.
pub(super) fn add_operator(config: &mut Config) -> anyhow::Result<()> {
    if config.http.operators.is_empty() && config.http.admin_token.is_none() {
        let mut token = [0; 16];
        getrandom::fill(&mut token).context("no random numbers")?;
        let (name, token) = (OPERATOR.to_owned(), Secret::new(hex::encode(token)));
        config.http.operators.push(OperatorConfig { name, role: OperatorRole::Operator, token });
    }
    Ok(())
}

/// Prints a link, and what to do when it is used up. `ends` says that the gateway ends by itself.
pub(super) fn print(out: &mut impl Write, gateway: &Gateway, config: &Config, ends: bool) -> io::Result<()> {
    let Some(link) = gateway.console_link() else { return Ok(()) };
    writeln!(out, "  console   {link}")?;
    let token = config.http.operators.iter().find(|operator| operator.name == OPERATOR);
    let token = token.map_or("your own token", |operator| operator.token.expose());
    let stays = if ends { "; without --events it stays open" } else { "" };
    writeln!(out, "            once, within a minute; after that log in with {token}{stays}")
}
