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
use crate::domain::counted::lasting;
use crate::domain::ids::ProcessId;
use crate::domain::renewable::Renewable;

/// Oldest attestation that is accepted, unless configured. A job may wait through a long outage of the bees.
pub const MAX_AGE: Duration = Duration::from_hours(24);

/// How far in the future an attestation may be, unless configured: clocks differ.
pub const FUTURE_SKEW: Duration = Duration::from_mins(2);

/// How many nonces are remembered, unless configured; some 8 MB when full.
pub const REPLAY_NONCES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Most keys that are trusted at once.
pub const TRUSTED_KEYS_MAX: usize = 16;

/// What to trust.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Public keys of the gateways, several during a rotation.
    pub keys: Vec<PublicKey>,
    /// Oldest attestation.
    pub max_age: Duration,
    /// How far in the future one may be.
    pub future_skew: Duration,
    /// How many nonces are remembered.
    pub replay_nonces: NonZeroUsize,
}

impl Trust {
    /// Trusts these keys with the usual bounds.
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, max_age: MAX_AGE, future_skew: FUTURE_SKEW, replay_nonces: REPLAY_NONCES_MAX }
    }
}

/// Accepts or rejects attestations. All bees of a process share it, so that they see each other's nonces.
#[derive(Debug)]
pub struct Verifier {
    keys: Renewable<BTreeMap<String, Trusted>>,
    max_age: Duration,
    future_skew: Duration,
    seen: Mutex<ReplayGuard>,
}

/// A trusted key.
#[derive(Clone, Debug)]
struct Trusted {
    key: PublicKey,
    /// When the trust ends; `None` if it does not.
    until: Option<Timestamp>,
}

/// Why a verifier cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// No key is trusted.
    #[error("no public key of attestations is trusted, so every job would be rejected; name at least one")]
    NoKey,
    /// More keys than a rotation needs.
    #[error("{count} public keys of attestations are more than {TRUSTED_KEYS_MAX}; remove those that are retired")]
    TooManyKeys {
        /// How many.
        count: usize,
    },
}

/// An attestation that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Short name of the key.
    pub kid: String,
    /// When it was made, by the gateway's clock.
    pub issued_at: Timestamp,
}

impl Verifier {
    /// Trusts the given keys.
    ///
    /// # Errors
    /// If no key or too many are given.
    pub fn new(trust: Trust) -> Result<Self, VerifierError> {
        Ok(Self {
            keys: by_kid(trust.keys)?.into(),
            max_age: trust.max_age,
            future_skew: trust.future_skew,
            seen: Mutex::new(ReplayGuard::new(trust.replay_nonces)),
        })
    }

    /// From now on trusts only these keys. Nonces seen before are still known.
    ///
    /// # Errors
    /// If no key or too many are given; the old ones then stay trusted.
    pub fn renew(&self, keys: Vec<PublicKey>) -> Result<(), VerifierError> {
        self.keys.set(by_kid(keys)?);
        Ok(())
    }

    /// Trusts these keys from now on. Keys trusted before and no longer listed are accepted until `until`, for jobs that
    /// they attested and that still wait; as many as there is room for. Nonces seen before are still known.
    ///
    /// # Errors
    /// If no key or too many are given; the old ones then stay trusted as they were.
    pub fn replace(&self, keys: Vec<PublicKey>, until: Timestamp) -> Result<(), VerifierError> {
        let mut trusted = by_kid(keys)?;
        let known = self.keys.get();
        let former = known.iter().map(|(kid, before)| (before.until.unwrap_or(until), kid, before));
        let mut former: Vec<_> = former.collect();
        // Those with the most time left come first: one whose time is over must not take the room of one with jobs on their way.
        former.sort_unstable_by_key(|(ends, ..)| std::cmp::Reverse(*ends));
        for (ends, kid, before) in former {
            if trusted.len() < TRUSTED_KEYS_MAX {
                trusted.entry(kid.clone()).or_insert(Trusted { until: Some(ends), ..before.clone() });
            }
        }
        self.keys.set(trusted);
        Ok(())
    }

    /// The trusted keys, including those whose time runs out or has run out.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.keys.get().values().map(|trusted| trusted.key.clone()).collect()
    }

    /// Accepts that a trusted gateway attested `claim` for `process`, or says why not. The claim names the submitter of the
    /// process and this ledger. Only if the attestation is genuine does an error say that it names others. The nonce of an
    /// accepted one is remembered; the same process may be verified again.
    ///
    /// # Errors
    /// See [`Rejection`]. Trying again mends none of them.
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
        // Only a genuine attestation deserves a detailed answer, or memory.
        let expires = issued_at.plus(self.max_age);
        if expires < now {
            return Err(Rejection::TooOld { age: now.since(issued_at) });
        }
        if issued_at > now.plus(self.future_skew) {
            return Err(Rejection::FromTheFuture { ahead: issued_at.since(now) });
        }
        // This comes before its nonce is remembered: a faster thief must not make the genuine job look like the stolen one.
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

    /// How many nonces were forgotten before their time, for lack of room. If this grows, replays may pass unnoticed here,
    /// and it is left to the ledger to recognise them.
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

/// Whole seconds, in the one form that is allowed.
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

/// Why an attestation is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The scheme is not Ed25519.
    #[error("the attestation is not of the scheme {ALGORITHM}")]
    Algorithm,
    /// A field does not have the required form.
    #[error("the field `{field}` of the attestation is malformed")]
    Malformed { field: &'static str },
    /// The key is not trusted, or no longer.
    #[error("the attestation is by a key that is not trusted")]
    UnknownKey,
    /// The signature does not match the job.
    #[error("the attestation's signature does not fit the job")]
    Signature,
    /// It was made too long ago.
    #[error("the attestation is {} old", lasting(*age))]
    TooOld {
        /// Its age.
        age: Duration,
    },
    /// It was made later than clocks may differ.
    #[error("the attestation lies {} in the future; compare the clocks", lasting(*ahead))]
    FromTheFuture {
        /// How far in the future.
        ahead: Duration,
    },
    /// Another member of the colony submitted it than the gateway that attested it.
    #[error("the job was submitted by another member of the colony than the gateway that attested it")]
    OtherSubmitter,
    /// It is for another ledger than the bee's.
    #[error("the job is for another ledger than the one that this bee writes to; compare DATABASE_URL and the like")]
    OtherLedger,
    /// It was seen before with another process.
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
