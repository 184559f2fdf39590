//! The gateway's own signature over a job, from end to end: whoever else may submit to the colony, only a job that a
//! trusted gateway attested is worth a look.
//!
//! An attestation travels as `kwargs.attestation`: one string, the JSON text of an object of strings. (The official Python
//! client reads no kwargs but strings, and the server re-encodes numbers as doubles.)
//!
//! | field | content |
//! |---|---|
//! | `alg` | `Ed25519` |
//! | `kid` | the key's short name: the first 16 hex digits of the SHA-256 of the 32 bytes of the public key |
//! | `iat` | when it was made, in whole seconds since 1970, decimal |
//! | `nonce` | 32 lower-case hex digits, never used twice |
//! | `ledger` | identity of the ledger that the job is for, 32 lower-case hex digits |
//! | `submitter` | id of the colony's user that submits the job; servers tell it as `initiatorid` |
//! | `sig` | hex of the 64 bytes of the signature |
//!
//! # Signed bytes
//!
//! `field(x)` is the length of `x` in bytes, as four bytes, most significant first, followed by `x`. All texts are
//! UTF-8. The signed bytes are, in this order and without anything between:
//!
//! 1. the 29 bytes of `colony-gateway attestation v2` and a zero byte,
//! 2. `field` of the colony's name,
//! 3. `field` of `ledger` and of `submitter`, as they stand in the attestation,
//! 4. `field` of the function's name,
//! 5. `field` of `kwargs.encoding`, empty when there is none,
//! 6. `field` of `kid`, of `iat` and of `nonce`, as they stand in the attestation,
//! 7. the 32 bytes of the SHA-256 of the arguments: for each argument, in order, its length in bytes as eight bytes,
//!    most significant first, followed by its text. All arguments are strings.
//!
//! Verification is strict (RFC 8032 without the leniencies that let one signature have several forms or fit several
//! keys): `verify_strict` of ed25519-dalek.
//!
//! Guarantees: nothing that is signed can be read in two ways; an attestation that fails does so with a named reason;
//! the memory against replay is bounded. Any bee refuses what another member of the colony submits again. Does not: make a
//! job run once. That is the ledger's work; against whoever has the gateway's own key in the colony, and against the server
//! itself, the guard only covers what one process saw lately, and it lets the same process of the colony come again after
//! a lost lease.

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

/// An attestation in transit. Nothing in it is trusted before [`Verifier::verify`].
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
    /// Identity of the ledger that the job is for.
    pub ledger: String,
    /// Id of the user that submits the job.
    pub submitter: String,
    /// Hex of the signature.
    pub sig: String,
}

impl Attestation {
    /// The text form in transit.
    ///
    /// # Errors
    /// None occur, because all fields are strings.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// If it is not the JSON of an attestation, field by field.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
