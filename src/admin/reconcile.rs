//! `/admin/reconcile`: orders a comparison with Stripe and tells how it goes, behind the token.
//!
//! What does the work is handed in behind a trait: the request path knows neither Stripe's API nor the ledger.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};

use super::Operator;
use crate::door::Problem;
use crate::reconcile::{Order, Status};

/// Longest body of an order, in bytes.
const BODY_BYTES_MAX: usize = 1024;

/// Takes orders and tells how they go.
pub trait Reconciling: Send + Sync + fmt::Debug {
    /// Orders a run; refused with [`Problem::Busy`] while one is under way.
    fn start(&self, order: Order) -> Result<Status, Problem>;

    /// The run under way or the last one.
    fn status(&self) -> Status;
}

/// What the path needs.
#[derive(Clone, Debug)]
pub struct ReconcileControl {
    /// Who may.
    pub operator: Operator,
    /// Does it; nobody without a Stripe key.
    pub work: Option<Arc<dyn Reconciling>>,
}

/// `/admin/reconcile`
pub(super) fn routes(control: ReconcileControl) -> Router {
    let methods = get(show).post(order).fallback(|| async { Problem::MethodNotAllowed { allow: "GET, POST" } });
    Router::new().route("/admin/reconcile", methods.with_state(control))
}

async fn show(State(control): State<ReconcileControl>, headers: HeaderMap) -> Result<Json<Status>, Problem> {
    control.operator.authorize(&headers)?;
    Ok(Json(control.work()?.status()))
}

async fn order(
    State(control): State<ReconcileControl>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Status>), Problem> {
    control.operator.authorize(&headers)?;
    let work = control.work()?;
    let body = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| Problem::InvalidRequest)?;
    let order: Order = serde_json::from_slice(&body).map_err(|_| Problem::InvalidRequest)?;
    let status = work.start(order)?;
    tracing::info!(target: "audit", action = "reconcile", what = ?order.what, dry_run = order.dry_run, "admin");
    Ok((StatusCode::ACCEPTED, Json(status)))
}

impl ReconcileControl {
    fn work(&self) -> Result<&dyn Reconciling, Problem> {
        self.work.as_deref().ok_or(Problem::NotConfigured)
    }
}
