//! `/admin/reconcile`: orders a comparison with Stripe and tells how it goes, behind the token.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Json, Router};

use super::Control;
use super::audit::Act;
use super::body::read_body;
use super::who::Who;
use crate::door::Problem;
use crate::reconcile::{Handle, OrderRefused, ReconcileOrder, ReconcileStatus};

/// Longest body of an order, in bytes.
const BODY_BYTES_MAX: usize = 1024;

/// `/admin/reconcile`
pub(super) fn routes(control: Arc<Control>) -> Router {
    let methods = get(show).post(order).fallback(|| async { Problem::MethodNotAllowed { allow: "GET, POST" } });
    Router::new().route("/admin/reconcile", methods.with_state(control))
}

async fn show(State(control): State<Arc<Control>>) -> Result<Json<ReconcileStatus>, Problem> {
    Ok(Json(handle(&control)?.status()))
}

async fn order(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Result<(StatusCode, Json<ReconcileStatus>), Problem> {
    handle(&control)?;
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let order: ReconcileOrder = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    Ok((StatusCode::ACCEPTED, Json(control.compare(&who, order)?)))
}

impl Control {
    /// Orders a comparison with Stripe.
    ///
    /// # Errors
    /// [`Problem::NotConfigured`] without a Stripe key, [`Problem::Busy`] during another run.
    pub fn compare(&self, who: &Who, order: ReconcileOrder) -> Result<ReconcileStatus, Problem> {
        let status = handle(self)?.start(order).map_err(|error| match error {
            OrderRefused::Busy => Problem::Busy,
            OrderRefused::Ending => Problem::ShuttingDown,
        })?;
        let (by, peer, what, dry_run) = (&*who.name, who.peer(), order.what, order.dry_run);
        tracing::info!(target: "audit", action = "reconcile", who = by, peer, ?what, dry_run, "admin");
        let what = format!("{what:?}").to_lowercase();
        self.audit
            .note(who, Act { dry_run, ..Act::new("reconcile", what).with_result(format!("run {}", status.runs)) });
        Ok(status)
    }
}

fn handle(control: &Control) -> Result<&Handle, Problem> {
    control.reconcile.as_ref().ok_or(Problem::NotConfigured)
}
