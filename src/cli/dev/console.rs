//! The way into `dev`'s console: an operator where none is configured, and a link.

use std::io::{self, Write};

use anyhow::Context as _;

use crate::app::Gateway;
use crate::config::{Config, OperatorConfig, OperatorRole};
use crate::domain::secret::Secret;

/// Name of the operator that `dev` makes.
const OPERATOR: &str = "dev";

/// Adds an operator with a token for this run, unless operators are configured.
pub(super) fn add_operator(config: &mut Config) -> anyhow::Result<()> {
    if config.http.operators.is_empty() && config.http.admin_token.is_none() {
        let mut token = [0; 16];
        getrandom::fill(&mut token).context("no random numbers")?;
        let (name, token) = (OPERATOR.to_owned(), Secret::new(hex::encode(token)));
        config.http.operators.push(OperatorConfig { name, role: OperatorRole::Operator, token });
    }
    Ok(())
}

/// The token of the operator that `dev` made, unless operators are configured.
pub(super) fn token(config: &Config) -> Option<&str> {
    let made = config.http.operators.iter().find(|operator| operator.name == OPERATOR)?;
    Some(made.token.expose())
}

/// Prints a link, and how to log in once it is used up. `ends` says that the gateway ends by itself.
pub(super) fn print(out: &mut impl Write, gateway: &Gateway, config: &Config, ends: bool) -> io::Result<()> {
    let Some(link) = gateway.console_link() else { return Ok(()) };
    writeln!(out, "  console   {link}")?;
    let token = token(config).map_or("your own token".to_owned(), |token| format!("the token {token}"));
    writeln!(out, "            the link works once, within a minute; after that, log in with {token}")?;
    if ends {
        writeln!(out, "            this run ends by itself: leave out --events to look around in the console")?;
    }
    Ok(())
}
