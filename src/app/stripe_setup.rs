//! The webhook endpoint at Stripe and its secret in a file, brought to where they should be, from wherever they are.
//!
//! Stripe tells a secret once, in the answer to the request that makes the endpoint. So the place for it is tried before, the secret
//! is on the disk before anything else happens, and an endpoint whose secret could not be kept is removed again. Every step may be
//! interrupted: another run goes on from there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::private;
use crate::domain::secret::Secret;
pub use crate::stripe::api::{EVENTS_MAPPED, WebhookEndpoint};
pub use crate::stripe::endpoint_admin::EndpointAdmin;
use crate::stripe::endpoint_admin::EndpointAdminError;
use crate::stripe::signature::SigningSecret;

/// Most secrets that stay in the file; the oldest go first.
const SECRETS_MAX: usize = 3;

/// The setup that the operator wants.
#[derive(Clone, Debug)]
pub struct StripeSetup {
    /// Where Stripe should post.
    pub url: String,
    /// The file for the signing secret, which may already have it.
    pub secret_file: PathBuf,
    /// Whether the endpoint gets the events of connected accounts.
    pub connect: bool,
    /// Whether a new secret replaces the one in use.
    pub roll: bool,
    /// How long both endpoints send before the old one is disabled. In that time the gateway takes over the new secret.
    pub overlap: Duration,
}

/// Why the setup failed.
#[derive(Debug, thiserror::Error)]
pub enum SetupFailure {
    #[error(transparent)]
    Stripe(#[from] EndpointAdminError),
    #[error("the secret cannot be written to {path}; nothing was changed at Stripe")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The endpoint that was just made was removed again.
    #[error("the secret could not be written to {path}; the new endpoint {endpoint} is {fate}")]
    Lost {
        path: PathBuf,
        endpoint: String,
        fate: &'static str,
        #[source]
        source: io::Error,
    },
}

/// The steps to take, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupPlan {
    /// The endpoint that stays and is corrected; without one, a new one is made.
    pub keep: Option<WebhookEndpoint>,
    /// Whether it differs from what the operator wants.
    pub changes: bool,
    /// Whether the file is known to have its secret.
    pub is_proven: bool,
    /// Endpoints that post to the same address and will be disabled.
    pub disable: Vec<WebhookEndpoint>,
}

/// Compares Stripe's endpoints with the wanted setup. `fingerprints` are those of the secrets in the file, the newest
/// first.
pub fn plan(setup: &StripeSetup, endpoints: Vec<WebhookEndpoint>, fingerprints: &[String]) -> SetupPlan {
    let mut ours: Vec<WebhookEndpoint> = endpoints.into_iter().filter(|endpoint| endpoint.url == setup.url).collect();
    let place = |endpoint: &WebhookEndpoint| {
        let secret = endpoint.secret_fingerprint.as_ref()?;
        fingerprints.iter().position(|known| known == secret)
    };
    // The endpoint with the newest secret in the file; else one that sends, from before such notes were made.
    let proven = (0..ours.len()).filter(|at| place(&ours[*at]).is_some()).min_by_key(|at| place(&ours[*at]));
    let silent = |endpoint: &WebhookEndpoint| endpoint.secret_fingerprint.is_none() && !fingerprints.is_empty();
    let unproven = || (0..ours.len()).find(|at| ours[*at].enabled && silent(&ours[*at]));
    let kept = proven.or_else(unproven).filter(|_| !setup.roll);
    let keep = kept.map(|at| ours.remove(at));
    let is_exact = |endpoint: &WebhookEndpoint| {
        endpoint.enabled && endpoint.lacks(&EVENTS_MAPPED).is_empty() && endpoint.events.len() == EVENTS_MAPPED.len()
    };
    SetupPlan {
        changes: keep.as_ref().is_some_and(|endpoint| !is_exact(endpoint)),
        is_proven: keep.is_some() && proven.is_some(),
        disable: ours.into_iter().filter(|endpoint| endpoint.enabled).collect(),
        keep,
    }
}

/// The secrets in the file, the newest first; empty if there is no file.
pub fn secrets_in(file: &Path) -> io::Result<Vec<Secret>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let text = Secret::new(text);
    let items = text.expose().split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    Ok(items.map(Secret::new).collect())
}

/// The fingerprints by which endpoints' notes, logs and metrics tell secrets apart.
pub fn fingerprints(secrets: &[Secret]) -> Vec<String> {
    let parsed = secrets.iter().filter_map(|secret| SigningSecret::parse(secret.expose()).ok());
    parsed.map(|(secret, _)| secret.fingerprint().to_string()).collect()
}

/// Makes an endpoint and saves its secret, before the secrets already in the file.
pub async fn make(admin: &EndpointAdmin, setup: &StripeSetup) -> Result<WebhookEndpoint, SetupFailure> {
    let path = &setup.secret_file;
    let refused = |source| SetupFailure::File { path: path.clone(), source };
    let mut secrets = secrets_in(path).map_err(refused)?;
    let place = private::Replacement::prepare(path).map_err(refused)?;
    let made = admin.create(&setup.url, &EVENTS_MAPPED, setup.connect).await?;
    let id = made.endpoint.id.clone();
    secrets.insert(0, made.secret);
    secrets.truncate(SECRETS_MAX);
    let text: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    if let Err(source) = place.finish(format!("{}\n", text.join(",")).as_bytes()) {
        let fate = match admin.delete(&id).await {
            Ok(()) => "removed again",
            Err(_) => "still there: remove it in Stripe's dashboard",
        };
        return Err(SetupFailure::Lost { path: path.clone(), endpoint: id, fate, source });
    }
    // Without the note, another run cannot know which endpoint has the secret, and says so.
    if let Some(fingerprint) = fingerprints(&secrets[..1]).first() {
        admin.note(&id, fingerprint).await?;
    }
    Ok(made.endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://pay.example.com/webhooks/stripe";

    fn endpoint(id: &str, enabled: bool, secret: Option<&str>) -> WebhookEndpoint {
        WebhookEndpoint {
            id: id.to_owned(),
            url: URL.to_owned(),
            enabled,
            events: EVENTS_MAPPED.map(str::to_owned).to_vec(),
            api_version: None,
            livemode: Some(false),
            secret_fingerprint: secret.map(str::to_owned),
        }
    }

    /// The endpoint that stays, whether it changes, whether its secret is known, and which ones are disabled.
    fn planned(roll: bool, endpoints: &[WebhookEndpoint], known: &[&str]) -> (Option<String>, bool, bool, Vec<String>) {
        let setup = StripeSetup {
            url: URL.to_owned(),
            secret_file: PathBuf::new(),
            connect: false,
            roll,
            overlap: Duration::ZERO,
        };
        let known: Vec<String> = known.iter().map(|known| (*known).to_owned()).collect();
        let plan = plan(&setup, endpoints.to_vec(), &known);
        let ids = plan.disable.into_iter().map(|endpoint| endpoint.id).collect();
        (plan.keep.map(|endpoint| endpoint.id), plan.changes, plan.is_proven, ids)
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn an_endpoint_stays_when_the_file_has_its_secret_and_is_replaced_when_its_secret_is_not_known() {
        let (ours, other) = (
            endpoint("we_1", true, Some("aa")),
            WebhookEndpoint { url: "https://x".to_owned(), ..endpoint("we_9", true, None) },
        );
        assert_eq!(planned(false, std::slice::from_ref(&other), &[]), (None, false, false, ids(&[])));
        assert_eq!(planned(false, &[other, ours.clone()], &["aa"]), (Some("we_1".to_owned()), false, true, ids(&[])));
        assert_eq!(
            planned(false, std::slice::from_ref(&ours), &[]),
            (None, false, false, ids(&["we_1"])),
            "Stripe tells it once"
        );
        assert_eq!(planned(false, &[ours], &["bb"]), (None, false, false, ids(&["we_1"])));
        let by_hand = endpoint("we_2", true, None);
        assert_eq!(planned(false, &[by_hand], &["bb"]), (Some("we_2".to_owned()), false, false, ids(&[])));
    }

    #[test]
    fn one_that_is_off_or_sends_other_events_is_changed() {
        let off = endpoint("we_1", false, Some("aa"));
        let all = WebhookEndpoint { events: vec!["*".to_owned()], ..endpoint("we_1", true, Some("aa")) };
        for endpoint in [off, all] {
            assert_eq!(planned(false, &[endpoint], &["aa"]), (Some("we_1".to_owned()), true, true, ids(&[])));
        }
    }

    #[test]
    fn a_roll_makes_a_new_one_and_one_that_was_interrupted_is_finished_by_another_run() {
        let (old, new) = (endpoint("we_1", true, Some("aa")), endpoint("we_2", true, Some("bb")));
        assert_eq!(planned(true, std::slice::from_ref(&old), &["aa"]), (None, false, false, ids(&["we_1"])));
        let both = [old.clone(), new];
        assert_eq!(planned(false, &both, &["bb", "aa"]), (Some("we_2".to_owned()), false, true, ids(&["we_1"])));
        let unnoted = [old, endpoint("we_2", true, None)];
        assert_eq!(planned(false, &unnoted, &["bb", "aa"]), (Some("we_1".to_owned()), false, true, ids(&["we_2"])));
    }
}
