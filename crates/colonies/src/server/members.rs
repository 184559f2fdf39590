//! Colonies, users, executors and functions: who is known, and what the owners of the server and of a colony may change.
//!
//! Removed executors stay, marked, and keep their names taken, as on the real server: only a new approval or, where the
//! server allows it, a registration anew brings them back.

use std::time::Duration;

use super::process::random_id;
use super::refusal::Refusal;
use super::state::{Scoped, State};
use crate::Moment;
use crate::identity::IdentityId;
use crate::messages::{
    AddColony, AddExecutor, AddFunction, AddUser, ChangeColonyId, ChangeExecutorId, ChangeUserId, Colony, Echo,
    Executor, ExecutorState, Function, List, ProcessState, Statistics, User,
};

/// Number of digits in an id, for the requests in which the server counts them.
const ID_DIGITS: usize = 64;

/// How often the server looks for silent executors.
const SWEEP_PERIOD: Duration = Duration::from_mins(1);

impl State {
    /// Adds a colony.
    pub(super) fn add_colony(&mut self, signer: &IdentityId, request: AddColony) -> Result<Colony, Refusal> {
        self.require_server_owner(signer)?;
        let colony = request.colony;
        if colony == Colony::default() {
            return Err(Refusal::bad("Failed to add colony, colony is <nil>"));
        }
        if colony.colonyid.len() != ID_DIGITS {
            return Err(Refusal::bad("Failed to add colony, invalid colony Id length"));
        }
        if self.colonies.contains_key(&colony.name) {
            return Err(Refusal::bad(format!("A Colony with name <{}> already exists", colony.name)));
        }
        self.bound_members(self.colonies.len())?;
        self.colonies.insert(colony.name.clone(), colony.clone());
        Ok(colony)
    }

    /// Removes a colony with all that it holds.
    pub(super) fn remove_colony(&mut self, signer: &IdentityId, name: &str) -> Result<(), Refusal> {
        self.require_server_owner(signer)?;
        if self.colonies.remove(name).is_none() {
            return Err(Refusal::bad(format!("Colony with name <{name}> not found")));
        }
        self.users.retain(|key, _| key.0 != name);
        self.executors.retain(|key, _| key.0 != name);
        self.executors_by_id.retain(|_, keys| {
            keys.retain(|key| key.0 != name);
            !keys.is_empty()
        });
        self.functions.retain(|key, _| key.0 != name);
        self.processes.remove_colony(name);
        Ok(())
    }

    /// Adds a user.
    pub(super) fn add_user(&mut self, signer: &IdentityId, request: AddUser) -> Result<User, Refusal> {
        let user = request.user;
        if user == User::default() {
            return Err(Refusal::bad("Failed to add user, executor is nil"));
        }
        if !self.colonies.contains_key(&user.colonyname) {
            return Err(Refusal::bad(format!("Colony with name <{}> does not exists", user.colonyname)));
        }
        self.require_colony_owner(signer, &user.colonyname)?;
        let key = scoped(&user.colonyname, &user.name);
        if self.users.contains_key(&key) {
            let (colony, name) = key;
            return Err(Refusal::bad(format!(
                "A user with name <{name}> already exists in Colony with name <{colony}>"
            )));
        }
        if user.name.contains(':') {
            return Err(Refusal::internal("Failed to add user, addedUser is nil"));
        }
        self.bound_members(self.users.len())?;
        self.users.insert(key, user.clone());
        Ok(user)
    }

    /// Removes a user.
    pub(super) fn remove_user(&mut self, signer: &IdentityId, colony: &str, name: &str) -> Result<(), Refusal> {
        self.require_colony_owner(signer, colony)?;
        match self.users.remove(&scoped(colony, name)) {
            Some(_) => Ok(()),
            None => Err(Refusal::bad(format!("User with name <{name}> not found"))),
        }
    }

    /// Adds an executor, which then waits for approval.
    pub(super) fn add_executor(
        &mut self,
        signer: &IdentityId,
        request: AddExecutor,
        now: Moment,
    ) -> Result<Executor, Refusal> {
        let mut executor = request.executor;
        if executor == Executor::default() {
            return Err(Refusal::bad("Failed to add executor, executor is nil"));
        }
        self.require_colony_owner(signer, &executor.colonyname)?;
        let key = scoped(&executor.colonyname, &executor.executorname);
        if let Some(before) = self.executors.get(&key) {
            if !self.allow_reregistration {
                let (colony, name) = key;
                return Err(Refusal::bad(format!("Executor with name <{name}> in Colony <{colony}> already exists")));
            }
            let id = before.executorid.clone();
            self.unregister(&key);
            self.unlink(&id, &key);
        } else {
            self.bound_members(self.executors.len())?;
        }
        if executor.executorname.contains(':') {
            return Err(Refusal::internal("Failed to parse Executor name"));
        }
        executor.state = ExecutorState::Pending;
        executor.commissiontime = now.into();
        self.link(&executor.executorid, &key);
        let id = executor.executorid.clone();
        self.executors.insert(key, executor);
        // If the id existed before, it stands for the executor that had it first.
        self.executor_by_id(&id)
            .cloned()
            .ok_or_else(|| Refusal::internal("Failed to add executor, addedExecutor is nil"))
    }

    /// Approves or rejects an executor, removed ones included.
    pub(super) fn judge_executor(
        &mut self,
        signer: &IdentityId,
        colony: &str,
        name: &str,
        verdict: ExecutorState,
    ) -> Result<(), Refusal> {
        let key = scoped(colony, name);
        let verb = if verdict == ExecutorState::Rejected { "reject" } else { "approve" };
        if !self.executors.contains_key(&key) {
            return Err(Refusal::internal(format!("Failed to {verb} executor, executor is nil")));
        }
        self.require_colony_owner(signer, colony)?;
        if let Some(executor) = self.executors.get_mut(&key) {
            executor.state = verdict;
        }
        Ok(())
    }

    /// Removes an executor: its processes wait again, its name stays taken.
    pub(super) fn remove_executor(&mut self, signer: &IdentityId, colony: &str, name: &str) -> Result<(), Refusal> {
        let key = scoped(colony, name);
        if !self.executors.contains_key(&key) {
            return Err(Refusal::internal("Failed to remove executor, executor is nil"));
        }
        self.require_colony_owner(signer, colony)?;
        self.unregister(&key);
        Ok(())
    }

    fn unregister(&mut self, key: &Scoped) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.state = ExecutorState::Unregistered;
        let id = executor.executorid.clone();
        self.functions.remove(key);
        for number in self.processes.running_of(&key.0, &id) {
            self.processes.change(number, super::process::Entry::reset);
        }
    }

    /// Removes executors that were heard of once, but not lately. Returns how many.
    pub(super) fn remove_unheard(&mut self, now: Moment, stale_after: Duration) -> usize {
        if now.since(self.swept) < SWEEP_PERIOD {
            return 0;
        }
        self.swept = now;
        let is_stale = |executor: &Executor| {
            executor.state != ExecutorState::Unregistered
                && executor.lastheardfromtime.0.is_some_and(|heard| now.since(heard) > stale_after)
        };
        let stale: Vec<Scoped> =
            self.executors.iter().filter(|(_, executor)| is_stale(executor)).map(|(key, _)| key.clone()).collect();
        for key in &stale {
            self.unregister(key);
        }
        stale.len()
    }

    /// The executors of a colony.
    pub(super) fn get_executors(&self, signer: &IdentityId, colony: &str) -> Result<List<Executor>, Refusal> {
        self.require_member(signer, colony)?;
        Ok(List(self.executors_of(colony).cloned().collect()))
    }

    /// One executor.
    pub(super) fn get_executor(&self, signer: &IdentityId, colony: &str, name: &str) -> Result<Executor, Refusal> {
        let found = self.executors.get(&scoped(colony, name));
        let executor = found.ok_or_else(|| Refusal::internal("Failed to get executor, executor is nil"))?;
        self.require_approved_member(signer, colony)?;
        Ok(executor.clone())
    }

    /// Notes a function that an executor runs. It notes the function again with each call, as the real server does.
    pub(super) fn add_function(&mut self, signer: &IdentityId, request: AddFunction) -> Result<Function, Refusal> {
        let mut function = request.fun;
        if function == Function::default() {
            return Err(Refusal::bad("Failed to add function, msg.Function is nil"));
        }
        self.require_approved_member(signer, &function.colonyname)?;
        let key = scoped(&function.colonyname, &function.executorname);
        let Some(executor) = self.executors.get(&key) else {
            return Err(Refusal::bad(format!(
                "Failed to add function, Executor with name <{}> does not exist",
                function.executorname
            )));
        };
        if executor.executorid != signer.as_str() {
            return Err(Refusal::forbidden("Not allowed to add a function to another executor"));
        }
        let functions = self.functions.entry(key).or_default();
        if functions.len() >= self.bounds.functions_max {
            return Err(Refusal::bound("functions of one executor", self.bounds.functions_max));
        }
        if function.functionid.is_empty() {
            function.functionid = random_id();
        }
        functions.push(function.clone());
        Ok(function)
    }

    /// The functions of one executor, or of all if the name is empty.
    pub(super) fn get_functions(
        &self,
        signer: &IdentityId,
        colony: &str,
        name: &str,
    ) -> Result<List<Function>, Refusal> {
        self.require_approved_member(signer, colony)?;
        let executors = self.executors_of(colony).map(|executor| executor.executorname.as_str());
        let wanted = executors.filter(|executor| name.is_empty() || *executor == name);
        let functions = wanted.filter_map(|executor| self.functions.get(&scoped(colony, executor)));
        Ok(List(functions.flatten().cloned().collect()))
    }

    /// Replaces the signer's id as a user.
    pub(super) fn change_user_id(
        &mut self,
        signer: &IdentityId,
        request: ChangeUserId,
    ) -> Result<Echo<ChangeUserId>, Refusal> {
        if request.userid.is_empty() {
            return Err(Refusal::bad("Failed to change user Id, user Id is empty"));
        }
        self.require_member(signer, &request.colonyname)?;
        let found = self.user_by_id(&request.colonyname, signer.as_str());
        let key = found.map(|user| scoped(&user.colonyname, &user.name));
        let key = key.ok_or_else(|| Refusal::bad("Failed to change user Id, user not found"))?;
        if request.userid.len() != ID_DIGITS {
            return Err(Refusal::bad("Failed to change user Id, new user Id is not 64 characters"));
        }
        if let Some(user) = self.users.get_mut(&key) {
            user.userid.clone_from(&request.userid);
        }
        Ok(Echo(request))
    }

    /// Replaces the signer's id as an executor. Its leases stay with the old id, so it can no longer close them.
    /// The real server does the same.
    pub(super) fn change_executor_id(
        &mut self,
        signer: &IdentityId,
        request: ChangeExecutorId,
    ) -> Result<Echo<ChangeExecutorId>, Refusal> {
        if request.executorid.is_empty() {
            return Err(Refusal::bad("Failed to change executor Id, executor Id is empty"));
        }
        self.require_member(signer, &request.colonyname)?;
        let found = self.executor_by_id(signer.as_str());
        let key = found.map(|executor| scoped(&executor.colonyname, &executor.executorname));
        let key = key.ok_or_else(|| Refusal::bad("Failed to change executor Id, executor not found"))?;
        if request.executorid.len() != ID_DIGITS {
            return Err(Refusal::bad("Failed to change executor Id, new executor Id is not 64 characters"));
        }
        if let Some(executor) = self.executors.get_mut(&key) {
            executor.executorid.clone_from(&request.executorid);
        }
        self.unlink(signer.as_str(), &key);
        self.link(&request.executorid, &key);
        Ok(Echo(request))
    }

    /// Replaces the id of the colony's owner.
    pub(super) fn change_colony_id(
        &mut self,
        signer: &IdentityId,
        request: ChangeColonyId,
    ) -> Result<Echo<ChangeColonyId>, Refusal> {
        if request.colonyid.is_empty() {
            return Err(Refusal::bad("Failed to change colony Id, colony Id is empty"));
        }
        self.require_colony_owner(signer, &request.colonyname)?;
        if request.colonyid.len() != ID_DIGITS {
            return Err(Refusal::bad("Failed to change colony Id, new colony Id is not 64 characters"));
        }
        if let Some(colony) = self.colonies.get_mut(&request.colonyname) {
            colony.colonyid.clone_from(&request.colonyid);
        }
        Ok(Echo(request))
    }

    /// Pauses or resumes the assignments of a colony.
    pub(super) fn pause(&mut self, signer: &IdentityId, colony: &str, paused: bool) -> Result<(), Refusal> {
        self.require_colony_owner(signer, colony)?;
        if paused {
            self.paused.insert(colony.to_owned());
        } else {
            self.paused.remove(colony);
        }
        Ok(())
    }

    /// What a colony holds; `None` for a stranger, whom the real server answers with an empty body.
    pub(super) fn statistics(&self, signer: &IdentityId, colony: &str) -> Result<Option<Statistics>, Refusal> {
        if !self.colonies.contains_key(colony) {
            return Err(Refusal::bad(format!("Colony with name <{colony}> not found")));
        }
        if self.require_approved_member(signer, colony).is_err() {
            return Ok(None);
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let executors = |state| count(self.executors_of(colony).filter(|executor| executor.state == state).count());
        let processes = |state| count(self.processes.count(colony, state));
        Ok(Some(Statistics {
            colonies: 1,
            executors: count(self.executors_of(colony).count()),
            activeexecutors: executors(ExecutorState::Approved),
            unregisteredexecutors: executors(ExecutorState::Unregistered),
            waitingprocesses: processes(ProcessState::Waiting),
            runningprocesses: processes(ProcessState::Running),
            successfulprocesses: processes(ProcessState::Success),
            failedprocesses: processes(ProcessState::Failed),
            cancelledprocesses: processes(ProcessState::Cancelled),
            ..Statistics::default()
        }))
    }

    fn bound_members(&self, count: usize) -> Result<(), Refusal> {
        let bound = self.bounds.members_max;
        if count < bound { Ok(()) } else { Err(Refusal::bound("colonies, users or executors", bound)) }
    }
}

pub(super) fn scoped(colony: &str, name: &str) -> Scoped {
    (colony.to_owned(), name.to_owned())
}
