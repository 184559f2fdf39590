//! The console: pages for operators, rendered here, on the admin listener. `/console/…`
//!
//! Guarantees: a GET changes nothing; only an operator, not a viewer, can change something, and only from a page of this
//! console; every page is complete without JavaScript and loads nothing from elsewhere; customers' text is escaped everywhere.
//! It gives the same orders as the admin API, by the same calls.

mod assets;
mod audit;
mod body;
mod chart;
mod colony;
mod csv;
mod days;
mod entries;
mod entry;
mod failure;
mod form;
mod frame;
mod gate;
mod guardian;
mod headers;
mod html;
mod keys;
mod live;
mod login;
mod making;
mod order;
mod overview;
mod person;
mod problems;
mod reconcile;
mod revenue;
mod search;
mod series;
mod session;
mod settings;
mod subscriptions;
mod theme;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::admin::{Control, Health, host};
use entry::Outlines;
use failure::Failure;
pub use series::Series;
use session::Sessions;

/// The console's part of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names under which it answers, besides those that no public registry gives out.
    pub hosts: Vec<String>,
    /// Whether it may be used over plain HTTP under names other than the machine's own.
    pub plaintext: bool,
}

/// Everything that the pages need.
#[derive(Clone, Debug)]
struct Console {
    control: Arc<Control>,
    health: Health,
    sessions: Sessions,
    series: Series,
    outlines: Outlines,
    plaintext: bool,
}

/// All pages, with their guards.
pub fn router(control: Arc<Control>, health: Health, series: Series, settings: Settings) -> Router {
    let sessions = Sessions::new(control.context.inbox.clock().clone());
    let console =
        Console { control, health, sessions, series, outlines: Outlines::default(), plaintext: settings.plaintext };
    let nowhere = || async { Failure::from(crate::door::Problem::NotFound) };
    let pages = Router::new()
        .route(overview::PATH, get(overview::show))
        .route("/console/", get(overview::show))
        .route("/console/entries", get(entries::list))
        .route("/console/entries.csv", get(entries::export))
        .route("/console/entries/{id}", get(entry::show))
        .route("/console/entries/{id}/reveal", post(entry::reveal))
        .route("/console/problems", get(problems::show))
        .route("/console/people/{id}", get(person::show))
        .route("/console/people/{id}/reveal", post(person::reveal))
        .route(revenue::PATH, get(revenue::show))
        .route("/console/revenue.csv", get(revenue::export))
        .route(subscriptions::PATH, get(subscriptions::show))
        .route("/console/subscriptions.csv", get(subscriptions::export))
        .route("/console/orders", get(order::preview).post(order::give))
        .route("/console/operations", get(order::operations))
        .route("/console/operations/{id}", get(order::operation))
        .route("/console/operations/{id}/stop", post(order::stop))
        .route("/console/colony", get(colony::show))
        .route("/console/colony/route", post(colony::turn_route))
        .route("/console/colony/resume", post(colony::resume))
        .route("/console/colony/breakers/{name}", post(colony::turn_breaker))
        .route("/console/reconcile", get(reconcile::show).post(reconcile::order))
        .route("/console/shadow", get(reconcile::shadow))
        .route("/console/guardian", get(guardian::show))
        .route("/console/guardian/try", post(guardian::attempt))
        .route("/console/keys", get(keys::show))
        .route("/console/settings", get(settings::show))
        .route("/console/settings/check", post(settings::check))
        .route("/console/audit", get(audit::show))
        .route(gate::SEARCH, get(search::find))
        .route("/console/theme", post(frame::set_theme))
        .route("/console/logout", post(login::logout))
        .route("/console/logout/all", post(login::logout_all))
        .route("/console/{*rest}", get(nowhere).post(nowhere))
        .layer(axum::middleware::from_fn_with_state(console.clone(), gate::layer));
    let open = Router::new()
        .route("/console/login", get(login::show).post(login::login))
        .layer(axum::middleware::from_fn(gate::own_pages_only));
    let hosts: Arc<[String]> = settings.hosts.into();
    Router::new()
        .merge(pages)
        .merge(open)
        .with_state(console)
        .route("/console/assets/{hash}/{name}", get(assets::serve))
        .layer(axum::middleware::from_fn(headers::layer))
        .layer(axum::middleware::from_fn_with_state(hosts, host::layer))
}
