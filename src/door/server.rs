//! Accepting connections under bounds: how many, how large a head, how long a head may take.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::site::Site;
use crate::config::ConnectionBounds;
use crate::telemetry::metrics::Metrics;

/// Sent to a connection over the bound, before anything of it is read.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
content-type: application/problem+json\r\ncontent-length: 109\r\n\r\n\
{\"type\":\"about:blank\",\"title\":\"Too many requests at once. Try again later.\",\"status\":503,\"code\":\"overloaded\"}";

/// Pause after a failed accept (out of file handles, say), so that it is not tried in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// When draining begins, connections younger than this get the rest of it for their request: some round trips. Whoever
/// connected a moment ago is about to speak, and would be hung up on without an answer.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Serves until draining begins, then finishes the requests in hand and returns. Connections are counted in `metrics`, if
/// given.
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
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {
                observe(metrics.as_deref(), &connections);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= bounds.connections_max => {
                if let Some(metrics) = &metrics {
                    metrics.connections_refused.increment(1);
                }
                refuse(&stream);
            }
            Ok((stream, _)) => {
                // Small answers must not wait for more.
                drop(stream.set_nodelay(true));
                connections.spawn(connection(stream, Arc::clone(&site), (bounds, fresh_for), draining.clone()));
                observe(metrics.as_deref(), &connections);
            }
            Err(error) => accept_failed(&error).await,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    site: Arc<Site>,
    (bounds, fresh_for): (ConnectionBounds, Duration),
    draining: CancellationToken,
) {
    let site = &*site;
    let answer = service_fn(move |request| async move { Ok::<_, Infallible>(site.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.head_bytes_max)
        .max_headers(bounds.headers_max)
        .serve_connection(TokioIo::new(stream), answer);
    let fresh = tokio::time::sleep(fresh_for);
    tokio::pin!(connection, fresh);
    let last_moment = async {
        draining.cancelled().await;
        fresh.await;
    };
    let result = tokio::select! {
        result = &mut connection => result,
        () = last_moment => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Senders go away as they like; the request log has what became of their requests.
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}

/// Says why in one packet if the socket takes it at once; a sender that does not read is not waited for.
fn refuse(stream: &TcpStream) {
    drop(stream.try_write(TOO_MANY));
}

async fn accept_failed(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(error = error as &dyn std::error::Error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
fn observe(metrics: Option<&Metrics>, connections: &JoinSet<()>) {
    if let Some(metrics) = metrics {
        metrics.connections.set(connections.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What a client hears that connected before draining began and speaks after it.
    async fn heard(fresh_for: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, draining) = (Metrics::new(), CancellationToken::new());
        let minute = Duration::from_mins(1);
        let bounds =
            ConnectionBounds { connections_max: 9, head_bytes_max: 9000, headers_max: 9, head_timeout: minute };
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
                // Until it is hung up on.
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
