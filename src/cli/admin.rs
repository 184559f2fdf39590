//! The inbox for a command: asked of the running gateway over its admin listener, or opened while none runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Client, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app;
use crate::config::{Config, ConfigError};
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;
use crate::inbox::{Inbox, InboxThreads, OpenError};
use crate::outbound;

/// Longest wait for an answer of the gateway.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Longest wait for a gateway that may run on this machine.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Longest answer kept for an error message, in bytes.
const DETAIL_BYTES_MAX: usize = 500;

/// Who has the inbox.
#[derive(Debug)]
pub(super) enum Reach {
    /// A gateway runs on it.
    Running(AdminClient),
    /// Nobody; it is open here, and no gateway can start on it meanwhile. The threads are to be joined after the inbox
    /// was dropped.
    Stopped(Inbox, InboxThreads),
}

/// Finds out whether a gateway or this command has the inbox of this configuration, and says which inbox that is. A
/// directory without an inbox is an error, because commands make none. The default directory is relative and so differs
/// from place to place; therefore a running gateway is asked first.
pub(super) async fn reach(config: &Config, clock: &Clock) -> anyhow::Result<Reach> {
    if config.inbox.url.is_some() {
        return reach_shared(config, clock).await;
    }
    let options = app::inbox_options(config);
    let file = std::path::absolute(options.directory.join(crate::inbox::FILE_NAME))?;
    let is_named = !config.is_default("data_dir");
    if !is_named && runs_at(config.http.admin_listen).await {
        eprintln!("asking the gateway at {} (GATEWAY_DATA_DIR is not set)", local(config.http.admin_listen));
        return Ok(Reach::Running(AdminClient::new(config)?));
    }
    anyhow::ensure!(
        file.exists(),
        "there is no inbox at {}: set GATEWAY_DATA_DIR to the gateway's directory, or start the gateway once",
        file.display()
    );
    app::finish_restore(config)?;
    let clock = clock.clone();
    let opened = tokio::task::spawn_blocking(move || Inbox::open(&options, clock)).await?;
    match opened {
        Ok((inbox, threads)) => {
            let elsewhere = is_named && runs_at(config.http.admin_listen).await;
            // A user who named the directory knows which it is, unless a gateway here has another.
            if elsewhere || !is_named {
                let other = if elsewhere { "; the gateway that runs here has another" } else { "" };
                eprintln!("reading {}, on which no gateway runs{other}", file.display());
            }
            Ok(Reach::Stopped(inbox, threads))
        }
        Err(OpenError::Locked { .. }) => Ok(Reach::Running(AdminClient::new(config)?)),
        Err(error) => Err(error).context("cannot open the inbox"),
    }
}

/// As [`reach`], for an inbox in PostgreSQL. If a gateway runs here it is asked, because it tells the ledger of orders.
/// Otherwise this command reads the database, beside gateways elsewhere.
async fn reach_shared(config: &Config, clock: &Clock) -> anyhow::Result<Reach> {
    if runs_at(config.http.admin_listen).await && config.http.admin_token.is_some() {
        return Ok(Reach::Running(AdminClient::new(config)?));
    }
    let (inbox, threads) = app::open_inbox(config, clock.clone()).context("cannot open the inbox")?;
    inbox.counts().await.context("cannot read the inbox in GATEWAY_INBOX_URL")?;
    eprintln!("reading the inbox in GATEWAY_INBOX_URL");
    Ok(Reach::Stopped(inbox, threads))
}

/// As [`reach`], including the file beside a database that was away, which a gateway here may have open.
pub(super) async fn reach_all(config: &Config, clock: &Clock) -> anyhow::Result<Reach> {
    let spill = config.inbox.spill_dir.as_ref().filter(|_| config.inbox.url.is_some());
    if !spill.is_some_and(|directory| directory.join(crate::inbox::FILE_NAME).exists())
        || (runs_at(config.http.admin_listen).await && config.http.admin_token.is_some())
    {
        return reach(config, clock).await;
    }
    let (opened, clock) = (config.clone(), clock.clone());
    match tokio::task::spawn_blocking(move || app::open_receiving_inbox(&opened, clock)).await? {
        Ok((inbox, threads)) => {
            eprintln!("reading the inbox in GATEWAY_INBOX_URL, and the deliveries in inbox.spill_dir");
            Ok(Reach::Stopped(inbox, threads))
        }
        Err(OpenError::Locked { .. }) => Ok(Reach::Running(AdminClient::new(config)?)),
        Err(error) => Err(error).context("cannot open the inbox"),
    }
}

/// Whether a gateway answers at an admin listener.
pub(super) async fn runs_at(listen: SocketAddr) -> bool {
    let Ok(client) = outbound::client(LOOK_MAX).no_proxy().build() else { return false };
    let Ok(answer) = client.get(format!("http://{}/health", local(listen))).send().await else { return false };
    // Bees have no route, and other programs answer differently.
    let health: serde_json::Value = answer.json().await.unwrap_or_default();
    health.get("route").is_some() && health.get("components").is_some()
}

/// A running gateway's admin listener.
#[derive(Clone, Debug)]
pub(super) struct AdminClient {
    base: String,
    token: Secret,
    client: Client,
}

impl AdminClient {
    /// The admin listener that the configuration names, with its token.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let Some(token) = config.http.admin_token.clone() else {
            anyhow::bail!(
                "a gateway runs on this inbox: set GATEWAY_ADMIN_TOKEN to the token that the gateway was started \
                 with. If it was started without a token, restart it with one, or stop it first"
            );
        };
        Self::to(format!("http://{}", local(config.http.admin_listen)), token)
    }

    /// A gateway on another machine, with the token that it was started with.
    pub(super) fn at(url: &str, config: &Config) -> anyhow::Result<Self> {
        anyhow::ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "--admin takes the address of an admin listener, such as http://127.0.0.1:9090"
        );
        let warning = config.plaintext.admin_url("--admin", url).map_err(|fault| ConfigError(vec![fault]))?;
        if let Some(warning) = warning {
            eprintln!("warning: --admin: {warning}");
        }
        let token = config.http.admin_token.clone();
        let token = token.context("set GATEWAY_ADMIN_TOKEN to the token that the gateway was started with")?;
        Self::to(url.trim_end_matches('/').to_owned(), token)
    }

    fn to(base: String, token: Secret) -> anyhow::Result<Self> {
        anyhow::ensure!(
            token.expose().bytes().all(|byte| byte.is_ascii_graphic()),
            "GATEWAY_ADMIN_TOKEN must be one word of letters, digits and signs: is something else in its file?"
        );
        let client = outbound::client(ANSWER_MAX).no_proxy().build()?;
        Ok(Self { base, token, client })
    }

    /// The address of `path`, which begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Gets `path`, which begins with a slash and may have a query.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Posts `body` to `path`.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| {
            format!("no gateway answers at {}: check GATEWAY_ADMIN_LISTEN, or name the address with --admin", self.base)
        })?;
        let status = answer.status();
        let text = answer.text().await.context("the gateway's answer broke off")?;
        if status.is_success() {
            return serde_json::from_str(&text)
                .context("this program does not understand the gateway's answer: do both have the same version?");
        }
        Err(refusal(status, &text).into())
    }
}

/// The running gateway did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(super) struct Refusal {
    /// The problem document's `code`; empty without one.
    pub(super) code: String,
    said: String,
}

/// The meaning of a refusal for the person at the command line.
fn refusal(status: StatusCode, text: &str) -> Refusal {
    let document: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    let said = match (status, field("detail").or_else(|| field("title"))) {
        // Without a token, the gateway does not serve the paths of orders.
        (StatusCode::NOT_FOUND, _) if field("code") == Some("not_found") => {
            "the gateway takes no orders, or is of another version: start it with GATEWAY_ADMIN_TOKEN and set the same here".to_owned()
        }
        (StatusCode::UNAUTHORIZED, _) => {
            "the gateway refuses the token: GATEWAY_ADMIN_TOKEN must be the one it was started with".to_owned()
        }
        (_, Some(said)) => said.to_owned(),
        (_, None) => format!("the gateway answers {status}: {}", text.get(..DETAIL_BYTES_MAX).unwrap_or(text)),
    };
    Refusal { code: field("code").unwrap_or_default().to_owned(), said }
}

/// The address of a listener from this machine.
pub(super) fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_over_loopback() {
        assert_eq!(local("0.0.0.0:9090".parse().unwrap()).to_string(), "127.0.0.1:9090");
        assert_eq!(local("[::]:9090".parse().unwrap()).to_string(), "[::1]:9090");
        assert_eq!(local("192.0.2.7:1".parse().unwrap()).to_string(), "192.0.2.7:1");
    }

    #[test]
    fn a_refusal_says_what_the_problem_document_says() {
        let missing = r#"{"title":"There is no such entry.","status":404,"code":"no_such_entry"}"#;
        assert_eq!(refusal(StatusCode::NOT_FOUND, missing).to_string(), "There is no such entry.");
        let no_path = r#"{"title":"There is nothing at this path.","status":404,"code":"not_found"}"#;
        assert!(refusal(StatusCode::NOT_FOUND, no_path).to_string().contains("start it with GATEWAY_ADMIN_TOKEN"));
        assert!(refusal(StatusCode::UNAUTHORIZED, "").to_string().contains("GATEWAY_ADMIN_TOKEN"));
        assert!(refusal(StatusCode::BAD_GATEWAY, "<html>").to_string().contains("<html>"));
    }
}
