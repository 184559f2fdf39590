//! One process as the embedded server keeps it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha3::{Digest, Sha3_256};

use super::quirks;
use super::refusal::Refusal;
use crate::Moment;
use crate::messages::{Attribute, FunctionSpec, Process, ProcessState, WireTime};

/// Most lines in the log of one process. The oldest go first.
pub(super) const LOG_LINES_MAX: usize = 1000;

/// How many nanoseconds of waiting one step of priority is worth: a day.
const PRIORITY_STEP_NANOS: i64 = 86_400 * 1_000_000_000;

/// `attributetype` of an environment variable.
const ENVIRONMENT: i64 = 3;

/// Most machines or processes that the real server's scheduler offers.
const MACHINES_MAX: i64 = 127;

/// A place in an ordered index: the order, then a tie-breaker.
pub(super) type Place = (i64, u64);

/// A line of a process's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LogLine {
    pub(super) processid: String,
    pub(super) colonyname: String,
    pub(super) executorname: String,
    pub(super) message: String,
    /// Nanoseconds since 1970.
    pub(super) timestamp: i64,
}

/// A process. `head` is everything except the spec, which is large and never changes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Process,
    pub(super) spec: Arc<FunctionSpec>,
    /// Its place in the index of its state. Only the table sets it.
    pub(super) place: Place,
    /// How many bytes it counts for.
    pub(super) bytes: usize,
    pub(super) logs: VecDeque<LogLine>,
    /// Whether any executor can ever get it.
    assignable: bool,
}

impl Entry {
    /// Makes a process from a submitted job: numbers become doubles, resources are normalised, and the environment
    /// becomes attributes.
    pub(super) fn submitted(
        mut spec: FunctionSpec,
        initiator: (String, String),
        bytes: usize,
        now: Moment,
        number: u64,
    ) -> Result<Self, Refusal> {
        let assignable = normalise(&mut spec)?;
        let processid = random_id();
        let attributes = spec.env.iter().map(|(key, value)| environment(&processid, &spec, key, value)).collect();
        // The clock counts milliseconds. The number keeps processes of the same millisecond in their order.
        let nanos = now.millis().saturating_mul(1_000_000).saturating_add_unsigned(number % 1_000_000);
        let head = Process {
            initiatorid: initiator.0,
            initiatorname: initiator.1,
            prioritytime: nanos.saturating_sub(spec.priority.saturating_mul(PRIORITY_STEP_NANOS)),
            submissiontime: now.into(),
            waitdeadline: wait_deadline(&spec, now),
            attributes,
            processid,
            ..Process::default()
        };
        Ok(Self { head, spec: Arc::new(spec), place: Place::default(), bytes, logs: VecDeque::new(), assignable })
    }

    /// A copy for an answer.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { head: self.head.clone(), spec: Arc::clone(&self.spec) }
    }

    pub(super) fn colony(&self) -> &str {
        &self.spec.conditions.colonyname
    }

    /// Whether it belongs in a queue that executors take from.
    pub(super) fn is_offered(&self) -> bool {
        self.head.state == ProcessState::Waiting && self.assignable
    }

    /// The executors that it names; none for any executor of its type.
    pub(super) fn names(&self) -> &[String] {
        self.spec.conditions.executornames.as_deref().unwrap_or_default()
    }

    /// The second after which its lease is lost; `None` if it is not running or its lease has no end. A
    /// `maxexectime` of 0 never set a deadline, so the next check takes the lease, as on the real server.
    pub(super) fn lease_second(&self) -> Option<i64> {
        (self.head.state == ProcessState::Running && self.spec.maxexectime != -1)
            .then(|| self.head.execdeadline.0.map_or(i64::MIN, Moment::seconds))
    }

    /// The second after which it fails unless an executor takes it; `None` if it is not waiting or may wait for
    /// ever.
    pub(super) fn wait_second(&self) -> Option<i64> {
        (self.head.state == ProcessState::Waiting && !matches!(self.spec.maxwaittime, -1 | 0))
            .then(|| self.head.waitdeadline.0.map_or(i64::MIN, Moment::seconds))
    }

    /// Whether the lease that expires now was the last one.
    pub(super) fn retries_are_spent(&self) -> bool {
        self.spec.maxretries > -1 && self.head.retries >= self.spec.maxretries
    }

    /// Gives an executor the lease. Returns the same answer as the real server: the process as it was before, so
    /// with the deadline of the previous lease. The first lease returns no deadline.
    pub(super) fn assign(&mut self, executor: &str, now: Moment) -> Snapshot {
        let mut answer = self.snapshot();
        for head in [&mut answer.head, &mut self.head] {
            head.isassigned = true;
            executor.clone_into(&mut head.assignedexecutorid);
            head.state = ProcessState::Running;
            head.starttime = now.into();
        }
        if let Some(lease) = seconds(self.spec.maxexectime) {
            self.head.execdeadline = now.plus(lease).into();
        }
        self.mark_attributes(ProcessState::Running);
        answer
    }

    /// Takes an expired lease away: the process waits again, with one more retry counted.
    pub(super) fn expire(&mut self, now: Moment) {
        self.head.state = ProcessState::Waiting;
        self.head.isassigned = false;
        self.head.assignedexecutorid.clear();
        self.head.retries += 1;
        self.head.endtime = now.into();
        if self.spec.maxwaittime > 0 {
            self.head.waitdeadline = wait_deadline(&self.spec, now);
        }
        self.mark_attributes(ProcessState::Waiting);
    }

    /// Takes the lease of a removed executor away. It counts no retry.
    pub(super) fn reset(&mut self) {
        self.head.state = ProcessState::Waiting;
        self.head.isassigned = false;
        self.head.assignedexecutorid.clear();
        self.head.starttime = WireTime::default();
        self.head.endtime = WireTime::default();
    }

    /// Ends the process. It stays assigned to the executor that had it.
    pub(super) fn finish(&mut self, state: ProcessState, now: Moment) {
        self.head.state = state;
        self.head.endtime = now.into();
        self.mark_attributes(state);
    }

    /// Adds a line to the log and drops the oldest beyond the bound.
    pub(super) fn log(&mut self, executor: &str, message: String, now: Moment) {
        if self.logs.len() == LOG_LINES_MAX {
            self.logs.pop_front();
        }
        self.logs.push_back(LogLine {
            processid: self.head.processid.clone(),
            colonyname: self.colony().to_owned(),
            executorname: executor.to_owned(),
            message,
            timestamp: now.millis().saturating_mul(1_000_000),
        });
    }

    fn mark_attributes(&mut self, state: ProcessState) {
        for attribute in &mut self.head.attributes {
            attribute.state = state;
        }
    }
}

/// A process at one moment. It is cheap to take under the lock: the spec is copied only when it becomes an answer.
#[derive(Debug)]
pub(super) struct Snapshot {
    head: Process,
    spec: Arc<FunctionSpec>,
}

impl From<Snapshot> for Process {
    fn from(snapshot: Snapshot) -> Self {
        Self { spec: Arc::unwrap_or_clone(snapshot.spec), ..snapshot.head }
    }
}

/// A new id of 64 hex digits. It is not a secret: members of a colony see all its processes.
pub(super) fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    fastrand::fill(&mut bytes);
    hex::encode(bytes)
}

fn environment(process: &str, spec: &FunctionSpec, key: &str, value: &str) -> Attribute {
    let id = Sha3_256::digest(format!("{process}{key}{ENVIRONMENT}").as_bytes());
    Attribute {
        attributeid: hex::encode(id),
        targetid: process.to_owned(),
        targetcolonyname: spec.conditions.colonyname.clone(),
        targetprocessgraphid: String::new(),
        state: ProcessState::Waiting,
        attributetype: ENVIRONMENT,
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn wait_deadline(spec: &FunctionSpec, now: Moment) -> WireTime {
    WireTime(seconds(spec.maxwaittime).map(|wait| now.plus(wait)))
}

/// A time span of a spec; `None` for -1 and 0, which set no end.
fn seconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// Brings a spec into the form in which the real server returns it. Tells whether that server's scheduler would
/// ever offer the process: disk is never on offer, and a lone `*` is kept as a name that no executor has, though
/// answers show it as none.
fn normalise(spec: &mut FunctionSpec) -> Result<bool, Refusal> {
    spec.args.iter_mut().for_each(quirks::numbers_as_doubles);
    spec.kwargs.values_mut().for_each(quirks::numbers_as_doubles);
    let wanted = &mut spec.conditions;
    let storage = quirks::memory(&wanted.storage).map_err(Refusal::bad)?;
    wanted.cpu = format!("{}m", quirks::cpu(&wanted.cpu).map_err(Refusal::bad)?);
    wanted.mem = quirks::memory_text(quirks::memory(&wanted.mem).map_err(Refusal::bad)?);
    wanted.storage = quirks::memory_text(storage);
    wanted.gpu.mem = quirks::memory_text(quirks::memory(&wanted.gpu.mem).map_err(Refusal::bad)?);
    let anybody = match wanted.executornames.as_deref() {
        Some([only]) if only == "*" => {
            wanted.executornames = Some(Vec::new());
            false
        }
        Some(_) | None => true,
    };
    let machines = wanted.nodes.max(wanted.processes).max(wanted.processespernode);
    Ok(anybody && storage <= 0 && machines <= MACHINES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_seconds(1_770_000_000);

    fn submitted(spec: FunctionSpec) -> Entry {
        Entry::submitted(spec, (String::new(), String::new()), 0, NOW, 0).unwrap()
    }

    #[test]
    fn a_log_keeps_its_last_lines() {
        let mut entry = submitted(FunctionSpec::default());
        for number in 0..LOG_LINES_MAX + 2 {
            entry.log("bee", number.to_string(), NOW);
        }
        assert_eq!(entry.logs.len(), LOG_LINES_MAX);
        assert_eq!(entry.logs.front().map(|line| line.message.as_str()), Some("2"));
    }

    #[test]
    fn times_at_the_ends_of_their_range_do_no_harm() {
        for time in [i64::MIN, -2, 0, i64::MAX] {
            let spec = FunctionSpec { maxexectime: time, maxwaittime: time, priority: time, ..FunctionSpec::default() };
            let mut entry = submitted(spec);
            entry.assign("bee", NOW);
            assert_eq!(entry.lease_second().is_some_and(|second| second < NOW.seconds()), time <= 0);
            entry.expire(NOW);
            assert_eq!(entry.head.retries, 1);
        }
    }

    #[test]
    fn processes_of_one_millisecond_keep_their_order() {
        let of = |number| Entry::submitted(FunctionSpec::default(), Default::default(), 0, NOW, number).unwrap();
        assert!(of(1).head.prioritytime < of(2).head.prioritytime);
    }
}
