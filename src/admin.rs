//! What is asked of a gateway beside deliveries: health, metrics, and what an operator with the token orders.
//!
//! Without a configured token the paths of orders do not exist.

mod control;
mod erase;
mod health;
mod operator;
mod reconcile;
pub mod wire;
mod worker;

use std::sync::Arc;

use axum::Router;

pub use control::Control;
pub use health::AdminState;
pub use operator::Operator;
pub use reconcile::{ReconcileControl, Reconciling};
pub use worker::WorkerState;

use crate::door::{RequestLog, finish};

/// What the public listener serves beside deliveries: the probes, which tell a status only.
pub fn public_router(state: AdminState) -> Router {
    let log = request_log(&state);
    finish(health::status_routes(state), log)
}

/// What the admin listener serves: metrics, the full health, and with a token the operator's switch.
pub fn admin_router(state: AdminState, controls: Controls) -> Router {
    let log = RequestLog { webhooks: false, ..request_log(&state) };
    finish(admin_routes(state, controls), log)
}

/// What a process that only works serves: metrics and the full health.
pub fn worker_router(state: WorkerState) -> Router {
    let log = RequestLog { clock: state.clock.clone(), metrics: Arc::clone(&state.metrics), webhooks: false };
    finish(worker::routes(state), log)
}

/// Everything but deliveries on one address, for when public and admin listener are the same.
pub fn combined_router(state: AdminState, controls: Controls) -> Router {
    let log = request_log(&state);
    finish(admin_routes(state, controls), log)
}

/// What an operator with the token may do; nothing of it is there without a token.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    /// Entries, the route, and what stands in their way.
    pub control: Option<Control>,
    /// Comparing with Stripe.
    pub reconcile: Option<ReconcileControl>,
}

fn admin_routes(state: AdminState, controls: Controls) -> Router {
    let mut router = health::health_routes(state.clone()).merge(health::metrics_routes(state));
    if let Some(control) = controls.control {
        router = router.merge(erase::routes(control.operator.clone(), control.inbox.clone()));
        router = router.merge(control::routes(control));
    }
    if let Some(control) = controls.reconcile {
        router = router.merge(reconcile::routes(control));
    }
    router
}

fn request_log(state: &AdminState) -> RequestLog {
    RequestLog { clock: state.clock.clone(), metrics: Arc::clone(&state.metrics), webhooks: true }
}
