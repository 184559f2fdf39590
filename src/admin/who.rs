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
        /// The admin API with its token: scripts and commands.
        Api = "api",
        /// The console with a session.
        Console = "console",
        /// A command that acted by itself and told the gateway.
        Command = "command",
    }
}

/// The operator of a request.
#[derive(Clone, Debug)]
pub struct Who {
    pub name: Arc<str>,
    pub role: OperatorRole,
    pub via: Via,
    /// The address of the request, if a trusted proxy tells it.
    pub peer: Option<IpAddr>,
}

impl Who {
    /// The name under which an order is given: the operator's. A shared token has no name, so the claimed one counts.
    pub fn orders(&self, claimed: Option<String>) -> Option<String> {
        if &*self.name == SHARED { claimed } else { Some(self.name.to_string()) }
    }

    /// Whether this operator may see what is masked for a viewer.
    pub fn may_reveal(&self) -> Result<(), Problem> {
        if self.role == OperatorRole::Operator { Ok(()) } else { Err(Problem::Forbidden) }
    }

    /// The address for an audit line.
    pub fn peer(&self) -> Option<String> {
        self.peer.map(|peer| peer.to_string())
    }
}
