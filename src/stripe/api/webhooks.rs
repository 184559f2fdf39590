//! Webhook endpoints as Stripe has them (`GET /v1/webhook_endpoints`).

use serde_json::Value;

use crate::stripe::object::Object;

/// Event types that rows are made from. Others are stored and change nothing.
pub const EVENTS_NEEDED: [&str; 16] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.refunded",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
    "invoice.paid",
    "invoice.payment_failed",
    "refund.created",
    "refund.updated",
];

/// Event types that are mapped, which `stripe setup` asks for. A type that only repeats another one
/// (`invoice.payment_succeeded`) is not among them.
pub const EVENTS_MAPPED: [&str; 34] = [
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.created",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.finalized",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.voided",
    "invoice_payment.paid",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "refund.created",
    "refund.failed",
    "refund.updated",
];

/// One webhook endpoint of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// `we_…`
    pub id: String,
    /// The address to which Stripe posts.
    pub url: String,
    /// Whether Stripe posts at all: it disables endpoints that fail for days.
    pub enabled: bool,
    /// Types of event that are sent.
    pub events: Vec<String>,
    /// API version of the events; `None` for the account's default.
    pub api_version: Option<String>,
    pub livemode: Option<bool>,
    /// Fingerprint of its secret, if `stripe setup` made it.
    pub secret_fingerprint: Option<String>,
}

impl WebhookEndpoint {
    pub(in crate::stripe) fn read(value: &Value) -> Self {
        let object = Object::new(value);
        let text = |key: &str| object.at(key).text().unwrap_or_default().to_owned();
        let events = value.get("enabled_events").and_then(Value::as_array).into_iter().flatten();
        Self {
            id: text("id"),
            url: text("url"),
            enabled: object.at("status").text() == Some("enabled"),
            events: events.filter_map(Value::as_str).map(str::to_owned).collect(),
            api_version: object.at("api_version").text().map(str::to_owned),
            livemode: object.at("livemode").flag(),
            secret_fingerprint: value["metadata"]["colony_gateway_secret"].as_str().map(str::to_owned),
        }
    }

    /// Path of the URL.
    pub fn path(&self) -> &str {
        self.parts().2
    }

    /// The URL in a form that is safe to show: scheme, host and path. A user, a query or a fragment may let its reader in.
    pub fn address(&self) -> String {
        let (scheme, host, path) = self.parts();
        let path = if path == "/" { "" } else { path };
        format!("{scheme}{host}{path}")
    }

    /// Scheme with its slashes, host with its port, and path of the URL.
    fn parts(&self) -> (&str, &str, &str) {
        let shown = self.url.split(['?', '#']).next().unwrap_or_default();
        let begin = shown.find("://").map_or(0, |at| at + "://".len());
        let (scheme, rest) = shown.split_at(begin);
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        (scheme, host, if path.is_empty() { "/" } else { path })
    }

    /// The types of [`EVENTS_NEEDED`] that are not sent.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lacks(&EVENTS_NEEDED)
    }

    /// The types among these that are not sent.
    pub fn lacks(&self, kinds: &[&'static str]) -> Vec<&'static str> {
        let sends = |kind: &&&str| self.events.iter().any(|event| event == "*" || event == **kind);
        kinds.iter().filter(|kind| !sends(kind)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stripe::event::Family;

    #[test]
    fn every_event_that_is_asked_for_is_mapped_and_all_that_are_needed_are_among_them() {
        for kind in EVENTS_MAPPED {
            assert_ne!(Family::of(kind), Family::Other, "{kind}");
        }
        assert!(EVENTS_MAPPED.is_sorted());
        assert_eq!(EVENTS_NEEDED.into_iter().filter(|kind| !EVENTS_MAPPED.contains(kind)).count(), 0);
    }

    #[test]
    fn an_endpoint_tells_its_path_and_what_it_does_not_send() {
        let endpoint = WebhookEndpoint::read(&json!({
            "id": "we_1", "url": "https://pay.example.com/webhooks/stripe?x=1", "status": "disabled",
            "enabled_events": ["invoice.paid", "customer.deleted"], "api_version": null, "livemode": true,
        }));
        assert_eq!((endpoint.path(), endpoint.enabled, endpoint.livemode), ("/webhooks/stripe", false, Some(true)));
        assert_eq!(endpoint.missing().len(), EVENTS_NEEDED.len() - 2);
        for (url, shown, path) in [
            (
                "https://ada:secret@hooks.example.com:8443/in/1?token=secret#secret",
                "https://hooks.example.com:8443/in/1",
                "/in/1",
            ),
            ("https://hooks.example.com?token=/secret", "https://hooks.example.com", "/"),
            ("https://hooks.example.com/a@b", "https://hooks.example.com/a@b", "/a@b"),
        ] {
            let endpoint = WebhookEndpoint::read(&json!({"url": url, "enabled_events": []}));
            assert_eq!((endpoint.address().as_str(), endpoint.path()), (shown, path));
        }
        let all = WebhookEndpoint::read(&json!({"url": "https://pay.example.com", "enabled_events": ["*"]}));
        assert_eq!((all.path(), all.missing().len()), ("/", 0));
    }
}
