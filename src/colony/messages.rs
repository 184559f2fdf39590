//! The messages of the Colonies protocol: what is asked, what is answered, and the signed envelope around both.
//!
//! Client and embedded server use the same types, so both directions are serialised and parsed here and nowhere else.
//! Fields carry the names of the wire. Parsing follows the Go server: a field that is missing or null has its zero
//! value, and a field that is unknown is ignored, so that newer servers and other SDKs are understood.
//!
//! Does not: judge who may ask what, or what a missing value means. Source of the formats: the Go packages `rpc` and
//! `core` of Colonies 1.9.12, checked against recorded calls.

mod envelope;
mod objects;
mod requests;
mod time;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub use envelope::{ErrorReply, OpenError, ReplyEnvelope, RequestEnvelope, SealedReply};
pub use objects::{
    Allocations, Attribute, Capabilities, Colony, Conditions, Empty, Executor, ExecutorState, Filesystem, Function,
    FunctionSpec, Gpu, InvalidState, List, Process, ProcessState, Statistics, User, Version,
};
pub use requests::{
    AddColony, AddExecutor, AddFunction, AddLog, AddUser, ApproveExecutor, AssignProcess, CancelProcess,
    ChangeColonyId, ChangeExecutorId, ChangeUserId, CloseFailed, CloseSuccessful, Echo, GetColonyStatistics,
    GetExecutors, GetProcess, GetProcesses, GetVersion, MessageType, PauseAssignments, RemoveExecutor,
    ResumeAssignments, SubmitFunctionSpec,
};
pub use time::WireTime;

/// Most processes that one `getprocessesmsg` may ask for.
pub const PROCESSES_COUNT_MAX: u32 = 100;

/// A request: its type on the wire and what the server answers when it succeeds.
pub trait Message: Serialize + DeserializeOwned {
    /// Type of the message.
    const TYPE: MessageType;
    /// Payload of the answer.
    type Reply: Serialize + DeserializeOwned;
}

/// Reads null as the zero value, as Go does.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Defines structs of the wire: every field may be missing or null.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(default, deserialize_with = "crate::colony::messages::null_as_default")]
                pub $field: $type,
            )*
        }
    )*};
}
use wire;
