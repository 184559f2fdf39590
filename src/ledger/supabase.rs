//! The ledger in a Supabase project, through its REST layer and with the service key.
//!
//! A call is one POST to `/rest/v1/rpc/<function>`, which the REST layer runs as one transaction. Every call has a
//! deadline, every reply a cap. The key is sent to the configured address only: redirects are not followed.

mod fault;

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};

use self::fault::{of_reply, of_transport};
use super::call::Call;
use super::functions::{Answered, FunctionLedger, Transport};
use super::{LedgerError, LedgerErrorKind, Renewal};
use crate::domain::ledger_id::LedgerId;
use crate::domain::renewable::Renewable;
use crate::domain::secret::Secret;
use crate::outbound::{self, ReadError};

/// Name of this ledger in logs, metrics and errors.
const NAME: &str = "supabase";

/// Largest reply that is read, in bytes: more than the longest list of subscriptions, at some 500 bytes a line.
pub const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How to reach the project.
#[derive(Clone, Debug)]
pub struct SupabaseConfig {
    /// `https://<project>.supabase.co`, with or without a path such as `/rest/v1` behind it.
    pub url: String,
    /// The `service_role` key, or a secret key.
    pub key: Secret,
    /// Longest wait for a whole reply.
    pub deadline: Duration,
    /// Whether the sender is in shadow mode. The database refuses batches if it disagrees.
    pub shadow: bool,
    /// Which ledger the settings say it is. The database refuses batches if it is another one.
    pub id: Option<LedgerId>,
}

impl SupabaseConfig {
    /// With ten seconds.
    pub fn new(url: impl Into<String>, key: Secret) -> Self {
        Self { url: url.into(), key, deadline: Duration::from_secs(10), shadow: false, id: None }
    }
}

/// The ledger in a Supabase project.
pub type SupabaseLedger = FunctionLedger<Rest>;

/// The project's REST layer.
#[derive(Debug)]
pub struct Rest {
    client: Client,
    headers: Renewable<HeaderMap>,
    functions: Url,
}

impl SupabaseLedger {
    /// A ledger that connects when it is first used. Fails for a URL or key that cannot be right.
    pub fn new(config: &SupabaseConfig) -> Result<Self, LedgerError> {
        let functions = functions_url(&config.url)?;
        let client = outbound::client(config.deadline).build().map_err(|error| {
            LedgerError::new(NAME, LedgerErrorKind::Unavailable, "no HTTP client can be made").caused_by(error)
        })?;
        let transport = Rest { client, headers: headers(&config.key)?.into(), functions };
        Ok(Self { transport, shadow: config.shadow, id: config.id.clone() })
    }
}

impl Transport for Rest {
    const NAME: &'static str = NAME;

    async fn call<T: Answered>(&self, call: &Call<'_>) -> Result<T, LedgerError> {
        let unusable = |error| {
            LedgerError::new(NAME, LedgerErrorKind::Schema, "SUPABASE_URL is no base for paths").caused_by(error)
        };
        let url = self.functions.join(call.function).map_err(unusable)?;
        let response = self
            .client
            .post(url)
            .headers(self.headers.get().as_ref().clone())
            .body(call.as_json())
            .send()
            .await
            .map_err(of_transport)?;
        let status = response.status();
        let body = read(response).await?;
        if status != StatusCode::OK {
            return Err(of_reply(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            let message = "an answer of unknown form: run `colony-gateway migrate` with the release that you run";
            LedgerError::new(NAME, LedgerErrorKind::Schema, message).caused_by(error)
        })
    }

    fn renew(&self, secret: &Secret) -> Result<Renewal, LedgerError> {
        self.headers.set(headers(secret)?);
        Ok(Renewal::Done)
    }
}

/// The base of function calls. It keeps the URL's path, without a `/rest/v1` at its end.
fn functions_url(text: &str) -> Result<Url, LedgerError> {
    let refuse = |why: &str| {
        let message = format!("SUPABASE_URL {why}: it has the form https://<project>.supabase.co");
        LedgerError::new(NAME, LedgerErrorKind::Auth, message)
    };
    let base = text.trim().trim_end_matches('/').trim_end_matches("/rest/v1");
    let url: Url = format!("{base}/rest/v1/rpc/").parse().map_err(|_| refuse("cannot be read"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refuse("is neither https nor http"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("holds more than host and path"));
    }
    Ok(url)
}

fn headers(key: &Secret) -> Result<HeaderMap, LedgerError> {
    let secret = |text: String| {
        let refuse = |_| {
            let message = "the service key holds characters that no key has: copy it again";
            LedgerError::new(NAME, LedgerErrorKind::Auth, message)
        };
        let mut value = HeaderValue::try_from(text).map_err(refuse)?;
        value.set_sensitive(true);
        Ok(value)
    };
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::new();
    headers.insert("apikey", secret(key.expose().to_owned())?);
    headers.insert(AUTHORIZATION, secret(format!("Bearer {}", key.expose()))?);
    headers.insert(CONTENT_TYPE, json.clone());
    headers.insert(ACCEPT, json);
    Ok(headers)
}

/// The body, unless it is larger than the bound.
async fn read(response: Response) -> Result<Bytes, LedgerError> {
    outbound::read(response, REPLY_BYTES_MAX).await.map_err(|error| match error {
        ReadError::TooLarge => {
            let message = format!("a reply of more than {REPLY_BYTES_MAX} bytes: SUPABASE_URL is no Supabase project");
            LedgerError::new(NAME, LedgerErrorKind::Schema, message)
        }
        ReadError::Broken(error) => of_transport(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_and_without_the_path_name_the_same_functions() {
        for text in ["https://x.supabase.co", " https://x.supabase.co/ ", "https://x.supabase.co/rest/v1/"] {
            assert_eq!(functions_url(text).unwrap().as_str(), "https://x.supabase.co/rest/v1/rpc/", "{text}");
        }
        let local = functions_url("http://127.0.0.1:54321/a").unwrap();
        assert_eq!(local.as_str(), "http://127.0.0.1:54321/a/rest/v1/rpc/");
    }

    #[test]
    fn urls_that_cannot_be_right_are_refused_with_the_form_they_should_have() {
        for text in ["", "x.supabase.co", "ftp://x", "https://user:pw@x.supabase.co", "postgres://x/y"] {
            let error = functions_url(text).unwrap_err();
            assert!(error.message.contains("https://<project>"), "{text}: {error}");
        }
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_and_no_key_is_ever_shown() {
        let error = headers(&Secret::new("eyJ\nhunter2")).unwrap_err();
        assert_eq!(error.kind, LedgerErrorKind::Auth);
        let config = SupabaseConfig::new("https://x.supabase.co", Secret::new("hunter2"));
        let ledger = SupabaseLedger::new(&config).unwrap();
        assert!(!format!("{error:?} {config:?} {ledger:?}").contains("hunter2"));
    }
}
