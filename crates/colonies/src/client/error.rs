//! What can go wrong between a client and a Colonies server, and what to do about each.
//!
//! The server puts many causes under one status (403 alone stands for a stranger, a lost lease and a database fault),
//! so its words are read too. Words that are not known are taken for a passing fault, never for a verdict: the real
//! server reports a lost database as 400 and 403.

use std::time::Duration;

use crate::messages::OpenError;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The same call may succeed later. Wait at least `after`.
    Retry {
        /// The shortest wait.
        after: Duration,
    },
    /// The same call will fail until a person changes something.
    GiveUp {
        /// Stable code for metrics, health reports and records.
        code: &'static str,
    },
}

/// Why a call failed. `message` holds the server's own words.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection to any server. Nothing was sent.
    #[error("no Colonies server can be reached, the last one tried was {server}")]
    Unreachable {
        /// The server that was tried last.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No complete reply before the deadline.
    #[error("the Colonies server {server} gave no complete reply within {deadline:?}")]
    TimedOut {
        /// The server.
        server: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The connection broke after it had opened.
    #[error("the connection to the Colonies server {server} broke before the reply was complete")]
    Broken {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server, or a proxy in front of it, takes no more work at the moment.
    #[error("the Colonies server {server} takes no calls now (status {status})")]
    Overloaded {
        /// The server.
        server: String,
        /// HTTP status.
        status: u16,
    },
    /// The server reported a fault of its own.
    #[error("the Colonies server {server} failed (status {status}): {message}")]
    ServerFault {
        /// The server.
        server: String,
        /// HTTP status.
        status: u16,
        /// The server's words; empty if it gave none.
        message: String,
    },
    /// The reply is larger than the client allows.
    #[error("the reply of the Colonies server {server} is larger than {limit} bytes")]
    Oversized {
        /// The server.
        server: String,
        /// The bound.
        limit: usize,
    },
    /// The reply does not come from a Colonies server.
    #[error("the reply of {server} (status {status}) is not that of a Colonies server")]
    Malformed {
        /// The server.
        server: String,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        #[source]
        source: MalformedReply,
    },
    /// A refusal in words that this client does not know, such as an error of the server's database.
    #[error("the Colonies server refused (status {status}): {message}")]
    Unexpected {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The poll ended without a process. This is normal.
    #[error("no process is waiting")]
    NothingWaiting,
    /// The colony's owner paused assignments.
    #[error("assignments are paused")]
    Paused,
    /// The colony does not know this key: it was never added, is still pending, was replaced, or belongs to an
    /// executor that the server removed after ten silent minutes.
    #[error("the colony does not know this key: {message}")]
    NotMember {
        /// The server's words.
        message: String,
    },
    /// The colony knows the executor but has not approved it.
    #[error("the executor is not approved: {message}")]
    NotApproved {
        /// The server's words.
        message: String,
    },
    /// The call needs the owner's key, and this is another.
    #[error("the key may not do this: {message}")]
    AccessDenied {
        /// The server's words.
        message: String,
    },
    /// The server has no such colony.
    #[error("the server has no such colony (run `colony setup`): {message}")]
    UnknownColony {
        /// The server's words.
        message: String,
    },
    /// The server has no such process. It was reset, or its retention ran out.
    #[error("the server knows no such process: {message}")]
    UnknownProcess {
        /// The server's words.
        message: String,
    },
    /// The colony has no such executor, or the key does not belong to an executor.
    #[error("the colony has no such executor: {message}")]
    UnknownExecutor {
        /// The server's words.
        message: String,
    },
    /// The lease ended: the process belongs to another executor or to none.
    #[error("the lease of the process is lost: {message}")]
    LeaseLost {
        /// The server's words.
        message: String,
    },
    /// The process had already ended in another way.
    #[error("the process had ended before: {message}")]
    AlreadyEnded {
        /// The server's words.
        message: String,
    },
    /// The thing to add exists already, perhaps with another id.
    #[error("it exists already: {message}")]
    AlreadyExists {
        /// The server's words.
        message: String,
    },
    /// The call itself is wrong.
    #[error("the Colonies server rejects the call (status {status}): {message}")]
    Rejected {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The call cannot be written as JSON.
    #[error("the call cannot be encoded")]
    Encode(#[source] serde_json::Error),
}

/// Why a reply is malformed.
#[derive(Debug, thiserror::Error)]
pub enum MalformedReply {
    /// The reply is not an envelope.
    #[error("it is not a Colonies envelope")]
    NotEnvelope(#[source] serde_json::Error),
    /// The envelope holds something else.
    #[error(transparent)]
    Payload(#[from] OpenError),
    /// A process without an id, or with one that is too long or not plain text.
    #[error("its process has no id, or one that is no id")]
    ProcessId,
    /// Another process than the one that was asked about.
    #[error("it tells of another process than the one that was asked about")]
    OtherProcess,
    /// The status does not fit the content.
    #[error("its status does not fit its content")]
    Status,
}

impl ClientError {
    /// Stable name of this kind of error, for metrics, health reports and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Broken { .. } => "broken",
            Self::Overloaded { .. } => "overloaded",
            Self::ServerFault { .. } => "server_fault",
            Self::Oversized { .. } => "oversized",
            Self::Malformed { .. } => "malformed",
            Self::Unexpected { .. } => "unexpected",
            Self::NothingWaiting => "nothing_waiting",
            Self::Paused => "paused",
            Self::NotMember { .. } => "not_a_member",
            Self::NotApproved { .. } => "not_approved",
            Self::AccessDenied { .. } => "access_denied",
            Self::UnknownColony { .. } => "unknown_colony",
            Self::UnknownProcess { .. } => "unknown_process",
            Self::UnknownExecutor { .. } => "unknown_executor",
            Self::LeaseLost { .. } => "lease_lost",
            Self::AlreadyEnded { .. } => "already_ended",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Rejected { .. } => "rejected",
            Self::Encode(_) => "encode",
        }
    }

    /// What to do about the same call with the same key.
    pub const fn disposition(&self) -> Disposition {
        match self {
            // The server has waited already.
            Self::NothingWaiting | Self::Paused => Disposition::Retry { after: Duration::ZERO },
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => {
                Disposition::Retry { after: Duration::from_millis(100) }
            }
            Self::Overloaded { .. } | Self::ServerFault { .. } | Self::Unexpected { .. } => {
                Disposition::Retry { after: Duration::from_secs(1) }
            }
            // Something other than a Colonies server answers there. It may be repaired meanwhile.
            Self::Oversized { .. } | Self::Malformed { .. } => Disposition::Retry { after: Duration::from_secs(5) },
            Self::NotMember { .. }
            | Self::NotApproved { .. }
            | Self::AccessDenied { .. }
            | Self::UnknownColony { .. }
            | Self::UnknownProcess { .. }
            | Self::UnknownExecutor { .. }
            | Self::LeaseLost { .. }
            | Self::AlreadyEnded { .. }
            | Self::AlreadyExists { .. }
            | Self::Rejected { .. }
            | Self::Encode(_) => Disposition::GiveUp { code: self.code() },
        }
    }

    /// Whether the server may have acted although the call failed. If it may have submitted a job or assigned a
    /// process, a second call can do so twice.
    pub const fn may_have_acted(&self) -> bool {
        match self {
            Self::TimedOut { .. }
            | Self::Broken { .. }
            | Self::Overloaded { .. }
            | Self::ServerFault { .. }
            | Self::Oversized { .. }
            | Self::Malformed { .. }
            | Self::Unexpected { .. } => true,
            Self::Unreachable { .. }
            | Self::NothingWaiting
            | Self::Paused
            | Self::NotMember { .. }
            | Self::NotApproved { .. }
            | Self::AccessDenied { .. }
            | Self::UnknownColony { .. }
            | Self::UnknownProcess { .. }
            | Self::UnknownExecutor { .. }
            | Self::LeaseLost { .. }
            | Self::AlreadyEnded { .. }
            | Self::AlreadyExists { .. }
            | Self::Rejected { .. }
            | Self::Encode(_) => false,
        }
    }

    /// Whether the server itself is at fault. Then another server of the cluster may do better, and a circuit
    /// breaker counts the error.
    pub const fn blames_server(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Broken { .. }
            | Self::Overloaded { .. }
            | Self::ServerFault { .. }
            | Self::Oversized { .. }
            | Self::Malformed { .. }
            | Self::Unexpected { .. } => true,
            Self::NothingWaiting
            | Self::Paused
            | Self::NotMember { .. }
            | Self::NotApproved { .. }
            | Self::AccessDenied { .. }
            | Self::UnknownColony { .. }
            | Self::UnknownProcess { .. }
            | Self::UnknownExecutor { .. }
            | Self::LeaseLost { .. }
            | Self::AlreadyEnded { .. }
            | Self::AlreadyExists { .. }
            | Self::Rejected { .. }
            | Self::Encode(_) => false,
        }
    }
}
