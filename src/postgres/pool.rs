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

/// Longest time that a connection is kept, so that one day all lead to where the name of the host leads by then.
const LIFE_MAX: Duration = Duration::from_mins(30);

/// Longest time that a connection is kept without a call: something on the way may have forgotten it.
const REST_MAX: Duration = Duration::from_mins(10);

/// There are no more calls: the pool was closed.
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
    /// At most so many connections, the first of which is made by the first call.
    pub fn new(address: Address, connections: usize) -> Result<Self, TlsError> {
        let tls = tls::settings(&address)?;
        let target = Mutex::new(Arc::new(Target { address, tls }));
        Ok(Self { target, places: Semaphore::new(connections.max(1)), idle: Mutex::default() })
    }

    /// Where connections lead that are made from now on.
    pub fn address(&self) -> Address {
        self.target().address.clone()
    }

    /// Has connections that are made from now on lead elsewhere, or get there otherwise.
    pub fn lead_to(&self, address: Address) -> Result<(), TlsError> {
        let tls = tls::settings(&address)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Target { address, tls });
        Ok(())
    }

    /// A place for a call, once there is one. In the order in which it was asked for.
    pub async fn place(&self) -> Result<Place<'_>, Closed> {
        let permit = self.places.acquire().await.map_err(|_| Closed)?;
        Ok(Place { pool: self, _permit: permit })
    }

    /// Lets no more calls begin, and takes leave of the server on connections that are not in use.
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
    /// A connection that is open and whose server has not hung up. The one that was used last: what is in use less often is let go.
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

    /// One that is open, or a new one.
    pub async fn link(&self) -> Result<Link, Error> {
        match self.idle().await {
            Some(link) => Ok(link),
            None => self.connect().await,
        }
    }

    /// Keeps a connection for another call, unless it is of no use any more.
    pub fn keep(&self, mut link: Link) {
        link.rested = tokio::time::Instant::now();
        if !link.is_closed() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
    }
}
