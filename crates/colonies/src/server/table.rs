//! The processes of the embedded server with their indexes: by state, by queue, by end of lease, by end of waiting.
//!
//! Guarantees: taking the next process, closing one and finding expired ones cost the logarithm of how many there are.
//! Every change of a process goes through [`Table::change`], which takes it out of the indexes and puts it back, so
//! that they cannot disagree with it. Open processes are bounded by refusal, finished ones by forgetting the oldest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::Bounds;
use super::process::{Entry, Place, Snapshot};
use super::refusal::Refusal;
use crate::Moment;
use crate::messages::ProcessState;

/// An ordered index of process numbers.
type Index = BTreeMap<Place, u64>;

const STATES: usize = 5;

/// All processes.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<u64, Entry>,
    numbers: HashMap<String, u64>,
    colonies: HashMap<String, ColonyIndex>,
    /// The second in which each lease ends, and its process.
    leases: BTreeSet<(i64, u64)>,
    /// The second in which each wait ends, and its process.
    waits: BTreeSet<(i64, u64)>,
    /// Finished processes in the order in which they ended.
    finished: BTreeMap<u64, u64>,
    open_bytes: usize,
    finished_bytes: usize,
    next_number: u64,
    next_event: u64,
}

#[derive(Debug, Default)]
struct ColonyIndex {
    states: [Index; STATES],
    queues: HashMap<String, Queue>,
}

/// Waiting processes for one type of executor.
#[derive(Debug, Default)]
struct Queue {
    anybody: Index,
    named: HashMap<String, Index>,
}

fn slot(state: ProcessState) -> usize {
    match state {
        ProcessState::Waiting => 0,
        ProcessState::Running => 1,
        ProcessState::Success => 2,
        ProcessState::Failed => 3,
        ProcessState::Cancelled => 4,
    }
}

impl Table {
    /// The number that the next process gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Checks that another open process of `bytes` fits.
    pub(super) fn admits(&self, bytes: usize, bounds: &Bounds) -> Result<(), Refusal> {
        if self.entries.len() - self.finished.len() >= bounds.open_processes_max {
            return Err(Refusal::bound("open processes", bounds.open_processes_max));
        }
        if self.open_bytes.saturating_add(bytes) > bounds.open_bytes_max {
            return Err(Refusal::bound("bytes of open processes", bounds.open_bytes_max));
        }
        Ok(())
    }

    /// Adds a process.
    pub(super) fn insert(&mut self, entry: Entry) -> Snapshot {
        let number = self.next_number;
        self.next_number += 1;
        let snapshot = entry.snapshot();
        self.numbers.insert(entry.head.processid.clone(), number);
        self.index(number, entry);
        snapshot
    }

    /// The number of the process with this id.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.numbers.get(id).copied()
    }

    /// The process with this number.
    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// Changes a process. Does nothing if it is gone.
    pub(super) fn change<T>(&mut self, number: u64, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut entry = self.unindex(number)?;
        let result = change(&mut entry);
        self.index(number, entry);
        Some(result)
    }

    /// Forgets a process.
    pub(super) fn remove(&mut self, number: u64) {
        if let Some(entry) = self.unindex(number) {
            self.numbers.remove(&entry.head.processid);
        }
    }

    /// Forgets every process of a colony.
    pub(super) fn remove_colony(&mut self, colony: &str) {
        let numbers: Vec<u64> = self
            .colonies
            .get(colony)
            .map(|index| index.states.iter().flat_map(BTreeMap::values).copied().collect())
            .unwrap_or_default();
        for number in numbers {
            self.remove(number);
        }
    }

    /// The process that an executor gets next, of those that name it and those for any executor: the one with the
    /// highest priority, and among equals the oldest.
    pub(super) fn next_for(&self, colony: &str, kind: &str, executor: &str) -> Option<u64> {
        let queue = self.colonies.get(colony)?.queues.get(kind)?;
        let named = queue.named.get(executor).and_then(Index::first_key_value);
        let anybody = queue.anybody.first_key_value();
        named.into_iter().chain(anybody).min_by_key(|(place, _)| **place).map(|(_, number)| *number)
    }

    /// At most `count` processes whose lease ended before the second of `now`.
    pub(super) fn expired_leases(&self, now: Moment, count: usize) -> Vec<u64> {
        ended(&self.leases, now, count)
    }

    /// At most `count` processes whose wait ended before the second of `now`. The real server looks only at the
    /// first 1000 waiting ones.
    pub(super) fn expired_waits(&self, now: Moment, count: usize) -> Vec<u64> {
        ended(&self.waits, now, count)
    }

    /// Running processes of an executor.
    pub(super) fn running_of(&self, colony: &str, executor: &str) -> Vec<u64> {
        let Some(index) = self.colonies.get(colony) else { return Vec::new() };
        let running = index.states[slot(ProcessState::Running)].values();
        running
            .filter(|number| self.entries.get(number).is_some_and(|entry| entry.head.assignedexecutorid == executor))
            .copied()
            .collect()
    }

    /// How many processes of a colony are in a state.
    pub(super) fn count(&self, colony: &str, state: ProcessState) -> usize {
        self.colonies.get(colony).map_or(0, |index| index.states[slot(state)].len())
    }

    /// At most `count` processes of a colony in a state: waiting ones by priority, running ones by their start,
    /// finished ones with the latest first.
    pub(super) fn list(
        &self,
        colony: &str,
        state: ProcessState,
        count: usize,
        matches: impl Fn(&Entry) -> bool,
    ) -> Vec<Snapshot> {
        let Some(index) = self.colonies.get(colony) else { return Vec::new() };
        let places = &index.states[slot(state)];
        let pick = |numbers: &mut dyn Iterator<Item = &u64>| {
            let entries = numbers.filter_map(|number| self.entries.get(number));
            entries.filter(|entry| matches(entry)).take(count).map(Entry::snapshot).collect()
        };
        if state.is_final() { pick(&mut places.values().rev()) } else { pick(&mut places.values()) }
    }

    /// Forgets the finished processes beyond the bounds, starting with those that finished first.
    pub(super) fn evict(&mut self, bounds: &Bounds) {
        while self.finished.len() > bounds.finished_processes_max || self.finished_bytes > bounds.finished_bytes_max {
            let Some((_, number)) = self.finished.first_key_value() else { break };
            self.remove(*number);
        }
    }

    fn index(&mut self, number: u64, mut entry: Entry) {
        self.next_event += 1;
        let state = entry.head.state;
        let millis = |time: crate::messages::WireTime| time.0.map_or(0, Moment::millis);
        entry.place = match state {
            ProcessState::Waiting => (entry.head.prioritytime, number),
            ProcessState::Running => (millis(entry.head.starttime), self.next_event),
            ProcessState::Success | ProcessState::Failed | ProcessState::Cancelled => {
                (millis(entry.head.endtime), self.next_event)
            }
        };
        let colony = self.colonies.entry(entry.colony().to_owned()).or_default();
        colony.states[slot(state)].insert(entry.place, number);
        if entry.is_offered() {
            let queue = colony.queues.entry(entry.spec.conditions.executortype.clone()).or_default();
            if entry.names().is_empty() {
                queue.anybody.insert(entry.place, number);
            }
            for name in entry.names() {
                queue.named.entry(name.clone()).or_default().insert(entry.place, number);
            }
        }
        if let Some(second) = entry.lease_second() {
            self.leases.insert((second, number));
        }
        if let Some(second) = entry.wait_second() {
            self.waits.insert((second, number));
        }
        if state.is_final() {
            self.finished.insert(entry.place.1, number);
            self.finished_bytes += entry.bytes;
        } else {
            self.open_bytes += entry.bytes;
        }
        self.entries.insert(number, entry);
    }

    fn unindex(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        if let Some(colony) = self.colonies.get_mut(entry.colony()) {
            colony.states[slot(entry.head.state)].remove(&entry.place);
            colony.leave_queue(&entry);
            if colony.states.iter().all(BTreeMap::is_empty) {
                self.colonies.remove(entry.colony());
            }
        }
        if let Some(second) = entry.lease_second() {
            self.leases.remove(&(second, number));
        }
        if let Some(second) = entry.wait_second() {
            self.waits.remove(&(second, number));
        }
        if entry.head.state.is_final() {
            self.finished.remove(&entry.place.1);
            self.finished_bytes -= entry.bytes;
        } else {
            self.open_bytes -= entry.bytes;
        }
        Some(entry)
    }
}

impl ColonyIndex {
    fn leave_queue(&mut self, entry: &Entry) {
        let kind = &entry.spec.conditions.executortype;
        let Some(queue) = self.queues.get_mut(kind).filter(|_| entry.is_offered()) else { return };
        queue.anybody.remove(&entry.place);
        for name in entry.names() {
            if let Some(index) = queue.named.get_mut(name) {
                index.remove(&entry.place);
                if index.is_empty() {
                    queue.named.remove(name);
                }
            }
        }
        if queue.anybody.is_empty() && queue.named.is_empty() {
            self.queues.remove(kind);
        }
    }
}

fn ended(ends: &BTreeSet<(i64, u64)>, now: Moment, count: usize) -> Vec<u64> {
    // Compares seconds, as the real server does: a time within the current second is not over yet.
    let over = ends.range((Bound::Unbounded, Bound::Excluded((now.seconds(), 0))));
    over.map(|(_, number)| *number).take(count).collect()
}

#[cfg(test)]
mod tests;
