//! The pause of dispatch while the ledger answers with errors that no rule knows, and who is suspected of causing them.
//!
//! One entry that meets such an error alone is a suspect: it waits, and pays no attempt for it. It is at fault itself when
//! it fails again although the ledger took other entries in between. A second suspect, with nothing taken since the first
//! one failed, means that the ledger is at fault: then everything pauses, and one entry now and then is a probe.
//!
//! Knows nothing of ledgers or inboxes. Shared by all who dispatch, and by the operator who ends a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::domain::backoff::Backoff;
use crate::domain::breaker::{Breaker, BreakerOpen, BreakerSettings, BreakerState, Permit};
use crate::domain::clock::Clock;
use crate::domain::ids::EntryId;

/// Waits between probes, and between attempts of one suspect.
const WAITS: Backoff = Backoff { first: Duration::from_secs(2), max: Duration::from_mins(5) };

/// Most suspects remembered. A forgotten one is suspected anew.
const SUSPECTS_MAX: usize = 1024;

#[derive(Clone, Debug)]
pub struct Pause {
    breaker: Breaker,
    inner: Arc<Mutex<Evidence>>,
    changes: Arc<watch::Sender<u64>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Evidence {
    last_success: Option<Instant>,
    successes: u64,
    suspects: HashMap<EntryId, Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// How many successes there were before its first failure.
    successes: u64,
    failures: u32,
}

/// What the failure of one entry, alone, means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It failed before, and the ledger took others in the meantime, so the entry itself is at fault.
    Guilty,
    /// It may be at fault. Try it again after this, with others in between.
    Suspect { again_after: Duration },
    /// Several entries fail, so the ledger is at fault.
    LedgerAtFault { again_after: Duration },
}

impl Pause {
    pub fn new(clock: Clock) -> Self {
        let settings = BreakerSettings { failures: 1, open: WAITS, probes: 1 };
        Self {
            breaker: Breaker::new(settings, clock.clone()),
            inner: Arc::default(),
            changes: Arc::new(watch::Sender::new(0)),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Evidence> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permission to work: on anything, or during a pause on one entry as a probe.
    pub fn admit(&self) -> Result<Permit, BreakerOpen> {
        self.breaker.admit()
    }

    /// Whether only probes are worked on.
    pub fn is_paused(&self) -> bool {
        self.breaker.state() != BreakerState::Closed
    }

    /// Notes that the ledger took something.
    pub fn succeeded(&self) {
        let mut inner = self.lock();
        inner.last_success = Some(self.clock.instant());
        inner.successes = inner.successes.wrapping_add(1);
    }

    /// When the ledger last took something.
    pub fn last_success(&self) -> Option<Instant> {
        self.lock().last_success
    }

    /// Clears entries that came to their end.
    pub fn acquit(&self, entries: impl IntoIterator<Item = EntryId>) {
        let mut inner = self.lock();
        if !inner.suspects.is_empty() {
            for entry in entries {
                inner.suspects.remove(&entry);
            }
        }
    }

    /// Judges an entry that failed alone.
    pub fn judge(&self, entry: EntryId) -> Judgement {
        let mut inner = self.lock();
        let successes = inner.successes;
        if inner.suspects.get(&entry).is_some_and(|suspect| suspect.successes != successes) {
            inner.suspects.remove(&entry);
            return Judgement::Guilty;
        }
        let others = inner.suspects.iter().any(|(other, suspect)| *other != entry && suspect.successes == successes);
        if inner.suspects.len() >= SUSPECTS_MAX && !inner.suspects.contains_key(&entry) {
            let oldest = inner.suspects.iter().min_by_key(|(_, suspect)| suspect.successes).map(|(oldest, _)| *oldest);
            oldest.map(|oldest| inner.suspects.remove(&oldest));
        }
        let suspect = inner.suspects.entry(entry).or_insert(Suspect { successes, failures: 0 });
        suspect.failures = suspect.failures.saturating_add(1);
        let again_after = WAITS.ceiling(suspect.failures);
        if others { Judgement::LedgerAtFault { again_after } } else { Judgement::Suspect { again_after } }
    }

    /// Sends a probe at once. Returns whether dispatch was paused.
    pub fn resume(&self) -> bool {
        let paused = self.is_paused();
        self.breaker.probe_now();
        self.notify();
        paused
    }

    /// The suspected entries.
    pub fn suspects(&self) -> Vec<EntryId> {
        self.lock().suspects.keys().copied().collect()
    }

    /// Tells waiting tasks that something changed.
    pub fn notify(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Reports every [`Pause::notify`] from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    fn pause() -> Pause {
        Pause::new(Clock::manual(Timestamp::from_seconds(1)))
    }

    #[test]
    fn one_entry_is_at_fault_when_others_pass_between_its_failures() {
        let pause = pause();
        assert!(matches!(pause.judge(EntryId(1)), Judgement::Suspect { .. }));
        assert!(matches!(pause.judge(EntryId(1)), Judgement::Suspect { .. }), "nothing else was tried");
        pause.succeeded();
        assert_eq!(pause.judge(EntryId(1)), Judgement::Guilty);
        assert!(matches!(pause.judge(EntryId(1)), Judgement::Suspect { .. }), "a new life");
    }

    #[test]
    fn two_entries_without_a_success_between_them_speak_against_the_ledger() {
        let pause = pause();
        pause.succeeded();
        assert!(matches!(pause.judge(EntryId(1)), Judgement::Suspect { .. }));
        assert!(matches!(pause.judge(EntryId(2)), Judgement::LedgerAtFault { .. }));
        assert!(matches!(pause.judge(EntryId(1)), Judgement::LedgerAtFault { .. }));
        pause.acquit([EntryId(1)]);
        assert_eq!(pause.suspects(), [EntryId(2)]);
    }

    #[test]
    fn waits_grow_up_to_five_minutes_and_memory_is_bounded() {
        let pause = pause();
        let waits: Vec<Judgement> = (0..12).map(|_| pause.judge(EntryId(0))).collect();
        let suspect = |seconds| Judgement::Suspect { again_after: Duration::from_secs(seconds) };
        assert_eq!((waits[0], waits[1], waits[11]), (suspect(2), suspect(4), suspect(300)));
        for entry in 0..2000 {
            pause.judge(EntryId(entry));
        }
        assert_eq!(pause.suspects().len(), SUSPECTS_MAX);
    }
}
