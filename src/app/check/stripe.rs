//! The key for Stripe's API, what it may read, and the webhook endpoint as Stripe has it.

use std::time::Duration;

use super::{Diagnosis, PROBE_MAX};
use crate::app::pipeline;
use crate::config::Config;
use crate::domain::causes::chain;
use crate::domain::clock::Clock;
use crate::domain::counted::counted;
use crate::stripe::api::{ApiError, EventsQuery, Scope, StripeApi, SubscriptionsQuery, WebhookEndpoint};

/// Longest wait for one answer of Stripe.
const ANSWER_MAX: Duration = Duration::from_secs(PROBE_MAX.as_secs() - 1);

const KEY: &str = "stripe key";
const ENDPOINT: &str = "stripe endpoint";

pub(super) async fn probe(config: &Config, clock: &Clock) -> Vec<Diagnosis> {
    let api = match pipeline::stripe(config, clock) {
        Ok(Some(api)) => api,
        Ok(None) => {
            let detail = "STRIPE_SECRET_KEY is not set: the gateway takes events as they arrive";
            return vec![Diagnosis::none(KEY, detail), Diagnosis::none(ENDPOINT, "unknown without a key")];
        }
        Err(error) => return vec![Diagnosis::down(KEY, chain(&error), "copy the key again from Stripe's dashboard")],
    };
    let scope = Scope::default();
    let (events, subscriptions) = (EventsQuery::default(), SubscriptionsQuery::default());
    let (events, subscriptions, endpoints) = tokio::join!(
        api.events(&events, &scope, ANSWER_MAX),
        api.subscriptions(&subscriptions, &scope, ANSWER_MAX),
        api.webhook_endpoints(ANSWER_MAX),
    );
    let refused = |error: Option<&ApiError>| matches!(error, Some(ApiError::Auth { status: 403, .. }));
    let lacking: Vec<&str> = [
        ("events", refused(events.as_ref().err())),
        ("subscriptions", refused(subscriptions.as_ref().err())),
        ("webhook endpoints", refused(endpoints.as_ref().err())),
    ]
    .into_iter()
    .filter_map(|(what, refused)| refused.then_some(what))
    .collect();
    let key = judge_key(&api, subscriptions.as_ref().err(), &lacking);
    let endpoint = match endpoints {
        Ok(endpoints) => judge_endpoints(config, &endpoints, api.livemode()),
        Err(_) if lacking.contains(&"webhook endpoints") => {
            Diagnosis::none(ENDPOINT, "the key may not read webhook endpoints; look at the dashboard instead")
        }
        Err(error) => Diagnosis::degraded(ENDPOINT, chain(&error), "unknown until Stripe answers"),
    };
    vec![key, endpoint]
}

fn judge_key(api: &StripeApi, error: Option<&ApiError>, lacking: &[&str]) -> Diagnosis {
    let mode = match api.livemode() {
        Some(true) => "live mode",
        Some(false) => "test mode",
        None => "mode unknown",
    };
    match error {
        Some(error @ ApiError::Auth { status: 401, .. }) => {
            let action = "the key is revoked or expired: make a new one and replace it in its file";
            return Diagnosis::down(KEY, format!("{mode}, {}", chain(error)), action);
        }
        Some(error) if !matches!(error, ApiError::Auth { .. }) => {
            let action = "check the network and status.stripe.com; until then the gateway takes events as they arrive";
            return Diagnosis::degraded(KEY, chain(error), action);
        }
        Some(_) | None => {}
    }
    if lacking.is_empty() {
        return Diagnosis::ok(KEY, format!("valid, {mode}"));
    }
    let detail = format!("valid, {mode}, but may not read {}", lacking.join(", "));
    Diagnosis::degraded(KEY, detail, "give the restricted key read access to these")
}

fn judge_endpoints(config: &Config, endpoints: &[WebhookEndpoint], livemode: Option<bool>) -> Diagnosis {
    let paths: Vec<&str> = config.endpoints.iter().flat_map(|ours| ours.paths.iter().map(String::as_str)).collect();
    let ours: Vec<&WebhookEndpoint> = endpoints.iter().filter(|endpoint| paths.contains(&endpoint.path())).collect();
    let Some(disabled) = ours.iter().find(|endpoint| !endpoint.enabled).or(ours.first()) else {
        let all = counted(endpoints.len(), "endpoint", "endpoints");
        let detail = format!("of the account's {all} none posts to a path that is served here");
        return Diagnosis::degraded(ENDPOINT, detail, "add https://<your host>/webhooks/stripe in Stripe's dashboard");
    };
    let endpoint = *disabled;
    let version = endpoint.api_version.as_deref().unwrap_or("the account's default");
    let detail = format!("{} {}, API version {version}", endpoint.id, endpoint.address());
    if !endpoint.enabled {
        let action = "enable it in Stripe's dashboard, then fetch what was missed (`colony-gateway reconcile`)";
        return Diagnosis::down(ENDPOINT, format!("{detail}: switched off"), action);
    }
    if endpoint.livemode.is_some() && livemode.is_some() && endpoint.livemode != livemode {
        return Diagnosis::degraded(
            ENDPOINT,
            format!("{detail}: of the other mode"),
            "use key and endpoint of one mode",
        );
    }
    let missing = endpoint.missing();
    if missing.is_empty() {
        return Diagnosis::ok(ENDPOINT, format!("{detail}, enabled"));
    }
    let detail = format!("{detail}: does not send {}", missing.join(", "));
    Diagnosis::degraded(ENDPOINT, detail, "select these events for the endpoint in Stripe's dashboard")
}
