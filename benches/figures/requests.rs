//! Requests without end: bodies of simulated events, each under an id of its own, signed when it is made.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use colony_gateway::domain::clock::Clock;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::events;
use crate::gateway::SECRET;
use crate::load::Source;

/// Bodies that are used in turn.
const BODIES: usize = 2000;

/// Hex digits of a signature.
const V1_BYTES: usize = 64;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes requests. No two have the same event id.
pub(crate) struct Requests {
    bodies: Vec<Body>,
    keyed: Hmac<Sha256>,
    next: AtomicU64,
    clock: Clock,
}

struct Body {
    bytes: Bytes,
    /// Where the id's digits begin.
    id: usize,
}

impl Requests {
    pub(crate) fn new(clock: &Clock) -> Self {
        let bodies = events::events(BODIES, clock.now())
            .into_iter()
            .map(|event| {
                let id = event.id.as_str().as_bytes();
                let at = event.body.windows(id.len()).position(|window| window == id);
                Body { bytes: event.body, id: at.expect("an event names itself") + "evt_".len() }
            })
            .collect();
        let keyed = Hmac::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
        Self { bodies, keyed, next: AtomicU64::new(0), clock: clock.clone() }
    }

    /// As [`Source::write`].
    pub(crate) fn write(&self, request: &mut Vec<u8>) {
        let (seconds, body) = (self.clock.now().seconds(), self.take());
        let signed = format!("{seconds}.");
        request.clear();
        request.extend_from_slice(
            b"POST /webhooks/stripe HTTP/1.1\r\nhost: gateway\r\naccept: */*\r\ncontent-type: application/json; \
              charset=utf-8\r\nuser-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nstripe-signature: ",
        );
        // Writing to a buffer cannot fail.
        let _ = write!(request, "t={seconds},v1=");
        let v1 = request.len();
        request.extend_from_slice(&[b'0'; V1_BYTES]);
        let _ = write!(request, "\r\ncontent-length: {}\r\n\r\n", body.0.bytes.len());
        let at = request.len();
        request.extend_from_slice(&body.0.bytes);
        name(&mut request[at..], body.0.id, seconds, body.1);
        let mac = self.mac(signed.as_bytes(), &request[at..]);
        request[v1..v1 + V1_BYTES].copy_from_slice(&mac);
    }

    /// The next body with its header's value.
    pub(crate) fn delivery(&self, scattered: bool) -> (String, Bytes) {
        let (seconds, (body, number)) = (self.clock.now().seconds(), self.take());
        let mut bytes = body.bytes.to_vec();
        let dated = if scattered { i64::try_from(mixed(number) % (1 << 35)).unwrap_or(0) } else { seconds };
        name(&mut bytes, body.id, dated, number);
        let mac = self.mac(format!("{seconds}.").as_bytes(), &bytes);
        (format!("t={seconds},v1={}", String::from_utf8_lossy(&mac)), Bytes::from(bytes))
    }

    fn take(&self) -> (&Body, u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(number).unwrap_or(0) % self.bodies.len();
        (&self.bodies[index], number)
    }

    fn mac(&self, signed: &[u8], body: &[u8]) -> [u8; V1_BYTES] {
        let mut mac = self.keyed.clone();
        mac.update(signed);
        mac.update(body);
        let mut text = [0; V1_BYTES];
        hex::encode_to_slice(mac.finalize().into_bytes(), &mut text).expect("two digits a byte");
        text
    }
}

impl Source for Requests {
    fn write(&self, request: &mut Vec<u8>) {
        self.write(request);
    }
}

/// Gives a body an id as Stripe's are: six digits of the second, eight of the account, and ten drawn.
fn name(body: &mut [u8], at: usize, seconds: i64, number: u64) {
    digits(&mut body[at..at + 6], seconds.unsigned_abs());
    digits(&mut body[at + 14..at + 24], mixed(number));
}

/// The lowest digits of a number in base 62.
pub(crate) fn digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[usize::try_from(number % 62).unwrap_or(0)];
        number /= 62;
    }
}

/// Spreads numbers over all of their range; no two come out the same (the finaliser of `SplitMix64`).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
