//! What is asked of a process beside deliveries: health, metrics, and what an operator with the token orders.
//!
//! Without a configured token the paths of orders do not exist.

mod control;
mod erase;
mod health;
mod operator;
mod reconcile;
pub mod wire;

use std::sync::Arc;

use axum::Router;

pub use control::Control;
pub use health::{Health, Receiving};
pub use operator::Operator;

use crate::door::{RequestLog, finish};

/// What the public listener serves beside deliveries: the probes, which tell a status only.
pub fn public_router(health: Health) -> Router {
    let log = RequestLog { instruments: health.instruments.clone(), webhooks: true };
    finish(health::status_routes(health), log)
}

/// What the admin listener serves: metrics, the full health, and with a token what an operator orders.
pub fn admin_router(health: Health, control: Option<Control>) -> Router {
    router(health, control, false)
}

/// Everything but deliveries on one address, for when public and admin listener are the same.
pub fn combined_router(health: Health, control: Option<Control>) -> Router {
    router(health, control, true)
}

fn router(health: Health, control: Option<Control>, webhooks: bool) -> Router {
    let log = RequestLog { instruments: health.instruments.clone(), webhooks };
    let mut router = health::full_routes(health);
    if let Some(control) = control.map(Arc::new) {
        router = router
            .merge(control::routes(Arc::clone(&control)))
            .merge(erase::routes(Arc::clone(&control)))
            .merge(reconcile::routes(control));
    }
    finish(router, log)
}
