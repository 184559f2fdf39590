//! The calls of one identity in one colony: as a user or an executor ([`Member`]), or as its owner ([`Owner`]).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::error::{ClientError, MalformedReply};
use super::{Client, POLL_WAIT_MAX};
use crate::ProcessId;
use crate::identity::{IdentityId, PrivateKey};
use crate::messages::{
    AddExecutor, AddFunction, AddLog, AddUser, ApproveExecutor, AssignProcess, CancelProcess, ChangeColonyId,
    ChangeExecutorId, ChangeUserId, CloseFailed, CloseSuccessful, Executor, Function, FunctionSpec,
    GetColonyStatistics, GetExecutors, GetFunctions, GetProcess, GetProcesses, Message, PROCESSES_COUNT_MAX,
    PauseAssignments, Process, ProcessState, RemoveExecutor, ResumeAssignments, Statistics, SubmitFunctionSpec, User,
};

/// A user or an executor of a colony.
#[derive(Clone, Debug)]
pub struct Member {
    client: Client,
    colony: Arc<str>,
    key: Arc<PrivateKey>,
}

/// How a poll ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// This executor now holds the lease of a process.
    Process(Box<Process>),
    /// Nothing came within the wait.
    Nothing,
    /// The colony's owner had paused assignments for the whole wait.
    Paused,
}

/// Which processes to ask for. An empty text matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Their state.
    pub state: ProcessState,
    /// Most processes to return. A larger number is cut to [`PROCESSES_COUNT_MAX`].
    pub count: u32,
    /// The type of executor that their conditions name.
    pub executor_type: String,
    /// Their label.
    pub label: String,
    /// Name of the user or executor that submitted them.
    pub initiator: String,
}

impl Member {
    pub(super) fn new(client: Client, colony: Arc<str>, key: Arc<PrivateKey>) -> Self {
        Self { client, colony, key }
    }

    /// Name of the colony of this identity.
    pub fn colony(&self) -> &str {
        &self.colony
    }

    /// Id of this identity.
    pub fn id(&self) -> &IdentityId {
        self.key.id()
    }

    /// The same member with another key, after a rotation.
    #[must_use]
    pub fn with_key(&self, key: Arc<PrivateKey>) -> Self {
        Self { client: self.client.clone(), colony: Arc::clone(&self.colony), key }
    }

    async fn call<M: Message>(&self, message: &M) -> Result<M::Reply, ClientError> {
        self.client.call(&self.key, message).await
    }

    /// Submits a job and returns the process that the server made for it.
    ///
    /// # Errors
    /// If [`ClientError::may_have_acted`], the server may hold the process all the same.
    pub async fn submit(&self, spec: FunctionSpec) -> Result<Process, ClientError> {
        self.call(&SubmitFunctionSpec { spec }).await.and_then(|process| self.with_id(process))
    }

    /// Waits for a process and takes its lease. `wait` is cut to whole seconds between one and [`POLL_WAIT_MAX`].
    /// The lease starts about now and lasts for [`Process::lease`].
    ///
    /// # Errors
    /// [`ClientError::NotMember`] if the executor is pending, removed or replaced. If
    /// [`ClientError::may_have_acted`], the server may have leased a process to this executor, which then stays
    /// leased until the lease ends.
    pub async fn assign(&self, wait: Duration) -> Result<Assignment, ClientError> {
        let wait = Duration::from_secs(wait.clamp(Duration::from_secs(1), POLL_WAIT_MAX).as_secs());
        let timeout = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
        let message = AssignProcess { colonyname: self.colony.to_string(), timeout };
        match self.client.call_within(&self.key, &message, self.client.poll_deadline(wait)).await {
            Ok(process) => self.with_id(process).map(|process| Assignment::Process(Box::new(process))),
            Err(ClientError::NothingWaiting) => Ok(Assignment::Nothing),
            Err(ClientError::Paused) => Ok(Assignment::Paused),
            Err(error) => Err(error),
        }
    }

    /// Closes a process as successful. Closing it twice is harmless.
    ///
    /// # Errors
    /// [`ClientError::LeaseLost`] if the lease is over; another executor may be at work.
    pub async fn close_successful(&self, process: &ProcessId, out: Vec<Value>) -> Result<(), ClientError> {
        self.call(&CloseSuccessful { processid: process.to_string(), out }).await.map(|_| ())
    }

    /// Closes a process as failed, for good: the server retries nothing after this.
    ///
    /// # Errors
    /// [`ClientError::LeaseLost`] if the lease is over; another executor may be at work.
    pub async fn close_failed(&self, process: &ProcessId, errors: Vec<String>) -> Result<(), ClientError> {
        self.call(&CloseFailed { processid: process.to_string(), errors }).await.map(|_| ())
    }

    /// Asks for a process. A server with PostgreSQL marks a process as failed a moment before it writes its errors.
    ///
    /// # Errors
    /// [`ClientError::UnknownProcess`] if the server has forgotten it or never knew it; [`ClientError::Malformed`] if it
    /// answers with another process.
    pub async fn process(&self, process: &ProcessId) -> Result<Process, ClientError> {
        let answer = self.call(&GetProcess { processid: process.to_string() }).await?;
        if answer.processid == process.as_str() {
            Ok(answer)
        } else {
            Err(self.malformed(MalformedReply::OtherProcess))
        }
    }

    /// Asks for processes: waiting ones in the order in which they will run, running ones by their start, ended
    /// ones with the latest first. The server uses only one filter: the type of executor, else the initiator, else
    /// the label. The reply is large, because each process comes with its arguments.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn processes(&self, search: &Search) -> Result<Vec<Process>, ClientError> {
        let message = GetProcesses {
            colonyname: self.colony.to_string(),
            count: search.count.min(PROCESSES_COUNT_MAX),
            state: search.state,
            executortype: search.executor_type.clone(),
            label: search.label.clone(),
            initiator: search.initiator.clone(),
        };
        self.call(&message).await?.0.into_iter().map(|process| self.with_id(process)).collect()
    }

    /// Cancels a process.
    ///
    /// # Errors
    /// [`ClientError::AlreadyEnded`] if the process has ended already.
    pub async fn cancel(&self, process: &ProcessId) -> Result<(), ClientError> {
        self.call(&CancelProcess { processid: process.to_string() }).await.map(|_| ())
    }

    /// Adds a line to the log of a process that this executor holds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_log(&self, process: &ProcessId, message: impl Into<String>) -> Result<(), ClientError> {
        self.call(&AddLog { processid: process.to_string(), message: message.into() }).await.map(|_| ())
    }

    /// Asks what the colony holds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn statistics(&self) -> Result<Statistics, ClientError> {
        self.call(&GetColonyStatistics { colonyname: self.colony.to_string() }).await
    }

    /// Asks for the colony's executors.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn executors(&self) -> Result<Vec<Executor>, ClientError> {
        self.call(&GetExecutors { colonyname: self.colony.to_string() }).await.map(|list| list.0)
    }

    /// Registers a function that this executor runs. The server adds a record with every call.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] if the executor was removed.
    pub async fn add_function(&self, name: &str, executor_type: &str, function: &str) -> Result<Function, ClientError> {
        let fun = Function {
            executorname: name.to_owned(),
            executortype: executor_type.to_owned(),
            colonyname: self.colony.to_string(),
            funcname: function.to_owned(),
            ..Function::default()
        };
        self.call(&AddFunction { fun }).await
    }

    /// Asks for the functions that the executor `name` registered.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn functions(&self, name: &str) -> Result<Vec<Function>, ClientError> {
        let message = GetFunctions { colonyname: self.colony.to_string(), executorname: name.to_owned() };
        self.call(&message).await.map(|list| list.0)
    }

    /// Replaces this user's id. After the answer the server knows only the new key.
    ///
    /// # Errors
    /// [`ClientError::NotMember`], also if an earlier call has made the change.
    pub async fn change_user_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeUserId { colonyname: self.colony.to_string(), userid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }

    /// Replaces this executor's id. After the answer the server knows only the new key. Its processes stay with the
    /// old id, so it can no longer close them: their leases end and other executors take them.
    ///
    /// # Errors
    /// [`ClientError::NotMember`], also if an earlier call has made the change.
    pub async fn change_executor_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeExecutorId { colonyname: self.colony.to_string(), executorid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }

    /// Refuses a process without a plain id. The caller could not find it again, and would store an id of any length with each thing
    /// that belongs to the process. No Colonies server sends such an id.
    fn with_id(&self, process: Process) -> Result<Process, ClientError> {
        if process.id().is_plain() { Ok(process) } else { Err(self.malformed(MalformedReply::ProcessId)) }
    }

    fn malformed(&self, source: MalformedReply) -> ClientError {
        ClientError::Malformed { server: self.client.server(), status: 200, source }
    }
}

/// The owner of a colony.
#[derive(Clone, Debug)]
pub struct Owner {
    client: Client,
    colony: Arc<str>,
    key: Arc<PrivateKey>,
}

impl Owner {
    pub(super) fn new(client: Client, colony: Arc<str>, key: Arc<PrivateKey>) -> Self {
        Self { client, colony, key }
    }

    /// Name of the colony.
    pub fn colony(&self) -> &str {
        &self.colony
    }

    async fn call<M: Message>(&self, message: &M) -> Result<M::Reply, ClientError> {
        self.client.call(&self.key, message).await
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`] if the name or the id is taken, even if by different users.
    pub async fn add_user(&self, name: &str, id: &IdentityId) -> Result<User, ClientError> {
        let user = User {
            colonyname: self.colony.to_string(),
            userid: id.to_string(),
            name: name.to_owned(),
            ..User::default()
        };
        self.call(&AddUser { user }).await
    }

    /// Adds an executor, which then waits for approval.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`] if the name is taken, perhaps with another id.
    pub async fn add_executor(
        &self,
        name: &str,
        executor_type: &str,
        id: &IdentityId,
    ) -> Result<Executor, ClientError> {
        let executor = Executor {
            executorid: id.to_string(),
            executortype: executor_type.to_owned(),
            executorname: name.to_owned(),
            colonyname: self.colony.to_string(),
            ..Executor::default()
        };
        self.call(&AddExecutor { executor }).await
    }

    /// Lets an executor take work. Approving it twice is harmless.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] if no executor has this name.
    pub async fn approve_executor(&self, name: &str) -> Result<(), ClientError> {
        let message = ApproveExecutor { colonyname: self.colony.to_string(), executorname: name.to_owned() };
        self.call(&message).await.map(|_| ())
    }

    /// Removes an executor.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] if no executor has this name.
    pub async fn remove_executor(&self, name: &str) -> Result<(), ClientError> {
        let message = RemoveExecutor { colonyname: self.colony.to_string(), executorname: name.to_owned() };
        self.call(&message).await.map(|_| ())
    }

    /// Stops assignments. Members can still submit.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_assignments(&self) -> Result<(), ClientError> {
        self.call(&PauseAssignments { colonyname: self.colony.to_string() }).await.map(|_| ())
    }

    /// Resumes assignments.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_assignments(&self) -> Result<(), ClientError> {
        self.call(&ResumeAssignments { colonyname: self.colony.to_string() }).await.map(|_| ())
    }

    /// Replaces the id of the colony's owner. After the answer the server knows only the new key.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_colony_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeColonyId { colonyname: self.colony.to_string(), colonyid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }
}
