//! Who may change things on the admin listener: whoever has the token.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::renewable::Renewable;
use crate::domain::secret::Secret;
use crate::door::Problem;

/// The operator's token. Every path that shows customer data or changes something asks for it first.
#[derive(Clone, Debug)]
pub struct Operator {
    token: Renewable<Secret>,
}

impl Operator {
    /// Whoever has `token`.
    pub fn new(token: Secret) -> Self {
        Self { token: token.into() }
    }

    /// From now on whoever has `token`, for all clones.
    pub fn renew(&self, token: Secret) {
        self.token.set(token);
    }

    /// Compares digests, so that the time says nothing about the token, its length included.
    pub(super) fn authorize(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        let good = Sha256::digest(self.token.get().expose().trim().as_bytes());
        if bool::from(Sha256::digest(given).ct_eq(&good)) { Ok(()) } else { Err(Problem::Unauthorized) }
    }
}
