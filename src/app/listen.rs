//! The listeners: inherited or opened here, and what they serve.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use super::{StartError, signatures};
use crate::admin::{self, Control, Health, Receiving};
use crate::config::{Channel, Config, ConsolePlace};
use crate::console::{self, Series};
use crate::dispatch::Context;
use crate::door::{self, Webhooks};
use crate::lifecycle::{Inherited, Readiness, Shutdown, Supervisor};

/// File that keeps the charts of the console.
const SERIES_FILE: &str = "console-series";

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
        let (bounds, endpoints) = (config.http.connections.clone(), config.endpoints.clone());
        signatures::start(endpoints.clone(), &health.instruments, supervisor, shutdown);
        let is_shared = self.admin.is_none();
        let console = control.as_ref().filter(|_| is_console_on(config.http.console, is_shared));
        let console = console.map(|control| pages(config, &health, control, (&mut *supervisor, shutdown)));
        let console = console.unwrap_or_default();
        let others = match self.admin {
            Some(listener) => {
                let router = admin::admin_router(health.clone(), control, &config.http.admin_hosts, console);
                let serve = door::serve(listener, router, bounds.clone(), None, shutdown.token().clone());
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
