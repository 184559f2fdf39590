//! The listeners: inherited or opened here, and what they serve.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use super::{StartError, signatures};
use crate::admin::{self, Control, Health, Receiving};
use crate::config::{Channel, Config, ConnectionBounds, ConsolePlace};
use crate::console::{self, Series};
use crate::dispatch::Context;
use crate::door::{self, Webhooks};
use crate::lifecycle::{self, Inherited, Readiness, Shutdown, Supervisor};

/// File that keeps the charts of the console.
const SERIES_FILE: &str = "console-series";

/// Of the files that the process may open, one in so many may be a connection that brings webhooks, or one of operators.
const FOR_WEBHOOKS: u64 = 2;
const FOR_ADMIN: u64 = 4;

pub(super) struct Routes {
    webhooks: Webhooks,
    health: Health,
    /// The orders of an operator with the token; `None` without a token.
    control: Option<Arc<Control>>,
}

impl Routes {
    pub(super) fn new(config: &Config, context: Context, readiness: Readiness, control: Option<Control>) -> Self {
        let Context { inbox, in_force: route, instruments, .. } = context;
        let receiving = Some(Receiving { inbox: inbox.clone(), route: route.clone() });
        let health = Health { readiness, instruments: instruments.clone(), receiving };
        let http = &config.http;
        let (bounds, peer_share, peers) = (http.webhooks, http.connections.peer_share, http.webhook_peers.clone());
        let webhooks = Webhooks { inbox, route, instruments, bounds, peer_share, peers };
        Self { webhooks, health, control: control.map(Arc::new) }
    }
}

/// One listener for webhooks and probes and one for metrics and health, or one for all.
pub(super) struct Listeners {
    webhooks: TcpListener,
    admin: Option<TcpListener>,
}

impl Listeners {
    /// Takes over inherited listeners and opens the others.
    pub(super) async fn open(config: &Config, inherited: Inherited) -> Result<Self, StartError> {
        let http = &config.http;
        let webhooks = listener(inherited.webhooks, http.listen, "http.listen").await?;
        // Two ports that the system chooses are never the same.
        let one_address = http.admin_listen == http.listen && http.listen.port() != 0 && inherited.admin.is_none();
        let admin = if one_address {
            None
        } else {
            Some(listener(inherited.admin, http.admin_listen, "http.admin_listen").await?)
        };
        Ok(Self { webhooks, admin })
    }

    /// Their addresses, which the system may have chosen.
    pub(super) fn addresses(&self, config: &Config) -> Result<(SocketAddr, SocketAddr), StartError> {
        let address = |listener: &TcpListener, setting, address| {
            listener.local_addr().map_err(|source| StartError::Listen { address, setting, source })
        };
        let webhooks = address(&self.webhooks, "http.listen", config.http.listen)?;
        let admin = match &self.admin {
            Some(admin) => address(admin, "http.admin_listen", config.http.admin_listen)?,
            None => webhooks,
        };
        Ok((webhooks, admin))
    }

    pub(super) fn start(self, config: &Config, routes: Routes, supervisor: &mut Supervisor, shutdown: &Shutdown) {
        let Routes { webhooks, health, control } = routes;
        let metrics = Some(Arc::clone(&health.instruments.metrics));
        let endpoints = config.endpoints.clone();
        let files_max = lifecycle::allow_most_open_files();
        let bounds = within(&config.http.connections, files_max, FOR_WEBHOOKS);
        if bounds.connections_max < config.http.connections.connections_max {
            let connections_max = bounds.connections_max;
            tracing::warn!(
                files_max,
                connections_max,
                "the system lets the gateway open fewer files than http.connections_max needs: raise the limit (`ulimit -n`, \
                 LimitNOFILE=), or lower the setting"
            );
        }
        signatures::start(endpoints.clone(), &health.instruments, supervisor, shutdown);
        let is_shared = self.admin.is_none();
        let console = control.as_ref().filter(|_| is_console_on(config.http.console, is_shared));
        let console = console.map(|control| pages(config, &health, control, (&mut *supervisor, shutdown)));
        let console = console.unwrap_or_default();
        let others = match self.admin {
            Some(listener) => {
                let router = admin::admin_router(health.clone(), control, &config.http.admin_hosts, console);
                let serve = door::serve(listener, router, admin_bounds(config), None, shutdown.token().clone());
                supervisor.start("admin listener", serve);
                admin::public_router(health)
            }
            None => admin::combined_router(health, control, console),
        };
        let site = door::site(webhooks, endpoints, others);
        let serve = door::serve(self.webhooks, site, bounds, metrics, shutdown.token().clone());
        supervisor.start("webhook listener", serve);
    }
}

/// The bounds of a listener that serves operators alone.
pub(super) fn admin_bounds(config: &Config) -> ConnectionBounds {
    within(&config.http.connections, lifecycle::allow_most_open_files(), FOR_ADMIN)
}

/// The bounds of a listener's connections where the process may open only so many files: it gets one part in `part` of them. Of what is
/// left, the stores and the calls to others live.
fn within(bounds: &ConnectionBounds, files_max: Option<u64>, part: u64) -> ConnectionBounds {
    let room = files_max.and_then(|most| usize::try_from(most / part).ok()).unwrap_or(usize::MAX);
    ConnectionBounds { connections_max: bounds.connections_max.min(room).max(1), ..bounds.clone() }
}

/// Webhooks arrive at a shared listener, usually from the whole internet.
pub(super) const fn is_console_on(place: ConsolePlace, is_shared: bool) -> bool {
    match place {
        ConsolePlace::Auto => !is_shared,
        ConsolePlace::On => true,
        ConsolePlace::Off => false,
    }
}

/// The pages of the console, and the task that collects the data of its charts.
fn pages(
    config: &Config,
    health: &Health,
    control: &Arc<Control>,
    (supervisor, shutdown): (&mut Supervisor, &Shutdown),
) -> Router {
    let file = config.inbox.data_dir.join(SERIES_FILE);
    let series = Series::open(file, control.context.inbox.clock().clone());
    supervisor.start_in_background("series", series.clone().run(health.clone(), shutdown.clone()));
    let settings = console::Settings {
        hosts: config.http.admin_hosts.clone(),
        plaintext: config.plaintext.allows(Channel::Console),
    };
    console::router(Arc::clone(control), health.clone(), series, settings)
}

async fn listener(
    inherited: Option<std::net::TcpListener>,
    address: SocketAddr,
    setting: &'static str,
) -> Result<TcpListener, StartError> {
    let opened = match inherited {
        Some(inherited) => TcpListener::from_std(inherited),
        None => TcpListener::bind(address).await,
    };
    opened.map_err(|source| StartError::Listen { address, setting, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn connections_leave_files_for_the_rest() {
        let config = Config::for_tools(&Sources::default()).unwrap();
        let most = |files_max, part| within(&config.http.connections, files_max, part).connections_max;
        assert_eq!((most(None, FOR_WEBHOOKS), most(Some(1 << 20), FOR_ADMIN)), (4096, 4096));
        assert_eq!((most(Some(1024), FOR_WEBHOOKS), most(Some(1024), FOR_ADMIN)), (512, 256));
        assert_eq!(most(Some(1), FOR_WEBHOOKS), 1, "a listener without any would answer nothing");
    }
}
