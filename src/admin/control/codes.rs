//! `/admin/console/codes`: a code for the console, for the operator whose token it is.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Extension, Json, Router};

use super::Control;
use crate::admin::audit::Act;
use crate::admin::who::Who;
use crate::admin::wire::LoginCode;
use crate::door::Problem;

/// `/admin/console/codes`
pub(super) fn routes(control: Arc<Control>) -> Router {
    let methods = post(issue).fallback(|| async { Problem::MethodNotAllowed { allow: "POST" } });
    Router::new().route("/admin/console/codes", methods.with_state(control))
}

async fn issue(
    State(control): State<Arc<Control>>,
    Extension(who): Extension<Who>,
) -> Result<Json<LoginCode>, Problem> {
    let code = control.operators.codes.issue(Arc::clone(&who.name)).ok_or(Problem::Internal)?;
    let (by, peer) = (&*who.name, who.peer());
    tracing::info!(target: "audit", action = "console_code", who = by, peer, "admin");
    control.audit.note(&who, Act::new("console_code", ""));
    Ok(Json(code))
}
