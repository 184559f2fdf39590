//! Every request that the client sends or the embedded server answers, in one table: type on the wire, fields, reply.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::objects::{Colony, Empty, Executor, Function, List, Statistics, User, Version};
use super::process::{FunctionSpec, Process, ProcessState};
use super::{Message, wire};

macro_rules! requests {
    ($($(#[$meta:meta])* $name:ident = $wire:literal -> $reply:ty {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {
        /// Type of a request, as `payloadtype` and `msgtype` name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MessageType {
            $($(#[$meta])* $name,)*
        }

        impl MessageType {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $wire,)*
                }
            }

            /// The type with this name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($wire => Some(Self::$name),)*
                    _ => None,
                }
            }
        }

        $(
            wire! {
                $(#[$meta])*
                pub struct $name {
                    $($(#[$field_meta])* pub $field: $type,)*
                }
            }

            impl Message for $name {
                const TYPE: MessageType = MessageType::$name;
                type Reply = $reply;
            }
        )*
    };
}

requests! {
    /// Asks for the server's version. The one request whose signature nobody checks.
    GetVersion = "versionmsg" -> Version {
        /// Sent empty.
        buildversion: String,
        /// Sent empty.
        buildtime: String,
    }

    /// Adds a colony. Signed by the server's owner.
    AddColony = "addcolonymsg" -> Colony {
        /// The colony.
        colony: Colony,
    }

    /// Adds a user. Signed by the colony's owner.
    AddUser = "addusermsg" -> User {
        /// The user.
        user: User,
    }

    /// Adds an executor, which then waits for approval. Signed by the colony's owner.
    AddExecutor = "addexecutormsg" -> Executor {
        /// The executor.
        executor: Executor,
    }

    /// Lets an executor take work. Signed by the colony's owner.
    ApproveExecutor = "approveexecutormsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
        /// Name of the executor.
        executorname: String,
    }

    /// Removes an executor. Signed by the colony's owner.
    RemoveExecutor = "removeexecutormsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
        /// Name of the executor.
        executorname: String,
    }

    /// Tells which function an executor runs. Signed by that executor.
    AddFunction = "addfunctionmsg" -> Function {
        /// The function.
        fun: Function,
    }

    /// Submits a job. Signed by a user or an approved executor.
    SubmitFunctionSpec = "submitfuncspecmsg" -> Process {
        /// The job.
        spec: FunctionSpec,
    }

    /// Waits for a process and takes the lease of it. Signed by an approved executor.
    AssignProcess = "assignprocessmsg" -> Process {
        /// Name of the colony.
        colonyname: String,
        /// Seconds that the server waits for one; not zero.
        timeout: i64,
    }

    /// Ends a process well. Signed by the executor that holds the lease.
    CloseSuccessful = "closesuccessfulmsg" -> Empty {
        /// Id of the process.
        processid: String,
        /// Its results.
        out: Vec<Value>,
    }

    /// Ends a process badly and for good. Signed by the executor that holds the lease.
    CloseFailed = "closefailedmsg" -> Empty {
        /// Id of the process.
        processid: String,
        /// The reasons.
        errors: Vec<String>,
    }

    /// Asks for a process.
    GetProcess = "getprocessmsg" -> Process {
        /// Id of the process.
        processid: String,
    }

    /// Asks for processes in a state; empty texts match all.
    GetProcesses = "getprocessesmsg" -> List<Process> {
        /// Name of the colony.
        colonyname: String,
        /// Most to return, at most 100.
        count: u32,
        /// Their state.
        state: ProcessState,
        /// Type of executor in their conditions.
        executortype: String,
        /// Their label.
        label: String,
        /// Name of who submitted them.
        initiator: String,
    }

    /// Cancels a process.
    CancelProcess = "cancelprocessmsg" -> Empty {
        /// Id of the process.
        processid: String,
    }

    /// Adds a line to a process's log. Signed by the executor that holds the lease.
    AddLog = "addlogmsg" -> Empty {
        /// Id of the process.
        processid: String,
        /// The line.
        message: String,
    }

    /// Asks what a colony holds.
    GetColonyStatistics = "getcolonystatsmsg" -> Statistics {
        /// Name of the colony.
        colonyname: String,
    }

    /// Asks for the executors of a colony.
    GetExecutors = "getexecutorsmsg" -> List<Executor> {
        /// Name of the colony.
        colonyname: String,
    }

    /// Asks for the functions that an executor registered.
    GetFunctions = "getfunctionsmsg" -> List<Function> {
        /// Name of the colony.
        colonyname: String,
        /// Name of the executor; empty for all.
        executorname: String,
    }

    /// Stops assigning; submitting goes on. Signed by the colony's owner.
    PauseAssignments = "pauseassignmentsmsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
    }

    /// Assigns again. Signed by the colony's owner.
    ResumeAssignments = "resumeassignmentsmsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
    }

    /// Replaces a user's id. Signed with the old key.
    ChangeUserId = "changeuseridmsg" -> Echo<ChangeUserId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        userid: String,
    }

    /// Replaces an executor's id. Signed with the old key.
    ChangeExecutorId = "changeexecutoridmsg" -> Echo<ChangeExecutorId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        executorid: String,
    }

    /// Replaces the id of a colony's owner. Signed with the old key.
    ChangeColonyId = "changecolonyidmsg" -> Echo<ChangeColonyId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        colonyid: String,
    }
}

/// An answer that repeats the request, type included.
#[derive(Clone, Debug, PartialEq)]
pub struct Echo<M>(pub M);

impl<M: Message> Serialize for Echo<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Tagged::new(&self.0).serialize(serializer)
    }
}

impl<'de, M: Deserialize<'de>> Deserialize<'de> for Echo<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        M::deserialize(deserializer).map(Self)
    }
}

/// A request with the `msgtype` that its payload must repeat.
#[derive(Serialize)]
pub(super) struct Tagged<'a, M> {
    msgtype: &'static str,
    #[serde(flatten)]
    message: &'a M,
}

impl<'a, M: Message> Tagged<'a, M> {
    pub(super) fn new(message: &'a M) -> Self {
        Self { msgtype: M::TYPE.as_str(), message }
    }
}
