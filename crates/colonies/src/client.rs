//! The client of a Colonies server or of a cluster of them.
//!
//! Guarantees: every call ends within a deadline; a reply is never read beyond a byte bound; an error says whether
//! the server may have acted ([`ClientError::may_have_acted`]) and what to do about it ([`ClientError::disposition`]).
//! A call is sent again, to the next server, only when it provably reached none. Does not: retry anything else, keep
//! a circuit breaker, or log bodies and keys. Dropping the future of a call leaves its outcome unknown; dropping an assignment
//! may leave a process leased, without a worker, until its lease ends.

mod endpoint;
mod error;
mod member;
mod reply;
mod tls;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use crate::identity::{IdentityId, PrivateKey};
use crate::messages::{AddColony, Colony, GetVersion, Message, RequestEnvelope, Version};

pub use endpoint::{DEFAULT_PORT, ServerUrl, ServerUrlError};
pub use error::{ClientError, Disposition, MalformedReply};
pub use member::{Assignment, Member, Owner, Search};
pub use tls::{Roots, TlsError};
use transport::Transport;

/// The largest number of servers in a cluster.
pub const SERVERS_MAX: usize = 16;

/// Largest reply, in bytes. A process holds at most one job, but its arguments come back escaped and in base64.
pub const REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest wait of one assignment, in whole seconds.
pub const POLL_WAIT_MAX: Duration = Duration::from_mins(1);

/// How to reach the servers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers of one cluster, tried in turn.
    pub servers: Vec<ServerUrl>,
    /// The authorities to trust behind `https`.
    pub roots: Roots,
    /// Deadline of a call, from its first byte to the last byte of the reply.
    pub call_timeout: Duration,
    /// How much of the deadline a connection may take to open.
    pub connect_timeout: Duration,
    /// How much longer an assignment may take than the wait that the server was asked for.
    pub poll_margin: Duration,
    /// Largest reply in bytes, at most [`REPLY_BYTES_MAX`].
    pub reply_bytes_max: usize,
    /// The value of the `User-Agent` header.
    pub user_agent: String,
}

impl Settings {
    /// The usual bounds: 5 s for a call, 2 s to connect, 5 s on top of a poll.
    pub fn new(servers: Vec<ServerUrl>) -> Self {
        Self {
            servers,
            roots: Roots::System,
            call_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            poll_margin: Duration::from_secs(5),
            reply_bytes_max: REPLY_BYTES_MAX,
            user_agent: concat!("colonies-rs/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    fn check(&self) -> Result<(), SetupError> {
        if self.servers.is_empty() || self.servers.len() > SERVERS_MAX {
            return Err(SetupError::Servers { count: self.servers.len() });
        }
        if self.connect_timeout.is_zero() || self.connect_timeout >= self.call_timeout {
            return Err(SetupError::Timeouts { connect: self.connect_timeout, call: self.call_timeout });
        }
        if self.poll_margin <= self.connect_timeout {
            return Err(SetupError::Margin { margin: self.poll_margin, connect: self.connect_timeout });
        }
        if self.reply_bytes_max == 0 || self.reply_bytes_max > REPLY_BYTES_MAX {
            return Err(SetupError::ReplyBytes { bytes: self.reply_bytes_max });
        }
        Ok(())
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No server, or too many servers.
    #[error("name between 1 and {SERVERS_MAX} Colonies servers, not {count}")]
    Servers {
        /// How many were named.
        count: usize,
    },
    /// Connecting could use up the whole deadline.
    #[error("the time-out for connecting ({connect:?}) must lie between zero and that of a call ({call:?})")]
    Timeouts {
        /// Time-out for connecting.
        connect: Duration,
        /// Deadline of a call.
        call: Duration,
    },
    /// The margin of a poll leaves no time to connect.
    #[error("the margin of a poll ({margin:?}) must be longer than the time-out for connecting ({connect:?})")]
    Margin {
        /// Margin of a poll.
        margin: Duration,
        /// Time-out for connecting.
        connect: Duration,
    },
    /// The bound on replies is out of range.
    #[error("the bound of a reply must lie between 1 and {REPLY_BYTES_MAX} bytes, not {bytes}")]
    ReplyBytes {
        /// The bound given.
        bytes: usize,
    },
    /// The trusted roots cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A client. Its clones share its connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    call_timeout: Duration,
    poll_margin: Duration,
}

impl Client {
    /// Makes a client, without connecting. Reads the trusted roots if a server is behind `https`.
    ///
    /// # Errors
    /// If the settings contradict each other or the roots cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        settings.check()?;
        let transport = Transport::new(settings)?;
        Ok(Self(Arc::new(Inner { transport, call_timeout: settings.call_timeout, poll_margin: settings.poll_margin })))
    }

    /// Signs a message with `key`, sends it, and reads the answer, all within the deadline of a call.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<M: Message>(&self, key: &PrivateKey, message: &M) -> Result<M::Reply, ClientError> {
        self.call_within(key, message, self.0.call_timeout).await
    }

    async fn call_within<M: Message>(
        &self,
        key: &PrivateKey,
        message: &M,
        deadline: Duration,
    ) -> Result<M::Reply, ClientError> {
        let envelope = RequestEnvelope::seal(key, message).map_err(ClientError::Encode)?;
        self.exchange::<M>(&envelope, deadline).await
    }

    async fn exchange<M: Message>(
        &self,
        envelope: &RequestEnvelope,
        deadline: Duration,
    ) -> Result<M::Reply, ClientError> {
        let body = serde_json::to_vec(envelope).map_err(ClientError::Encode)?;
        let answer = self.0.transport.post(body.into(), deadline).await?;
        let result = reply::read::<M>(self.0.transport.server(answer.server), answer.status, &answer.body);
        if result.as_ref().is_err_and(ClientError::blames_server) {
            self.0.transport.leave(answer.server);
        }
        result
    }

    /// The server that is asked first, as text.
    fn server(&self) -> String {
        self.0.transport.preferred().to_string()
    }

    /// The deadline of an assignment for which the server may wait this long.
    fn poll_deadline(&self, wait: Duration) -> Duration {
        wait + self.0.poll_margin
    }

    /// Asks for the server's version, which needs no key.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn version(&self) -> Result<Version, ClientError> {
        let envelope = RequestEnvelope::unsigned(&GetVersion::default()).map_err(ClientError::Encode)?;
        self.exchange::<GetVersion>(&envelope, self.0.call_timeout).await
    }

    /// Asks whether a server is up. Changes nothing and needs no key.
    ///
    /// # Errors
    /// If none of the servers says that it is up.
    pub async fn health(&self) -> Result<(), ClientError> {
        let answer = self.0.transport.health(self.0.call_timeout).await?;
        let result = reply::check_health(self.0.transport.server(answer.server), answer.status);
        if result.is_err() {
            self.0.transport.leave(answer.server);
        }
        result
    }

    /// Adds a colony. The server's owner signs the request.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`] if a colony has this name already; see [`ClientError`] for the rest.
    pub async fn add_colony(&self, server: &PrivateKey, name: &str, owner: &IdentityId) -> Result<Colony, ClientError> {
        let colony = Colony { colonyid: owner.as_str().to_owned(), name: name.to_owned() };
        self.call(server, &AddColony { colony }).await
    }

    /// Speaks for a user or an executor of a colony.
    pub fn member(&self, colony: impl Into<Arc<str>>, key: Arc<PrivateKey>) -> Member {
        Member::new(self.clone(), colony.into(), key)
    }

    /// Speaks for the owner of a colony.
    pub fn owner(&self, colony: impl Into<Arc<str>>, key: Arc<PrivateKey>) -> Owner {
        Owner::new(self.clone(), colony.into(), key)
    }
}
