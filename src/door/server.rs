//! Accepting connections under bounds: how many, how many of one sender, how large a head, how long a head may take, how long an
//! answer may wait for its reader. Where the system gives fewer handles than the bound, idle connections make room as at the bound.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::connections::{Admission, Connections, State};
use super::peer::Peer;
use super::site::Site;
use super::stall::{STALL_MAX, Stalling};
use crate::config::ConnectionBounds;
use crate::telemetry::metrics::Metrics;

/// The answer to a connection that finds all others busy, before anything is read from it.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
content-type: application/problem+json\r\ncontent-length: 109\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Too many requests at once. Try again later.\",\"status\":503,\"code\":\"overloaded\"}";

/// Pause after a failed accept (out of file handles, say), to avoid a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One in so many failures has a line in the log, the first one among them: two a minute while nothing is accepted.
const ACCEPT_LINE_EVERY: u32 = 600;

/// When draining begins, connections younger than this get the rest of it for their request: some round trips. A client
/// that connected a moment ago is about to send, and would otherwise be cut off without an answer.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Serves until draining begins, then finishes the requests in hand and returns. Counts connections in `metrics`, if given.
pub async fn serve(
    listener: TcpListener,
    site: impl Into<Site>,
    bounds: ConnectionBounds,
    metrics: Option<Arc<Metrics>>,
    draining: CancellationToken,
) -> Result<(), Infallible> {
    serve_with(listener, site.into(), (bounds, FRESH_FOR), metrics, draining).await;
    Ok(())
}

async fn serve_with(
    listener: TcpListener,
    site: Site,
    (bounds, fresh_for): (ConnectionBounds, Duration),
    metrics: Option<Arc<Metrics>>,
    draining: CancellationToken,
) {
    let site = Arc::new(site);
    let bounds = Arc::new(bounds);
    let (mut tasks, mut failed) = (JoinSet::new(), 0);
    let mut connections = Connections::new(bounds.connections_max, bounds.peer_share.of(bounds.connections_max));
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => {
                connections.ended(task(&ended));
                observe(metrics.as_deref(), &connections);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Peer::connected(SocketAddr::ip(&address), &bounds.proxies);
                let Some(state) = admit(&mut connections, peer, metrics.as_deref()) else {
                    refuse(&stream);
                    continue;
                };
                // Small answers must not wait for more.
                drop(stream.set_nodelay(true));
                let parts = (Arc::clone(&site), Arc::clone(&bounds), Arc::clone(&state));
                let handle = tasks.spawn(connection(stream, peer, parts, fresh_for, draining.clone()));
                connections.enter(handle.id(), peer, state);
                observe(metrics.as_deref(), &connections);
            }
            // Without a free handle, the system says so even if no connection waits.
            Err(error) if is_out_of_files(&error) && !does_wait(&listener) => tokio::time::sleep(ACCEPT_PAUSE).await,
            Err(error) if is_out_of_files(&error) && connections.make_room() => {
                if let Some(metrics) = metrics.as_deref() {
                    metrics.connections_displaced.increment(1);
                }
                // The handle is free once the task has ended, which is at once.
                if let Ok(Some(ended)) = tokio::time::timeout(ACCEPT_PAUSE, tasks.join_next_with_id()).await {
                    connections.ended(task(&ended));
                }
            }
            Err(error) => accept_failed(&error, &mut failed).await,
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

fn task(ended: &Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

fn admit(connections: &mut Connections, peer: Peer, metrics: Option<&Metrics>) -> Option<Arc<State>> {
    match connections.admit(peer) {
        Admission::Admitted(state) => Some(state),
        Admission::InPlaceOfAnother(state) => {
            if let Some(metrics) = metrics {
                metrics.connections_displaced.increment(1);
            }
            Some(state)
        }
        Admission::Refused => {
            if let Some(metrics) = metrics {
                metrics.connections_refused.increment(1);
            }
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    (site, bounds, state): (Arc<Site>, Arc<ConnectionBounds>, Arc<State>),
    fresh_for: Duration,
    draining: CancellationToken,
) {
    let (site, bounds, state) = (&*site, &*bounds, &*state);
    let answer = service_fn(move |request| async move {
        state.busy();
        let is_post = request.method() == Method::POST;
        let response = site.answer(request, peer, &bounds.proxies).await;
        // On the listener that floods reach, only a signed delivery gets this answer.
        state.idle(is_post && response.status() == StatusCode::OK);
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes_max)
        .max_headers(bounds.headers_max)
        .serve_connection(TokioIo::new(Stalling::new(stream, STALL_MAX)), answer);
    let fresh = tokio::time::sleep(fresh_for);
    tokio::pin!(connection, fresh);
    let last_moment = async {
        draining.cancelled().await;
        fresh.await;
    };
    let result = tokio::select! {
        // Data that has arrived is read before the connection makes room.
        biased;
        result = &mut connection => result,
        () = state.displaced() => return,
        () = last_moment => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Senders disconnect as they like; the request log has the outcomes of their requests.
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

/// Says why in one packet if the socket takes it at once. A sender that does not read is not waited for.
fn refuse(stream: &TcpStream) {
    drop(stream.try_write(TOO_MANY));
}

async fn accept_failed(error: &io::Error, failed: &mut u32) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        if failed.is_multiple_of(ACCEPT_LINE_EVERY) {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, failed, "cannot accept connections");
        }
        *failed = failed.wrapping_add(1);
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether a connection waits to be accepted.
fn does_wait(listener: &TcpListener) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut listeners = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listeners, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Whether this process, or the system, has as many files open as it may.
fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|number| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&number))
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn observe(metrics: Option<&Metrics>, connections: &Connections) {
    if let Some(metrics) = metrics {
        metrics.connections.set(connections.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::Share;
    use crate::domain::network::Networks;

    /// What a client receives if it connected before draining began and sends afterwards.
    async fn heard(fresh_for: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, draining) = (Metrics::new(), CancellationToken::new());
        let minute = Duration::from_mins(1);
        let bounds = ConnectionBounds {
            connections_max: 9,
            head_bytes_max: 9000,
            headers_max: 9,
            head_timeout: minute,
            peer_share: Share::percent(100),
            proxies: Networks::default(),
        };
        let router = Router::new().fallback(|| async { "here" });
        let served =
            serve_with(listener, router.into(), (bounds, fresh_for), Some(Arc::clone(&metrics)), draining.clone());
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            while !metrics.render().contains("colony_gateway_connections 1") {
                tokio::task::yield_now().await;
            }
            draining.cancel();
            if fresh_for.is_zero() {
                // Until the server closes the connection.
                stream.readable().await.unwrap();
            }
            drop(stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await);
            let mut text = String::new();
            drop(stream.read_to_string(&mut text).await);
            text
        };
        tokio::join!(served, client).1
    }

    #[tokio::test]
    async fn who_connected_a_moment_before_the_end_is_heard_out() {
        let answer = heard(Duration::from_mins(1)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        assert_eq!(heard(Duration::ZERO).await, "", "nobody is waited for without bound");
    }

    #[test]
    fn the_canned_answer_has_the_length_it_says() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(document["code"], "overloaded");
    }
}
