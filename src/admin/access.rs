//! The way to every path behind a token: a viewer gets what changes nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::control::Control;
use crate::config::OperatorRole;
use crate::door::{Peer, Problem};

/// Path for login codes of the console.
const CODES_PATH: &str = "/admin/console/codes";

/// Guards every path behind a token. A viewer may only make requests that change nothing.
pub(super) async fn layer(State(control): State<Arc<Control>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let who = match control.operators.authorize(request.headers(), peer).await {
        Ok(who) => who,
        Err(problem) => return problem.into_response(),
    };
    // A login code changes nothing, and its holder may do no more than the token allows.
    let looks = matches!(*request.method(), Method::GET | Method::HEAD) || request.uri().path() == CODES_PATH;
    if !looks && who.role != OperatorRole::Operator {
        control.audit.refused(&who, &request);
        return Problem::Forbidden.into_response();
    }
    request.extensions_mut().insert(who);
    next.run(request).await
}
