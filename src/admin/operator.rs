//! Who may look and who may change things on the admin listener: operators, by their tokens.
//!
//! Guarantees: every path behind a token asks here first, a request that changes something needs the role for it, and whatever
//! is audited names the operator whose token it was, not one that a request claims to be.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::attempts::Attempts;
use super::codes::LoginCodes;
use super::who::{SHARED, Via, Who};
use crate::config::{HttpConfig, OperatorConfig, OperatorRole};
use crate::domain::clock::Clock;
use crate::domain::renewable::Renewable;
use crate::domain::secret::Secret;
use crate::door::{Peer, Problem};

/// The operators. Clones share them.
#[derive(Clone, Debug)]
pub struct Operators {
    known: Renewable<Vec<OperatorConfig>>,
    attempts: Arc<Attempts>,
    /// Login codes of the console.
    pub codes: LoginCodes,
    clock: Clock,
}

impl Operators {
    /// The operators that a configuration names; `None` if it names none.
    pub fn of(http: &HttpConfig, clock: Clock) -> Option<Self> {
        let known = known(http);
        let attempts = Arc::default();
        let codes = LoginCodes::new(clock.clone());
        (!known.is_empty()).then(|| Self { known: known.into(), attempts, codes, clock })
    }

    /// Replaces the operators by those of this configuration, for all clones. Returns false and changes nothing if it names
    /// none.
    pub fn renew(&self, http: &HttpConfig) -> bool {
        let known = known(http);
        let any = !known.is_empty();
        if any {
            self.known.set(known);
        }
        any
    }

    /// Requires a token in the headers of a request.
    pub(super) async fn authorize(&self, headers: &HeaderMap, peer: Option<Peer>) -> Result<Who, Problem> {
        let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
        match given.strip_prefix(b"Bearer ") {
            Some(given) => self.identify(given, peer).await,
            None => Err(Problem::Unauthorized),
        }
    }

    /// The operator with this token. Compares digests with all of them, so that the time reveals nothing about a token, not
    /// even its length.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`], or [`Problem::TooManyAttempts`] after so many wrong ones that none is checked.
    pub async fn identify(&self, given: &[u8], peer: Option<Peer>) -> Result<Who, Problem> {
        let (address, network) = (peer.map(Peer::address), peer.map(Peer::network));
        if !self.attempts.admit(network, self.clock.instant()) {
            return Err(Problem::TooManyAttempts);
        }
        let given = Sha256::digest(given);
        let mut found = None;
        for operator in self.known.get().iter() {
            let good = Sha256::digest(operator.token.expose().trim().as_bytes());
            if bool::from(given.ct_eq(&good)) {
                let name = operator.name.as_str().into();
                found = Some(Who { name, role: operator.role, via: Via::Api, peer: address });
            }
        }
        if found.is_none() {
            tokio::time::sleep(self.attempts.failed(network, self.clock.instant())).await;
        }
        found.ok_or(Problem::Unauthorized)
    }

    /// The operator with this name, as configured now.
    pub fn named(&self, name: &str) -> Option<OperatorConfig> {
        self.known.get().iter().find(|operator| operator.name == name).cloned()
    }
}

/// Named operators, and the holders of the shared token.
fn known(http: &HttpConfig) -> Vec<OperatorConfig> {
    let shared =
        |token: &Secret| OperatorConfig { name: SHARED.to_owned(), role: OperatorRole::Operator, token: token.clone() };
    http.operators.iter().cloned().chain(http.admin_token.as_ref().map(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::network::Networks;

    fn bearer(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    fn operators(clock: Clock) -> Operators {
        let one =
            |name: &str, role, token: &str| OperatorConfig { name: name.to_owned(), role, token: Secret::new(token) };
        let known = vec![
            one("ana", OperatorRole::Operator, "token-of-ana"),
            one("ben", OperatorRole::Viewer, "token-of-ben\n"),
            one(SHARED, OperatorRole::Operator, "token-of-all"),
        ];
        Operators { known: known.into(), attempts: Arc::default(), codes: LoginCodes::new(clock.clone()), clock }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_one_operators_and_orders_are_the_operators_own() {
        let operators = operators(Clock::system());
        let who = async |token: &str| operators.authorize(&bearer(token), None).await.unwrap();
        let ana = who("token-of-ana").await;
        assert_eq!(ana.orders(Some("mallory".to_owned())).as_deref(), Some("ana"));
        assert!(ana.may_reveal().is_ok() && who("token-of-ben").await.may_reveal().is_err());
        assert_eq!(who("token-of-all").await.orders(Some("carl".to_owned())).as_deref(), Some("carl"));
        for wrong in ["", "token-of-an", "token-of-ana "] {
            assert!(matches!(operators.authorize(&bearer(wrong), None).await, Err(Problem::Unauthorized)), "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_many_wrong_tokens_none_is_looked_at() {
        let operators = operators(Clock::system());
        let mut wrong = 0;
        while matches!(operators.authorize(&bearer("guess"), None).await, Err(Problem::Unauthorized)) {
            wrong += 1;
            assert!(wrong < 1000, "guesses are not bounded");
        }
        let right = operators.authorize(&bearer("token-of-ana"), None).await;
        assert!(matches!(right, Err(Problem::TooManyAttempts)), "or a guess could be told from a wrong one");
        assert!(matches!(operators.authorize(&HeaderMap::new(), None).await, Err(Problem::Unauthorized)), "no guess");
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_one_network_keep_no_other_out() {
        let operators = operators(Clock::manual(crate::domain::clock::Timestamp::from_seconds(1)));
        let peer = |address: std::net::Ipv6Addr| Some(Peer::connected(address.into(), &Networks::default()));
        let guesser = u128::from_be_bytes([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in 0..2000 {
            let _ = operators.authorize(&bearer("guess"), peer((guesser + number).into())).await;
        }
        let right = operators.authorize(&bearer("token-of-ana"), peer((guesser + (1 << 64)).into())).await;
        assert_eq!(&*right.unwrap().name, "ana");
    }
}
