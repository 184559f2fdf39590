//! What a colony said that is not believed: entries that go the direct route because of it, and the bees that said it.
//!
//! Kept in memory and bounded: no promise rests on it, since no entry ends by a colony's word, remembered or not. What a restart or
//! the bound forgets may go through the colony once more and is doubted once more. It cannot do so without end: an entry as old
//! as `colony.fallback_after` takes the direct route in any life of the gateway, by the time at which it was received. One that only
//! a bee may be able to look up has no other way, and costs a round a start.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::ids::EntryId;
use crate::telemetry::metrics::Metrics;

/// Most entries that are remembered. Beyond them only the breaker keeps entries from the colony.
const ENTRIES_MAX: usize = 16_384;

/// Longest name of an executor in a log line or a label, in bytes: the length of an id.
const EXECUTOR_BYTES_MAX: usize = 64;

/// Doubts of one gateway. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Doubts {
    entries: Arc<Mutex<HashSet<EntryId>>>,
    metrics: Arc<Metrics>,
}

impl Doubts {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { entries: Arc::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the entry by the direct route next time.
    pub(super) fn send_direct(&self, entry: EntryId) {
        let mut entries = self.lock();
        if entries.len() < ENTRIES_MAX {
            entries.insert(entry);
        }
    }

    /// Whether the entry should go the direct route. Answering forgets it.
    pub(super) fn take(&self, entry: EntryId) -> bool {
        self.lock().remove(&entry)
    }

    /// Forgets entries that took the direct route anyway, so that they do not keep the room of others for ever.
    pub(super) fn forget(&self, gone: impl IntoIterator<Item = EntryId>) {
        let mut entries = self.lock();
        if !entries.is_empty() {
            for entry in gone {
                entries.remove(&entry);
            }
        }
    }

    /// Suspects an executor that said something untrue, or refused jobs that others run.
    pub(super) fn suspect(&self, executor: &str) {
        self.metrics.suspect_bees.of(&name_of(executor)).set(1.0);
    }

    /// Clears an executor that did what it said.
    pub(super) fn clear(&self, executor: &str) {
        self.metrics.suspect_bees.of(&name_of(executor)).set(0.0);
    }
}

/// The id of an executor in a form that is safe to show: a server may call it anything.
pub(super) fn name_of(executor: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let name: String = executor.chars().filter(plain).take(EXECUTOR_BYTES_MAX).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubted_entry_goes_direct_once_and_their_number_is_bounded() {
        let doubts = Doubts::new(Metrics::new());
        for entry in 0..=ENTRIES_MAX {
            doubts.send_direct(EntryId(i64::try_from(entry).unwrap()));
        }
        assert!(doubts.clone().take(EntryId(0)));
        assert!(!doubts.take(EntryId(0)));
        assert!(!doubts.take(EntryId(i64::try_from(ENTRIES_MAX).unwrap())), "one too many");
    }

    #[test]
    fn entries_that_went_direct_make_room_for_others() {
        let doubts = Doubts::new(Metrics::new());
        let entries = || (0..ENTRIES_MAX).map(|entry| EntryId(i64::try_from(entry).unwrap()));
        entries().for_each(|entry| doubts.send_direct(entry));
        doubts.forget(entries());
        doubts.send_direct(EntryId(-1));
        assert!(doubts.take(EntryId(-1)));
    }

    #[test]
    fn the_name_of_an_executor_is_short_and_plain_whatever_the_server_says() {
        assert_eq!(name_of("0af3"), "0af3");
        assert_eq!(name_of("a\nb\u{1b}[31m\"c"), "ab31mc");
        assert_eq!(name_of(&"f".repeat(1000)).len(), EXECUTOR_BYTES_MAX);
        assert_eq!(name_of("\u{e9}"), "unknown");
    }
}
