//! The processes in flight, in memory: how many there may be, how often each was asked about, and who has a say about
//! the bees when it ends. Which entries a process holds is the inbox's knowledge, not this one's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::breaker::Permit;
use crate::domain::ids::ProcessId;
use crate::job::completion::{Completed, JobResult};

/// How many completions are kept for unknown processes: a bee may be done before the submission is recorded.
const EARLY_MAX: usize = 256;

/// How many looks into the inbox must miss a process before its place is given away.
const MISSING_MAX: u32 = 2;

/// A place for one process in flight, free again when this is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

#[derive(Debug)]
pub(super) struct InFlight {
    slots: Arc<Semaphore>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    processes: HashMap<ProcessId, Process>,
    early: VecDeque<Completed>,
}

#[derive(Debug)]
struct Process {
    /// Released when the process is removed. There are several if a server gives several jobs one id.
    slots: Vec<Slot>,
    bees: Option<Permit>,
    asked: u32,
    missing: u32,
}

/// What the end of a process says about the bees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// They work.
    Good,
    /// They do not, for this reason.
    Bad(String),
    /// They, or the server, said something untrue.
    Lie(String),
    /// Nothing.
    Nothing,
}

impl InFlight {
    pub(super) fn new(processes_max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(processes_max.min(Semaphore::MAX_PERMITS)));
        Self { slots, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, if one is free.
    pub(super) fn try_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Waits for a free place, first come, first served. Always resolves to a place, because the semaphore is never closed.
    pub(super) async fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Notes a process that holds entries from now on. Returns its result if that arrived before.
    pub(super) fn enter(&self, process: ProcessId, slot: Slot, bees: Permit) -> Option<JobResult> {
        let mut known = self.lock();
        let place = known.early.iter().position(|completed| completed.process == process);
        let early = place.and_then(|place| known.early.remove(place)).map(|completed| completed.result);
        let mut slots = vec![slot];
        // One without a say is this same job, which a look found in the inbox before.
        if let Some(other) = known.processes.remove(&process).filter(|before| before.bees.is_some()) {
            slots.extend(other.slots);
        }
        known.processes.insert(process, Process { slots, bees: Some(bees), asked: 0, missing: 0 });
        early
    }

    /// Notes a process of an earlier run of the gateway. It gets a place if one is free. The bound holds again once such
    /// processes have ended.
    pub(super) fn resume(&self, process: ProcessId) {
        let slots = self.try_slot().into_iter().collect();
        self.lock().processes.entry(process).or_insert(Process { slots, bees: None, asked: 0, missing: 0 });
    }

    /// Returns the completion of a process in flight; keeps it for later if the process is unknown.
    pub(super) fn told(&self, completed: Completed) -> Option<Completed> {
        let mut known = self.lock();
        if known.processes.contains_key(&completed.process) {
            return Some(completed);
        }
        if known.early.len() >= EARLY_MAX {
            known.early.pop_front();
        }
        known.early.push_back(completed);
        None
    }

    /// Counts a question about a process, and returns how many there were.
    pub(super) fn asked(&self, process: &ProcessId) -> u32 {
        self.lock().processes.get_mut(process).map_or(1, |process| {
            process.asked = process.asked.saturating_add(1);
            process.asked
        })
    }

    /// Forgets a process that holds no entries any more.
    pub(super) fn end(&self, process: &ProcessId, say: &Say) {
        let process = self.lock().processes.remove(process);
        match (process.and_then(|process| process.bees), say) {
            (Some(permit), Say::Good) => permit.succeed(),
            (Some(permit), Say::Bad(_) | Say::Lie(_)) => permit.fail(),
            (Some(_) | None, Say::Nothing) | (None, Say::Good | Say::Bad(_) | Say::Lie(_)) => {}
        }
    }

    /// Forgets processes that two looks in a row did not find in the inbox (one look may have been too early).
    pub(super) fn keep(&self, known: &HashSet<&ProcessId>) {
        self.lock().processes.retain(|id, process| {
            process.missing = if known.contains(id) { 0 } else { process.missing + 1 };
            process.missing < MISSING_MAX
        });
    }

    pub(super) fn len(&self) -> usize {
        self.lock().processes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backoff::Backoff;
    use crate::domain::breaker::{Breaker, BreakerSettings, BreakerState};
    use crate::domain::clock::Clock;
    use std::time::Duration;

    fn breaker() -> Breaker {
        let open = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(1) };
        Breaker::new(
            BreakerSettings { failures: 1, open, probes: 1 },
            Clock::manual(crate::domain::clock::Timestamp::default()),
        )
    }

    fn process(name: &str) -> ProcessId {
        ProcessId::new(name)
    }

    fn completed(name: &str) -> Completed {
        Completed { process: process(name), result: JobResult::default() }
    }

    #[test]
    fn a_place_is_taken_until_its_process_ends() {
        let (flights, breaker) = (InFlight::new(1), breaker());
        let slot = flights.try_slot().unwrap();
        assert!(flights.try_slot().is_none());
        flights.enter(process("a"), slot, breaker.admit().unwrap());
        flights.resume(process("old"));
        assert_eq!(flights.len(), 2);
        flights.end(&process("a"), &Say::Bad(String::new()));
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(flights.try_slot().is_some());
    }

    #[test]
    fn a_server_that_gives_two_jobs_one_id_gains_no_place() {
        let (flights, breaker) = (InFlight::new(3), breaker());
        flights.resume(process("a"));
        for _ in 0..2 {
            flights.enter(process("a"), flights.try_slot().unwrap(), breaker.admit().unwrap());
        }
        assert!(flights.try_slot().is_some(), "the one that a look took for it is free again");
        let last = flights.try_slot().unwrap();
        assert!(flights.try_slot().is_none(), "both jobs hold a place");
        drop(last);
        flights.end(&process("a"), &Say::Nothing);
        assert_eq!(flights.slots.available_permits(), 3);
    }

    #[test]
    fn a_result_that_comes_before_its_process_is_known_is_not_lost_and_memory_is_bounded() {
        let (flights, breaker) = (InFlight::new(1), breaker());
        assert!(flights.told(completed("a")).is_none());
        let slot = flights.try_slot().unwrap();
        assert!(flights.enter(process("a"), slot, breaker.admit().unwrap()).is_some());
        assert!(flights.told(completed("a")).is_some());
        for number in 0..=EARLY_MAX {
            flights.told(completed(&number.to_string()));
        }
        assert_eq!(flights.lock().early.len(), EARLY_MAX);
        assert_eq!(flights.lock().early[0].process, process("1"));
    }

    #[test]
    fn a_process_that_the_inbox_forgot_gives_its_place_back_after_two_looks() {
        let (flights, breaker) = (InFlight::new(1), breaker());
        flights.enter(process("a"), flights.try_slot().unwrap(), breaker.admit().unwrap());
        flights.keep(&HashSet::new());
        flights.keep(&HashSet::from([&process("a")]));
        flights.keep(&HashSet::new());
        assert_eq!(flights.len(), 1);
        flights.keep(&HashSet::new());
        assert!(flights.try_slot().is_some());
    }

    #[test]
    fn questions_are_counted_per_process() {
        let flights = InFlight::new(1);
        flights.resume(process("a"));
        assert_eq!(
            [flights.asked(&process("a")), flights.asked(&process("a")), flights.asked(&process("b"))],
            [1, 2, 1]
        );
    }
}
