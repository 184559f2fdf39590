//! Codes that log the holder of a token into the console once, so that links contain no token.
//!
//! Guarantees: a code is good for a minute and for one login; only its digest is kept; a bounded number is open at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::wire::LoginCode;
use crate::domain::clock::{Clock, Timestamp};

/// How long a code is valid.
const CODE_LIFE: Duration = Duration::from_mins(1);

/// How many codes are open at a time. One more closes the oldest.
const CODES_MAX: usize = 64;

/// Random bytes in a code.
const CODE_BYTES: usize = 16;

#[derive(Clone, Debug)]
struct Open {
    digest: [u8; 32],
    name: Arc<str>,
    until: Timestamp,
}

/// The open codes. Clones share them.
#[derive(Clone, Debug)]
pub struct LoginCodes {
    open: Arc<Mutex<VecDeque<Open>>>,
    clock: Clock,
}

impl LoginCodes {
    pub fn new(clock: Clock) -> Self {
        Self { open: Arc::default(), clock }
    }

    /// Opens a code for an operator. `None` if the system gives no randomness.
    pub fn issue(&self, name: Arc<str>) -> Option<LoginCode> {
        let mut bytes = [0; CODE_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        let (code, expires) = (hex::encode(bytes), self.clock.now().plus(CODE_LIFE));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= CODES_MAX {
            open.pop_front();
        }
        open.push_back(Open { digest: Sha256::digest(&code).into(), name, until: expires });
        Some(LoginCode { path: format!("/console/login?code={code}"), code, expires })
    }

    /// Closes an open code and returns its operator.
    pub fn redeem(&self, code: &str) -> Option<Arc<str>> {
        let (now, digest): (_, [u8; 32]) = (self.clock.now(), Sha256::digest(code).into());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|known| known.until > now);
        let at = open.iter().position(|known| known.digest == digest)?;
        open.remove(at).map(|known| known.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_for_a_minute() {
        let clock = Clock::manual(Timestamp::from_seconds(1000));
        let codes = LoginCodes::new(clock.clone());
        let code = |name: &str| codes.issue(name.into()).unwrap().code;
        let (first, second) = (code("ana"), code("ben"));
        assert_eq!(codes.redeem(&second).as_deref(), Some("ben"));
        assert_eq!(codes.redeem(&second), None, "once");
        clock.advance(CODE_LIFE);
        assert_eq!(codes.redeem(&first), None, "for a minute");
        let many: Vec<String> = (0..=CODES_MAX).map(|_| code("ana")).collect();
        assert_eq!((codes.redeem(&many[0]), codes.redeem(&many[1]).as_deref()), (None, Some("ana")));
    }
}
