//! How each bee of a pool is, for health, metrics and heartbeats.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::heartbeat::{Pulse, Pulses};
use super::roster::Roster;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::outcome::JobEnd;
use crate::telemetry::health::{Board, Level};
use crate::telemetry::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BeeState {
    /// Not registered yet.
    Starting,
    /// A person has to do something before it may work.
    Waiting(String),
    /// Polls.
    Idle,
    /// Has a job in hand.
    Working,
    /// The colony's owner paused assignments.
    Paused,
    /// Its calls fail; it tries again by itself.
    Failing(String),
}

impl BeeState {
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

    /// The reason why it cannot work, if any.
    fn trouble(&self) -> Option<&str> {
        match self {
            Self::Starting | Self::Idle | Self::Working => None,
            Self::Paused => Some("assignments are paused by the colony's owner"),
            Self::Waiting(why) | Self::Failing(why) => Some(why),
        }
    }
}

/// A bee that polls, or tries to, and showed no sign of life for this long is stuck. It is longer than any poll, call or
/// wait between calls.
const SILENCE_MAX: Duration = Duration::from_mins(3);

/// A bee with a job may be silent for the longest lease.
const SILENCE_AT_WORK_MAX: Duration = Duration::from_mins(17);

/// What is known of one bee.
#[derive(Clone, Debug)]
struct Record {
    state: BeeState,
    seen: Timestamp,
    done: u64,
    failed: u64,
    last: Option<Duration>,
}

impl Record {
    /// Whether it showed a sign of life lately. A bee that waits for a person is alive but does no work. Monitors know only
    /// a missing heartbeat for that.
    fn is_alive(&self, now: Timestamp) -> bool {
        let bound = match self.state {
            BeeState::Starting | BeeState::Waiting(_) => return false,
            BeeState::Idle | BeeState::Paused | BeeState::Failing(_) => SILENCE_MAX,
            BeeState::Working => SILENCE_AT_WORK_MAX,
        };
        now.since(self.seen) <= bound
    }
}

/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct BeeStates {
    bees: Arc<Mutex<Vec<Record>>>,
    names: Arc<[String]>,
    roster: Roster,
    board: Board,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl BeeStates {
    pub(super) fn new(names: Vec<String>, board: Board, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let bee = Record { state: BeeState::Starting, seen: clock.now(), done: 0, failed: 0, last: None };
        let bees = Arc::new(Mutex::new(vec![bee; names.len()]));
        let roster = Roster::new(names.iter().cloned(), clock.now());
        let states = Self { bees, names: names.into(), roster, board, metrics, clock };
        states.publish(&states.bees.lock().unwrap_or_else(PoisonError::into_inner));
        states
    }

    /// The same for health and the console.
    pub(super) fn roster(&self) -> Roster {
        self.roster.clone()
    }

    /// Records the state of the bee with this number. Returns whether it changed.
    pub(super) fn set(&self, number: usize, state: BeeState) -> bool {
        let mut bees = self.bees.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bee) = bees.get_mut(number) else { return false };
        bee.seen = self.clock.now();
        if bee.state == state {
            return false;
        }
        self.roster.set(number, state.as_str(), state.trouble(), self.clock.now());
        bee.state = state;
        self.publish(&bees);
        true
    }

    /// Counts a process assigned to the bee by its end, as in the metric `bee_jobs`.
    pub(super) fn ended(&self, number: usize, end: JobEnd) {
        self.metrics.bee_jobs.of(end.as_str()).increment(1);
        let mut bees = self.bees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bee) = bees.get_mut(number) {
            match end {
                JobEnd::Closed | JobEnd::Recognised | JobEnd::Answered => bee.done += 1,
                JobEnd::Rejected | JobEnd::LeaseLost | JobEnd::OutOfTime | JobEnd::Unclosed => bee.failed += 1,
            }
        }
    }

    /// Notes how long the bee worked on a process.
    pub(super) fn worked(&self, number: usize, took: Duration) {
        let mut bees = self.bees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bee) = bees.get_mut(number) {
            bee.last = Some(took);
        }
    }

    fn publish(&self, bees: &[Record]) {
        let states: Vec<&BeeState> = bees.iter().map(|bee| &bee.state).collect();
        for name in BeeState::NAMES {
            let count = states.iter().filter(|state| state.as_str() == name).count();
            #[expect(clippy::cast_precision_loss, reason = "a few bees")]
            self.metrics.bees.set(name, count as f64);
        }
        let able = states.iter().filter(|state| state.trouble().is_none()).count();
        let level = match able {
            able if able == states.len() => Level::Ok,
            // Jobs wait in the colony in the meantime, so nothing is lost.
            0 | 1.. => Level::Degraded,
        };
        let trouble = states.iter().find_map(|state| state.trouble());
        let detail = match trouble {
            Some(trouble) => format!("{able} of {} can work; {trouble}", states.len()),
            None => format!("{able} of {} can work", states.len()),
        };
        self.board.set("bees", level, detail, self.clock.now());
    }
}

impl Pulses for BeeStates {
    fn pulses(&self) -> Vec<Pulse> {
        let now = self.clock.now();
        let bees = self.bees.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = self.names.iter().zip(bees.iter()).filter(|(_, bee)| bee.is_alive(now));
        let pulse = |(name, bee): (&String, &Record)| Pulse {
            executor: name.clone(),
            state: bee.state.as_str(),
            seen: bee.seen,
            done: bee.done,
            failed: bee.failed,
            last: bee.last,
        };
        alive.map(pulse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bee_that_is_stuck_or_may_not_work_has_no_pulse() {
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        let names = ["a-1", "a-2", "a-3"].map(str::to_owned).to_vec();
        let states = BeeStates::new(names, Board::default(), Metrics::new(), clock.clone());
        assert_eq!(states.pulses(), [], "not registered yet");
        states.set(0, BeeState::Idle);
        states.set(1, BeeState::Working);
        states.set(2, BeeState::Waiting("approval".to_owned()));
        states.ended(0, JobEnd::Closed);
        states.ended(0, JobEnd::LeaseLost);
        states.worked(0, Duration::from_millis(20));
        let first = states.pulses().remove(0);
        assert_eq!(
            (first.state, first.done, first.failed, first.last),
            ("idle", 1, 1, Some(Duration::from_millis(20)))
        );
        clock.advance(SILENCE_MAX + Duration::from_secs(1));
        assert_eq!(states.pulses().iter().map(|pulse| pulse.executor.as_str()).collect::<Vec<_>>(), ["a-2"]);
        clock.advance(SILENCE_AT_WORK_MAX);
        assert_eq!(states.pulses(), []);
    }

    #[test]
    fn the_board_says_how_many_can_work_and_what_keeps_the_others() {
        let (board, metrics) = (Board::default(), Metrics::new());
        let names = vec!["hive-1".to_owned(), "hive-2".to_owned()];
        let states = BeeStates::new(names, board.clone(), Arc::clone(&metrics), Clock::system());
        assert!(states.set(0, BeeState::Idle));
        assert!(!states.set(0, BeeState::Idle), "nothing new");
        assert_eq!(board.read()["bees"].status, Level::Ok);
        assert!(states.set(1, BeeState::Waiting("hive-2 waits for approval".to_owned())));
        let bees = board.read()["bees"].clone();
        assert_eq!(bees.status, Level::Degraded);
        assert_eq!(bees.detail, "1 of 2 can work; hive-2 waits for approval");
        let text = metrics.render();
        assert!(text.contains("colony_gateway_bees{state=\"waiting\"} 1"), "{text}");
        assert!(!states.set(7, BeeState::Idle), "no such bee");
        let bees = states.roster().read();
        assert_eq!((bees[0].state, bees[1].detail.as_deref()), ("idle", Some("hive-2 waits for approval")));
    }
}
