//! HTTP below the client: one pooled connection set, servers in turn, deadlines, bounded replies.
//!
//! The server that answered last is asked first. When a connection cannot be made, nothing was sent, and the next
//! server gets the same call; after anything else the call is over, because the server may have acted.
//!
//! Servers beyond this machine are reached through the proxy of the environment (`HTTPS_PROXY` and its kin), if any.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Response};

use super::endpoint::ServerUrl;
use super::error::ClientError;
use super::{Settings, SetupError, tls};

/// Closes an unused connection after this time, before a load balancer closes it from its end.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Most unused connections to keep for one server.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// Probes a silent connection, so that a long poll notices when the other machine is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    servers: Vec<ServerUrl>,
    /// Index of the server to ask first.
    preferred: AtomicUsize,
    reply_bytes_max: usize,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Index of the server.
    pub(super) server: usize,
    /// HTTP status.
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let roots = if settings.servers.iter().any(ServerUrl::is_https) {
            tls::load(&settings.roots)?
        } else {
            // No server is behind `https`, but the HTTP client insists on a TLS setup.
            rustls::RootCertStore::empty()
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(roots)?)
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .tcp_keepalive(KEEPALIVE)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(&settings.user_agent);
        if settings.servers.iter().all(ServerUrl::is_loopback) {
            // A proxy from the environment cannot reach this machine's loopback.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| SetupError::Http(source.into()))?;
        Ok(Self {
            http,
            servers: settings.servers.clone(),
            preferred: AtomicUsize::new(0),
            reply_bytes_max: settings.reply_bytes_max,
        })
    }

    pub(super) fn server(&self, index: usize) -> &ServerUrl {
        &self.servers[index]
    }

    /// The server that is asked first.
    pub(super) fn preferred(&self) -> &ServerUrl {
        &self.servers[self.preferred.load(Ordering::Relaxed)]
    }

    /// Asks another server first from now on, unless another call has already switched.
    pub(super) fn leave(&self, index: usize) {
        let next = (index + 1) % self.servers.len();
        let _ = self.preferred.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) async fn post(&self, body: Bytes, deadline: Duration) -> Result<Answer, ClientError> {
        let request = |server: &ServerUrl| {
            self.http
                .post(server.api())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(body.clone())
        };
        self.in_turn(request, deadline).await
    }

    pub(super) async fn health(&self, deadline: Duration) -> Result<Answer, ClientError> {
        self.in_turn(|server| self.http.get(server.health()), deadline).await
    }

    async fn in_turn(
        &self,
        request: impl Fn(&ServerUrl) -> RequestBuilder,
        deadline: Duration,
    ) -> Result<Answer, ClientError> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut turn = 0;
        loop {
            let index = (first + turn) % self.servers.len();
            let server = &self.servers[index];
            turn += 1;
            match self.ask(server, request(server), deadline).await {
                Ok((status, body)) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(Answer { server: index, status, body });
                }
                Err(ClientError::Unreachable { source, .. }) if turn < self.servers.len() => {
                    let error: &dyn std::error::Error = source.as_ref();
                    tracing::warn!(%server, error, "Colonies server cannot be reached, trying the next one");
                }
                Err(error) => {
                    self.leave(index);
                    return Err(error);
                }
            }
        }
    }

    async fn ask(
        &self,
        server: &ServerUrl,
        request: RequestBuilder,
        deadline: Duration,
    ) -> Result<(u16, Bytes), ClientError> {
        let failed = |error| failure(server, deadline, error);
        let response = request.timeout(deadline).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = self.bounded_body(server, deadline, response).await?;
        Ok((status, body))
    }

    async fn bounded_body(
        &self,
        server: &ServerUrl,
        deadline: Duration,
        mut response: Response,
    ) -> Result<Bytes, ClientError> {
        let oversized = || ClientError::Oversized { server: server.to_string(), limit: self.reply_bytes_max };
        let limit = u64::try_from(self.reply_bytes_max).unwrap_or(u64::MAX);
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(oversized());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(server, deadline, error))? {
            if body.len() + chunk.len() > self.reply_bytes_max {
                return Err(oversized());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// Tells a request that never left this machine from one that may have reached the server.
fn failure(server: &ServerUrl, deadline: Duration, error: reqwest::Error) -> ClientError {
    let server = server.to_string();
    let error = error.without_url();
    if error.is_connect() {
        ClientError::Unreachable { server, source: error.into() }
    } else if error.is_timeout() {
        ClientError::TimedOut { server, deadline }
    } else {
        ClientError::Broken { server, source: error.into() }
    }
}
