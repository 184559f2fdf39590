//! A few connections to a database, kept open between calls.
//!
//! A call has a place first, of which there are as many as there may be connections, and then a connection: one that is open, or a new
//! one. A connection that is not given back is closed. Nothing runs between calls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Error;

use super::address::Address;
use super::link::Link;
use super::stream::Tls;
use super::tls::{self, TlsError};

/// Longest time that a connection is kept, so that after a change of DNS all connections come to lead to the new address.
const LIFE_MAX: Duration = Duration::from_mins(30);

/// Longest time that a connection is kept idle, because something on the way may have forgotten it.
const REST_MAX: Duration = Duration::from_mins(10);

/// The pool was closed, so it takes no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connections are closed")]
pub struct Closed;

/// Where connections lead.
#[derive(Debug)]
struct Target {
    address: Address,
    tls: Tls,
}

/// A few connections to a database.
pub struct Pool {
    target: Mutex<Arc<Target>>,
    places: Semaphore,
    idle: Mutex<Vec<Link>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("address", &self.target().address).finish_non_exhaustive()
    }
}

impl Pool {
    /// At most so many connections. The first call makes the first one.
    pub fn new(address: Address, connections: usize) -> Result<Self, TlsError> {
        let tls = tls::settings(&address)?;
        let target = Mutex::new(Arc::new(Target { address, tls }));
        Ok(Self { target, places: Semaphore::new(connections.max(1)), idle: Mutex::default() })
    }

    /// Where new connections lead.
    pub fn address(&self) -> Address {
        self.target().address.clone()
    }

    /// Makes new connections lead to another place, or get there in another way.
    pub fn lead_to(&self, address: Address) -> Result<(), TlsError> {
        let tls = tls::settings(&address)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Target { address, tls });
        Ok(())
    }

    /// Waits for a place for a call, in the order of asking.
    pub async fn place(&self) -> Result<Place<'_>, Closed> {
        let permit = self.places.acquire().await.map_err(|_| Closed)?;
        Ok(Place { pool: self, _permit: permit })
    }

    /// Lets no more calls begin, and closes idle connections.
    pub async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for link in idle {
            link.close().await;
        }
    }

    fn target(&self) -> Arc<Target> {
        Arc::clone(&self.target.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn newest_idle(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|link| !link.is_closed() && link.made.elapsed() < LIFE_MAX && link.rested.elapsed() < REST_MAX);
        idle.pop()
    }
}

/// A place for a call.
#[derive(Debug)]
pub struct Place<'a> {
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Place<'_> {
    /// An open connection whose server has not disconnected. It is the one used last, so that surplus ones become idle and
    /// are closed.
    pub async fn idle(&self) -> Option<Link> {
        loop {
            let mut link = self.pool.newest_idle()?;
            if link.is_usable().await {
                return Some(link);
            }
        }
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Link, Error> {
        let target = self.pool.target();
        Link::connect(&target.address, &target.tls).await
    }

    /// An open connection, or a new one.
    pub async fn link(&self) -> Result<Link, Error> {
        match self.idle().await {
            Some(link) => Ok(link),
            None => self.connect().await,
        }
    }

    /// Keeps a connection for another call, unless it is useless.
    pub fn keep(&self, mut link: Link) {
        link.rested = tokio::time::Instant::now();
        if link.is_closed() {
            self.discard(link);
        } else {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }

    /// Closes a connection. If its server was found to be a standby, idle ones go too: they lead to the same server.
    pub fn discard(&self, link: Link) {
        let is_demoted = link.is_demoted;
        drop(link);
        if is_demoted {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}
