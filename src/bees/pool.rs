//! Several bees with one configuration.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use colonies::client::{Client, POLL_WAIT_MAX};
use colonies::identity::PrivateKey;

use super::bee::Bee;
use super::heartbeat::Pulses;
use super::job::Bench;
use super::keys::KeySource;
use super::lookout;
use super::registration::Registration;
use super::roster::Roster;
use super::states::BeeStates;
use super::work::Work;
use crate::domain::clock::Clock;
use crate::domain::ledger_id::LedgerId;
use crate::job::attestation::Verifier;
use crate::job::completion::Completions;
use crate::job::keys::opening::Openers;
use crate::ledger::report::Reports;
use crate::ledger::witness::{Identity, Witness};
use crate::lifecycle::{RestartPolicy, Shutdown, Supervisor};
use crate::pipeline::Pipeline;
use crate::telemetry::instruments::Instruments;

/// Most bees of one pool.
pub const BEES_MAX: usize = 64;

/// Longest name of a pool, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// How the bees of a pool are set up.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    pub colony: String,
    /// Type of the executors, as jobs ask for it.
    pub executor_type: String,
    /// The bees are called `<name>-1`, `<name>-2` and so on.
    pub name: String,
    /// How many, from 1 to [`BEES_MAX`].
    pub count: usize,
    /// Longest wait of one poll, from one second to [`POLL_WAIT_MAX`].
    pub poll: Duration,
    /// The end of a lease, which is kept free for closing; at most a third of the lease.
    pub margin: Duration,
    pub call_timeout: Duration,
    /// What happens to bees that break.
    pub restart: RestartPolicy,
}

impl PoolOptions {
    /// One bee with the usual bounds: polls of 10 s, a margin of 5 s, ledger calls of 20 s.
    pub fn new(colony: impl Into<String>, executor_type: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            colony: colony.into(),
            executor_type: executor_type.into(),
            name: name.into(),
            count: 1,
            poll: Duration::from_secs(10),
            margin: Duration::from_secs(5),
            call_timeout: Duration::from_secs(20),
            restart: RestartPolicy::default(),
        }
    }
}

/// The tools that the bees of a pool share.
#[derive(Clone)]
pub struct Tools {
    pub client: Client,
    pub keys: KeySource,
    /// Key of the colony's owner, with which bees approve themselves.
    pub owner: Option<Arc<PrivateKey>>,
    /// Verifies attestations. All bees of a process share one, so that they see each other's nonces.
    pub verifier: Arc<Verifier>,
    /// Opens sealed jobs.
    pub openers: Arc<Openers>,
    /// Revenue and the state of record.
    pub pipeline: Pipeline,
    /// Which state of record that is.
    pub ledger: Arc<dyn Witness>,
    /// Where the function [`super::SUMMARY_FUNCTION`] takes its answer from. Without it, the function is not offered. Every
    /// member of the colony may call it.
    pub reports: Option<Arc<dyn Reports>>,
    /// Tells a gateway in the same program of processes that were closed.
    pub completions: Option<Completions>,
    pub instruments: Instruments,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("client", &self.client).field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

/// Why a pool cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The number of bees is outside its range.
    #[error("BEE_COUNT must be from 1 to {BEES_MAX} here, not {count}")]
    Count { count: usize },
    /// The name cannot be used.
    #[error("EXECUTOR_NAME must have 1 to {NAME_BYTES_MAX} bytes, without colons and white space")]
    Name,
    /// The poll's wait is outside its range.
    #[error("POLL_TIMEOUT must be from 1s to {POLL_WAIT_MAX:?}, not {poll:?}")]
    Poll { poll: Duration },
}

/// Bees, ready to start.
#[derive(Debug)]
pub struct Pool {
    bees: Vec<Bee>,
    states: BeeStates,
    verifier: Arc<Verifier>,
    restart: RestartPolicy,
    clock: Clock,
}

impl Pool {
    /// Sets bees up. Calls no server yet.
    ///
    /// # Errors
    /// If an option is outside its range.
    pub fn new(options: PoolOptions, tools: Tools) -> Result<Self, PoolError> {
        let PoolOptions { colony, executor_type, name, count, poll, margin, call_timeout, restart } = options;
        if !(1..=BEES_MAX).contains(&count) {
            return Err(PoolError::Count { count });
        }
        // The server joins the names of colony and executor with a colon.
        let is_plain = |letter: char| letter != ':' && !letter.is_whitespace() && !letter.is_control();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            return Err(PoolError::Name);
        }
        if !(Duration::from_secs(1)..=POLL_WAIT_MAX).contains(&poll) {
            return Err(PoolError::Poll { poll });
        }
        let Tools { client, keys, owner, verifier, openers, pipeline, ledger, reports, completions, instruments } =
            tools;
        let Instruments { metrics, board, clock, tracer } = instruments;
        let names: Vec<String> = (1..=count).map(|number| format!("{name}-{number}")).collect();
        let states = BeeStates::new(names.clone(), board, Arc::clone(&metrics), clock.clone());
        let work = Work { pipeline, call_timeout, clock: clock.clone() };
        let bench = Bench {
            colony: colony.into(),
            verifier: Arc::clone(&verifier),
            openers,
            ledger: Identity::of(ledger),
            work,
            reports,
            metrics,
            clock: clock.clone(),
            tracer,
        };
        let executor_type: Arc<str> = executor_type.into();
        let bee = |number: usize| Bee {
            number,
            registration: Registration {
                client: client.clone(),
                colony: Arc::clone(&bench.colony),
                executor_type: Arc::clone(&executor_type),
                name: names.get(number).cloned().unwrap_or_default(),
                is_first: number == 0,
                keys: keys.clone(),
                owner: owner.clone(),
                functions: bench.functions(),
            },
            bench: bench.clone(),
            states: states.clone(),
            poll,
            margin,
            completions: completions.clone(),
        };
        Ok(Self { bees: (0..count).map(bee).collect(), states: states.clone(), verifier, restart, clock })
    }

    /// The state of each bee, for health and the console.
    pub fn roster(&self) -> Roster {
        self.states.roster()
    }

    /// The ledger that the waiting jobs are for, if jobs wait in the colony and none is for the bees' own ledger. Takes
    /// some seconds at most; `None` if it cannot be known yet.
    pub async fn wrong_ledger(&self) -> Option<LedgerId> {
        lookout::wrong_ledger(self.bees.first()?).await
    }

    /// Decides which gateways the bees trust.
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// The state of each bee, for heartbeats.
    pub fn pulses(&self) -> Arc<dyn Pulses> {
        Arc::new(self.states.clone())
    }

    /// Starts the bees as tasks of `supervisor`. They run until `shutdown` drains, and finish the jobs in hand. A bee that
    /// breaks is started again.
    pub fn start(self, supervisor: &mut Supervisor, shutdown: &Shutdown) {
        for bee in self.bees {
            let draining = shutdown.token().clone();
            supervisor.start_again("bee", self.restart, &self.clock, move || bee.clone().run(draining.clone()));
        }
    }
}
