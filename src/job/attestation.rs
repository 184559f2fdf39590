//! The gateway's own signature over a job, from end to end: whoever else may submit to the colony, only a job that a
//! trusted gateway attested is worth a look.
//!
//! An attestation travels as `kwargs.attestation`, an object of strings (the server re-encodes numbers as doubles):
//!
//! | field | content |
//! |---|---|
//! | `alg` | `Ed25519` |
//! | `kid` | the key's short name: the first 16 hex digits of the SHA-256 of the 32 bytes of the public key |
//! | `iat` | when it was made, in whole seconds since 1970, decimal |
//! | `nonce` | 32 lower-case hex digits, never used twice |
//! | `sig` | hex of the 64 bytes of the signature |
//!
//! # Signed bytes
//!
//! `field(x)` is the length of `x` in bytes, as four bytes, most significant first, followed by `x`. All texts are
//! UTF-8. The signed bytes are, in this order and without anything between:
//!
//! 1. the 29 bytes of `colony-gateway attestation v1` and a zero byte,
//! 2. `field` of the colony's name,
//! 3. `field` of the function's name,
//! 4. `field` of `kwargs.encoding`, empty when there is none,
//! 5. `field` of `kid`, of `iat` and of `nonce`, as they stand in the attestation,
//! 6. the 32 bytes of the SHA-256 of the arguments: for each argument, in order, its length in bytes as eight bytes,
//!    most significant first, followed by its text. All arguments are strings.
//!
//! Verification is strict (RFC 8032 without the leniencies that let one signature have several forms or fit several
//! keys): `verify_strict` of ed25519-dalek.
//!
//! Guarantees: nothing that is signed can be read in two ways; an attestation that fails does so with a named reason;
//! the memory against replay is bounded. Does not: make a job run once. That is the ledger's work; the guard against
//! replay only covers what one process saw lately, and lets the same process of the colony come again after a lost
//! lease.

mod canonical;
mod key;
mod replay;
mod verify;

use serde::{Deserialize, Serialize};

pub use canonical::Claim;
pub use key::{AttestationKeyError, PublicKey, Signer};
pub use verify::{
    FUTURE_SKEW, MAX_AGE, REPLAY_NONCES_MAX, Rejection, TRUSTED_KEYS_MAX, Trust, Verified, Verifier, VerifierError,
};

/// Value of `alg`.
pub const ALGORITHM: &str = "Ed25519";

/// Name of the keyword argument that carries it.
pub const KWARG: &str = "attestation";

/// An attestation as it travels. Nothing of it is trusted before [`Verifier::verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// Signature scheme.
    pub alg: String,
    /// Short name of the key.
    pub kid: String,
    /// Seconds since 1970, decimal.
    pub iat: String,
    /// Random hex digits.
    pub nonce: String,
    /// Hex of the signature.
    pub sig: String,
}
