//! The board on which each component writes how it is, and from which `/health` reads. Reading changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::domain::clock::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// It works partly, or waits for something outside. Webhooks are still accepted.
    Degraded,
    Down,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// The last report of a component.
#[derive(Clone, Debug, Serialize)]
pub struct Component {
    pub status: Level,
    /// For people; without secrets or customer data.
    pub detail: String,
    /// Since when it has this status.
    pub since: Timestamp,
}

/// Shared board. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Component>>>);

impl Board {
    /// Reports the state of a component. Returns whether its status changed, which deserves a log line.
    pub fn set(&self, name: &'static str, status: Level, detail: impl Into<String>, now: Timestamp) -> bool {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = board.get(name).map(|component| (component.status, component.since));
        let changed = before.is_none_or(|(level, _)| level != status);
        let since = before.filter(|_| !changed).map_or(now, |(_, since)| since);
        board.insert(name, Component { status, detail: detail.into(), since });
        changed
    }

    /// As [`Self::set`], for a part that yields to others: it writes only if the board still has its last report, or none.
    /// Returns whether it did.
    pub fn follow(&self, name: &'static str, said: Option<&str>, now: (Level, &str), at: Timestamp) -> bool {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = board.get(name);
        if before.is_some_and(|component| said != Some(&component.detail)) {
            return false;
        }
        let (status, detail) = (now.0, now.1.to_owned());
        let since = before.filter(|component| component.status == status).map_or(at, |component| component.since);
        board.insert(name, Component { status, detail, since });
        true
    }

    /// Whether the board has a report of a component.
    pub fn knows(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Removes a component from the board, because its state is no longer known.
    pub fn clear(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub fn read(&self) -> BTreeMap<&'static str, Component> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The worst status in a reading of a board; `Ok` if it is empty.
pub fn worst(components: &BTreeMap<&'static str, Component>) -> Level {
    components.values().map(|component| component.status).max().unwrap_or(Level::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_keeps_the_time_of_the_last_change() {
        let board = Board::default();
        let at = Timestamp::from_seconds;
        assert!(board.set("ledger", Level::Ok, "", at(1)));
        assert!(!board.set("ledger", Level::Ok, "still", at(2)));
        assert_eq!(board.read()["ledger"].since, at(1));
        assert!(board.set("ledger", Level::Down, "gone", at(3)));
        assert_eq!((worst(&board.read()), board.read()["ledger"].since), (Level::Down, at(3)));
    }
}
