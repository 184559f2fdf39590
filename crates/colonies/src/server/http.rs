//! The embedded server's HTTP: loopback connections, bounded and timed, in front of [`dispatch`].
//!
//! `POST /api` and `GET /health`; anything else is 404, in the real server's words and content types.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::Shared;
use super::answer::Answer;
use super::dispatch;
use super::refusal::Refusal;
use crate::messages::ReplyEnvelope;

/// Content type of every reply.
const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Pause after a failed accept, which happens when too many files are open for a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and serves connections until the server stops. Then it gives open connections a grace period to finish.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/api", post(api))
        .route("/health", get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .with_state(Arc::clone(&shared));
    let places = Arc::new(Semaphore::new(shared.bounds.connections_max));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accept(&listener, &places) => match accepted {
                Ok(stream) => {
                    connections.spawn(connection(stream, router.clone(), Arc::clone(&shared), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "the embedded Colonies server could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Dropping the set cuts off the connections that are left after the grace period.
    let _ =
        tokio::time::timeout(shared.bounds.stop_wait_max, async { while connections.join_next().await.is_some() {} })
            .await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, std::io::Result<TcpStream>) {
    // The semaphore is never closed, so a permit always comes in the end.
    let place = Arc::clone(places).acquire_owned().await.ok();
    (place, listener.accept().await.map(|(stream, _)| stream))
}

async fn connection(stream: TcpStream, router: Router, shared: Arc<Shared>, _place: Option<OwnedSemaphorePermit>) {
    // Without this, a short reply waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(shared.bounds.headers_wait_max);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the embedded Colonies server broke");
    }
}

async fn health() -> Response {
    text(StatusCode::OK, CONTENT_TYPE, Body::empty())
}

async fn not_found() -> Response {
    text(StatusCode::NOT_FOUND, "text/plain", Body::from("404 page not found"))
}

async fn api(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let answer = match body(&shared, request).await {
        Ok(body) => dispatch::answer(&shared, &body).await,
        Err(refusal) => Err(refusal),
    };
    let reply = match answer {
        Ok(Answer::Reply(envelope)) => Ok((200, envelope)),
        Ok(Answer::Nothing) => return text(StatusCode::OK, CONTENT_TYPE, Body::empty()),
        Err(refusal) => {
            ReplyEnvelope::failure(refusal.status, refusal.message).map(|sealed| (sealed.status, sealed.envelope))
        }
    };
    let written = reply.and_then(|(status, envelope)| Ok((status, serde_json::to_vec(&envelope)?)));
    match written {
        Ok((status, json)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            text(status, CONTENT_TYPE, Body::from(json))
        }
        Err(error) => {
            tracing::error!(%error, "an answer of the embedded Colonies server could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn body(shared: &Shared, request: Request) -> Result<Bytes, Refusal> {
    // The semaphore is never closed.
    let _permit = shared.bodies.acquire().await;
    let bound = shared.bounds.body_bytes_max;
    let read = axum::body::to_bytes(request.into_body(), bound);
    match tokio::time::timeout(shared.bounds.body_wait_max, read).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let is_too_long = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
            if is_too_long {
                Err(Refusal { status: 413, ..Refusal::bound("bytes of one request", bound) })
            } else {
                Err(Refusal::bad("The request broke off"))
            }
        }
        Err(_) => Err(Refusal::new(408, "The request did not arrive in time")),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
