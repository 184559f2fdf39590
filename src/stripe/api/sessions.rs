//! Checkout sessions of a subscription: they name the user where the subscription does not, and Stripe keeps them.

use std::time::Duration;

use super::{ApiError, Page, Scope, StripeApi};

/// How many sessions of one subscription are requested. One made it; others can only be earlier attempts.
const SESSIONS_MAX: usize = 10;

impl StripeApi {
    /// The sessions that made a subscription, the newest first, at most ten. Needs read access to sessions.
    pub async fn sessions_of(&self, subscription: &str, scope: &Scope, within: Duration) -> Result<Page, ApiError> {
        let mut url = self.address(&["v1", "checkout", "sessions"])?;
        url.query_pairs_mut().append_pair("subscription", subscription).append_pair("limit", &SESSIONS_MAX.to_string());
        Page::read(self.get(url, scope, within).await?)
    }
}
