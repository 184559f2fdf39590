//! The embedded Colonies server: in memory, the real protocol over loopback HTTP.
//!
//! Role: `dev` and the tests run whole jobs with nothing installed. Production runs the real server; one conformance
//! suite holds both to the same behaviour.
//!
//! Guarantees: signatures are recovered and memberships checked as by the real server, whose statuses and texts it
//! repeats. Leases, retries and waits end by the [`Clock`] that it is given. Long-polls are woken, not polled. All it
//! keeps and serves at a time is bounded by [`Bounds`]. It owns its tasks: when the handle is gone, so are they.
//!
//! Does not: survive its process (what must not be lost is kept by those who submit), encrypt (so it listens on loopback only), or know
//! workflows, files, crons and subscriptions. Finished processes are forgotten beyond a bound, the longest finished
//! first; a real server keeps them for ever unless told otherwise.
//!
//! ```text
//! http ── dispatch ─┬─ members ┐
//!          │        ├─ jobs ───┴─ state ── table ── process
//!          │        └─ other_clients
//!          └─ waiters
//! ```

mod answer;
mod clock;
mod dispatch;
mod http;
mod jobs;
mod members;
mod other_clients;
mod process;
mod quirks;
mod refusal;
mod state;
mod table;
mod waiters;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::state::State;
use self::waiters::Waiters;
use crate::identity::IdentityId;

pub use clock::Clock;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens: a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Id of the key that owns the server, which may add colonies.
    pub server_id: IdentityId,
    /// The time that leases and waits end by.
    pub clock: Clock,
    /// How often, in the system's time, ended leases and waits are looked for. The real server does each second.
    pub tick: Duration,
    /// An executor that was heard of but not for so long is removed.
    pub stale_after: Duration,
    /// Whether adding an executor whose name is taken replaces it, as `COLONIES_ALLOW_EXECUTOR_REREGISTER` does.
    pub allow_reregistration: bool,
    /// How much it keeps and serves.
    pub bounds: Bounds,
    /// What a server that ended remembered, to go on with it; nothing for a blank one.
    pub memory: Option<Memory>,
}

impl ServerOptions {
    /// A blank server on a free loopback port with the real server's periods and rules.
    pub fn new(server_id: IdentityId) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            server_id,
            clock: Clock::system(),
            tick: Duration::from_secs(1),
            stale_after: Duration::from_mins(10),
            allow_reregistration: false,
            bounds: Bounds::default(),
            memory: None,
        }
    }
}

/// How much a server keeps and serves at a time. What is over a bound is refused with 503 (a too long body with 413)
/// and a text that names the bound, except finished processes, of which the oldest are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one request.
    pub body_bytes_max: usize,
    /// Requests whose bodies are read at the same time; further ones wait. With the bound of a body, this bounds the
    /// memory of requests.
    pub bodies_max: usize,
    /// Connections; further ones wait to be accepted.
    pub connections_max: usize,
    /// Longest wait for the headers of a request, which includes the idle time of a kept connection.
    pub headers_wait_max: Duration,
    /// Longest wait for the body of a request.
    pub body_wait_max: Duration,
    /// Longest wait of one call for work; a longer one ends as if it had asked for this.
    pub work_wait_max: Duration,
    /// How long open connections may take to end after a stop.
    pub stop_wait_max: Duration,
    /// Calls that wait for work.
    pub waiters_max: usize,
    /// Waiting and running processes.
    pub open_processes_max: usize,
    /// Bytes of the requests that made those.
    pub open_bytes_max: usize,
    /// Finished processes.
    pub finished_processes_max: usize,
    /// Bytes of the requests that made and closed those.
    pub finished_bytes_max: usize,
    /// Colonies, users and executors, of each.
    pub members_max: usize,
    /// Functions of one executor.
    pub functions_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 * 1024 * 1024,
            bodies_max: 64,
            connections_max: 1024,
            headers_wait_max: Duration::from_mins(2),
            body_wait_max: Duration::from_secs(30),
            work_wait_max: Duration::from_hours(24),
            stop_wait_max: Duration::from_secs(5),
            waiters_max: 1024,
            open_processes_max: 200_000,
            open_bytes_max: 1024 * 1024 * 1024,
            finished_processes_max: 20_000,
            finished_bytes_max: 128 * 1024 * 1024,
            members_max: 10_000,
            functions_max: 1000,
        }
    }
}

/// What a server remembers, beyond its end. A real server that is killed finds its database again; tests of that go
/// on with the memory, tests of a server that forgot everything start a blank one.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

/// What the tasks of one server share.
#[derive(Debug)]
struct Shared {
    state: Arc<Mutex<State>>,
    waiters: Waiters,
    clock: Clock,
    stale_after: Duration,
    bounds: Bounds,
    bodies: Semaphore,
    stop: CancellationToken,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due by the clock.
    fn expire(&self) {
        let now = self.clock.now();
        let mut is_more = true;
        while is_more {
            let offers;
            (offers, is_more) = self.state().expire(now);
            for offer in &offers {
                self.waiters.offer(offer);
            }
        }
        let removed = self.state().remove_unheard(now, self.stale_after);
        if removed > 0 {
            tracing::info!(removed, "the embedded Colonies server removed executors that it had not heard of");
        }
    }
}

/// A running server. Dropping it ends it like [`EmbeddedServer::kill`].
#[derive(Debug)]
pub struct EmbeddedServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl EmbeddedServer {
    /// Starts a server, which runs until it is stopped or `shutdown` is cancelled.
    ///
    /// # Errors
    /// When the address is not a loopback one, or cannot be listened on.
    pub async fn start(options: ServerOptions, shutdown: CancellationToken) -> Result<Self, StartError> {
        let ServerOptions { listen, server_id, clock, tick, stale_after, allow_reregistration, bounds, memory } =
            options;
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback { addr: listen });
        }
        let listener = TcpListener::bind(listen).await.map_err(|source| StartError::Listen { addr: listen, source })?;
        let addr = listener.local_addr().map_err(|source| StartError::Listen { addr: listen, source })?;
        let state = match memory {
            Some(Memory(state)) => {
                let mut kept = state.lock().unwrap_or_else(PoisonError::into_inner);
                (kept.server_id, kept.bounds, kept.allow_reregistration) = (server_id, bounds, allow_reregistration);
                drop(kept);
                state
            }
            None => Arc::new(Mutex::new(State::new(server_id, bounds, allow_reregistration))),
        };
        let shared = Arc::new(Shared {
            state,
            waiters: Waiters::new(bounds.waiters_max),
            clock,
            stale_after,
            bounds,
            bodies: Semaphore::new(bounds.bodies_max),
            stop: shutdown.child_token(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(http::serve(listener, Arc::clone(&shared)));
        tasks.spawn(keep_time(Arc::clone(&shared), tick));
        Ok(Self { addr, shared, tasks })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Looks for ended leases, ended waits and unheard executors now instead of at the next tick. A test with a manual
    /// clock advances it and calls this.
    pub fn tick(&self) {
        self.shared.expire();
    }

    /// Waits until the server has ended by its shutdown token.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops: nothing is accepted any more, waiting calls are answered with 503, calls under way end or are cut off
    /// after [`Bounds::stop_wait_max`].
    pub async fn stop(mut self) -> Memory {
        self.shared.stop.cancel();
        self.ended().await;
        Memory(Arc::clone(&self.shared.state))
    }

    /// Ends at once, as if its process had been killed: every connection breaks, and calls under way are not answered.
    /// What they changed stays in the memory. The address is free again when this returns.
    pub async fn kill(mut self) -> Memory {
        self.tasks.shutdown().await;
        Memory(Arc::clone(&self.shared.state))
    }
}

async fn keep_time(shared: Arc<Shared>, tick: Duration) {
    let mut ticks = tokio::time::interval(tick.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = ticks.tick() => shared.expire(),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The protocol runs unencrypted here and has nothing against replay.
    #[error("the embedded Colonies server listens on loopback only, not on {addr}; use 127.0.0.1 or a real server")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be had.
    #[error("the embedded Colonies server cannot listen on {addr}; is the port in use?")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
