//! What unit tests of other modules need of Stripe.

use std::time::Duration;

use bytes::Bytes;
use stripe_events::Timestamp;
use stripe_events::signature::{SigningSecret, VerifiedDelivery, check_header};
use stripe_events::simulator::sign;

/// A delivery of `body` with a valid signature.
pub(crate) fn delivery(body: &[u8]) -> VerifiedDelivery {
    const SECRET: &str = "whsec_test_secret";
    let now = Timestamp::from_seconds(1_700_000_000);
    let header = sign(SECRET, now, body);
    let secrets = [SigningSecret::parse(SECRET).expect("a usable secret").0];
    check_header([header.as_bytes()])
        .and_then(|header| header.verify(Bytes::copy_from_slice(body), &secrets, now, Duration::ZERO))
        .expect("a good signature")
}
