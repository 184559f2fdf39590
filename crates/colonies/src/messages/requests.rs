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
    /// Asks for the server's version. This is the only request whose signature the server does not check.
    GetVersion = "versionmsg" -> Version {
        /// Sent empty.
        buildversion: String,
        /// Sent empty.
        buildtime: String,
    }

    /// Adds a colony. The server's owner signs it.
    AddColony = "addcolonymsg" -> Colony {
        /// The colony.
        colony: Colony,
    }

    /// Adds a user. The colony's owner signs it.
    AddUser = "addusermsg" -> User {
        /// The user.
        user: User,
    }

    /// Adds an executor, which then waits for approval. The colony's owner signs it.
    AddExecutor = "addexecutormsg" -> Executor {
        /// The executor.
        executor: Executor,
    }

    /// Lets an executor take work. The colony's owner signs it.
    ApproveExecutor = "approveexecutormsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
        /// Name of the executor.
        executorname: String,
    }

    /// Removes an executor. The colony's owner signs it.
    RemoveExecutor = "removeexecutormsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
        /// Name of the executor.
        executorname: String,
    }

    /// Registers a function that an executor runs. That executor signs it.
    AddFunction = "addfunctionmsg" -> Function {
        /// The function.
        fun: Function,
    }

    /// Submits a job. A user or an approved executor signs it.
    SubmitFunctionSpec = "submitfuncspecmsg" -> Process {
        /// The job.
        spec: FunctionSpec,
    }

    /// Waits for a process and takes its lease. An approved executor signs it.
    AssignProcess = "assignprocessmsg" -> Process {
        /// Name of the colony.
        colonyname: String,
        /// How many seconds the server waits for a process; not zero.
        timeout: i64,
    }

    /// Closes a process as successful. The executor that holds the lease signs it.
    CloseSuccessful = "closesuccessfulmsg" -> Empty {
        /// Id of the process.
        processid: String,
        /// Its results.
        out: Vec<Value>,
    }

    /// Closes a process as failed, for good. The executor that holds the lease signs it.
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

    /// Asks for processes in a state. An empty text matches all.
    GetProcesses = "getprocessesmsg" -> List<Process> {
        /// Name of the colony.
        colonyname: String,
        /// Most processes to return, at most 100.
        count: u32,
        /// Their state.
        state: ProcessState,
        /// The type of executor that their conditions name.
        executortype: String,
        /// Their label.
        label: String,
        /// Name of the user or executor that submitted them.
        initiator: String,
    }

    /// Cancels a process.
    CancelProcess = "cancelprocessmsg" -> Empty {
        /// Id of the process.
        processid: String,
    }

    /// Adds a line to a process's log. The executor that holds the lease signs it.
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

    /// Stops assignments; members can still submit. The colony's owner signs it.
    PauseAssignments = "pauseassignmentsmsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
    }

    /// Resumes assignments. The colony's owner signs it.
    ResumeAssignments = "resumeassignmentsmsg" -> Empty {
        /// Name of the colony.
        colonyname: String,
    }

    /// Replaces a user's id. The old key signs it.
    ChangeUserId = "changeuseridmsg" -> Echo<ChangeUserId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        userid: String,
    }

    /// Replaces an executor's id. The old key signs it.
    ChangeExecutorId = "changeexecutoridmsg" -> Echo<ChangeExecutorId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        executorid: String,
    }

    /// Replaces the id of a colony's owner. The old key signs it.
    ChangeColonyId = "changecolonyidmsg" -> Echo<ChangeColonyId> {
        /// Name of the colony.
        colonyname: String,
        /// The new id.
        colonyid: String,
    }
}

/// An answer that repeats the request, including its type.
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
