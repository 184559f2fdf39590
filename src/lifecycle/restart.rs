//! Tasks that are started again when they break: several of a kind are at work, and one that met a fault of its own
//! must not take the process with it. A task that breaks again and again does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};

use super::{BoxError, Shutdown};
use crate::domain::backoff::Backoff;
use crate::domain::clock::Clock;

/// How often a task is started again, and after which waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    pub backoff: Backoff,
    /// Most restarts within `window`; one more is a failure.
    pub restarts_max: usize,
    /// Restarts longer ago are forgiven.
    pub window: Duration,
}

impl Default for RestartPolicy {
    /// Five restarts in ten minutes, after waits of up to 1 s to 30 s.
    fn default() -> Self {
        Self {
            backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) },
            restarts_max: 5,
            window: Duration::from_mins(10),
        }
    }
}

/// A task broke more often than its policy allows.
#[derive(Debug, thiserror::Error)]
#[error("it broke {times} times within {window:?}")]
pub struct BudgetSpent {
    pub times: usize,
    pub window: Duration,
    #[source]
    pub source: BoxError,
}

/// A task ended without being told to.
#[derive(Debug, thiserror::Error)]
#[error("it ended by itself")]
struct EndedByItself;

/// Restarts that count against the budget.
#[derive(Debug)]
struct Budget {
    policy: RestartPolicy,
    recent: VecDeque<Instant>,
}

impl Budget {
    /// Counts a failure at `now`. Returns how many there were lately, or `None` if there were too many.
    fn spend(&mut self, now: Instant) -> Option<u32> {
        let window = self.policy.window;
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > window) {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.policy.restarts_max {
            return None;
        }
        self.recent.push_back(now);
        u32::try_from(self.recent.len()).ok()
    }
}

/// Runs the task that `make` makes until draining begins, and again whenever it panics, fails or ends too early.
pub(super) async fn keep_running<E, T>(
    name: &'static str,
    policy: RestartPolicy,
    mut make: impl FnMut() -> T,
    shutdown: Shutdown,
    clock: Clock,
) -> Result<(), BudgetSpent>
where
    E: std::error::Error + Send + Sync + 'static,
    T: Future<Output = Result<(), E>> + Send + 'static,
{
    let mut random = fastrand::Rng::new();
    let mut budget = Budget { policy, recent: VecDeque::new() };
    loop {
        // A separate task, so that a panic comes back as a value. It is dropped with this one.
        let mut task = JoinSet::new();
        task.spawn(make());
        let source: BoxError = match task.join_next().await {
            Some(Ok(Ok(()))) | None if shutdown.is_draining() => return Ok(()),
            Some(Ok(Ok(()))) | None => Box::new(EndedByItself),
            Some(Ok(Err(error))) => Box::new(error),
            Some(Err(error)) => Box::<JoinError>::new(error),
        };
        let Some(times) = budget.spend(clock.instant()) else {
            return Err(BudgetSpent { times: policy.restarts_max + 1, window: policy.window, source });
        };
        let wait = policy.backoff.wait(times, &mut random);
        tracing::error!(
            task = name,
            error = &*source as &dyn std::error::Error,
            ?wait,
            times,
            "a task broke: restarting"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.draining() => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(4) },
        restarts_max: 3,
        window: Duration::from_mins(10),
    };

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_until_its_budget_is_spent() {
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        let make = move || {
            let starts = Arc::clone(&counted);
            async move {
                assert!(starts.fetch_add(1, Ordering::SeqCst) > 100, "a bug");
                Ok::<(), Infallible>(())
            }
        };
        let spent = keep_running("bee", POLICY, make, Shutdown::default(), Clock::system()).await.unwrap_err();
        assert_eq!((spent.times, starts.load(Ordering::SeqCst)), (4, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_in_the_drain_is_not_started_again() {
        let shutdown = Shutdown::default();
        let inner = shutdown.clone();
        let make = move || {
            inner.drain();
            std::future::ready(Ok::<(), Infallible>(()))
        };
        keep_running("bee", POLICY, make, shutdown, Clock::system()).await.unwrap();
    }

    #[test]
    fn breaks_of_long_ago_are_forgiven() {
        let start = Clock::system().instant();
        let mut budget = Budget { policy: POLICY, recent: VecDeque::new() };
        for minute in 0..100 {
            // Never more than three in ten minutes.
            assert!(budget.spend(start + Duration::from_mins(4 * minute)).is_some(), "{minute}");
        }
        let later = start + Duration::from_mins(1000);
        assert_eq!([(); 4].map(|()| budget.spend(later)), [Some(1), Some(2), Some(3), None]);
    }
}
