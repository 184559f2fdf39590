//! Which way entries go: decided in `dispatch`, and told by the door, which may not reach it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::named::named;

named! {
    /// The way from the inbox to the ledger.
    pub enum Route {
        /// Through signed jobs on a Colonies server.
        ColonyOs = "colony_os",
        /// Applied directly by this process.
        Direct = "direct",
    }
}

/// The route in force. Clones share it.
#[derive(Clone, Debug)]
pub struct RouteInForce(Arc<AtomicU8>);

impl RouteInForce {
    /// Starts with `route`.
    pub fn new(route: Route) -> Self {
        Self(Arc::new(AtomicU8::new(route as u8)))
    }

    /// The route that entries take now.
    pub fn get(&self) -> Route {
        if self.0.load(Ordering::Relaxed) == Route::ColonyOs as u8 { Route::ColonyOs } else { Route::Direct }
    }

    /// Sends later entries another way.
    pub fn set(&self, route: Route) {
        self.0.store(route as u8, Ordering::Relaxed);
    }
}
