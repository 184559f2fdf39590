//! Identities on a Colonies server: secp256k1 keys, the ids made of them, signatures and their recovery.
//!
//! A signature is ECDSA over the SHA3-256 of a payload text, with the nonce of RFC 6979 (HMAC-SHA256) and the lower
//! of the two possible `s`, so that the same key and text always give the same signature. It is written as the hex of
//! 65 bytes `r || s || v`. The server is never told an id: it recovers the public key from the signature, and the id
//! is the SHA3-256 of the hex text of that key.
//!
//! Guarantees: no input panics; private keys are wiped when dropped and never shown. Does not: protect from replay.
//! The protocol has nothing against it and relies on TLS.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sha3::{Digest, Sha3_256};
use zeroize::Zeroizing;

/// Bytes of a private key.
const PRIVATE_KEY_BYTES: usize = 32;

/// Bytes of a signature: `r`, `s` and the recovery id.
const SIGNATURE_BYTES: usize = 65;

/// The purpose of derived keys. It keeps them apart from everything else that is made with the key.
const DERIVATION: &[u8] = b"colony-gateway derived key v1\0";

/// Hex digits of an id.
const ID_HEX_DIGITS: usize = 64;

/// Public name of a key: the hex of the SHA3-256 of the hex text of its uncompressed public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityId(String);

impl IdentityId {
    /// Takes 64 hex digits, in either case.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text.len() == ID_HEX_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidId)
        }
    }

    /// The 64 lower-case hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(key: &VerifyingKey) -> Self {
        let public = hex::encode(key.to_sec1_point(false).as_bytes());
        Self(hex::encode(Sha3_256::digest(public.as_bytes())))
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identity's id is {ID_HEX_DIGITS} hex digits")]
pub struct InvalidId;

/// A private key, which can sign. `Debug` shows only the id.
#[derive(Clone)]
pub struct PrivateKey {
    key: SigningKey,
    id: IdentityId,
}

impl PrivateKey {
    /// Reads a key from 64 hex digits and ignores white space around them.
    ///
    /// # Errors
    /// Says what is wrong with the text, but never repeats the text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if text.len() != 2 * PRIVATE_KEY_BYTES {
            return Err(KeyError::Length { digits: text.len() });
        }
        let mut bytes = Zeroizing::new([0_u8; PRIVATE_KEY_BYTES]);
        hex::decode_to_slice(text, bytes.as_mut_slice()).map_err(|_| KeyError::NotHex)?;
        Self::from_bytes(&bytes)
    }

    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// If the operating system provides none.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0_u8; PRIVATE_KEY_BYTES]);
        loop {
            getrandom::fill(bytes.as_mut_slice())?;
            // About one draw in 2^128 lies outside the range.
            if let Ok(key) = Self::from_bytes(&bytes) {
                return Ok(key);
            }
        }
    }

    /// Derives a key from this one and a name. It is the same every time and does not reveal this key.
    ///
    /// The derived key is the HMAC-SHA256 (RFC 2104), keyed with the 32 bytes of this key, of this text:
    /// `colony-gateway derived key v1`, a zero byte, the name in UTF-8, a zero byte, and a counter byte. The
    /// counter starts at 0 and goes up until the result is a valid private key, which the first result practically
    /// always is.
    #[expect(clippy::missing_panics_doc, reason = "HMAC takes keys of any length, and 256 misses do not happen")]
    #[must_use]
    pub fn derive(&self, name: &str) -> Self {
        let secret = Zeroizing::new(<[u8; PRIVATE_KEY_BYTES]>::from(self.key.to_bytes()));
        let derived = (0..=u8::MAX).find_map(|attempt| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_slice()).expect("HMAC takes keys of any length");
            mac.update(DERIVATION);
            mac.update(name.as_bytes());
            mac.update(&[0, attempt]);
            let bytes = Zeroizing::new(<[u8; PRIVATE_KEY_BYTES]>::from(mac.finalize().into_bytes()));
            Self::from_bytes(&bytes).ok()
        });
        derived.expect("one draw in 2^128 lies outside the range")
    }

    fn from_bytes(bytes: &[u8; PRIVATE_KEY_BYTES]) -> Result<Self, KeyError> {
        let key = SigningKey::from_slice(bytes).map_err(|_| KeyError::OutOfRange)?;
        let id = IdentityId::of(key.verifying_key());
        Ok(Self { key, id })
    }

    /// The id that the server derives from this key's signatures.
    pub fn id(&self) -> &IdentityId {
        &self.id
    }

    /// The key as 64 hex digits, for a file or an environment that is safe to hold it.
    pub fn to_hex(&self) -> KeyHex {
        let bytes = Zeroizing::new(<[u8; PRIVATE_KEY_BYTES]>::from(self.key.to_bytes()));
        KeyHex(Zeroizing::new(hex::encode(bytes.as_slice())))
    }

    /// Signs a payload. Takes less than 0.1 ms of CPU for a few kilobytes; never fails.
    pub fn sign(&self, payload: &str) -> String {
        let (signature, recovery) = self.key.sign_prehash_recoverable(&digest(payload));
        let mut bytes = [0_u8; SIGNATURE_BYTES];
        bytes[..SIGNATURE_BYTES - 1].copy_from_slice(&signature.to_bytes());
        bytes[SIGNATURE_BYTES - 1] = recovery.to_byte();
        hex::encode(bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The text of a private key. It is wiped when dropped, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHex(Zeroizing<String>);

impl KeyHex {
    /// The text itself. Check at every call that the secret may be seen there.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHex(…)")
    }
}

/// Why a text is not a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 digits.
    #[error("a private key is 64 hex digits, this text has {digits} bytes")]
    Length {
        /// Bytes of the text.
        digits: usize,
    },
    /// A character is not a hex digit.
    #[error("a private key is 64 hex digits, this text has other characters")]
    NotHex,
    /// The number is zero, or not below the order of the curve.
    #[error("this private key is outside secp256k1's range; make a new one")]
    OutOfRange,
}

/// Finds out who signed a payload. A signature over another text gives another id, not an error: compare the id
/// with the ids you know.
///
/// # Errors
/// If the signature is malformed, or no key can have made it.
pub fn recover(payload: &str, signature: &str) -> Result<IdentityId, SignatureError> {
    let bytes = hex::decode(signature).map_err(SignatureError::NotHex)?;
    let bytes: [u8; SIGNATURE_BYTES] =
        bytes.try_into().map_err(|bytes: Vec<u8>| SignatureError::Length { bytes: bytes.len() })?;
    let (scalars, recovery) = bytes.split_at(SIGNATURE_BYTES - 1);
    let recovery = RecoveryId::from_byte(recovery[0]).ok_or(SignatureError::RecoveryId { byte: recovery[0] })?;
    let parsed = Signature::from_slice(scalars).map_err(|_| SignatureError::Scalars)?;
    if parsed.normalize_s() != parsed {
        return Err(SignatureError::HighS);
    }
    let key = VerifyingKey::recover_from_prehash(&digest(payload), &parsed, recovery)
        .map_err(|_| SignatureError::NoSuchKey)?;
    Ok(IdentityId::of(&key))
}

fn digest(payload: &str) -> [u8; 32] {
    Sha3_256::digest(payload.as_bytes()).into()
}

/// Why a signature does not lead to a key.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SignatureError {
    /// Not hex text.
    #[error("the signature is not hex")]
    NotHex(#[source] hex::FromHexError),
    /// Not 65 bytes.
    #[error("a signature is {SIGNATURE_BYTES} bytes, this one has {bytes}")]
    Length {
        /// Bytes after decoding.
        bytes: usize,
    },
    /// The last byte is not 0, 1, 2 or 3.
    #[error("the recovery id of the signature is {byte}, more than 3")]
    RecoveryId {
        /// The byte found.
        byte: u8,
    },
    /// `r` or `s` is zero or not below the order of the curve.
    #[error("the numbers of the signature are outside secp256k1's range")]
    Scalars,
    /// `s` is the larger of the two possible values. The server refuses it because anyone can compute it from the
    /// smaller one.
    #[error("the signature is not in its lower form")]
    HighS,
    /// No public key fits the signature.
    #[error("no key can have made the signature")]
    NoSuchKey,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05";
    const ID: &str = "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac";
    const DERIVED: &str = "f66ec207c707cce89040f18c39b09e7789924414b5cad1dbe873599b799c8deb";
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    const BELOW_ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140";

    fn key() -> PrivateKey {
        PrivateKey::from_hex(KEY).unwrap()
    }

    #[test]
    fn the_known_key_has_the_known_id() {
        assert_eq!(key().id().as_str(), ID);
    }

    #[test]
    fn the_signer_is_recovered_from_the_signature() {
        let signature = key().sign("payload");
        assert_eq!(signature.len(), 2 * SIGNATURE_BYTES);
        assert_eq!(recover("payload", &signature).unwrap(), *key().id());
        assert_ne!(recover("another payload", &signature).ok(), Some(key().id().clone()));
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", KeyError::Length { digits: 0 }),
            ("abc", KeyError::Length { digits: 3 }),
            (&KEY[1..], KeyError::Length { digits: 63 }),
            (&"zz".repeat(32), KeyError::NotHex),
            (&"é".repeat(32), KeyError::NotHex),
            (&"00".repeat(32), KeyError::OutOfRange),
            (ORDER, KeyError::OutOfRange),
            (&"ff".repeat(32), KeyError::OutOfRange),
        ] {
            assert_eq!(PrivateKey::from_hex(text).unwrap_err(), reason, "{text}");
        }
        assert!(PrivateKey::from_hex(BELOW_ORDER).is_ok());
    }

    #[test]
    fn white_space_and_case_of_a_key_do_not_matter() {
        let text = format!(" {}\n", KEY.to_uppercase());
        assert_eq!(PrivateKey::from_hex(&text).unwrap().id().as_str(), ID);
    }

    #[test]
    fn generated_keys_differ_and_survive_being_written() {
        let (one, two) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        assert_ne!(one.id(), two.id());
        assert_eq!(PrivateKey::from_hex(one.to_hex().expose()).unwrap().id(), one.id());
    }

    #[test]
    fn a_derived_key_is_the_known_one_for_its_name_and_no_other() {
        // Computed with Python's hmac module over the documented bytes.
        let derived = key().derive("gateway-2");
        assert_eq!(derived.to_hex().expose(), DERIVED);
        assert_eq!(key().derive("gateway-2").id(), derived.id());
        assert_ne!(key().derive("gateway-3").id(), derived.id());
        assert_ne!(PrivateKey::generate().unwrap().derive("gateway-2").id(), derived.id());
    }

    #[test]
    fn debug_output_shows_the_id_and_nothing_of_the_key() {
        let shown = format!("{:?}", key());
        assert!(shown.contains(ID), "{shown}");
        assert!(!shown.contains(&KEY[..8]), "{shown}");
    }

    #[test]
    fn what_is_not_a_signature_is_refused_with_its_reason() {
        let good = key().sign("payload");
        let with_tail = |tail: &str| format!("{}{tail}", &good[..128]);
        assert!(matches!(recover("payload", "zz"), Err(SignatureError::NotHex(_))));
        assert!(matches!(recover("payload", "0"), Err(SignatureError::NotHex(_))));
        assert_eq!(recover("payload", "00"), Err(SignatureError::Length { bytes: 1 }));
        assert_eq!(recover("payload", &with_tail("04")), Err(SignatureError::RecoveryId { byte: 4 }));
        assert_eq!(recover("payload", &"00".repeat(65)), Err(SignatureError::Scalars));
        assert_eq!(recover("payload", &with_tail("02")), Err(SignatureError::NoSuchKey));
    }

    #[test]
    fn the_higher_form_of_a_signature_is_refused() {
        let bytes = hex::decode(key().sign("payload")).unwrap();
        let signature = Signature::from_slice(&bytes[..64]).unwrap();
        let high = Signature::from_scalars(*signature.r(), -*signature.s()).unwrap();
        let text = format!("{}{:02x}", hex::encode(high.to_bytes()), bytes[64] ^ 1);
        assert_eq!(recover("payload", &text), Err(SignatureError::HighS));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_text_makes_the_parsers_panic(key in "\\PC{0,80}", signature in "[0-9a-f]{126,134}", id in "\\PC{0,70}") {
            let _ = PrivateKey::from_hex(&key);
            let _ = recover("payload", &signature);
            let _ = IdentityId::parse(&id);
        }

        #[test]
        fn any_text_signed_by_any_key_names_that_key(seed in prop::array::uniform32(1_u8..), text in "\\PC{0,60}") {
            if let Ok(key) = PrivateKey::from_hex(&hex::encode(seed)) {
                prop_assert_eq!(recover(&text, &key.sign(&text)), Ok(key.id().clone()));
            }
        }
    }
}
