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
    /// A job as a client submits it.
    pub struct FunctionSpec {
        /// Name within a workflow; empty for a job on its own.
        pub nodename: String,
        /// Name of the function.
        pub funcname: String,
        /// Positional arguments. Numbers come back as doubles, strings unchanged.
        pub args: Vec<Value>,
        /// Named arguments. Numbers come back as doubles, strings unchanged.
        pub kwargs: BTreeMap<String, Value>,
        /// Higher runs first, from -50000 to 50000. One step is worth a day of waiting.
        pub priority: i64,
        /// Seconds until a process that no executor has taken fails; -1 for never.
        pub maxwaittime: i64,
        /// Length of a lease in seconds; -1 for no end.
        pub maxexectime: i64,
        /// How many leases after the first may expire before the process fails; -1 for any number.
        pub maxretries: i64,
        /// Who may run it.
        pub conditions: Conditions,
        /// A text to search by.
        pub label: String,
        /// File systems, uninterpreted.
        pub fs: Filesystem,
        /// Environment variables, which the process carries as attributes.
        pub env: BTreeMap<String, String>,
    }

    /// Who may run a job. Colony and executor type are enough. An empty field sets no condition.
    pub struct Conditions {
        /// Name of the colony.
        pub colonyname: String,
        /// Names of executors; null or empty for any.
        pub executornames: Option<Vec<String>>,
        /// Type of executor.
        pub executortype: String,
        /// Names of nodes in the same workflow that must end first.
        pub dependencies: Vec<String>,
        /// Number of machines.
        pub nodes: i64,
        /// Processors, such as `500m`.
        pub cpu: String,
        /// Number of operating system processes.
        pub processes: i64,
        /// Number of operating system processes on each machine.
        pub processespernode: i64,
        /// Memory, such as `10Mi`.
        pub mem: String,
        /// Disk space, such as `10Mi`.
        pub storage: String,
        /// Accelerators.
        pub gpu: Gpu,
        /// Batch time in seconds.
        pub walltime: i64,
    }

    /// Accelerators that a job asks for.
    pub struct Gpu {
        /// Model.
        pub name: String,
        /// Memory, such as `10Mi`.
        pub mem: String,
        /// Number of accelerators.
        pub count: i64,
        /// Number of accelerators on each machine.
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
        /// Its current state.
        pub state: ProcessState,
        /// Time of submission in nanoseconds since 1970, shifted by the priority. The smallest runs first.
        pub prioritytime: i64,
        /// When it was submitted.
        pub submissiontime: WireTime,
        /// When the lease began, by the server's clock.
        pub starttime: WireTime,
        /// When it ended, or when its last lease ended.
        pub endtime: WireTime,
        /// When it fails unless an executor takes it.
        pub waitdeadline: WireTime,
        /// When the lease ends. Not set in the answer to an assignment.
        pub execdeadline: WireTime,
        /// Number of leases that expired.
        pub retries: i64,
        /// Its named texts.
        pub attributes: Vec<Attribute>,
        /// The job that was submitted.
        pub spec: FunctionSpec,
        /// Whether it waits for other nodes of its workflow.
        pub waitforparents: bool,
        /// Nodes of its workflow before it.
        pub parents: Vec<String>,
        /// Nodes of its workflow after it.
        pub children: Vec<String>,
        /// Id of its workflow, or empty.
        pub processgraphid: String,
        /// Output of the parent nodes.
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

    /// How long a lease lasts; `None` if it has no end.
    pub fn lease(&self) -> Option<Duration> {
        u64::try_from(self.spec.maxexectime).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// When the lease ends by the server's clock. It is computed, because the answer to an assignment does not
    /// contain it. `None` if the process never started or its lease has no end. An executor should count
    /// [`Process::lease`] from the moment of the answer instead: then clocks that differ do no harm.
    pub fn lease_end(&self) -> Option<Moment> {
        Some(self.starttime.0?.plus(self.lease()?))
    }
}

/// The state of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "i64", try_from = "i64")]
pub enum ProcessState {
    /// No executor has taken it yet, or its lease expired.
    #[default]
    Waiting,
    /// An executor holds the lease.
    Running,
    /// Closed as successful.
    Success,
    /// Closed as failed, or it ran out of time or retries.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl ProcessState {
    /// Whether this state is the last one.
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
