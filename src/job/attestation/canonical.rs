//! The bytes that are signed. Their form is documented in the parent module for other languages.

use sha2::{Digest as _, Sha256};

/// Separates these signatures from any other use of the same key.
const DOMAIN: &[u8] = b"colony-gateway attestation v2\0";

/// The content that an attestation vouches for.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Name of the colony.
    pub colony: &'a str,
    /// Identity of the ledger that the job is for.
    pub ledger: &'a str,
    /// Id of the user that submits the job.
    pub submitter: &'a str,
    /// Name of the function.
    pub function: &'a str,
    /// How the arguments are encoded; empty if nothing is said.
    pub encoding: &'a str,
    /// The arguments.
    pub args: &'a [&'a str],
}

/// The signed bytes of a claim.
pub(super) fn bytes(claim: Claim<'_>, kid: &str, issued_at: &str, nonce: &str) -> Vec<u8> {
    let mut bytes = DOMAIN.to_vec();
    let said = [claim.colony, claim.ledger, claim.submitter, claim.function, claim.encoding, kid, issued_at, nonce];
    for field in said {
        // Four bytes of length suffice for any text that fits in a message. A longer one is cut, which only harms itself.
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    let mut args = Sha256::new();
    for arg in claim.args {
        args.update((arg.len() as u64).to_be_bytes());
        args.update(arg.as_bytes());
    }
    bytes.extend_from_slice(&args.finalize());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(colony: &str, function: &str, encoding: &str, args: &[&str]) -> Vec<u8> {
        bytes(Claim { colony, ledger: "l", submitter: "s", function, encoding, args }, "kid", "1", "nonce")
    }

    #[test]
    fn no_two_claims_share_their_bytes() {
        let claims: [(&str, &str, &str, &[&str]); 8] = [
            ("ab", "c", "", &["x"]),
            ("a", "bc", "", &["x"]),
            ("ab", "", "c", &["x"]),
            ("ab", "c", "", &["x", ""]),
            ("ab", "c", "", &["", "x"]),
            ("ab", "c", "", &[]),
            ("ab", "c", "", &["xy"]),
            ("ab", "c", "", &["x", "y"]),
        ];
        let mut seen: Vec<Vec<u8>> = claims.iter().map(|(a, b, c, args)| of(a, b, c, args)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), claims.len());
    }
}
