//! The state of each bee of this process, for health, metrics and the console. Reading changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::domain::clock::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BeeReport {
    /// Its name in the colony.
    pub name: String,
    /// `starting`, `waiting`, `idle`, `working`, `paused` or `failing`.
    pub state: &'static str,
    /// The reason why it cannot work, if any.
    pub detail: Option<String>,
    /// When it entered this state.
    pub since: Timestamp,
}

/// The bees of a process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Mutex<Vec<BeeReport>>>);

impl Roster {
    /// Bees with these names that have not begun.
    pub fn new(names: impl IntoIterator<Item = String>, now: Timestamp) -> Self {
        let bee = |name| BeeReport { name, state: "starting", detail: None, since: now };
        Self(Arc::new(Mutex::new(names.into_iter().map(bee).collect())))
    }

    /// Records the state of the bee with this number.
    pub fn set(&self, bee: usize, state: &'static str, detail: Option<&str>, now: Timestamp) {
        let mut bees = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = bees.get_mut(bee) {
            report.since = if report.state == state { report.since } else { now };
            report.state = state;
            report.detail = detail.map(str::to_owned);
        }
    }

    pub fn read(&self) -> Vec<BeeReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_time_since_when_it_holds() {
        let at = Timestamp::from_seconds;
        let roster = Roster::new(["hive-1".to_owned()], at(1));
        roster.clone().set(0, "failing", Some("no answer"), at(2));
        roster.set(0, "failing", Some("still none"), at(3));
        roster.set(7, "idle", None, at(3));
        let bees = roster.read();
        assert_eq!((bees.len(), bees[0].since, bees[0].detail.as_deref()), (1, at(2), Some("still none")));
    }
}
