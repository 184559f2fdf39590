//! The keys of sealed jobs: the bees' secret ones and the public ones that gateways seal to.

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeS, Serializable as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{INFO, Private, Public};
use crate::domain::secret::Secret;
use crate::job::key_text::{KEY_BYTES, KID_DIGITS, key_bytes};

/// A public key with its short name.
#[derive(Clone)]
pub struct RecipientKey {
    key: Public,
    bytes: [u8; KEY_BYTES],
    kid: String,
}

impl RecipientKey {
    /// Reads a key from hex or base64.
    ///
    /// # Errors
    /// If the text is not a key, or is one to which nothing can be sealed.
    pub fn parse(text: &str) -> Result<Self, SealingKeyError> {
        let bytes = key_bytes(text).ok_or(SealingKeyError::Text)?;
        let key = Public::from_bytes(bytes.as_slice()).map_err(|_| SealingKeyError::NotAKey)?;
        // Only use shows a point of small order.
        hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(&OpModeS::Base, &key, INFO, &[], &[])
            .map_err(|_| SealingKeyError::NotAKey)?;
        Ok(Self::new(key))
    }

    /// Reads a list of keys with commas or white space between them, as in `SEALING_PUBKEYS`. May be empty.
    ///
    /// # Errors
    /// As [`RecipientKey::parse`], for the first wrong one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, SealingKeyError> {
        let items = text.split(|letter: char| letter == ',' || letter.is_whitespace());
        items.filter(|item| !item.is_empty()).map(Self::parse).collect()
    }

    fn new(key: Public) -> Self {
        let mut bytes = [0_u8; KEY_BYTES];
        bytes.copy_from_slice(&key.to_bytes());
        let mut kid = hex::encode(Sha256::digest(bytes));
        kid.truncate(KID_DIGITS);
        Self { key, bytes, kid }
    }

    pub(super) fn key(&self) -> &Public {
        &self.key
    }

    /// Its short name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as 64 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.bytes)
    }
}

impl PartialEq for RecipientKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for RecipientKey {}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientKey({})", self.to_hex())
    }
}

/// Opens what was sealed to its public part. `Debug` shows only that part.
#[derive(Clone)]
pub struct OpeningKey {
    key: Private,
    public: RecipientKey,
}

impl OpeningKey {
    /// Reads the secret key from hex or base64.
    ///
    /// # Errors
    /// Names the fault in the text, never the text itself.
    pub fn parse(text: &Secret) -> Result<Self, SealingKeyError> {
        let bytes = key_bytes(text.expose()).ok_or(SealingKeyError::Text)?;
        Self::from_bytes(&bytes)
    }

    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// If the system gives none.
    #[expect(clippy::missing_panics_doc, reason = "any 32 bytes are a secret key of X25519")]
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice())?;
        Ok(Self::from_bytes(&bytes).expect("any 32 bytes are a secret key of X25519"))
    }

    fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Result<Self, SealingKeyError> {
        let key = Private::from_bytes(bytes).map_err(|_| SealingKeyError::NotAKey)?;
        let public = RecipientKey::new(X25519HkdfSha256::sk_to_pk(&key));
        Ok(Self { key, public })
    }

    pub(super) fn key(&self) -> &Private {
        &self.key
    }

    pub fn public(&self) -> &RecipientKey {
        &self.public
    }

    /// The secret key as 64 hex digits, for a file or an environment that may hold it.
    pub fn to_hex(&self) -> Secret {
        Secret::new(hex::encode(self.key.to_bytes()))
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpeningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Why a text is not a key of sealed jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingKeyError {
    /// Neither hex nor base64 of 32 bytes.
    #[error("a key of sealed jobs is 32 bytes, as 64 hex digits or in base64; make one with `keys generate sealing`")]
    Text,
    /// Nothing can be sealed to it.
    #[error("the 32 bytes are not a key of X25519")]
    NotAKey,
}
