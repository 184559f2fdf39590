//! Remembers which process of the colony each nonce came with, so that an attestation lifted from one job does not
//! vouch for another. The same process may come again: its lease was lost.
//!
//! Bounded: beyond its capacity the oldest nonce is forgotten and counted, and what is replayed after that is left to
//! the ledger, which knows every event that was applied.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;

use sha2::{Digest as _, Sha256};

use super::key::NONCE_BYTES;
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProcessId;

type Nonce = [u8; NONCE_BYTES];

#[derive(Debug)]
pub(super) struct ReplayGuard {
    capacity: usize,
    /// SHA-256 of the process's id, because ids come from the server and may be of any length.
    processes: HashMap<Nonce, [u8; 32]>,
    /// The nonces in the order of their arrival, with the time after which they are too old anyway.
    order: VecDeque<(Timestamp, Nonce)>,
    forgotten: u64,
}

impl ReplayGuard {
    pub(super) fn new(capacity: NonZeroUsize) -> Self {
        Self { capacity: capacity.get(), processes: HashMap::new(), order: VecDeque::new(), forgotten: 0 }
    }

    /// Whether the nonce is new, or comes with the same process as before.
    pub(super) fn admit(&mut self, nonce: Nonce, process: &ProcessId, expires: Timestamp, now: Timestamp) -> bool {
        let process = Sha256::digest(process.as_str().as_bytes()).into();
        if let Some(known) = self.processes.get(&nonce) {
            return *known == process;
        }
        while let Some((expiry, oldest)) = self.order.front().copied() {
            let full = self.order.len() >= self.capacity;
            if expiry >= now && !full {
                break;
            }
            self.forgotten += u64::from(expiry >= now);
            self.order.pop_front();
            self.processes.remove(&oldest);
        }
        self.processes.insert(nonce, process);
        self.order.push_back((expires, nonce));
        true
    }

    /// How many nonces were forgotten before their time, for lack of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1000);
    const LATER: Timestamp = Timestamp::from_seconds(2000);

    fn guard(capacity: usize) -> ReplayGuard {
        ReplayGuard::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn process(name: &str) -> ProcessId {
        ProcessId::new(name)
    }

    #[test]
    fn a_nonce_stays_with_its_process() {
        let mut guard = guard(10);
        assert!(guard.admit([1; 16], &process("a"), LATER, NOW));
        assert!(guard.admit([1; 16], &process("a"), LATER, NOW), "the same process, after a lost lease");
        assert!(!guard.admit([1; 16], &process("b"), LATER, NOW));
        assert!(guard.admit([2; 16], &process("b"), LATER, NOW));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_for_it_is_counted() {
        let mut guard = guard(3);
        for nonce in 0..100 {
            assert!(guard.admit([nonce; 16], &process("a"), LATER, NOW));
            assert!(guard.processes.len() <= 3 && guard.order.len() <= 3);
        }
        assert_eq!(guard.forgotten(), 97);
        assert!(!guard.admit([99; 16], &process("b"), LATER, NOW));
    }

    #[test]
    fn nonces_that_are_too_old_anyway_make_room() {
        let mut guard = guard(3);
        for nonce in 0..3 {
            guard.admit([nonce; 16], &process("a"), NOW, NOW);
        }
        guard.admit([9; 16], &process("a"), LATER, NOW.plus(std::time::Duration::from_secs(1)));
        assert_eq!((guard.processes.len(), guard.forgotten()), (1, 0));
    }
}
