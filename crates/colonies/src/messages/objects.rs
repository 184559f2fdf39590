//! The objects that messages carry beside processes: colonies, users, executors, functions, statistics.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::time::WireTime;
use super::wire;

wire! {
    /// A colony: a name space of executors, users and processes, owned by one key.
    pub struct Colony {
        /// Id of the owner's key.
        pub colonyid: String,
        /// Its name, unique on the server.
        pub name: String,
    }

    /// A user: may submit, read and cancel.
    pub struct User {
        /// Name of the colony.
        pub colonyname: String,
        /// Id of the user's key.
        pub userid: String,
        /// Its name, unique in the colony.
        pub name: String,
        /// For people; may be empty.
        pub email: String,
        /// For people; may be empty.
        pub phone: String,
    }

    /// A registered worker.
    pub struct Executor {
        /// Id of the executor's key.
        pub executorid: String,
        /// Type that the conditions of a job name.
        pub executortype: String,
        /// Its name, unique in the colony.
        pub executorname: String,
        /// Name of the colony.
        pub colonyname: String,
        /// Whether it may take work.
        pub state: ExecutorState,
        /// Whether it takes only functions that it registered.
        pub requirefuncreg: bool,
        /// When it was added.
        pub commissiontime: WireTime,
        /// When it last asked for work. Ten minutes later the server removes it.
        pub lastheardfromtime: WireTime,
        /// What it can do. An empty value makes no claim.
        pub capabilities: Capabilities,
        /// What it uses; empty if nothing.
        pub allocations: Allocations,
    }

    /// What an executor offers, uninterpreted.
    pub struct Capabilities {
        /// A list, or null.
        pub hardware: Value,
        /// A list, or null.
        pub software: Value,
    }

    /// What an executor gave away, uninterpreted.
    pub struct Allocations {
        /// An object, or null.
        pub projects: Value,
    }

    /// A function that an executor registered, with what the server counted. Times are in seconds.
    pub struct Function {
        /// Set by the server.
        pub functionid: String,
        /// Name of the executor.
        pub executorname: String,
        /// Type of the executor.
        pub executortype: String,
        /// Name of the colony.
        pub colonyname: String,
        /// Name of the function.
        pub funcname: String,
        /// Calls.
        pub counter: i64,
        /// Shortest wait for an executor.
        #[serde(serialize_with = "go_float")]
        pub minwaittime: f64,
        /// Longest wait for an executor.
        #[serde(serialize_with = "go_float")]
        pub maxwaittime: f64,
        /// Shortest run.
        #[serde(serialize_with = "go_float")]
        pub minexectime: f64,
        /// Longest run.
        #[serde(serialize_with = "go_float")]
        pub maxexectime: f64,
        /// Mean wait for an executor.
        #[serde(serialize_with = "go_float")]
        pub avgwaittime: f64,
        /// Mean run.
        #[serde(serialize_with = "go_float")]
        pub avgexectime: f64,
    }

    /// What a colony holds, in numbers.
    pub struct Statistics {
        /// Colonies on the server.
        pub colonies: i64,
        /// Registered executors.
        pub executors: i64,
        /// Executors heard from lately.
        pub activeexecutors: i64,
        /// Executors that were removed.
        pub unregisteredexecutors: i64,
        /// Processes that no executor has taken yet.
        pub waitingprocesses: i64,
        /// Processes under a lease.
        pub runningprocesses: i64,
        /// Processes closed as successful.
        pub successfulprocesses: i64,
        /// Processes that failed.
        pub failedprocesses: i64,
        /// Processes that were cancelled.
        pub cancelledprocesses: i64,
        /// Workflows that wait.
        pub waitingworkflows: i64,
        /// Workflows that run.
        pub runningworkflows: i64,
        /// Workflows that succeeded.
        pub successfulworkflows: i64,
        /// Workflows that failed.
        pub failedworkflows: i64,
        /// Workflows that were cancelled.
        pub cancelledworkflows: i64,
    }

    /// What the server says about itself. Both texts are empty in a server built from source.
    pub struct Version {
        /// The server's version.
        pub buildversion: String,
        /// When it was built.
        pub buildtime: String,
        /// The message's type, which the server repeats.
        pub msgtype: String,
    }
}

/// Whether an executor may take work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "i64", try_from = "i64")]
pub enum ExecutorState {
    /// The colony's owner has not decided yet.
    #[default]
    Pending,
    /// It may take work.
    Approved,
    /// It may not take work.
    Rejected,
    /// It was removed.
    Unregistered,
}

impl From<ExecutorState> for i64 {
    fn from(state: ExecutorState) -> Self {
        match state {
            ExecutorState::Pending => 0,
            ExecutorState::Approved => 1,
            ExecutorState::Rejected => 2,
            ExecutorState::Unregistered => 3,
        }
    }
}

impl TryFrom<i64> for ExecutorState {
    type Error = InvalidState;

    fn try_from(number: i64) -> Result<Self, InvalidState> {
        match number {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Approved),
            2 => Ok(Self::Rejected),
            3 => Ok(Self::Unregistered),
            _ => Err(InvalidState { what: "executor", number }),
        }
    }
}

/// A number that stands for no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is no state of {what}s")]
pub struct InvalidState {
    pub(super) what: &'static str,
    pub(super) number: i64,
}

/// An answer that says only that the request succeeded. It is written as `{}` and read whatever it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// An answer that is a list. Go writes an empty list as null.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::null_as_default(deserializer).map(Self)
    }
}

/// Writes a double as Go does: without a fraction if it is whole.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn go_float<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// Integers below this are exact in a double.
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT_BELOW {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}
