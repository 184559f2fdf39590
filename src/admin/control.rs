//! What an operator with the token sees and changes. Every change leaves an audit line, and so does every look at bodies.
//!
//! Without a configured token none of these paths exists. Here is `/admin/route`, the emergency switch; the rest is in the
//! files beside.

mod codes;
mod desk;
mod entries;
mod operations;
mod orders;
mod state;
mod trial;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

pub use desk::RuleInForce;
pub use operations::{ENTRIES_NAMED_MAX, Operation, OperationRunner, OperationState, Operations};
pub use orders::{may_be_a_user, may_select};
pub use state::BreakerWish;
pub use trial::{Trial, TrialEnd, TrialRules, TrialSubject};

use super::Operators;
use super::audit::{Act, Audit};
use super::body::read_body;
use super::who::Who;
use crate::admin::desk::Desk;
use crate::bees::roster::Roster;
use crate::dispatch::Context;
use crate::dispatch::pause::Pause;
use crate::dispatch::switch::Wish;
use crate::domain::breaker::Breaker;
use crate::door::Problem;
use crate::ledger::report::StateOfRecord;
use crate::reconcile::{Handle, Refetcher};

/// Longest body of a change, in bytes.
const BODY_BYTES_MAX: usize = 1024;

/// The parts that an operator with the token may change.
#[derive(Clone, Debug)]
pub struct Control {
    pub operators: Operators,
    pub context: Context,
    pub ledger: Arc<dyn StateOfRecord>,
    pub pause: Pause,
    /// The circuit breakers, by name; none without a colony.
    pub breakers: Vec<(&'static str, Breaker)>,
    pub bees: Roster,
    /// Compares with Stripe; `None` without a Stripe key.
    pub reconcile: Option<Handle>,
    /// Fetches damaged events again; `None` without a Stripe key.
    pub refetch: Option<Refetcher>,
    /// Orders that continue in the gateway, even if no client watches.
    pub operations: Operations,
    /// What people did.
    pub audit: Audit,
    /// The gateway's set-up.
    pub desk: Desk,
}

#[derive(Serialize)]
struct RouteView {
    wish: &'static str,
    in_force: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteChange {
    wish: WishText,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WishText {
    Auto,
    Direct,
}

/// `/admin/route`
pub(super) fn routes(control: Arc<Control>) -> Router {
    let methods = get(show).put(change).fallback(|| async { Problem::MethodNotAllowed { allow: "GET, PUT" } });
    Router::new()
        .route("/admin/route", methods.with_state(Arc::clone(&control)))
        .merge(codes::routes(Arc::clone(&control)))
        .merge(desk::routes(Arc::clone(&control)))
        .merge(entries::routes(Arc::clone(&control)))
        .merge(operations::routes(Arc::clone(&control)))
        .merge(state::routes(control))
}

async fn show(State(control): State<Arc<Control>>) -> Json<RouteView> {
    Json(control.view())
}

async fn change(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<Json<RouteView>, Problem> {
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let change: RouteChange = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    let wish = match change.wish {
        WishText::Auto => Wish::Auto,
        WishText::Direct => Wish::Direct,
    };
    control.turn_route(&who, wish);
    Ok(Json(control.view()))
}

impl Control {
    fn view(&self) -> RouteView {
        RouteView { wish: name(self.context.switch.get()), in_force: self.context.in_force.get().as_str() }
    }

    /// Throws the switch between the routes. Returns whether it was in another position.
    pub fn turn_route(&self, who: &Who, wish: Wish) -> bool {
        let changed = self.context.switch.set(wish);
        let (by, peer) = (&*who.name, who.peer());
        tracing::info!(target: "audit", action = "route", who = by, peer, wish = name(wish), changed, "admin");
        self.audit.note(who, Act::new("route", name(wish)).with_result(if changed { "changed" } else { "as before" }));
        changed
    }
}

const fn name(wish: Wish) -> &'static str {
    match wish {
        Wish::Auto => "auto",
        Wish::Direct => "direct",
    }
}
