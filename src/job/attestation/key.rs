//! The keys of attestations: the gateway's secret one and the public ones that bees trust.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::canonical::{self, Claim};
use super::{ALGORITHM, Attestation};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;
use crate::job::key_text::{KEY_BYTES, KID_DIGITS, key_bytes};

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 16;

/// A public key with its short name.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) key: VerifyingKey,
    kid: String,
}

impl PublicKey {
    /// Reads a key from hex or base64.
    ///
    /// # Errors
    /// If the text is not a key, or is one for which anyone can make signatures.
    pub fn parse(text: &str) -> Result<Self, AttestationKeyError> {
        let bytes = key_bytes(text).ok_or(AttestationKeyError::Text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| AttestationKeyError::NotAPoint)?;
        if key.is_weak() { Err(AttestationKeyError::Weak) } else { Ok(Self::new(key)) }
    }

    /// Reads a list of keys with commas or white space between them, as in `ATTESTATION_PUBKEYS`. May be empty.
    ///
    /// # Errors
    /// As [`PublicKey::parse`], for the first wrong one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AttestationKeyError> {
        let items = text.split(|letter: char| letter == ',' || letter.is_whitespace());
        items.filter(|item| !item.is_empty()).map(Self::parse).collect()
    }

    fn new(key: VerifyingKey) -> Self {
        let mut kid = hex::encode(Sha256::digest(key.as_bytes()));
        kid.truncate(KID_DIGITS);
        Self { key, kid }
    }

    /// Its short name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.key.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_hex())
    }
}

/// Makes attestations. `Debug` shows only the public key.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
}

impl Signer {
    /// Reads the secret seed from hex or base64.
    ///
    /// # Errors
    /// Names the fault in the text, never the text itself.
    pub fn parse(seed: &Secret) -> Result<Self, AttestationKeyError> {
        let seed = key_bytes(seed.expose()).ok_or(AttestationKeyError::Text)?;
        Ok(Self::from_seed(&seed))
    }

    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(seed.as_mut_slice())?;
        Ok(Self::from_seed(&seed))
    }

    fn from_seed(seed: &[u8; KEY_BYTES]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::new(key.verifying_key());
        Self { key, public }
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The seed as 64 hex digits, for a file or an environment that may hold it.
    pub fn to_hex(&self) -> Secret {
        Secret::new(hex::encode(self.key.as_bytes()))
    }

    /// Vouches for a claim, at the time `now`.
    ///
    /// # Errors
    /// If the operating system gives no randomness for the nonce.
    pub fn attest(&self, claim: Claim<'_>, now: Timestamp) -> Result<Attestation, getrandom::Error> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        Ok(self.attest_with(claim, now, nonce))
    }

    pub(super) fn attest_with(&self, claim: Claim<'_>, now: Timestamp, nonce: [u8; NONCE_BYTES]) -> Attestation {
        let (issued_at, nonce) = (now.seconds().to_string(), hex::encode(nonce));
        let signature = self.key.sign(&canonical::bytes(claim, self.public.kid(), &issued_at, &nonce));
        Attestation {
            alg: ALGORITHM.to_owned(),
            kid: self.public.kid().to_owned(),
            iat: issued_at,
            nonce,
            ledger: claim.ledger.to_owned(),
            submitter: claim.submitter.to_owned(),
            sig: hex::encode(signature.to_bytes()),
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Why a text is not a key of attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationKeyError {
    /// Neither hex nor base64 of 32 bytes.
    #[error("a key of attestations is 32 bytes, as 64 hex digits or in base64; make one with `keys generate`")]
    Text,
    /// Not a public key of Ed25519.
    #[error("the 32 bytes are not a public key of Ed25519")]
    NotAPoint,
    /// A key of small order, for which anyone can make signatures.
    #[error("this public key would accept anyone's signatures")]
    Weak,
}
