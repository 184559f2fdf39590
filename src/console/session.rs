//! Who has logged in: a cookie that the gateway signs and does not keep.
//!
//! Guarantees: a session is an operator's, and ends when that operator's token is replaced or removed, 12 hours after the login,
//! an hour after the last page that a person asked for, when everybody is logged out, and when the gateway starts anew. The
//! cookie holds no secret and reaches no script.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::admin::{Operators, Via, Who};
use crate::config::OperatorConfig;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::renewable::Renewable;

/// Longest session.
pub(super) const SESSION_MAX: Duration = Duration::from_hours(12);

/// Longest time without a page that a person requested.
pub(super) const IDLE_MAX: Duration = Duration::from_hours(1);

/// After this time, the time of the last page is written again.
const REFRESH_AFTER: Duration = Duration::from_mins(1);

/// Signs sessions. Clones share the key.
#[derive(Clone)]
pub(super) struct Sessions {
    key: Renewable<Zeroizing<[u8; 32]>>,
    clock: Clock,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions(…)")
    }
}

/// The content of a valid cookie.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) operator: OperatorConfig,
    issued: Timestamp,
    seen: Timestamp,
}

/// The system gave no randomness, without which no session is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(super) struct NoChance;

fn draw() -> Result<Zeroizing<[u8; 32]>, NoChance> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key).map_err(|_| NoChance)?;
    Ok(key)
}

impl Sessions {
    /// With a key that no other process has. Without randomness, no person can log in until [`Self::end_all`] gets some.
    pub(super) fn new(clock: Clock) -> Self {
        let key = draw().unwrap_or_else(|NoChance| Zeroizing::new([0; 32]));
        Self { key: key.into(), clock }
    }

    /// Ends every session.
    ///
    /// # Errors
    /// If there is no randomness for a new key. Then the old one stays.
    pub(super) fn end_all(&self) -> Result<(), NoChance> {
        self.key.set(draw()?);
        Ok(())
    }

    /// The cookie's text for a new session. `None` without a key.
    pub(super) fn begin(&self, operator: &OperatorConfig) -> Option<String> {
        let now = self.clock.now();
        self.sign(operator, now, now)
    }

    /// The same session, seen now; `None` if that would change nothing.
    pub(super) fn refresh(&self, session: &Session) -> Option<String> {
        let now = self.clock.now();
        let is_due = now.since(session.seen) >= REFRESH_AFTER;
        if is_due { self.sign(&session.operator, session.issued, now) } else { None }
    }

    /// The session of a request, if its cookie is valid.
    pub(super) fn of(&self, headers: &HeaderMap, operators: &Operators) -> Option<Session> {
        let given = cookie(headers, &name(headers))?;
        let (rest, mac) = given.rsplit_once(':')?;
        let mut parts = rest.split(':');
        let (operator, issued, seen) = (parts.next()?, parts.next()?, parts.next()?);
        let operator = operators.named(operator)?;
        self.mac(&operator, rest)?.verify_slice(&hex::decode(mac).ok()?).ok()?;
        let moment = |text: &str| text.parse().ok().map(Timestamp::from_millis);
        let session = Session { operator, issued: moment(issued)?, seen: moment(seen)? };
        let now = self.clock.now();
        let is_good = now.since(session.issued) < SESSION_MAX && now.since(session.seen) < IDLE_MAX;
        is_good.then_some(session)
    }

    fn sign(&self, operator: &OperatorConfig, issued: Timestamp, seen: Timestamp) -> Option<String> {
        let text = format!("{}:{}:{}", operator.name, issued.millis(), seen.millis());
        let mac = self.mac(operator, &text)?.finalize().into_bytes();
        Some(format!("{text}:{}", hex::encode(mac)))
    }

    /// Keyed by the process's key and the operator's token.
    fn mac(&self, operator: &OperatorConfig, text: &str) -> Option<Hmac<Sha256>> {
        let key = self.key.get();
        if key.iter().all(|byte| *byte == 0) {
            return None;
        }
        let keyed = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).ok();
        let mut of_operator = keyed(key.as_slice())?;
        of_operator.update(operator.token.expose().trim().as_bytes());
        let mut mac = keyed(&of_operator.finalize().into_bytes())?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

impl Session {
    pub(super) fn who(&self, peer: Option<std::net::IpAddr>) -> Who {
        Who { name: self.operator.name.as_str().into(), role: self.operator.role, via: Via::Console, peer }
    }
}

/// Name of the session's cookie. Cookies ignore ports, and one machine may have the consoles of several gateways.
fn name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port =
        host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    format!("colony_console_{}", port.unwrap_or("0"))
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Whether the browser uses TLS, as far as the proxy before the gateway says. A browser that lies only harms itself.
pub(super) fn is_encrypted(headers: &HeaderMap) -> bool {
    let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("https"))
}

/// The header that sets the session's cookie, or removes it if there is no value.
pub(super) fn set_cookie(headers: &HeaderMap, value: Option<&str>) -> Option<HeaderValue> {
    let secure = if is_encrypted(headers) { "; Secure" } else { "" };
    let (value, age) = value.map_or(("", 0), |value| (value, SESSION_MAX.as_secs()));
    let name = name(headers);
    format!("{name}={value}; Path=/console; HttpOnly; SameSite=Lax; Max-Age={age}{secure}").parse().ok()
}
