//! A job as it is submitted, and the process that the server makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::WireTime;
use super::{InvalidState, wire};
use crate::Moment;
use crate::ProcessId;

wire! {
    /// A job as it is submitted.
    pub struct FunctionSpec {
        /// Name within a workflow; empty for a job of its own.
        pub nodename: String,
        /// Name of the function.
        pub funcname: String,
        /// Positional arguments. Numbers come back as doubles, strings exactly.
        pub args: Vec<Value>,
        /// Named arguments. Numbers come back as doubles, strings exactly.
        pub kwargs: BTreeMap<String, Value>,
        /// Higher runs first, -50000 to 50000; one step is worth a day of waiting.
        pub priority: i64,
        /// Seconds until a process that nobody took fails; -1 for never.
        pub maxwaittime: i64,
        /// Seconds of a lease; -1 for no end.
        pub maxexectime: i64,
        /// Leases that may expire before the process fails, beyond the first; -1 for any number.
        pub maxretries: i64,
        /// Who may run it.
        pub conditions: Conditions,
        /// For searching.
        pub label: String,
        /// File systems, uninterpreted.
        pub fs: Filesystem,
        /// Environment, which the process carries as attributes.
        pub env: BTreeMap<String, String>,
    }

    /// Who may run a job. Colony and executor type are all that it needs; what is left empty asks for nothing.
    pub struct Conditions {
        /// Name of the colony.
        pub colonyname: String,
        /// Names of executors; null or empty for any.
        pub executornames: Option<Vec<String>>,
        /// Type of executor.
        pub executortype: String,
        /// Names of nodes of the same workflow that must end first.
        pub dependencies: Vec<String>,
        /// Machines.
        pub nodes: i64,
        /// Processors, such as `500m`.
        pub cpu: String,
        /// Operating system processes.
        pub processes: i64,
        /// Operating system processes on each machine.
        pub processespernode: i64,
        /// Memory, such as `10Mi`.
        pub mem: String,
        /// Disk, such as `10Mi`.
        pub storage: String,
        /// Accelerators.
        pub gpu: Gpu,
        /// Seconds of batch time.
        pub walltime: i64,
    }

    /// Accelerators that a job asks for.
    pub struct Gpu {
        /// Model.
        pub name: String,
        /// Memory, such as `10Mi`.
        pub mem: String,
        /// How many.
        pub count: i64,
        /// How many on each machine.
        pub nodecount: i64,
    }

    /// File systems of a job, uninterpreted.
    pub struct Filesystem {
        /// Mount point.
        pub mount: String,
        /// A list, or null.
        pub snapshots: Value,
        /// A list, or null.
        pub dirs: Value,
    }

    /// A named text that belongs to a process.
    pub struct Attribute {
        /// Its own id.
        pub attributeid: String,
        /// Id of the process.
        pub targetid: String,
        /// Name of the colony.
        pub targetcolonyname: String,
        /// Id of the workflow, or empty.
        pub targetprocessgraphid: String,
        /// State of the process.
        pub state: ProcessState,
        /// 0 in, 1 out, 2 error, 3 environment.
        pub attributetype: i64,
        /// Its name.
        pub key: String,
        /// Its text.
        pub value: String,
    }

    /// A submitted job.
    pub struct Process {
        /// Its id.
        pub processid: String,
        /// Id of the key that submitted it.
        pub initiatorid: String,
        /// Name of the user or executor that submitted it.
        pub initiatorname: String,
        /// Id of the executor that holds the lease, or empty.
        pub assignedexecutorid: String,
        /// Whether an executor holds the lease.
        pub isassigned: bool,
        /// Where it is in its life.
        pub state: ProcessState,
        /// Submission in nanoseconds since 1970, shifted by the priority: the smallest runs first.
        pub prioritytime: i64,
        /// When it was submitted.
        pub submissiontime: WireTime,
        /// When the lease began, by the server's clock.
        pub starttime: WireTime,
        /// When it ended, or when its last lease ended.
        pub endtime: WireTime,
        /// When it fails if nobody took it.
        pub waitdeadline: WireTime,
        /// When the lease ends. The answer to an assignment leaves it unset.
        pub execdeadline: WireTime,
        /// Leases that expired.
        pub retries: i64,
        /// Texts that belong to it.
        pub attributes: Vec<Attribute>,
        /// What was submitted.
        pub spec: FunctionSpec,
        /// Whether it waits for other nodes of its workflow.
        pub waitforparents: bool,
        /// Nodes of its workflow before it.
        pub parents: Vec<String>,
        /// Nodes of its workflow after it.
        pub children: Vec<String>,
        /// Id of its workflow, or empty.
        pub processgraphid: String,
        /// Output of the parents.
        #[serde(rename = "in")]
        pub input: Vec<Value>,
        /// What the executor returned.
        pub out: Vec<Value>,
        /// Why it failed.
        pub errors: Vec<String>,
    }
}
impl Process {
    /// The process's id.
    pub fn id(&self) -> ProcessId {
        ProcessId::new(self.processid.clone())
    }

    /// How long a lease lasts; nothing when it has no end.
    pub fn lease(&self) -> Option<Duration> {
        u64::try_from(self.spec.maxexectime).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// When the lease ends by the server's clock, computed because the answer to an assignment does not say it.
    /// Nothing for a process that never started or whose lease has no end. An executor counts [`Process::lease`] from the
    /// moment of the answer instead, so that clocks that differ do no harm.
    pub fn lease_end(&self) -> Option<Moment> {
        Some(self.starttime.0?.plus(self.lease()?))
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "i64", try_from = "i64")]
pub enum ProcessState {
    /// Nobody took it yet, or its lease expired.
    #[default]
    Waiting,
    /// An executor holds the lease.
    Running,
    /// Closed as successful.
    Success,
    /// Closed as failed, or out of time or retries.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl ProcessState {
    /// Whether nothing can change any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Success | Self::Failed | Self::Cancelled => true,
        }
    }
}

impl From<ProcessState> for i64 {
    fn from(state: ProcessState) -> Self {
        match state {
            ProcessState::Waiting => 0,
            ProcessState::Running => 1,
            ProcessState::Success => 2,
            ProcessState::Failed => 3,
            ProcessState::Cancelled => 4,
        }
    }
}

impl TryFrom<i64> for ProcessState {
    type Error = InvalidState;

    fn try_from(number: i64) -> Result<Self, InvalidState> {
        match number {
            0 => Ok(Self::Waiting),
            1 => Ok(Self::Running),
            2 => Ok(Self::Success),
            3 => Ok(Self::Failed),
            4 => Ok(Self::Cancelled),
            _ => Err(InvalidState { what: "process", number }),
        }
    }
}
