//! Listeners and their bounds.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::operators::{self, ADMIN_TOKEN_BYTES_MIN, OperatorConfig};
use super::parse::{bytes, duration, number};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::limits::{SMALL_BODY_BYTES_MAX, WEBHOOK_BODY_BYTES_MAX};
use crate::domain::network::Networks;
use crate::domain::secret::Secret;

const LISTEN: Setting = setting("http.listen", "GATEWAY_LISTEN", "Address for webhooks and probes.");
const CONNECTIONS_MAX: Setting = setting(
    "http.connections_max",
    "GATEWAY_CONNECTIONS_MAX",
    "Most connections of a listener. One more replaces the oldest idle one.",
)
.takes(Form::Integer { min: 1, max: 100_000 });
const REQUESTS_MAX: Setting =
    setting("http.requests_max", "GATEWAY_REQUESTS_MAX", "Most webhook requests at a time. One more gets 503.")
        .takes(Form::Integer { min: 1, max: 100_000 });
const BODY_BYTES_IN_HAND_MAX: Setting = setting(
    "http.body_bytes_in_hand_max",
    "GATEWAY_BODY_BYTES_IN_HAND_MAX",
    "Most bytes of large bodies at a time, over all requests: up to 1GiB. Beyond it, requests get 503.",
)
.takes(Form::Bytes);
const SMALL_BODIES_IN_HAND_MAX: Setting = setting(
    "http.small_bodies_in_hand_max",
    "GATEWAY_SMALL_BODIES_IN_HAND_MAX",
    "Most bytes of small bodies at a time, which large bodies never use: up to 1GiB.",
)
.takes(Form::Bytes);
const HEAD_BYTES_MAX: Setting = setting(
    "http.head_bytes_max",
    "GATEWAY_HEAD_BYTES_MAX",
    "Largest head of a request, in bytes. A larger one gets 431.",
)
.takes(Form::Integer { min: 8192, max: 1 << 20 });
const HEADERS_MAX: Setting =
    setting("http.headers_max", "GATEWAY_HEADERS_MAX", "Most headers of a request. More get 431.")
        .takes(Form::Integer { min: 8, max: 1000 });
const HEAD_TIMEOUT: Setting = setting(
    "http.head_timeout",
    "GATEWAY_HEAD_TIMEOUT",
    "Longest time for the head of a request, and how long an idle connection is kept.",
)
.takes(Form::Duration);
const BODY_TIMEOUT: Setting = setting(
    "http.body_timeout",
    "GATEWAY_BODY_TIMEOUT",
    "Longest time from the head of a request to the end of its body.",
)
.takes(Form::Duration);
const BODY_STALL_TIMEOUT: Setting = setting(
    "http.body_stall_timeout",
    "GATEWAY_BODY_STALL_TIMEOUT",
    "Longest time in which a body grows by less than 4KiB.",
)
.takes(Form::Duration);
const APPEND_TIMEOUT: Setting = setting(
    "http.append_timeout",
    "GATEWAY_APPEND_TIMEOUT",
    "Longest wait for the commit of a delivery, after which it gets 503. Must be longer than `inbox.busy_timeout`.",
)
.takes(Form::Duration);
const PEER_SHARE: Setting = setting(
    "http.peer_share",
    "GATEWAY_PEER_SHARE",
    "Share of connections, requests and bytes that one sender may use, in percent.",
)
.takes(Form::Integer { min: 1, max: 100 });
const TRUSTED_PROXIES: Setting = setting(
    "http.trusted_proxies",
    "GATEWAY_TRUSTED_PROXIES",
    "Proxies whose X-Forwarded-For the gateway believes: addresses and networks, separated by commas, `loopback`, \
     `private` or `none`.",
);
const WEBHOOK_PEERS: Setting = setting(
    "http.webhook_peers",
    "GATEWAY_WEBHOOK_PEERS",
    "Addresses and networks that may send webhooks, separated by commas. Unset: all.",
);
const ADMIN_HOSTS: Setting = setting(
    "http.admin_hosts",
    "GATEWAY_ADMIN_HOSTS",
    "Host names under which the admin listener answers, separated by commas, besides names that no public registry \
     gives out.",
);
const CONSOLE: Setting = setting(
    "http.console",
    "GATEWAY_CONSOLE",
    "Where the gateway serves the console: `auto` on a separate admin listener, `on` also if webhooks use the same \
     address.",
)
.takes(Form::Words(&["auto", "on", "off"]));
const CONSOLE_URL: Setting = setting(
    "http.console_url",
    "GATEWAY_CONSOLE_URL",
    "Address at which people open the console, such as `https://gateway.example.com`. Messages, alerts and log lines then \
     link to the page in question.",
);
const ADMIN_LISTEN: Setting = setting(
    "http.admin_listen",
    "GATEWAY_ADMIN_LISTEN",
    "Address for metrics, full health, the admin API and the console. The same as `http.listen` puts \
     everything on one port.",
);
const ADMIN_TOKEN: Setting = setting(
    "http.admin_token",
    "GATEWAY_ADMIN_TOKEN",
    "Token for everything that changes or reveals something: at least 16 random characters.",
);

#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Address for webhooks and probes.
    pub listen: SocketAddr,
    /// Address for metrics and full health. The same as `listen` puts everything on one port.
    pub admin_listen: SocketAddr,
    /// One token that all operators share.
    pub admin_token: Option<Secret>,
    /// Operators by name. Without any, and without the shared token, the admin listener takes no orders.
    pub operators: Vec<OperatorConfig>,
    /// Names under which the admin listener may be asked for, beside those that no public registry gives out.
    pub admin_hosts: Vec<String>,
    /// Where the console is served; never without operators.
    pub console: ConsolePlace,
    /// Where people open it; without it nothing links to it.
    pub console_url: Option<ConsoleUrl>,
    pub connections: ConnectionBounds,
    pub webhooks: WebhookBounds,
    /// Who may send webhooks; `None`: everybody.
    pub webhook_peers: Option<Networks>,
}

/// Address under which people open the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleUrl(String);

impl ConsoleUrl {
    /// Without a final slash, and without `/console`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A link to a page: `/console/keys`.
    pub fn link(&self, page: &str) -> String {
        format!("{}{page}", self.0)
    }
}

impl FromStr for ConsoleUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let base = text.trim_end_matches('/');
        let base = base.strip_suffix("/console").unwrap_or(base);
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']) => Ok(Self(base.to_owned())),
            _ => Err("must be an address such as https://gateway.example.com, without user and query".to_owned()),
        }
    }
}

/// Where the console is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsolePlace {
    /// On an admin listener of its own, and on none that webhooks come in by.
    Auto,
    /// On whatever the admin listener is.
    On,
    Off,
}

impl FromStr for ConsolePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("must be auto, on or off".to_owned()),
        }
    }
}

/// What one sender may have of a bound, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(usize);

impl Share {
    /// From 1 to 100.
    pub const fn percent(percent: usize) -> Self {
        Self(percent)
    }

    /// This share of a bound, but at least one.
    pub fn of(self, bound: usize) -> usize {
        (bound.saturating_mul(self.0) / 100).max(1)
    }
}

/// Bounds on the connections of a listener.
#[derive(Clone, Debug)]
pub struct ConnectionBounds {
    /// Most connections. For one more the oldest idle one is closed; when all are busy, it is answered 503 and closed.
    pub connections_max: usize,
    /// Largest head of a request, in bytes. A larger one gets 431.
    pub head_bytes_max: usize,
    /// Most headers of a request. More get 431.
    pub headers_max: usize,
    /// From the first byte, or the end of the last request, to the end of a head: also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// What one sender may have of connections, requests and bytes in hand.
    pub peer_share: Share,
    /// Proxies that name the sender. They are no sender themselves, so that no share binds them.
    pub proxies: Networks,
}

/// Bounds on what the webhook paths have in hand at once.
#[derive(Clone, Copy, Debug)]
pub struct WebhookBounds {
    /// Most requests in hand; one more is answered 503.
    pub requests_max: usize,
    /// Most bytes of large bodies in hand, all requests together; more are answered 503.
    pub body_bytes_in_hand_max: usize,
    /// The same of bodies of at most [`SMALL_BODY_BYTES_MAX`], which large ones never take.
    pub small_bodies_in_hand_max: usize,
    /// From the head of a request to the end of its body.
    pub body_timeout: Duration,
    /// Longest time in which a body goes on by less than 4 KiB without ending.
    pub body_stall_timeout: Duration,
    /// From the end of the body to the commit.
    pub append_timeout: Duration,
}

pub(super) fn read(r: &mut Reader) -> HttpConfig {
    let listen = listen(r);
    let (admin_listen, admin_token, operators) = (admin_listen(r), admin_token(r), operators::read(r));
    // In the order of `config show`.
    let connections_max = r.or(CONNECTIONS_MAX, "4096", number(1, 100_000));
    let requests_max = r.or(REQUESTS_MAX, "2048", number(1, 100_000));
    let body_bytes_in_hand_max = r.or(BODY_BYTES_IN_HAND_MAX, "32MiB", in_hand(WEBHOOK_BODY_BYTES_MAX));
    let small_bodies_in_hand_max = r.or(SMALL_BODIES_IN_HAND_MAX, "16MiB", in_hand(SMALL_BODY_BYTES_MAX));
    let head_bytes_max = r.or(HEAD_BYTES_MAX, "16384", number(8192, 1 << 20));
    let headers_max = r.or(HEADERS_MAX, "64", number(8, 1000));
    let head_timeout = r.or(HEAD_TIMEOUT, "15s", duration);
    let body_timeout = r.or(BODY_TIMEOUT, "10s", duration);
    let body_stall_timeout = r.or(BODY_STALL_TIMEOUT, "2s", duration);
    let append_timeout = r.or(APPEND_TIMEOUT, "10s", duration);
    let peer_share = Share(r.or(PEER_SHARE, "25", number(1, 100)));
    let proxies = r.or(TRUSTED_PROXIES, "loopback", networks);
    let webhook_peers = r.optional(WEBHOOK_PEERS, |text| match networks(text)? {
        none if none == Networks::default() => {
            Err("names no address; remove the setting to accept every sender".to_owned())
        }
        networks => Ok(networks),
    });
    HttpConfig {
        listen,
        admin_listen,
        admin_token,
        operators,
        admin_hosts: admin_hosts(r),
        console: r.or(CONSOLE, "auto", str::parse),
        console_url: r.optional(CONSOLE_URL, str::parse),
        connections: ConnectionBounds {
            connections_max,
            head_bytes_max,
            headers_max,
            head_timeout,
            peer_share,
            proxies,
        },
        webhooks: WebhookBounds {
            requests_max,
            body_bytes_in_hand_max,
            small_bodies_in_hand_max,
            body_timeout,
            body_stall_timeout,
            append_timeout,
        },
        webhook_peers,
    }
}

/// A bound on the bytes of bodies in hand, into which the largest single body must fit.
fn in_hand(largest: usize) -> impl Fn(&str) -> Result<usize, String> {
    /// A larger number would not be a bound.
    const MAX: usize = 1 << 30;
    move |text| match bytes(text).map(usize::try_from)? {
        Ok(bytes) if (largest..=MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("must be from {}KiB to 1GiB", largest / 1024)),
    }
}

fn networks(text: &str) -> Result<Networks, String> {
    text.parse().map_err(|error: crate::domain::network::NetworkError| {
        format!("{error}; `loopback`, `private` and `none` are understood too")
    })
}

fn admin_hosts(r: &mut Reader) -> Vec<String> {
    let hosts = r.optional(ADMIN_HOSTS, |text| {
        let hosts: Vec<String> = text.split(',').map(|host| host.trim().to_ascii_lowercase()).collect();
        if hosts.iter().any(|host| host.is_empty() || host.contains(['/', ':', ' '])) {
            return Err("must be names of hosts between commas, without port and scheme".to_owned());
        }
        Ok(hosts)
    });
    hosts.unwrap_or_default()
}

pub(super) fn listen(r: &mut Reader) -> SocketAddr {
    r.or(LISTEN, "0.0.0.0:8080", address)
}

pub(super) fn admin_listen(r: &mut Reader) -> SocketAddr {
    r.or(ADMIN_LISTEN, "127.0.0.1:9090", address)
}

fn admin_token(r: &mut Reader) -> Option<Secret> {
    let token = r.secret(ADMIN_TOKEN)?;
    if token.expose().trim().len() < ADMIN_TOKEN_BYTES_MIN {
        r.fault(ADMIN_TOKEN.variable, format!("must be at least {ADMIN_TOKEN_BYTES_MIN} characters, made at random"));
    }
    Some(token)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 0.0.0.0:8080 or [::1]:9090".to_owned())
}
