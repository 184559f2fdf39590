//! Signs bodies as Stripe does, for simulated traffic and tests. The check of signatures is elsewhere and shares no
//! code with this, so that a mistake here cannot hide one there.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::Timestamp;

/// Value of a `Stripe-Signature` header for `body`: `t=<unix seconds>,v1=<hex of HMAC-SHA256>`.
pub fn sign(secret: &str, timestamp: Timestamp, body: &[u8]) -> String {
    sign_all(std::slice::from_ref(&secret), timestamp, body)
}

/// As [`sign`], with one `v1` for each secret. Stripe sends this while a secret is rolled.
pub fn sign_all(secrets: &[&str], timestamp: Timestamp, body: &[u8]) -> String {
    let mut header = format!("t={}", timestamp.seconds());
    for secret in secrets {
        header.push_str(",v1=");
        push_mac(&mut header, secret, timestamp, body);
    }
    header
}

/// As [`sign`], but only under the scheme `v0`, which proves nothing.
pub(super) fn sign_v0(secret: &str, timestamp: Timestamp, body: &[u8]) -> String {
    let mut header = format!("t={},v0=", timestamp.seconds());
    push_mac(&mut header, secret, timestamp, body);
    header
}

/// The key is the whole secret as text, prefix included. The signed bytes are `<seconds>.<body>`.
fn push_mac(header: &mut String, secret: &str, timestamp: Timestamp, body: &[u8]) {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.seconds().to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let _ = write!(header, "{}", hex::encode(mac.finalize().into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}";

    /// Other implementations computed these values.
    #[test]
    fn known_answers_are_met() {
        let at = Timestamp::from_seconds(1_700_000_000);
        assert_eq!(
            sign("whsec_test_secret", at, BODY),
            "t=1700000000,v1=4f1cd7feda9826e746b7d482c4badebb657398df1099e1046364f6196a230150"
        );
        assert_eq!(
            sign("whsec_test_secret", Timestamp::from_seconds(12_345), BODY),
            "t=12345,v1=2672d138c9a412830f3bfe2ecc5bfb3277cf6f5b49d0119d77dd6cb64da1257e"
        );
    }

    #[test]
    fn several_secrets_give_one_v1_each_in_their_order() {
        let at = Timestamp::from_seconds(1_700_000_000);
        let secrets = ["whsec_test_secret", "whsec_test_secret_rolled_key"];
        assert_eq!(
            sign_all(&secrets, at, BODY),
            "t=1700000000,v1=4f1cd7feda9826e746b7d482c4badebb657398df1099e1046364f6196a230150,\
             v1=dc80d0334b78e0dbbc3d5352c151a428b746163b94ad381096bb293b9e650f1e"
        );
    }
}
