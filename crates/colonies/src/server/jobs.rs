//! Processes: submitting, taking, closing, cancelling, reading, logging, and what time does to them.
//!
//! Rules and texts are the real server's. What it permits and a reader may not expect: closing twice as successful
//! replaces the output, and cancelling needs membership only.

use super::process::{Entry, LogLine, Snapshot};
use super::refusal::Refusal;
use super::state::State;
use crate::Moment;
use crate::identity::IdentityId;
use crate::messages::{
    AddLog, CloseFailed, CloseSuccessful, FunctionSpec, GetProcesses, PROCESSES_COUNT_MAX, ProcessState,
    SubmitFunctionSpec,
};

/// Range of priorities.
const PRIORITIES: std::ops::RangeInclusive<i64> = -50_000..=50_000;

/// How many leases and waits end under one lock. A larger number would make calls wait for the lock.
const EXPIRED_AT_ONCE: usize = 256;

/// Most lines that one `getlogsmsg` may ask for.
const LOG_COUNT_MAX: i64 = 500;

/// For whom a process became available: a queue, and the executors it names (none: any executor of the type).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) colony: String,
    pub(super) kind: String,
    pub(super) names: Vec<String>,
}

impl Offer {
    fn of(entry: &Entry) -> Self {
        let conditions = &entry.spec.conditions;
        Self {
            colony: conditions.colonyname.clone(),
            kind: conditions.executortype.clone(),
            names: entry.names().to_vec(),
        }
    }
}

/// The outcome of an executor's request for work.
#[derive(Debug)]
pub(super) enum Assignment {
    Taken(Box<Snapshot>),
    Nothing,
    Paused,
}

impl State {
    /// Adds a process, which waits for an executor. `bytes` is the size of the request.
    pub(super) fn submit(
        &mut self,
        signer: &IdentityId,
        request: SubmitFunctionSpec,
        bytes: usize,
        now: Moment,
    ) -> Result<(Snapshot, Offer), Refusal> {
        let spec = request.spec;
        if spec == FunctionSpec::default() {
            return Err(Refusal::bad("Failed to submit process spec, msg.FunctionSpec is nil"));
        }
        self.require_approved_member(signer, &spec.conditions.colonyname)?;
        if !PRIORITIES.contains(&spec.priority) {
            let (low, high) = PRIORITIES.into_inner();
            return Err(Refusal::bad(format!(
                "Failed to submit function spec, priority outside range [{low}, {high}]"
            )));
        }
        let name = self.initiator(signer, &spec.conditions.colonyname)?;
        self.processes.admits(bytes, &self.bounds)?;
        let initiator = (signer.as_str().to_owned(), name);
        let entry = Entry::submitted(spec, initiator, bytes, now, self.processes.next_number())?;
        let offer = Offer::of(&entry);
        Ok((self.processes.insert(entry), offer))
    }

    /// Checks the request for work: its colony, and the type and name of the executor.
    pub(super) fn require_executor(
        &self,
        signer: &IdentityId,
        colony: &str,
        timeout: i64,
    ) -> Result<(String, String), Refusal> {
        self.require_approved_member(signer, colony)?;
        if timeout == 0 {
            return Err(Refusal::bad("Invalid timeout value, timeout cannot be zero"));
        }
        self.executor_by_id(signer.as_str())
            .map(|executor| (executor.executortype.clone(), executor.executorname.clone()))
            .ok_or_else(|| Refusal::internal("Failed to assign process, executor not found"))
    }

    /// Gives an executor the next process. It checks only that the executor exists: an executor that was removed
    /// while it waited still gets work, as on the real server.
    pub(super) fn assign(
        &mut self,
        signer: &IdentityId,
        colony: &str,
        kind: &str,
        name: &str,
        now: Moment,
    ) -> Result<Assignment, Refusal> {
        let id = signer.as_str();
        let key = self.executors_by_id.get(id).and_then(|keys| keys.first());
        let Some(executor) = key.and_then(|key| self.executors.get_mut(key)) else {
            return Err(Refusal::internal(format!("Executor with Id <{id}> could not be found")));
        };
        executor.lastheardfromtime = now.into();
        if self.paused.contains(colony) {
            return Ok(Assignment::Paused);
        }
        let taken = self
            .processes
            .next_for(colony, kind, name)
            .and_then(|number| self.processes.change(number, |entry| entry.assign(id, now)));
        Ok(taken.map_or(Assignment::Nothing, |snapshot| Assignment::Taken(Box::new(snapshot))))
    }

    /// Closes a process as successful.
    pub(super) fn close_successful(
        &mut self,
        signer: &IdentityId,
        mut request: CloseSuccessful,
        bytes: usize,
        now: Moment,
    ) -> Result<(), Refusal> {
        let number = self.closable(signer, &request.processid, "successful")?;
        request.out.iter_mut().for_each(super::quirks::numbers_as_doubles);
        let closed = self.processes.change(number, |entry| {
            if !request.out.is_empty() {
                entry.head.out = request.out;
                entry.bytes = entry.bytes.saturating_add(bytes);
            }
            match entry.head.state {
                ProcessState::Running | ProcessState::Success => {
                    entry.finish(ProcessState::Success, now);
                    Ok((std::sync::Arc::clone(&entry.spec), entry.head.submissiontime.0, entry.head.starttime.0))
                }
                ProcessState::Failed => Err("Tried to set failed process as successful"),
                ProcessState::Cancelled => Err("Tried to set cancelled process as successful"),
                ProcessState::Waiting => Err("Tried to set waiting process as successful without being running"),
            }
        });
        if let Some(closed) = closed {
            let (spec, submitted, started) = closed.map_err(Refusal::bad)?;
            let started = started.unwrap_or(now);
            let wait = started.since(submitted.unwrap_or(started)).as_secs_f64();
            self.count_call(signer, &spec, wait, now.since(started).as_secs_f64());
        }
        self.processes.evict(&self.bounds);
        Ok(())
    }

    /// Closes a process as failed, for good: it gets no retry.
    pub(super) fn close_failed(
        &mut self,
        signer: &IdentityId,
        request: CloseFailed,
        bytes: usize,
        now: Moment,
    ) -> Result<(), Refusal> {
        let number = self.closable(signer, &request.processid, "failed")?;
        self.fail(number, request.errors, bytes, now)
    }

    fn fail(&mut self, number: u64, errors: Vec<String>, bytes: usize, now: Moment) -> Result<(), Refusal> {
        let closed = self.processes.change(number, |entry| match entry.head.state {
            ProcessState::Waiting | ProcessState::Running => {
                entry.finish(ProcessState::Failed, now);
                entry.head.errors = errors;
                entry.bytes = entry.bytes.saturating_add(bytes);
                Ok(())
            }
            ProcessState::Success => Err("Tried to set successful process as failed"),
            ProcessState::Failed => Err("Tried to set failed process as failed"),
            ProcessState::Cancelled => Err("Tried to set cancelled process as failed"),
        });
        self.processes.evict(&self.bounds);
        closed.unwrap_or(Ok(())).map_err(Refusal::bad)
    }

    /// Finds the process, if the signer may close it.
    fn closable(&self, signer: &IdentityId, id: &str, verdict: &str) -> Result<u64, Refusal> {
        let failed = format!("Failed to close process as {verdict}");
        let (number, entry) = self.process(id).ok_or_else(|| Refusal::internal(format!("{failed}, process is nil")))?;
        self.require_approved_member(signer, entry.colony())?;
        let holder = entry.head.assignedexecutorid.as_str();
        if holder.is_empty() {
            Err(Refusal::forbidden(format!("{failed}, process is not assigned")))
        } else if holder == signer.as_str() {
            Ok(number)
        } else {
            Err(Refusal::forbidden(format!("{failed}, not allowed to close process as {verdict}")))
        }
    }

    /// Updates the figures of the function that the process ran.
    fn count_call(&mut self, signer: &IdentityId, spec: &FunctionSpec, wait: f64, run: f64) {
        let Some(executor) = self.executor_by_id(signer.as_str()) else { return };
        let key = super::members::scoped(&executor.colonyname, &executor.executorname);
        let least = |before: f64, new: f64| if before > 0.0 { before.min(new) } else { new };
        let mean = |before: f64, new: f64| if before > 0.0 { f64::midpoint(before, new) } else { new };
        let functions = self.functions.get_mut(&key).into_iter().flatten();
        for function in functions.filter(|function| function.funcname == spec.funcname) {
            function.counter += 1;
            function.minwaittime = least(function.minwaittime, wait);
            function.maxwaittime = function.maxwaittime.max(wait);
            function.avgwaittime = mean(function.avgwaittime, wait);
            function.minexectime = least(function.minexectime, run);
            function.maxexectime = function.maxexectime.max(run);
            function.avgexectime = mean(function.avgexectime, run);
        }
    }

    /// Cancels an open process.
    pub(super) fn cancel(&mut self, signer: &IdentityId, id: &str, now: Moment) -> Result<(), Refusal> {
        let found = self.process(id);
        let (number, entry) = found.ok_or_else(|| Refusal::internal("Failed to cancel process, process is nil"))?;
        self.require_approved_member(signer, entry.colony())?;
        let cancelled = self.processes.change(number, |entry| match entry.head.state {
            ProcessState::Waiting | ProcessState::Running => {
                entry.finish(ProcessState::Cancelled, now);
                Ok(())
            }
            ProcessState::Success => Err("Tried to cancel successful process"),
            ProcessState::Failed => Err("Tried to cancel failed process"),
            ProcessState::Cancelled => Err("Tried to cancel already cancelled process"),
        });
        self.processes.evict(&self.bounds);
        cancelled.unwrap_or(Ok(())).map_err(Refusal::bad)
    }

    /// One process.
    pub(super) fn get_process(&self, signer: &IdentityId, id: &str) -> Result<Snapshot, Refusal> {
        let found = self.process(id);
        let (_, entry) = found.ok_or_else(|| Refusal::new(404, "Failed to get process, process not found"))?;
        self.require_approved_member(signer, entry.colony())?;
        Ok(entry.snapshot())
    }

    /// Processes in a state. Like the real server, it uses only the first filter that is set: the type of executor,
    /// then the initiator, then the label.
    pub(super) fn get_processes(&self, signer: &IdentityId, request: &GetProcesses) -> Result<Vec<Snapshot>, Refusal> {
        let colony = &request.colonyname;
        self.require_approved_member(signer, colony)?;
        if request.count > PROCESSES_COUNT_MAX {
            return Err(Refusal::bad(format!("Count is larger than MaxCount limit <{PROCESSES_COUNT_MAX}>")));
        }
        let initiator = &request.initiator;
        if !initiator.is_empty() && !self.users_of(colony).any(|user| user.name == *initiator) {
            return Err(Refusal::bad(format!("User <{initiator}> does not exist")));
        }
        let count = usize::try_from(request.count).unwrap_or(usize::MAX);
        Ok(self.processes.list(colony, request.state, count, |entry| {
            if !request.executortype.is_empty() {
                entry.spec.conditions.executortype == request.executortype
            } else if !initiator.is_empty() {
                entry.head.initiatorname == *initiator
            } else {
                request.label.is_empty() || entry.spec.label == request.label
            }
        }))
    }

    /// Adds a line to the log of a process that the signer runs.
    pub(super) fn add_log(&mut self, signer: &IdentityId, request: AddLog, now: Moment) -> Result<(), Refusal> {
        let found = self.process(&request.processid);
        let (number, entry) = found.ok_or_else(|| Refusal::internal("Failed to add log, process is nil"))?;
        self.require_approved_member(signer, entry.colony())?;
        if entry.head.state != ProcessState::Running {
            return Err(Refusal::forbidden("Failed to set output, process is not running"));
        }
        if entry.head.assignedexecutorid != signer.as_str() {
            return Err(Refusal::forbidden(
                "Failed to add log, not allowed to add log, only the assigned Executor may att logs",
            ));
        }
        let name = self.executor_by_id(signer.as_str()).map_or_else(String::new, |found| found.executorname.clone());
        self.processes.change(number, |entry| {
            entry.bytes = entry.bytes.saturating_add(request.message.len());
            entry.log(&name, request.message, now);
        });
        Ok(())
    }

    /// Lines of a process's log after `since` nanoseconds, oldest first; with `latest`, the last lines.
    pub(super) fn get_logs(
        &self,
        signer: &IdentityId,
        id: &str,
        count: i64,
        since: i64,
        latest: bool,
    ) -> Result<Vec<LogLine>, Refusal> {
        let found = self.process(id);
        let (_, entry) = found.ok_or_else(|| Refusal::internal("Failed to get logs, process does not exist"))?;
        self.require_approved_member(signer, entry.colony())?;
        if count > LOG_COUNT_MAX {
            return Err(Refusal::forbidden(format!("Count exceeds max log count ({LOG_COUNT_MAX})")));
        }
        let count = usize::try_from(count).unwrap_or(0);
        let skipped = if latest { entry.logs.len().saturating_sub(count) } else { 0 };
        let lines = entry.logs.iter().skip(skipped).filter(|line| latest || line.timestamp > since);
        Ok(lines.take(count).cloned().collect())
    }

    /// Takes expired leases away, and fails processes that waited too long or have used up their retries: at most
    /// [`EXPIRED_AT_ONCE`] of each. Returns what became available, and whether more may be due.
    pub(super) fn expire(&mut self, now: Moment) -> (Vec<Offer>, bool) {
        let mut offers = Vec::new();
        let leases = self.processes.expired_leases(now, EXPIRED_AT_ONCE);
        let waits = self.processes.expired_waits(now, EXPIRED_AT_ONCE);
        let is_more = leases.len() == EXPIRED_AT_ONCE || waits.len() == EXPIRED_AT_ONCE;
        for number in leases {
            if self.processes.get(number).is_some_and(Entry::retries_are_spent) {
                self.time_out(number, "Maximum execution time limit exceeded", now);
            } else {
                offers.extend(self.processes.change(number, |entry| {
                    entry.expire(now);
                    Offer::of(entry)
                }));
            }
        }
        for number in waits {
            self.time_out(number, "Maximum waiting time limit exceeded", now);
        }
        (offers, is_more)
    }

    fn time_out(&mut self, number: u64, reason: &str, now: Moment) {
        // This is refused only for finished processes, and the index of open ends holds none of these.
        let _ = self.fail(number, vec![reason.to_owned()], 0, now);
    }

    fn process(&self, id: &str) -> Option<(u64, &Entry)> {
        let number = self.processes.find(id)?;
        self.processes.get(number).map(|entry| (number, entry))
    }
}
