//! Decides whether an attestation may be believed.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::Signature;

use super::canonical::{self, Claim};
use super::key::{NONCE_BYTES, PublicKey};
use super::replay::ReplayGuard;
use super::{ALGORITHM, Attestation};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ProcessId;
use crate::domain::renewable::Renewable;

/// Oldest attestation that is believed, unless configured. A job may wait through a long outage of the bees.
pub const MAX_AGE: Duration = Duration::from_hours(24);

/// How far an attestation may lie in the future, unless configured: clocks differ.
pub const FUTURE_SKEW: Duration = Duration::from_mins(2);

/// Nonces that are remembered, unless configured; some 8 MB when full.
pub const REPLAY_NONCES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Most keys that are trusted at once.
pub const TRUSTED_KEYS_MAX: usize = 16;

/// What is believed.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Public keys of the gateways, several during a rotation.
    pub keys: Vec<PublicKey>,
    /// Oldest attestation.
    pub max_age: Duration,
    /// How far one may lie in the future.
    pub future_skew: Duration,
    /// Nonces that are remembered.
    pub replay_nonces: NonZeroUsize,
}

impl Trust {
    /// Trusts these keys with the usual bounds.
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, max_age: MAX_AGE, future_skew: FUTURE_SKEW, replay_nonces: REPLAY_NONCES_MAX }
    }
}

/// Believes or rejects attestations. Shared by all bees of a process, so that they see each other's nonces.
#[derive(Debug)]
pub struct Verifier {
    keys: Renewable<BTreeMap<String, Trusted>>,
    max_age: Duration,
    future_skew: Duration,
    seen: Mutex<ReplayGuard>,
}

/// A key that is believed.
#[derive(Clone, Debug)]
struct Trusted {
    key: PublicKey,
    /// No longer than this; without an end when nothing is said.
    until: Option<Timestamp>,
}

/// Why a verifier cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Nobody is trusted.
    #[error("no public key of attestations is trusted, so every job would be rejected; name at least one")]
    NoKey,
    /// More keys than a rotation needs.
    #[error("{count} public keys of attestations are more than {TRUSTED_KEYS_MAX}; remove those that are retired")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
}

/// An attestation that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Short name of the key.
    pub kid: String,
    /// When it was made, by the gateway's clock.
    pub issued_at: Timestamp,
}

impl Verifier {
    /// Trusts what is given.
    ///
    /// # Errors
    /// When no key or too many are given.
    pub fn new(trust: Trust) -> Result<Self, VerifierError> {
        Ok(Self {
            keys: by_kid(trust.keys)?.into(),
            max_age: trust.max_age,
            future_skew: trust.future_skew,
            seen: Mutex::new(ReplayGuard::new(trust.replay_nonces)),
        })
    }

    /// Trusts these keys from now on and no others. Nonces that were seen stay seen.
    ///
    /// # Errors
    /// When no key or too many are given; the old ones then stay trusted.
    pub fn renew(&self, keys: Vec<PublicKey>) -> Result<(), VerifierError> {
        self.keys.set(by_kid(keys)?);
        Ok(())
    }

    /// Trusts these keys from now on. Those that were trusted before and are not among them are believed until `until`, for
    /// jobs that they attested and that still wait; as many as there is room for. Nonces that were seen stay seen.
    ///
    /// # Errors
    /// When no key or too many are given; the old ones then stay trusted as they were.
    pub fn replace(&self, keys: Vec<PublicKey>, until: Timestamp) -> Result<(), VerifierError> {
        let mut trusted = by_kid(keys)?;
        for (kid, before) in self.keys.get().iter() {
            if trusted.len() < TRUSTED_KEYS_MAX {
                let ends = before.until.unwrap_or(until);
                trusted.entry(kid.clone()).or_insert(Trusted { until: Some(ends), ..before.clone() });
            }
        }
        self.keys.set(trusted);
        Ok(())
    }

    /// The keys that are trusted, and those whose time runs out or has run out.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.keys.get().values().map(|trusted| trusted.key.clone()).collect()
    }

    /// Believes that a trusted gateway attested `claim` for `process`, or says why not. Who submitted the process and which
    /// ledger this is are told by the claim; that the attestation names others is said only when it is genuine. Remembers the
    /// nonce of what is believed; the same process may be verified again.
    ///
    /// # Errors
    /// See [`Rejection`]. None is mended by trying again.
    pub fn verify(
        &self,
        attestation: &Attestation,
        claim: Claim<'_>,
        process: &ProcessId,
        now: Timestamp,
    ) -> Result<Verified, Rejection> {
        if attestation.alg != ALGORITHM {
            return Err(Rejection::Algorithm);
        }
        let issued_at = issued_at(&attestation.iat)?;
        let nonce: [u8; NONCE_BYTES] = lower_hex(&attestation.nonce, "nonce")?;
        let signature: [u8; Signature::BYTE_SIZE] = lower_hex(&attestation.sig, "sig")?;
        let keys = self.keys.get();
        let trusted = keys.get(&attestation.kid).filter(|trusted| trusted.until.is_none_or(|until| now <= until));
        let key = &trusted.ok_or(Rejection::UnknownKey)?.key;
        let said = Claim { ledger: &attestation.ledger, submitter: &attestation.submitter, ..claim };
        let bytes = canonical::bytes(said, &attestation.kid, &attestation.iat, &attestation.nonce);
        key.key.verify_strict(&bytes, &Signature::from_bytes(&signature)).map_err(|_| Rejection::Signature)?;
        // Only now is anything of the attestation worth an answer of its own, or memory.
        let expires = issued_at.plus(self.max_age);
        if expires < now {
            return Err(Rejection::TooOld { age: now.since(issued_at) });
        }
        if issued_at > now.plus(self.future_skew) {
            return Err(Rejection::FromTheFuture { ahead: issued_at.since(now) });
        }
        // Before its nonce is remembered: a thief who is faster must not make the genuine job look like the stolen one.
        if attestation.submitter != claim.submitter {
            return Err(Rejection::OtherSubmitter);
        }
        if attestation.ledger != claim.ledger {
            return Err(Rejection::OtherLedger);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.admit(nonce, process, expires, now) {
            return Err(Rejection::Replayed);
        }
        Ok(Verified { kid: attestation.kid.clone(), issued_at })
    }

    /// Nonces that were forgotten before their time, for want of room. Growing means that replays may go unnoticed
    /// here and are left to the ledger.
    pub fn forgotten_nonces(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).forgotten()
    }
}

fn by_kid(keys: Vec<PublicKey>) -> Result<BTreeMap<String, Trusted>, VerifierError> {
    match keys.len() {
        0 => Err(VerifierError::NoKey),
        count if count > TRUSTED_KEYS_MAX => Err(VerifierError::TooManyKeys { count }),
        _ => Ok(keys.into_iter().map(|key| (key.kid().to_owned(), Trusted { key, until: None })).collect()),
    }
}

/// Whole seconds, written in the one way there is.
fn issued_at(text: &str) -> Result<Timestamp, Rejection> {
    let seconds: i64 = text.parse().map_err(|_| Rejection::Malformed { field: "iat" })?;
    if seconds < 0 || seconds.to_string() != text {
        return Err(Rejection::Malformed { field: "iat" });
    }
    Ok(Timestamp::from_seconds(seconds))
}

fn lower_hex<const N: usize>(text: &str, field: &'static str) -> Result<[u8; N], Rejection> {
    let mut bytes = [0; N];
    let decoded = hex::decode_to_slice(text, &mut bytes);
    if decoded.is_err() || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(Rejection::Malformed { field });
    }
    Ok(bytes)
}

/// Why an attestation is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The scheme is not Ed25519.
    #[error("the attestation is not of the scheme {ALGORITHM}")]
    Algorithm,
    /// A field is not written as it must be.
    #[error("the field `{field}` of the attestation is malformed")]
    Malformed {
        /// The field.
        field: &'static str,
    },
    /// The key is not trusted, or no longer.
    #[error("the attestation is by a key that is not trusted")]
    UnknownKey,
    /// The signature does not fit the job.
    #[error("the attestation's signature does not fit the job")]
    Signature,
    /// Made too long ago.
    #[error("the attestation is {} s old", age.as_secs())]
    TooOld {
        /// Its age.
        age: Duration,
    },
    /// Made later than clocks may differ.
    #[error("the attestation lies {} s in the future; compare the clocks", ahead.as_secs())]
    FromTheFuture {
        /// How far.
        ahead: Duration,
    },
    /// Submitted by another member of the colony than the gateway that attested it.
    #[error("the job was submitted by another member of the colony than the gateway that attested it")]
    OtherSubmitter,
    /// For another ledger than that of the bee.
    #[error("the job is for another ledger than the one that this bee writes to; compare DATABASE_URL and the like")]
    OtherLedger,
    /// Seen before with another process.
    #[error("the attestation belongs to another process")]
    Replayed,
}

impl Rejection {
    /// Stable name for metrics and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Algorithm => "attestation_algorithm",
            Self::Malformed { .. } => "attestation_malformed",
            Self::UnknownKey => "attestation_unknown_key",
            Self::Signature => "attestation_signature",
            Self::TooOld { .. } => "attestation_too_old",
            Self::FromTheFuture { .. } => "attestation_from_the_future",
            Self::OtherSubmitter => "attestation_other_submitter",
            Self::OtherLedger => "other_ledger",
            Self::Replayed => "attestation_replayed",
        }
    }
}

#[cfg(test)]
mod tests;
