//! The roll of a pool: how each of its bees is, for health and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::clock::Clock;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::roster::Roster;

/// How one bee is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not registered yet.
    Starting,
    /// Somebody has to do something before it may work.
    Waiting(String),
    /// Polls.
    Idle,
    /// Has a job in hand.
    Working,
    /// The colony's owner paused assignments.
    Paused,
    /// Calls fail; it tries again by itself.
    Failing(String),
}

impl State {
    /// Name in metrics.
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting(_) => "waiting",
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Paused => "paused",
            Self::Failing(_) => "failing",
        }
    }

    const NAMES: [&'static str; 6] = ["starting", "waiting", "idle", "working", "paused", "failing"];

    /// What keeps it from working, if anything.
    fn trouble(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Idle | Self::Working => None,
            Self::Paused => Some("assignments are paused by the colony's owner"),
            Self::Waiting(why) | Self::Failing(why) => Some(why),
        }
    }
}

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    states: Arc<Mutex<Vec<State>>>,
    roster: Roster,
    board: Board,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Roll {
    pub(super) fn new(names: Vec<String>, board: Board, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let states = Arc::new(Mutex::new(vec![State::Starting; names.len()]));
        let roll = Self { states, roster: Roster::new(names, clock.now()), board, metrics, clock };
        roll.publish(&roll.states.lock().unwrap_or_else(PoisonError::into_inner));
        roll
    }

    /// The same for whoever shows it.
    pub(super) fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Writes how the bee with this number is. True when it was otherwise before.
    pub(super) fn set(&self, bee: usize, state: State) -> bool {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = states.get_mut(bee) else { return false };
        if *before == state {
            return false;
        }
        self.roster.set(bee, state.as_str(), state.trouble(), self.clock.now());
        *before = state;
        self.publish(&states);
        true
    }

    fn publish(&self, states: &[State]) {
        for name in State::NAMES {
            let count = states.iter().filter(|state| state.as_str() == name).count();
            #[expect(clippy::cast_precision_loss, reason = "a few bees")]
            self.metrics.bees.set(name, count as f64);
        }
        let able = states.iter().filter(|state| state.trouble().is_none()).count();
        let level = match able {
            able if able == states.len() => Level::Ok,
            // Jobs wait in the colony meanwhile: nothing is lost.
            0 | 1.. => Level::Degraded,
        };
        let trouble = states.iter().find_map(State::trouble);
        let detail = match trouble {
            Some(trouble) => format!("{able} of {} can work; {trouble}", states.len()),
            None => format!("{able} of {} can work", states.len()),
        };
        self.board.set("bees", level, detail, self.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_says_how_many_can_work_and_what_keeps_the_others() {
        let (board, metrics) = (Board::default(), Metrics::new());
        let names = vec!["hive-1".to_owned(), "hive-2".to_owned()];
        let roll = Roll::new(names, board.clone(), Arc::clone(&metrics), Clock::system());
        assert!(roll.set(0, State::Idle));
        assert!(!roll.set(0, State::Idle), "nothing new");
        assert_eq!(board.read()["bees"].status, Level::Ok);
        assert!(roll.set(1, State::Waiting("hive-2 waits for approval".to_owned())));
        let bees = board.read()["bees"].clone();
        assert_eq!(bees.status, Level::Degraded);
        assert_eq!(bees.detail, "1 of 2 can work; hive-2 waits for approval");
        let text = metrics.render();
        assert!(text.contains("colony_gateway_bees{state=\"waiting\"} 1"), "{text}");
        assert!(!roll.set(7, State::Idle), "no such bee");
        let bees = roll.roster().read();
        assert_eq!((bees[0].state, bees[1].detail.as_deref()), ("idle", Some("hive-2 waits for approval")));
    }
}
