//! The report of `check`, made when an operator asks for it, and what Stripe says of the endpoints.
//!
//! Guarantees: one at a time; the last one stays for all to see; it changes nothing.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::admin::turn::Turn;
use crate::domain::renewable::Renewable;
use crate::door::Problem;
use crate::stripe::api::{StripeApi, WebhookEndpoint};
use crate::telemetry::diagnosis::CheckReport;

/// Longest wait for Stripe.
const STRIPE_MAX: Duration = Duration::from_secs(7);

/// Makes a report.
pub type CheckRun = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = CheckReport> + Send>> + Send + Sync>;

/// A webhook endpoint at Stripe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StripeEndpoint {
    /// `we_…`
    pub id: String,
    /// Scheme, host and path. The rest of an address may let its reader in.
    pub url: String,
    pub is_enabled: bool,
    /// `None` for the account's default.
    pub api_version: Option<String>,
    pub livemode: Option<bool>,
    /// How many types of event it sends.
    pub events: usize,
    /// Types that the gateway maps and the endpoint does not send.
    pub missing: Vec<String>,
    /// Whether it posts to a path of this gateway.
    pub is_ours: bool,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    #[serde(flatten)]
    pub report: CheckReport,
    /// The account's webhook endpoints, if they are known.
    pub endpoints: Vec<StripeEndpoint>,
    /// Why they are unknown.
    pub silence: Option<String>,
}

/// Makes reports. Clones share the last one.
#[derive(Clone)]
pub struct Checks {
    run: CheckRun,
    stripe: Option<Arc<StripeApi>>,
    /// The webhook paths of this gateway.
    paths: Arc<[String]>,
    last: Renewable<Option<Checked>>,
    turn: Turn,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checks(…)")
    }
}

impl Checks {
    pub fn new(run: CheckRun, stripe: Option<Arc<StripeApi>>, paths: Vec<String>) -> Self {
        Self { run, stripe, paths: paths.into(), last: None.into(), turn: Turn::default() }
    }

    /// The last report since the start.
    pub fn last(&self) -> Option<Checked> {
        Option::clone(&self.last.get())
    }

    /// Makes a report.
    ///
    /// # Errors
    /// [`Problem::Busy`] while another report is made.
    pub async fn make(&self) -> Result<Checked, Problem> {
        let _turn = self.turn.take()?;
        let (report, endpoints) = tokio::join!((self.run)(), self.endpoints());
        let (endpoints, silence) = match endpoints {
            Ok(endpoints) => (endpoints, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let checked = Checked { report, endpoints, silence };
        self.last.set(Some(checked.clone()));
        Ok(checked)
    }

    async fn endpoints(&self) -> Result<Vec<StripeEndpoint>, String> {
        let Some(stripe) = &self.stripe else {
            return Err("Stripe cannot be asked without STRIPE_SECRET_KEY.".to_owned());
        };
        let found = stripe.webhook_endpoints(STRIPE_MAX).await;
        let found = found.map_err(|error| crate::domain::causes::chain(&error))?;
        Ok(found.into_iter().map(|endpoint| self.line(endpoint)).collect())
    }

    fn line(&self, endpoint: WebhookEndpoint) -> StripeEndpoint {
        let is_ours = self.paths.iter().any(|path| path == endpoint.path());
        let missing = endpoint.missing().into_iter().map(str::to_owned).collect();
        let events = endpoint.events.len();
        let url = endpoint.address();
        let WebhookEndpoint { id, enabled, api_version, livemode, .. } = endpoint;
        StripeEndpoint { id, url, is_enabled: enabled, api_version, livemode, events, missing, is_ours }
    }
}
