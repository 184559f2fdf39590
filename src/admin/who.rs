//! Who asks: an operator, with a role, from somewhere.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::OperatorRole;
use crate::domain::named::named;
use crate::door::Problem;

/// Name for the holder of the shared token, who may be any person.
pub const SHARED: &str = "token";

named! {
    /// How an operator reached the gateway.
    pub enum Via {
        /// The admin API, by its token: scripts and commands.
        Api = "api",
        /// The console, by a session.
        Console = "console",
        /// A command that did it by itself and told the gateway.
        Command = "command",
    }
}

/// The operator of a request.
#[derive(Clone, Debug)]
pub struct Who {
    pub name: Arc<str>,
    pub role: OperatorRole,
    pub via: Via,
    /// Where the request came from, as far as a trusted proxy tells.
    pub peer: Option<IpAddr>,
}

impl Who {
    /// Who orders something: the operator of this name. A shared token has no name, so that what its user says counts.
    pub fn orders(&self, claimed: Option<String>) -> Option<String> {
        if &*self.name == SHARED { claimed } else { Some(self.name.to_string()) }
    }

    /// Only an operator sees what is masked for a viewer.
    pub fn may_reveal(&self) -> Result<(), Problem> {
        if self.role == OperatorRole::Operator { Ok(()) } else { Err(Problem::Forbidden) }
    }

    /// The address for an audit line.
    pub fn peer(&self) -> Option<String> {
        self.peer.map(|peer| peer.to_string())
    }
}
