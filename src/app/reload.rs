//! What changes at a hangup (SIGHUP) without a restart: the route and the Guardian's rules.
//!
//! A setting in the environment cannot change under a running process; one in the configuration file can. Faults change
//! nothing and say why.

use std::convert::Infallible;
use std::sync::Arc;

use crate::config::{Config, Sources};
use crate::domain::route::{RouteSwitch, Wish};
use crate::lifecycle::{Hangups, Shutdown};
use crate::revenue::guardian::Guardian;

/// What a hangup may change.
pub(super) struct Reload {
    pub(super) sources: Sources,
    pub(super) switch: RouteSwitch,
    pub(super) guardian: Arc<Guardian>,
}

impl Reload {
    /// Runs until draining begins.
    pub(super) async fn run(self, mut hangups: Hangups, shutdown: Shutdown) -> Result<(), Infallible> {
        let this = Arc::new(self);
        loop {
            tokio::select! {
                () = hangups.next() => {}
                () = shutdown.draining() => return Ok(()),
            }
            let this = Arc::clone(&this);
            // Reads files, which may be slow.
            if tokio::task::spawn_blocking(move || this.reload()).await.is_err() {
                tracing::error!("SIGHUP: settings cannot be read, nothing changed");
            }
        }
    }

    fn reload(&self) {
        let config = match Config::for_serve(&self.sources) {
            Ok(config) => config,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::error!(error, "SIGHUP: settings refused, nothing changed");
            }
        };
        let changed = self.switch.set(Wish::from_use_colony(config.colony.enabled));
        tracing::info!(use_colony = config.colony.enabled, changed, "SIGHUP: settings read again");
        if let Some(path) = &config.revenue.guardian_rules {
            match self.guardian.reload_file(path) {
                Ok(()) => tracing::info!("SIGHUP: Guardian rules read again"),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "SIGHUP: Guardian rules refused, the old ones stay");
                }
            }
        }
    }
}
