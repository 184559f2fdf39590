//! The `Stripe-Signature` header, checked over the raw bytes before anything parses them.
//!
//! Header: `t=<unix seconds>,v1=<64 hex>[,v1=…][,v0=…]`. `v1 = hex(HMAC-SHA256(secret, t + "." + body))`, keyed with the
//! whole `whsec_…` text (Stripe documentation, "Verify webhook signatures manually"). Where Stripe's own libraries
//! disagree on odd input, this is the strictest that still accepts everything Stripe sends.
//!
//! Only this module makes a [`VerifiedDelivery`], and only that enters the inbox.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::Timestamp;

/// Longest `Stripe-Signature` header, in bytes. Stripe's has about 160, and 70 more for each further secret.
pub const SIGNATURE_HEADER_BYTES_MAX: usize = 4096;

/// Most comma-separated items to look at in a `Stripe-Signature` header.
pub const SIGNATURE_ITEMS_MAX: usize = 32;

/// How far a signature's time may lie from ours. Every Stripe library uses 300 s.
pub const TOLERANCE_DEFAULT: Duration = Duration::from_mins(5);

/// A delivery with a good signature: it proves that Stripe, or a holder of the secret, sent these bytes.
#[derive(Debug)]
pub struct VerifiedDelivery {
    body: Bytes,
    secret: SecretFingerprint,
    /// Further secrets that signed it; while one is rolled, Stripe signs with both.
    others: Vec<SecretFingerprint>,
    signed_at: Timestamp,
}

impl VerifiedDelivery {
    /// The raw body that was signed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The secret that verified it; the first of the configured ones if several did.
    pub fn secret(&self) -> SecretFingerprint {
        self.secret
    }

    /// Every configured secret that signed it, each once.
    pub fn secrets(&self) -> impl Iterator<Item = SecretFingerprint> + '_ {
        std::iter::once(self.secret).chain(self.others.iter().copied())
    }

    /// The time in the signature: when Stripe made this attempt.
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }
}

/// Tells secrets apart without revealing them: the first 4 bytes of a SHA-256 over a domain prefix and the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretFingerprint([u8; 4]);

impl fmt::Display for SecretFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SecretFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An endpoint's signing secret, ready for use.
#[derive(Clone)]
pub struct SigningSecret {
    /// HMAC state after the key. Each check clones it.
    keyed: Hmac<Sha256>,
    fingerprint: SecretFingerprint,
}

impl SigningSecret {
    /// Takes a secret from the configuration. Removes white space around it; the second value says whether there
    /// was any.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length")]
    pub fn parse(text: &str) -> Result<(Self, bool), SigningSecretError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(SigningSecretError::Blank);
        }
        if trimmed.contains(char::is_whitespace) {
            return Err(SigningSecretError::InnerWhiteSpace);
        }
        let keyed = Hmac::new_from_slice(trimmed.as_bytes()).expect("HMAC takes keys of any length");
        let mut digest = Sha256::new();
        digest.update(b"colony-gateway signing secret\0");
        digest.update(trimmed.as_bytes());
        let digest = digest.finalize();
        let fingerprint = SecretFingerprint([digest[0], digest[1], digest[2], digest[3]]);
        Ok((Self { keyed, fingerprint }, trimmed.len() != text.len()))
    }

    /// Tells this secret apart from others.
    pub fn fingerprint(&self) -> SecretFingerprint {
        self.fingerprint
    }

    fn v1(&self, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningSecret({})", self.fingerprint)
    }
}

/// Why a configured secret cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningSecretError {
    /// Empty, or nothing but white space.
    #[error("is blank: copy the signing secret (whsec_…) from the endpoint's page in Stripe's dashboard")]
    Blank,
    /// Probably two secrets without a comma, or a broken line.
    #[error("contains white space: separate several secrets with commas")]
    InnerWhiteSpace,
}

/// Why a delivery was refused. The sender never learns which of these it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No `Stripe-Signature` header.
    #[error("no Stripe-Signature header")]
    Missing,
    /// The header was given more than once.
    #[error("more than one Stripe-Signature header")]
    Repeated,
    /// The header is longer than [`SIGNATURE_HEADER_BYTES_MAX`] or has more than [`SIGNATURE_ITEMS_MAX`] items.
    #[error("Stripe-Signature header is too long")]
    TooLong,
    /// The header is not UTF-8 text.
    #[error("Stripe-Signature header is not text")]
    NotText,
    /// No `t=`, two of them, or not a plain number of seconds.
    #[error("no single plain timestamp in the Stripe-Signature header")]
    Timestamp,
    /// No usable `v1` item.
    #[error("no v1 signature in the Stripe-Signature header")]
    NoV1,
    /// No `v1` matches any secret: a forgery, a changed body, or the wrong secret.
    #[error("no v1 signature fits any configured secret")]
    NoMatch,
    /// Signed by Stripe, but older than the tolerance.
    #[error("signature is older than the tolerance")]
    Stale,
    /// Signed by Stripe, but more than the tolerance ahead of our clock.
    #[error("signature is ahead of this machine's clock by more than the tolerance")]
    Future,
}

impl SignatureError {
    /// Stable name for metrics and logs.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::TooLong => "too_long",
            Self::NotText => "not_text",
            Self::Timestamp => "timestamp",
            Self::NoV1 => "no_v1",
            Self::NoMatch => "no_match",
            Self::Stale => "stale",
            Self::Future => "future",
        }
    }

    /// Every reason, for metrics that start at zero.
    pub const REASONS: [&'static str; 9] =
        ["missing", "repeated", "too_long", "not_text", "timestamp", "no_v1", "no_match", "stale", "future"];
}

/// The parts of a readable header, before anything is compared.
#[derive(Debug, PartialEq, Eq)]
struct ParsedHeader<'a> {
    timestamp_text: &'a str,
    timestamp: Timestamp,
    v1: Vec<[u8; 32]>,
}

/// Reads the header's values as the request has them. This is cheap, so it can come before the body is read.
pub fn check_header<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<SignatureHeader<'a>, SignatureError> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(SignatureError::Missing)?;
    if values.next().is_some() {
        return Err(SignatureError::Repeated);
    }
    parse_header(value).map(SignatureHeader)
}

/// A readable `Stripe-Signature` header. It does not prove yet who sent it.
#[derive(Debug)]
pub struct SignatureHeader<'a>(ParsedHeader<'a>);

impl SignatureHeader<'_> {
    /// Checks the header against the body. It compares every `v1` with every secret, in constant time and without
    /// early exit. It looks at the time last, so that a forgery never counts as a delay.
    pub fn verify(
        &self,
        body: Bytes,
        secrets: &[SigningSecret],
        now: Timestamp,
        tolerance: Duration,
    ) -> Result<VerifiedDelivery, SignatureError> {
        let header = &self.0;
        let (mut matching, mut others) = (None, Vec::new());
        for secret in secrets {
            let expected = secret.v1(header.timestamp_text, &body);
            let hit = header.v1.iter().fold(Choice::from(0), |hit, v1| hit | v1.ct_eq(&expected));
            if bool::from(hit) {
                let first = *matching.get_or_insert(secret.fingerprint);
                if first != secret.fingerprint && !others.contains(&secret.fingerprint) {
                    others.push(secret.fingerprint);
                }
            }
        }
        let secret = matching.ok_or(SignatureError::NoMatch)?;
        let tolerance = i64::try_from(tolerance.as_secs()).unwrap_or(i64::MAX);
        let age = now.seconds().saturating_sub(header.timestamp.seconds());
        if age > tolerance {
            return Err(SignatureError::Stale);
        }
        if age < -tolerance {
            return Err(SignatureError::Future);
        }
        Ok(VerifiedDelivery { body, secret, others, signed_at: header.timestamp })
    }
}

fn parse_header(value: &[u8]) -> Result<ParsedHeader<'_>, SignatureError> {
    if value.len() > SIGNATURE_HEADER_BYTES_MAX {
        return Err(SignatureError::TooLong);
    }
    let text = std::str::from_utf8(value).map_err(|_| SignatureError::NotText)?;
    let mut timestamp_text = None;
    let mut v1 = Vec::with_capacity(2);
    for (index, item) in text.split(',').enumerate() {
        if index == SIGNATURE_ITEMS_MAX {
            return Err(SignatureError::TooLong);
        }
        let Some((key, value)) = item.split_once('=') else { continue };
        match (key.trim(), value.trim()) {
            ("t", _) if timestamp_text.is_some() => return Err(SignatureError::Timestamp),
            ("t", value) => timestamp_text = Some(value),
            ("v1", value) => {
                let mut decoded = [0_u8; 32];
                if hex::decode_to_slice(value, &mut decoded).is_ok() {
                    v1.push(decoded);
                }
            }
            _ => {}
        }
    }
    let timestamp_text = timestamp_text.ok_or(SignatureError::Timestamp)?;
    let timestamp = parse_timestamp(timestamp_text).ok_or(SignatureError::Timestamp)?;
    if v1.is_empty() {
        return Err(SignatureError::NoV1);
    }
    Ok(ParsedHeader { timestamp_text, timestamp, v1 })
}

/// `0`, or up to 12 digits without a leading zero.
fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let plain = text == "0" || !text.starts_with('0');
    if !plain || text.len() > 12 || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests;
