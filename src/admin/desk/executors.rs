//! The executors of the colony, asked of its server at most every ten seconds, however many look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use colonies::client::Member;
use colonies::messages::{Executor, ExecutorState, Process, ProcessState, WireTime};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::domain::causes::chain;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::ids::ProcessId;
use crate::domain::renewable::Renewable;

/// How long an answer is used.
const FRESH: Duration = Duration::from_secs(10);

/// Longest wait for the server.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Most executors that are listed.
const EXECUTORS_MAX: usize = 200;

/// One executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecutorLine {
    /// Id of its key.
    pub id: String,
    pub name: String,
    pub kind: String,
    /// `pending`, `approved`, `rejected` or `unregistered`.
    pub state: &'static str,
    /// When it last asked for work.
    pub heard: Option<Timestamp>,
}

/// One process of the colony, if its server still remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessLine {
    /// `waiting`, `running`, `success`, `failed` or `cancelled`.
    pub state: &'static str,
    /// Name of the executor that holds or held it; its key's id if the name is unknown.
    pub executor: Option<String>,
    /// From the submission to the lease.
    pub waited: Option<Duration>,
    /// From the lease to its end.
    pub ran: Option<Duration>,
    /// How many leases ended without a result.
    pub retries: u64,
}

/// The last process asked about, and when.
type LastProcess = Option<(Instant, ProcessId, Option<ProcessLine>)>;

/// The server's answer, or the reason why it did not give one.
type Answer = Result<Vec<ExecutorLine>, String>;

/// Asks the server for the executors. Clones share the answer.
#[derive(Clone, Debug)]
pub struct Executors {
    member: Renewable<Member>,
    known: Arc<Mutex<Option<(Instant, Answer)>>>,
    process: Arc<Mutex<LastProcess>>,
    clock: Clock,
}

impl Executors {
    pub fn new(member: Renewable<Member>, clock: Clock) -> Self {
        Self { member, known: Arc::default(), process: Arc::default(), clock }
    }

    /// All executors of the colony, those that were heard last first.
    ///
    /// # Errors
    /// Why the server does not answer.
    pub async fn ask(&self) -> Answer {
        let mut known = self.known.lock().await;
        let now = self.clock.instant();
        if let Some((at, answer)) = &*known
            && now.duration_since(*at) < FRESH
        {
            return answer.clone();
        }
        let asked = tokio::time::timeout(ANSWER_MAX, self.member.get().executors()).await;
        let answer = match asked {
            Ok(Ok(executors)) => Ok(lines(executors)),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        };
        *known = Some((self.clock.instant(), answer.clone()));
        answer
    }
}

impl Executors {
    /// A process; `None` if the server does not answer or has forgotten it.
    pub async fn process(&self, id: &ProcessId) -> Option<ProcessLine> {
        let mut known = self.process.lock().await;
        if let Some((at, known, line)) = &*known
            && known == id
            && self.clock.instant().duration_since(*at) < FRESH
        {
            return line.clone();
        }
        let member = self.member.get();
        let asked = tokio::time::timeout(ANSWER_MAX, member.process(id)).await;
        let line = match asked {
            Ok(Ok(process)) => Some(self.process_line(&process).await),
            Ok(Err(_)) | Err(_) => None,
        };
        *known = Some((self.clock.instant(), id.clone(), line.clone()));
        line
    }

    async fn process_line(&self, process: &Process) -> ProcessLine {
        let id = &process.assignedexecutorid;
        let executors = if id.is_empty() { Vec::new() } else { self.ask().await.unwrap_or_default() };
        let name = executors.into_iter().find(|executor| executor.id == *id).map(|executor| executor.name);
        let between = |from: WireTime, to: WireTime| {
            let (from, to) = (from.0?.millis(), to.0?.millis());
            u64::try_from(to.checked_sub(from)?).ok().map(Duration::from_millis)
        };
        let state = match process.state {
            ProcessState::Waiting => "waiting",
            ProcessState::Running => "running",
            ProcessState::Success => "success",
            ProcessState::Failed => "failed",
            ProcessState::Cancelled => "cancelled",
        };
        ProcessLine {
            state,
            executor: name.or_else(|| Some(id.clone()).filter(|id| !id.is_empty())),
            waited: between(process.submissiontime, process.starttime),
            ran: between(process.starttime, process.endtime),
            retries: u64::try_from(process.retries).unwrap_or(0),
        }
    }
}

fn lines(executors: Vec<Executor>) -> Vec<ExecutorLine> {
    let mut lines: Vec<ExecutorLine> = executors.into_iter().map(line).collect();
    lines.sort_by(|one, other| other.heard.cmp(&one.heard).then_with(|| one.name.cmp(&other.name)));
    lines.truncate(EXECUTORS_MAX);
    lines
}

fn line(executor: Executor) -> ExecutorLine {
    let state = match executor.state {
        ExecutorState::Pending => "pending",
        ExecutorState::Approved => "approved",
        ExecutorState::Rejected => "rejected",
        ExecutorState::Unregistered => "unregistered",
    };
    let heard = executor.lastheardfromtime.0.map(|heard| Timestamp::from_millis(heard.millis()));
    ExecutorLine { id: executor.executorid, name: executor.executorname, kind: executor.executortype, state, heard }
}
