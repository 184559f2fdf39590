//! Listeners and their bounds.

use std::net::SocketAddr;
use std::time::Duration;

use super::reader::{Reader, bytes, duration, number, setting};
use crate::domain::secret::Secret;

/// Shortest admin token; shorter ones can be guessed.
const ADMIN_TOKEN_BYTES_MIN: usize = 16;

#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Address for webhooks and probes.
    pub listen: SocketAddr,
    /// Address for metrics and full health. The same as `listen` puts everything on one port.
    pub admin_listen: SocketAddr,
    /// Token of the admin listener's changes; without one there are none.
    pub admin_token: Option<Secret>,
    pub connections: ConnectionBounds,
    pub webhooks: WebhookBounds,
}

/// Bounds on the connections of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Most connections; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Largest head of a request, in bytes. A larger one is answered 431.
    pub head_bytes_max: usize,
    /// Most headers of a request. More are answered 431.
    pub headers_max: usize,
    /// From the first byte, or the end of the last request, to the end of a head: also how long an idle connection is kept.
    pub head_timeout: Duration,
}

/// Bounds on what the webhook paths have in hand at once.
#[derive(Clone, Copy, Debug)]
pub struct WebhookBounds {
    /// Most requests in hand; one more is answered 503.
    pub requests_max: usize,
    /// Most bytes of bodies in hand, all requests together; more are answered 503.
    pub body_bytes_in_hand_max: usize,
    /// From the head of a request to the end of its body.
    pub body_timeout: Duration,
    /// From the end of the body to the commit.
    pub append_timeout: Duration,
}

pub(super) fn read(r: &mut Reader) -> HttpConfig {
    let listen = r.or(setting("http.listen", "GATEWAY_LISTEN"), "0.0.0.0:8080", address);
    let (admin_listen, admin_token) = (admin_listen(r), admin_token(r));
    // In the order in which `config show` has them.
    let connections_max = r.or(setting("http.connections_max", "GATEWAY_CONNECTIONS_MAX"), "4096", number(1, 100_000));
    let requests_max = r.or(setting("http.requests_max", "GATEWAY_REQUESTS_MAX"), "2048", number(1, 100_000));
    let body_bytes_in_hand_max =
        r.or(setting("http.body_bytes_in_hand_max", "GATEWAY_BODY_BYTES_IN_HAND_MAX"), "32MiB", |text| {
            match bytes(text).map(usize::try_from) {
                // One body of the largest size must fit.
                Ok(Ok(bytes)) if (1 << 20..=1 << 30).contains(&bytes) => Ok(bytes),
                Ok(_) => Err("must be from 1MiB to 1GiB".to_owned()),
                Err(message) => Err(message),
            }
        });
    let head_bytes_max = r.or(setting("http.head_bytes_max", "GATEWAY_HEAD_BYTES_MAX"), "16384", number(8192, 1 << 20));
    let headers_max = r.or(setting("http.headers_max", "GATEWAY_HEADERS_MAX"), "64", number(8, 1000));
    let head_timeout = r.or(setting("http.head_timeout", "GATEWAY_HEAD_TIMEOUT"), "15s", duration);
    let body_timeout = r.or(setting("http.body_timeout", "GATEWAY_BODY_TIMEOUT"), "10s", duration);
    let append_timeout = r.or(setting("http.append_timeout", "GATEWAY_APPEND_TIMEOUT"), "10s", duration);
    let connections = ConnectionBounds { connections_max, head_bytes_max, headers_max, head_timeout };
    let webhooks = WebhookBounds { requests_max, body_bytes_in_hand_max, body_timeout, append_timeout };
    HttpConfig { listen, admin_listen, admin_token, connections, webhooks }
}

pub(super) fn admin_listen(r: &mut Reader) -> SocketAddr {
    r.or(setting("http.admin_listen", "GATEWAY_ADMIN_LISTEN"), "127.0.0.1:9090", address)
}

fn admin_token(r: &mut Reader) -> Option<Secret> {
    let names = setting("http.admin_token", "GATEWAY_ADMIN_TOKEN");
    let token = r.secret(names)?;
    if token.expose().trim().len() < ADMIN_TOKEN_BYTES_MIN {
        r.fault(names.variable, format!("must be at least {ADMIN_TOKEN_BYTES_MIN} characters, made at random"));
    }
    Some(token)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 0.0.0.0:8080 or [::1]:9090".to_owned())
}
