//! Sealing the events of a job to the bees, so that the Colonies server between, which keeps what it is given in its
//! database, holds nothing that it can read.
//!
//! A sealed job has one argument as well: the JSON text of
//!
//! ```json
//! {"alg":"HPKE-0020-0001-0003","keys":[{"kid":"…","enc":"…","key":"…"}],"data":"…"}
//! ```
//!
//! | field | content |
//! |---|---|
//! | `alg` | HPKE of RFC 9180 in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 |
//! | `kid` | the recipient's short name: the first 16 hex digits of the SHA-256 of the 32 bytes of the public key |
//! | `enc`, `key` | base64 of the encapsulated key, and of a content key of 32 bytes that is sealed with it; the `info` is `colony-gateway job v1`, the associated data empty |
//! | `data` | base64 of the events, encrypted under the content key by ChaCha20-Poly1305 with twelve zero bytes for a nonce and no associated data. A content key is used once |
//!
//! Any bee with one of the keys opens it. What is decrypted is an event, or a batch before its base64, as
//! `kwargs.encoding` says: `sealed` or `sealed+zstd+json`. Sealing proves nothing about the sender; the attestation does, and
//! it covers the argument as it is sent.
//!
//! Guarantees: without one of the private keys nothing but the length of the events is known; secrets are not shown by
//! `Debug` and are wiped.

mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305 as Cipher, Nonce};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use key::{OpeningKey, RecipientKey, SealingKeyError};

/// Value of `alg`.
pub const ALGORITHM: &str = "HPKE-0020-0001-0003";

/// Most recipients of a job.
pub const RECIPIENTS_MAX: usize = 16;

/// Longest argument of a sealed job: the largest batch in base64, and the keys around it.
pub const SEALED_BYTES_MAX: usize = super::batch::ENCODED_BYTES_MAX + 64 * 1024;

/// Separates these seals from any other use of the same keys.
const INFO: &[u8] = b"colony-gateway job v1";

/// Bytes of a content key.
const KEY_BYTES: usize = 32;

/// One nonce suffices, because each content key is used once.
const NONCE: [u8; 12] = [0; 12];

type Public = <X25519HkdfSha256 as Kem>::PublicKey;
type Private = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The argument of a sealed job.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sealed {
    alg: String,
    pub(super) keys: Vec<SealedKey>,
    data: String,
}

/// The content key, sealed to one recipient.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SealedKey {
    pub(super) kid: String,
    enc: String,
    key: String,
}

/// The recipients of sealed jobs: one key, and another during a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients(Vec<RecipientKey>);

/// Why there are no recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientsError {
    #[error("no key is named to which jobs are sealed")]
    None,
    #[error(
        "{count} keys are more than the {RECIPIENTS_MAX} to which a job can be sealed; remove those that are retired"
    )]
    TooMany { count: usize },
}

/// Why events cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    #[error("the operating system gives no randomness")]
    Randomness(#[source] getrandom::Error),
    /// The recipient's key is useless, or there are too many bytes.
    #[error("the job cannot be sealed to the key {kid}")]
    Recipient { kid: String },
    #[error("the events cannot be encrypted")]
    Cipher,
    #[error("the sealed job cannot be written")]
    Json(#[source] serde_json::Error),
}

/// Why a sealed job cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is longer than any job.
    #[error("the sealed job is larger than {SEALED_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the sealed job is not of the known form")]
    Form(#[source] serde_json::Error),
    #[error("the sealed job is of another scheme than {ALGORITHM}")]
    Algorithm,
    #[error("a part of the sealed job is not base64")]
    Base64(#[source] base64::DecodeError),
    /// It is sealed to none of this bee's keys.
    #[error(
        "the job is sealed to others ({kids}), and not to the keys of this bee ({own}): compare SEALING_PUBKEYS of the gateway with `keys show` here"
    )]
    NotForUs { kids: String, own: String },
    /// The key is ours but does not open it.
    #[error("the sealed job does not open with the key that it names")]
    Damaged,
}

impl OpenError {
    /// Stable name for metrics and records.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotForUs { .. } => "sealed_to_others",
            Self::TooLarge | Self::Form(_) | Self::Algorithm | Self::Base64(_) | Self::Damaged => "sealed_malformed",
        }
    }
}

impl Recipients {
    /// # Errors
    /// If there are none, or more than a job can have.
    pub fn new(mut keys: Vec<RecipientKey>) -> Result<Self, RecipientsError> {
        keys.sort_by(|one, other| one.kid().cmp(other.kid()));
        keys.dedup();
        match keys.len() {
            0 => Err(RecipientsError::None),
            count if count > RECIPIENTS_MAX => Err(RecipientsError::TooMany { count }),
            _ => Ok(Self(keys)),
        }
    }

    pub fn keys(&self) -> &[RecipientKey] {
        &self.0
    }

    /// Seals bytes into the argument of a job.
    ///
    /// # Errors
    /// If the system gives no randomness, or a key is useless.
    pub fn seal(&self, plaintext: &[u8]) -> Result<String, SealingError> {
        let mut content = Zeroizing::new([0_u8; KEY_BYTES]);
        getrandom::fill(content.as_mut_slice()).map_err(SealingError::Randomness)?;
        let keys = self.0.iter().map(|key| key.wrap(&content)).collect::<Result<Vec<_>, _>>()?;
        let data = cipher(&content).encrypt(&Nonce::from(NONCE), plaintext).map_err(|_| SealingError::Cipher)?;
        let sealed = Sealed { alg: ALGORITHM.to_owned(), keys, data: STANDARD.encode(data) };
        serde_json::to_string(&sealed).map_err(SealingError::Json)
    }
}

fn cipher(content: &[u8; KEY_BYTES]) -> Cipher {
    Cipher::new(&(*content).into())
}

impl RecipientKey {
    fn wrap(&self, content: &[u8; KEY_BYTES]) -> Result<SealedKey, SealingError> {
        let sealed = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            self.key(),
            INFO,
            content,
            &[],
        );
        let (enc, key) = sealed.map_err(|_| SealingError::Recipient { kid: self.kid().to_owned() })?;
        Ok(SealedKey { kid: self.kid().to_owned(), enc: STANDARD.encode(enc.to_bytes()), key: STANDARD.encode(key) })
    }
}

impl Sealed {
    pub(super) fn read(text: &str) -> Result<Self, OpenError> {
        if text.len() > SEALED_BYTES_MAX {
            return Err(OpenError::TooLarge);
        }
        let sealed: Self = serde_json::from_str(text).map_err(OpenError::Form)?;
        if sealed.alg == ALGORITHM { Ok(sealed) } else { Err(OpenError::Algorithm) }
    }

    /// A sealed key that one of these keys opens.
    pub(super) fn key_for<'a>(&'a self, keys: &'a [OpeningKey]) -> Option<(&'a SealedKey, &'a OpeningKey)> {
        let of = |sealed: &'a SealedKey| Some((sealed, keys.iter().find(|key| key.public().kid() == sealed.kid)?));
        self.keys.iter().take(RECIPIENTS_MAX).find_map(of)
    }

    pub(super) fn open(&self, sealed: &SealedKey, key: &OpeningKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(OpenError::Base64);
        let enc = Encapsulated::from_bytes(&bytes(&sealed.enc)?).map_err(|_| OpenError::Damaged)?;
        let content = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            key.key(),
            &enc,
            INFO,
            &bytes(&sealed.key)?,
            &[],
        );
        let content = Zeroizing::new(content.map_err(|_| OpenError::Damaged)?);
        let content: &[u8; KEY_BYTES] = content.as_slice().try_into().map_err(|_| OpenError::Damaged)?;
        let data = bytes(&self.data)?;
        let plain = cipher(content).decrypt(&Nonce::from(NONCE), data.as_slice()).map_err(|_| OpenError::Damaged)?;
        Ok(Zeroizing::new(plain))
    }
}

#[cfg(test)]
mod tests;
