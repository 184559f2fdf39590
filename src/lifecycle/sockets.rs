//! Sockets that systemd opened before this process (`sd_listen_fds(3)`): they stay open while the gateway restarts, so that
//! no webhook finds the door closed.
//!
//! The names of sockets (`FileDescriptorName=` in the socket unit) say what they are for: `webhooks` and `admin`. A single
//! socket without a name of ours is for webhooks.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Name of the socket for webhooks.
const WEBHOOKS: &str = "webhooks";

/// Name of the socket for metrics, health and orders.
const ADMIN: &str = "admin";

/// Sockets to use instead of opening new ones.
#[derive(Debug, Default)]
pub struct Inherited {
    pub webhooks: Option<TcpListener>,
    /// For metrics, health and orders.
    pub admin: Option<TcpListener>,
}

/// Why inherited sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// The name of a socket is unknown.
    #[error("the inherited socket `{name}` has no use: set FileDescriptorName=webhooks or =admin in its socket unit")]
    UnknownName { name: String },
    #[error("several inherited sockets are called `{name}`: one ListenStream=[::]:port takes IPv4 too")]
    Twice { name: &'static str },
    /// It is not a TCP socket, or the system refuses it.
    #[error("the inherited socket `{name}` cannot be used: it must be a ListenStream= of TCP")]
    Socket {
        name: String,
        #[source]
        source: io::Error,
    },
}

impl Inherited {
    /// Takes the sockets that were passed to this process, if any. Call it once.
    ///
    /// # Errors
    /// If one of them is useless.
    pub fn take(environment: &BTreeMap<String, String>) -> Result<Self, InheritError> {
        let mut sockets = ListenFd::from_env();
        let names = environment.get("LISTEN_FDNAMES").map(String::as_str).unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut inherited = Self::default();
        for index in 0..sockets.len() {
            let name = names.get(index).copied().unwrap_or_default();
            let failed = |source| InheritError::Socket { name: name.to_owned(), source };
            let Some(listener) = sockets.take_tcp_listener(index).map_err(failed)? else { continue };
            listener.set_nonblocking(true).map_err(failed)?;
            let (name, place) = match name {
                WEBHOOKS => (WEBHOOKS, &mut inherited.webhooks),
                ADMIN => (ADMIN, &mut inherited.admin),
                // A single socket without a name has the name of its unit.
                _ if sockets.len() == 1 => (WEBHOOKS, &mut inherited.webhooks),
                name => return Err(InheritError::UnknownName { name: name.to_owned() }),
            };
            if place.replace(listener).is_some() {
                return Err(InheritError::Twice { name });
            }
        }
        Ok(inherited)
    }
}
