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
    /// The colony's owner paused assignments for the whole wait.
    Paused,
}

/// Which processes to ask for. Empty texts match all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Their state.
    pub state: ProcessState,
    /// Most to return; more than [`PROCESSES_COUNT_MAX`] is cut to it.
    pub count: u32,
    /// Type of executor in their conditions.
    pub executor_type: String,
    /// Their label.
    pub label: String,
    /// Name of who submitted them.
    pub initiator: String,
}

impl Member {
    pub(super) fn new(client: Client, colony: Arc<str>, key: Arc<PrivateKey>) -> Self {
        Self { client, colony, key }
    }

    /// Name of the colony.
    pub fn colony(&self) -> &str {
        &self.colony
    }

    /// Id of this identity.
    pub fn id(&self) -> &IdentityId {
        self.key.id()
    }

    /// The same identity's place with another key, after a rotation.
    #[must_use]
    pub fn with_key(&self, key: Arc<PrivateKey>) -> Self {
        Self { client: self.client.clone(), colony: Arc::clone(&self.colony), key }
    }

    async fn call<M: Message>(&self, message: &M) -> Result<M::Reply, ClientError> {
        self.client.call(&self.key, message).await
    }

    /// Submits a job and returns the process that the server made of it.
    ///
    /// # Errors
    /// When [`ClientError::may_have_acted`], the server may hold the process nevertheless.
    pub async fn submit(&self, spec: FunctionSpec) -> Result<Process, ClientError> {
        self.call(&SubmitFunctionSpec { spec }).await.and_then(|process| self.with_id(process))
    }

    /// Waits for a process and takes its lease. `wait` is cut to whole seconds from one to [`POLL_WAIT_MAX`].
    /// The lease runs from about now for [`Process::lease`].
    ///
    /// # Errors
    /// [`ClientError::NotMember`] when the executor is pending, removed or replaced. When
    /// [`ClientError::may_have_acted`], a process may be leased to this executor until its lease ends.
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

    /// Ends a process well. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`ClientError::LeaseLost`] when the lease is over; another executor may be at work.
    pub async fn close_successful(&self, process: &ProcessId, out: Vec<Value>) -> Result<(), ClientError> {
        self.call(&CloseSuccessful { processid: process.to_string(), out }).await.map(|_| ())
    }

    /// Ends a process badly and for good; the server retries nothing after this.
    ///
    /// # Errors
    /// [`ClientError::LeaseLost`] when the lease is over; another executor may be at work.
    pub async fn close_failed(&self, process: &ProcessId, errors: Vec<String>) -> Result<(), ClientError> {
        self.call(&CloseFailed { processid: process.to_string(), errors }).await.map(|_| ())
    }

    /// Asks for a process.
    ///
    /// # Errors
    /// [`ClientError::UnknownProcess`] when the server has forgotten it or never knew it.
    pub async fn process(&self, process: &ProcessId) -> Result<Process, ClientError> {
        self.call(&GetProcess { processid: process.to_string() }).await.and_then(|process| self.with_id(process))
    }

    /// Asks for processes: waiting ones as they will run, running ones by their start, ended ones from the newest end.
    /// Of several filters the server uses one: executor type, else initiator, else label. Each process comes with its
    /// arguments: the reply is large.
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
        self.call(&message).await.map(|list| list.0)
    }

    /// Cancels a process.
    ///
    /// # Errors
    /// [`ClientError::AlreadyEnded`] when it is too late.
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

    /// Tells that this executor runs a function. The server adds a record each time it is told.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] when the executor was removed.
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

    /// Replaces this user's id; from the answer on only the new key is known.
    ///
    /// # Errors
    /// [`ClientError::NotMember`] also when the change was made before.
    pub async fn change_user_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeUserId { colonyname: self.colony.to_string(), userid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }

    /// Replaces this executor's id; from the answer on only the new key is known. Processes that it holds stay with
    /// the old id, so nobody can close them any more: their leases end and others take them.
    ///
    /// # Errors
    /// [`ClientError::NotMember`] also when the change was made before.
    pub async fn change_executor_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeExecutorId { colonyname: self.colony.to_string(), executorid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }

    /// A process without an id cannot be found again; a server that sends one is none.
    fn with_id(&self, process: Process) -> Result<Process, ClientError> {
        if process.processid.is_empty() {
            let server = self.client.server();
            return Err(ClientError::Malformed { server, status: 200, source: MalformedReply::NoProcessId });
        }
        Ok(process)
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
    /// [`ClientError::AlreadyExists`] when the name or the id is there, not necessarily together.
    pub async fn add_user(&self, name: &str, id: &IdentityId) -> Result<User, ClientError> {
        let user = User {
            colonyname: self.colony.to_string(),
            userid: id.to_string(),
            name: name.to_owned(),
            ..User::default()
        };
        self.call(&AddUser { user }).await
    }

    /// Adds an executor, which waits for approval.
    ///
    /// # Errors
    /// [`ClientError::AlreadyExists`] when the name is there, perhaps with another id.
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

    /// Lets an executor take work. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] when there is none of that name.
    pub async fn approve_executor(&self, name: &str) -> Result<(), ClientError> {
        let message = ApproveExecutor { colonyname: self.colony.to_string(), executorname: name.to_owned() };
        self.call(&message).await.map(|_| ())
    }

    /// Removes an executor.
    ///
    /// # Errors
    /// [`ClientError::UnknownExecutor`] when there is none of that name.
    pub async fn remove_executor(&self, name: &str) -> Result<(), ClientError> {
        let message = RemoveExecutor { colonyname: self.colony.to_string(), executorname: name.to_owned() };
        self.call(&message).await.map(|_| ())
    }

    /// Stops assigning; submitting goes on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn pause_assignments(&self) -> Result<(), ClientError> {
        self.call(&PauseAssignments { colonyname: self.colony.to_string() }).await.map(|_| ())
    }

    /// Assigns again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume_assignments(&self) -> Result<(), ClientError> {
        self.call(&ResumeAssignments { colonyname: self.colony.to_string() }).await.map(|_| ())
    }

    /// Replaces the id of the colony's owner; from the answer on only the new key is known.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn change_colony_id(&self, new: &IdentityId) -> Result<(), ClientError> {
        let message = ChangeColonyId { colonyname: self.colony.to_string(), colonyid: new.to_string() };
        self.call(&message).await.map(|_| ())
    }
}
