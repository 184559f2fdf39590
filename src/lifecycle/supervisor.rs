//! Owns every long-lived task. One that ends while it is needed ends the process: half a gateway is worse than a restart.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use super::background::Background;
use super::restart::keep_running;
use super::{BoxError, Readiness, RestartPolicy, Shutdown, Signals};
use crate::domain::clock::Clock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All work in hand was finished.
    Clean,
    /// The deadline passed or a second signal came during work. Nothing is lost: the work resumes with the next start.
    CutShort,
    /// A task that the process needs ended by itself.
    Failed,
}

impl Ending {
    /// Exit code: 0, 3 and 1.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::CutShort => 3,
        }
    }
}

/// Owner of the long-lived tasks.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, &'static str>,
    shutdown: Shutdown,
    readiness: Readiness,
    background: Background,
}

impl Supervisor {
    pub fn new(shutdown: Shutdown, readiness: Readiness) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown, readiness, background: Background::default() }
    }

    /// Starts a task that the process needs until draining begins. If it ends before that, for whatever reason, the process
    /// drains and fails.
    pub fn start<E>(&mut self, name: &'static str, task: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// As [`Self::start`], on background threads, for work that computes.
    pub fn start_in_background<E>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: std::error::Error + Send + Sync + 'static,
    {
        let handle = self.tasks.spawn_on(async move { task.await.map_err(Into::into) }, &self.background.handle());
        self.names.insert(handle.id(), name);
    }

    /// Starts one of several background tasks of a kind. If it fails, it is made again, within the budget of `policy`. When
    /// that is spent, the process drains and fails.
    pub fn start_again<E, T>(
        &mut self,
        name: &'static str,
        policy: RestartPolicy,
        clock: &Clock,
        make: impl FnMut() -> T + Send + 'static,
    ) where
        E: std::error::Error + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.start_in_background(name, keep_running(name, policy, make, self.shutdown.clone(), clock.clone()));
    }

    /// Runs until every task has ended. The first time `stop` resolves, draining begins. The second time, or at `deadline`,
    /// the remaining tasks are dropped.
    pub async fn run(mut self, mut stop: impl Stop, deadline: Duration) -> Ending {
        let mut failed = false;
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    None => return if failed { Ending::Failed } else { Ending::Clean },
                    Some(ended) => {
                        if self.ended(ended) {
                            failed = true;
                            break;
                        }
                    }
                },
                reason = stop.next() => {
                    tracing::info!(reason, "draining");
                    break;
                }
                () = self.shutdown.draining() => break,
            }
        }
        self.readiness.drain();
        self.shutdown.drain();
        let ending = self.drain(stop, deadline, &mut failed).await;
        if failed { Ending::Failed } else { ending }
    }

    async fn drain(&mut self, mut stop: impl Stop, deadline: Duration, failed: &mut bool) -> Ending {
        let deadline = tokio::time::sleep(deadline);
        tokio::pin!(deadline);
        let reason = loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    None => return Ending::Clean,
                    Some(ended) => *failed |= self.ended(ended),
                },
                reason = stop.next() => break reason,
                () = &mut deadline => break "deadline",
            }
        };
        let left: Vec<&str> = self.names.values().copied().collect();
        tracing::warn!(reason, ?left, "dropping unfinished work");
        self.tasks.shutdown().await;
        Ending::CutShort
    }

    /// Logs the end of a task and returns whether it is a failure.
    fn ended(&mut self, ended: Result<(Id, Result<(), BoxError>), JoinError>) -> bool {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(error.into())),
        };
        let task = self.names.remove(&id).unwrap_or("unknown");
        match result {
            Ok(()) if self.shutdown.is_draining() => false,
            Ok(()) => {
                tracing::error!(task, "a task that the process needs has ended: shutting down");
                true
            }
            Err(error) => {
                tracing::error!(task, error = &*error as &dyn std::error::Error, "a task failed: shutting down");
                true
            }
        }
    }
}

/// The source of requests to stop.
pub trait Stop: Send + fmt::Debug {
    /// Resolves with the reason at each request to end the process.
    fn next(&mut self) -> impl Future<Output = &'static str> + Send;
}

impl Stop for Signals {
    async fn next(&mut self) -> &'static str {
        Signals::next(self).await
    }
}

#[cfg(test)]
mod tests;
