//! What is asked of a process beside deliveries: health, metrics, and what an operator with the token orders.
//!
//! Without a configured operator the paths of orders do not exist.

mod access;
mod asked;
mod attempts;
mod audit;
mod body;
mod codes;
mod control;
mod desk;
mod erase;
mod health;
pub mod host;
mod operator;
mod people;
mod reconcile;
mod turn;
mod who;
pub mod wire;

use std::sync::Arc;

use axum::Router;

pub use asked::asked;
pub use audit::{Act, Audit, AuditKeeper};
pub use body::read_body;
pub use codes::LoginCodes;
pub use control::{
    BreakerWish, Control, ENTRIES_NAMED_MAX, Operation, OperationRunner, OperationState, Operations, RuleInForce,
    Trial, TrialEnd, TrialRules, TrialSubject, may_be_a_user, may_select,
};
pub use desk::{CheckRun, Checked, Checks, Desk, ExecutorLine, Executors, KeyLine, ProcessLine, StripeEndpoint};
pub use health::{Health, Receiving};
pub use operator::Operators;
pub use turn::Turn;
pub use who::{SHARED as SHARED_OPERATOR, Via, Who};

use crate::door::{Problem, RequestLog, finish};
pub use crate::stripe::api::API_VERSION as STRIPE_API_VERSION;

/// The public listener's routes besides deliveries: the probes, which return only a status.
pub fn public_router(health: Health) -> Router {
    let log = RequestLog::new(health.instruments.clone(), true);
    finish(health::status_routes(health), log)
}

/// The admin listener's routes: metrics, the full health, and with a token the operator's orders. It answers under private
/// names and under `hosts`. `console` has the pages, if there are any.
pub fn admin_router(health: Health, control: Option<Arc<Control>>, hosts: &[String], console: Router) -> Router {
    let log = RequestLog::new(health.instruments.clone(), false);
    let named = axum::middleware::from_fn_with_state(Arc::from(hosts), host::layer);
    finish(routes(health, control).merge(console).fallback(nowhere).layer(named), log)
}

/// Everything but deliveries, if the public and the admin listener are the same.
pub fn combined_router(health: Health, control: Option<Arc<Control>>, console: Router) -> Router {
    let log = RequestLog::new(health.instruments.clone(), true);
    finish(routes(health, control).merge(console), log)
}

async fn nowhere() -> Problem {
    Problem::NotFound
}

fn routes(health: Health, control: Option<Arc<Control>>) -> Router {
    let mut router = health::full_routes(health);
    if let Some(control) = control {
        let access = axum::middleware::from_fn_with_state(Arc::clone(&control), access::layer);
        let behind_a_token = control::routes(Arc::clone(&control))
            .merge(erase::routes(Arc::clone(&control)))
            .merge(people::routes(Arc::clone(&control)))
            .merge(reconcile::routes(control));
        router = router.merge(behind_a_token.layer(access));
    }
    router
}
