//! Requests to Stripe: read one object, or a page of a list.
//!
//! Every request has a deadline, stays below Stripe's limits by a token bucket, is tried again only when Stripe or the
//! fault says that this can help, and is not sent at all while Stripe is down (circuit breaker). Objects come with the
//! time their request began, because that fences their write. Nothing here writes to Stripe, so a restricted key with
//! read access is enough.
//!
//! It does not remember answers: who asks for many things asks for each once.

mod bucket;
mod clock;
mod core_events;
mod error;
mod fetched;
mod lists;
mod page;
mod request;
mod sessions;
mod webhooks;

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;

pub use self::clock::DATE_TOLERANCE;
pub use self::core_events::{CoreEventPage, CoreEventsQuery};
pub use self::error::{ApiConfigError, ApiDisposition, ApiError, RateLimit};
pub use self::fetched::{EventPage, FetchedEvent};
pub use self::lists::{LIST_PAGES_MAX, Rest, complete, missing};
pub use self::page::{EVENT_TYPES_MAX, EventsQuery, PAGE_MAX, Page, SubscriptionsQuery};
pub use self::webhooks::{EVENTS_MAPPED, EVENTS_NEEDED, WebhookEndpoint};

use self::bucket::TokenBucket;
use self::clock::StripeClock;
use super::event::{Family, Related};
use super::object::Object;
use crate::domain::backoff::Backoff;
use crate::domain::breaker::{Breaker, BreakerSettings, BreakerState};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::renewable::Renewable;
use crate::domain::secret::Secret;
use crate::outbound;

/// The API version of every request, whatever the account's own version is.
pub const API_VERSION: &str = "2025-09-30.clover";

/// The version of requests to `/v2/…`: the first in which objects of `/v1` have thin events for everyone, with
/// `snapshot_event` and `changes`.
pub const API_VERSION_2: &str = "2026-09-30.endive";

/// The address of Stripe's API.
pub const BASE_URL: &str = "https://api.stripe.com";

/// Largest answer that is read, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most attempts at one request, including the first.
pub const ATTEMPTS_MAX: u32 = 3;

/// Longest wait for one attempt.
pub const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);

/// Requests per second in live mode: a fifth of Stripe's limit, so that the seller's own requests keep their room.
pub const RATE_LIVE: u32 = 20;

/// Requests per second in test mode.
pub const RATE_TEST: u32 = 10;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `sk_…` or `rk_…`
    pub key: Secret,
    /// [`BASE_URL`], or a stand-in on this machine.
    pub base_url: String,
    /// Requests per second; `None` for the rate of the key's mode.
    pub rate: Option<u32>,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// When to stop asking.
    pub breaker: BreakerSettings,
}

impl ApiSettings {
    /// The settings for a key.
    pub fn new(key: Secret) -> Self {
        let backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(2) };
        let open = Backoff { first: Duration::from_secs(5), max: Duration::from_mins(1) };
        let breaker = BreakerSettings { failures: 5, open, probes: 1 };
        Self { key, base_url: BASE_URL.to_owned(), rate: None, backoff, breaker }
    }
}

/// The account on whose behalf a request is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// Connected account, for `Stripe-Account`.
    pub account: Option<String>,
    /// Context of a thin event, for `Stripe-Context`; takes the place of the account.
    pub context: Option<String>,
}

impl Scope {
    /// The scope of an object: this one, or that of the lost event that it was the object of.
    #[must_use]
    pub fn of(&self, related: &Related) -> Self {
        let account = related.lost_account().map(str::to_owned).or_else(|| self.account.clone());
        let context = related.lost_context().map(str::to_owned).or_else(|| self.context.clone());
        Self { account, context }
    }
}

/// An object as Stripe's API returned it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The object.
    pub object: Value,
    /// When the request was sent, by Stripe's clock: the object is at least as new as this.
    pub began: Timestamp,
}

/// The client of Stripe's API.
#[derive(Debug)]
pub struct StripeApi {
    http: Client,
    bearer: Renewable<HeaderValue>,
    base: Url,
    livemode: Option<bool>,
    bucket: TokenBucket,
    breaker: Breaker,
    backoff: Backoff,
    clock: Clock,
    stripe_clock: StripeClock,
}

impl StripeApi {
    /// Checks the settings, and sends nothing.
    pub fn new(settings: &ApiSettings, clock: Clock) -> Result<Self, ApiConfigError> {
        let base = base_url(&settings.base_url)?;
        let livemode = mode_of(settings.key.expose());
        let rate = settings.rate.unwrap_or(if livemode == Some(false) { RATE_TEST } else { RATE_LIVE });
        let mut http = outbound::client(ATTEMPT_TIME_MAX);
        if base.scheme() == "http" {
            // A host on this machine is not behind a proxy that the environment may name.
            http = http.no_proxy();
        }
        let http = http
            .default_headers(version())
            .user_agent(concat!("colony-gateway/", env!("CARGO_PKG_VERSION")))
            .https_only(base.scheme() == "https")
            .build()
            .map_err(ApiConfigError::Client)?;
        Ok(Self {
            http,
            bearer: bearer(&settings.key)?.into(),
            base,
            livemode,
            bucket: TokenBucket::new(rate, clock.clone()),
            breaker: Breaker::new(settings.breaker, clock.clone()),
            backoff: settings.backoff,
            stripe_clock: StripeClock::default(),
            clock,
        })
    }

    /// Takes another key for every later request. It must be for the same mode: no operator wants objects of both modes in
    /// one state of record.
    ///
    /// # Errors
    /// If it is not a secret key, or is for another mode. Then the old key stays.
    pub fn renew(&self, key: &Secret) -> Result<(), ApiConfigError> {
        let bearer = bearer(key)?;
        if mode_of(key.expose()) != self.livemode {
            return Err(ApiConfigError::OtherMode);
        }
        self.bearer.set(bearer);
        Ok(())
    }

    /// The mode that the key is for; `None` if it does not say.
    pub fn livemode(&self) -> Option<bool> {
        self.livemode
    }

    /// The state of the circuit breaker, for health and metrics.
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// A subscription, with its customer and its latest invoice expanded.
    pub async fn subscription(&self, id: &str, scope: &Scope, within: Duration) -> Result<Fetched, ApiError> {
        let mut url = self.address(&["v1", "subscriptions", id])?;
        expand(&mut url);
        let begin = self.clock.instant();
        let fetched = self.get(url, scope, within).await?;
        let object = Object::new(&fetched.object);
        let right = object.at("object").text() == Some("subscription") && object.at("id").id() == Some(id);
        let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
        if right { Ok(self.whole(fetched, scope, left).await) } else { Err(ApiError::Unexpected) }
    }

    /// The object that a thin event is about. The event brings its address, which is followed only to Stripe. A subscription
    /// comes as [`Self::subscription`] has it.
    pub async fn related(&self, related: &Related, scope: &Scope, within: Duration) -> Result<Fetched, ApiError> {
        let mut url = self.base.join(&related.url).map_err(|_| ApiError::OffHost)?;
        let home = url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none();
        let api = url.path().starts_with("/v1/") || url.path().starts_with("/v2/");
        if !home || !api {
            return Err(ApiError::OffHost);
        }
        if Family::of_object(&related.kind) == Family::Subscription {
            expand(&mut url);
        }
        let begin = self.clock.instant();
        let fetched = self.get(url, scope, within).await?;
        if !is_whole(Object::new(&fetched.object), related) {
            return Err(ApiError::Unexpected);
        }
        let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
        Ok(self.whole(fetched, scope, left).await)
    }

    /// The object of the event that Stripe could not make and reports with the thin event `id`.
    pub async fn generation_failure(
        &self,
        id: &str,
        scope: &Scope,
        within: Duration,
    ) -> Result<(Related, Option<Fetched>), ApiError> {
        let begin = self.clock.instant();
        let fetched = self.get(self.address(&["v2", "core", "events", id])?, scope, within).await?;
        let event = Object::new(&fetched.object);
        if event.at("id").id() != Some(id) {
            return Err(ApiError::Unexpected);
        }
        let related = Related::of(event).ok_or(ApiError::Unexpected)?;
        if Family::of_object(&related.kind) == Family::Other {
            return Ok((related, None));
        }
        let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
        // The report is the platform's own, even if the lost event was that of a connected account.
        let object = self.related(&related, &scope.of(&related), left).await?;
        Ok((related, Some(object)))
    }

    /// How much a payment intent gave to which invoices (`invoice_payment`), at most [`PAGE_MAX`] of them; empty if it paid
    /// none.
    pub async fn given_by(
        &self,
        payment_intent: &str,
        scope: &Scope,
        within: Duration,
    ) -> Result<Vec<Fetched>, ApiError> {
        let mut url = self.address(&["v1", "invoice_payments"])?;
        url.query_pairs_mut()
            .append_pair("payment[type]", "payment_intent")
            .append_pair("payment[payment_intent]", payment_intent)
            .append_pair("limit", &PAGE_MAX.to_string());
        let Page { objects, began, .. } = Page::read(self.get(url, scope, within).await?)?;
        Ok(objects.into_iter().map(|object| Fetched { object, began }).collect())
    }

    /// One page of the events of the last 30 days, newest first.
    pub async fn events(&self, query: &EventsQuery, scope: &Scope, within: Duration) -> Result<EventPage, ApiError> {
        let mut url = self.address(&["v1", "events"])?;
        query.write(&mut url);
        EventPage::read(Page::read(self.get(url, scope, within).await?)?, scope)
    }

    /// One page of the thin events of the last 30 days, newest first. They have a separate list.
    pub async fn core_events(
        &self,
        query: &CoreEventsQuery,
        scope: &Scope,
        within: Duration,
    ) -> Result<CoreEventPage, ApiError> {
        let mut url = self.address(&["v2", "core", "events"])?;
        query.write(&mut url);
        CoreEventPage::read(self.get(url, scope, within).await?, scope)
    }

    /// One page of subscriptions with their customers, the newest first. Items beyond those of the page are fetched within
    /// the same time.
    pub async fn subscriptions(
        &self,
        query: &SubscriptionsQuery,
        scope: &Scope,
        within: Duration,
    ) -> Result<Page, ApiError> {
        let mut url = self.address(&["v1", "subscriptions"])?;
        query.write(&mut url);
        let begin = self.clock.instant();
        let mut page = Page::read(self.get(url, scope, within).await?)?;
        for object in &mut page.objects {
            let left = within.saturating_sub(self.clock.instant().saturating_duration_since(begin));
            let listed = Fetched { object: std::mem::take(object), began: page.began };
            *object = self.whole(listed, scope, left).await.object;
        }
        Ok(page)
    }

    /// The webhook endpoints of the account, at most [`PAGE_MAX`]. Needs read access to webhook endpoints.
    pub async fn webhook_endpoints(&self, within: Duration) -> Result<Vec<WebhookEndpoint>, ApiError> {
        let mut url = self.address(&["v1", "webhook_endpoints"])?;
        url.query_pairs_mut().append_pair("limit", &PAGE_MAX.to_string());
        let page = Page::read(self.get(url, &Scope::default(), within).await?)?;
        Ok(page.objects.iter().map(WebhookEndpoint::read).collect())
    }

    /// An address below the base. Identifiers come from events, so they must not escape from their segment.
    fn address(&self, segments: &[&str]) -> Result<Url, ApiError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if segments.iter().any(|segment| segment.is_empty() || !segment.bytes().all(plain)) {
            return Err(ApiError::BadId);
        }
        self.base.join(&segments.join("/")).map_err(|_| ApiError::BadId)
    }
}

/// Asks for a subscription with its customer, whose metadata may name the user, and with its latest invoice.
fn expand(url: &mut Url) {
    url.query_pairs_mut().append_pair("expand[]", "customer").append_pair("expand[]", "latest_invoice");
}

/// Whether this is the object that a thin event names, with the fields that its rows need. Another type at the same
/// address, or an object without a status, would become a wrong row or none.
fn is_whole(object: Object<'_>, related: &Related) -> bool {
    let deleted = object.at("deleted").flag() == Some(true);
    let family = Family::of_object(&related.kind);
    let has_status = match family {
        Family::Subscription | Family::Charge | Family::Refund | Family::Dispute | Family::PaymentIntent => {
            object.at("status").word().is_some()
        }
        Family::Customer | Family::Session | Family::Invoice | Family::InvoicePayment | Family::Other => true,
    };
    object.at("id").id() == Some(related.id.as_str())
        && object.at("object").text() == Some(related.kind.as_str())
        && (has_status || deleted)
}

/// The base address: https to a remote host, or anything on this machine.
pub(super) fn base_url(text: &str) -> Result<Url, ApiConfigError> {
    let bad = || ApiConfigError::BaseUrl(text.to_owned());
    let mut url = Url::parse(text).map_err(|_| bad())?;
    let loopback = match url.host_str() {
        Some(host) => host == "localhost" || host == "[::1]" || host.starts_with("127."),
        None => return Err(bad()),
    };
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(bad());
    }
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(ApiConfigError::Plaintext(text.to_owned())),
        _ => return Err(bad()),
    }
    url.set_path("/");
    Ok(url)
}

/// Whether a key is of live mode, by its prefix; `None` if that does not show.
pub fn mode_of(key: &str) -> Option<bool> {
    let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_"))?;
    if rest.starts_with("live_") { Some(true) } else { rest.starts_with("test_").then_some(false) }
}

pub(super) fn bearer(key: &Secret) -> Result<HeaderValue, ApiConfigError> {
    let key = key.expose();
    if !(key.starts_with("sk_") || key.starts_with("rk_")) {
        return Err(ApiConfigError::Key);
    }
    let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ApiConfigError::Key)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

fn version() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("stripe-version"), HeaderValue::from_static(API_VERSION))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base_url: &str, key: &str) -> Result<StripeApi, ApiConfigError> {
        let settings = ApiSettings { base_url: base_url.to_owned(), ..ApiSettings::new(Secret::new(key)) };
        StripeApi::new(&settings, Clock::system())
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        assert!(api("http://127.0.0.1:1", "sk_test_1").is_ok());
        assert!(api("https://api.stripe.com", "rk_live_1").is_ok());
        assert!(matches!(api("http://api.stripe.com", "sk_test_1"), Err(ApiConfigError::Plaintext(_))));
        for bad in ["ftp://127.0.0.1", "nowhere", "https://user@api.stripe.com", "https://api.stripe.com?x=1"] {
            assert!(matches!(api(bad, "sk_test_1"), Err(ApiConfigError::BaseUrl(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_no_secret_key_is_refused_without_being_shown() {
        for key in ["", "pk_test_secret", "whsec_secret", "sk_test_\nsecret"] {
            let error = api(BASE_URL, key).unwrap_err();
            assert!(matches!(error, ApiConfigError::Key));
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn the_key_tells_the_mode_and_the_mode_the_rate() {
        assert_eq!(api(BASE_URL, "rk_live_1").unwrap().livemode(), Some(true));
        assert_eq!(api(BASE_URL, "sk_test_1").unwrap().livemode(), Some(false));
        assert_eq!(api(BASE_URL, "sk_1").unwrap().livemode(), None);
        assert!(!format!("{:?}", api(BASE_URL, "sk_test_hush").unwrap()).contains("hush"));
    }

    #[test]
    fn a_new_key_must_be_a_key_of_the_same_mode() {
        let api = api(BASE_URL, "sk_test_1").unwrap();
        assert!(api.renew(&Secret::new("rk_test_2")).is_ok());
        assert!(matches!(api.renew(&Secret::new("sk_live_1")), Err(ApiConfigError::OtherMode)));
        assert!(matches!(api.renew(&Secret::new("pk_test_1")), Err(ApiConfigError::Key)));
        assert_eq!(api.bearer.get().to_str().unwrap(), "Bearer rk_test_2");
    }

    #[test]
    fn an_identifier_cannot_climb_out_of_its_place() {
        let api = api(BASE_URL, "sk_test_1").unwrap();
        assert_eq!(api.address(&["v1", "subscriptions", "sub_1"]).unwrap().path(), "/v1/subscriptions/sub_1");
        for id in ["", "..", "sub_1/../../v1/balance", "sub_1?x", "sub_1#x", "sub%2f"] {
            assert!(matches!(api.address(&["v1", "subscriptions", id]), Err(ApiError::BadId)), "{id}");
        }
    }
}
