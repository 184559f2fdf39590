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

/// How to set up a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address to listen on, which must be loopback. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Id of the key that owns the server. Its owner may add colonies.
    pub server_id: IdentityId,
    /// The clock that ends leases and waits.
    pub clock: Clock,
    /// How often, in the system's time, the server looks for ended leases and waits. The real server looks every
    /// second.
    pub tick: Duration,
    /// The server removes an executor after this much silence, if it has heard of it before.
    pub stale_after: Duration,
    /// Whether a new executor replaces one of the same name, as with `COLONIES_ALLOW_EXECUTOR_REREGISTER`.
    pub allow_reregistration: bool,
    /// How much the server keeps and serves.
    pub bounds: Bounds,
    /// The memory of a server that ended, to go on from; `None` for a blank server.
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

/// How much a server keeps, and serves at a time. It refuses a request over a bound with 503 (a body that is too
/// long with 413) and a text that names the bound. Finished processes are the exception: it forgets the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Largest request, in bytes.
    pub body_bytes_max: usize,
    /// How many request bodies the server reads at the same time; further ones wait. Together with the bound of a
    /// body, this limits the memory that requests take.
    pub bodies_max: usize,
    /// Most connections; further ones wait until the server accepts them.
    pub connections_max: usize,
    /// Longest wait for the headers of a request, including the idle time of a kept connection.
    pub headers_wait_max: Duration,
    /// Longest wait for the body of a request.
    pub body_wait_max: Duration,
    /// Longest wait of one call for work. The server shortens a longer wait to this.
    pub work_wait_max: Duration,
    /// How long open connections may take to end after the server stops.
    pub stop_wait_max: Duration,
    /// Most calls that wait for work.
    pub waiters_max: usize,
    /// Most waiting and running processes.
    pub open_processes_max: usize,
    /// Most bytes in the requests that made these processes.
    pub open_bytes_max: usize,
    /// Most finished processes.
    pub finished_processes_max: usize,
    /// Most bytes in the requests that made and closed these processes.
    pub finished_bytes_max: usize,
    /// Most colonies, most users and most executors.
    pub members_max: usize,
    /// Most functions of one executor.
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

/// What a server remembers after its end. A real server that was killed finds its database again: tests of that
/// case go on with this memory. Tests of a server that forgot everything start a blank one.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

/// The state that the tasks of one server share.
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

    /// Ends what is due by the clock.
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

/// A running server. Dropping it has the effect of [`EmbeddedServer::kill`].
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
    /// If the address is not loopback, or the server cannot listen on it.
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

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address it listens on, as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Looks for ended leases, ended waits and silent executors now, without waiting for the next tick. A test with
    /// a manual clock moves the clock and then calls this.
    pub fn tick(&self) {
        self.shared.expire();
    }

    /// Waits until the shutdown token has ended the server.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Stops the server. It accepts nothing more and answers waiting calls with 503. Calls under way end, or are
    /// cut off after [`Bounds::stop_wait_max`].
    pub async fn stop(mut self) -> Memory {
        self.shared.stop.cancel();
        self.ended().await;
        Memory(Arc::clone(&self.shared.state))
    }

    /// Ends the server at once, as if its process had been killed: every connection breaks, and calls under way get
    /// no answer. Their changes stay in the memory. The address is free again when this returns.
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
    /// The protocol is unencrypted here and does not protect against replay.
    #[error("the embedded Colonies server listens on loopback only, not on {addr}; use 127.0.0.1 or a real server")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The server cannot listen on the address.
    #[error("the embedded Colonies server cannot listen on {addr}; is the port in use?")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
