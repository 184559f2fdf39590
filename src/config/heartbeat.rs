//! Where heartbeats of bees go.

use super::reader::Reader;
use super::setting::{Setting, setting};
use crate::domain::secret::Secret;
use crate::outbound::redis_address;

const REDIS_URL: Setting = setting(
    "heartbeat.redis_url",
    "REDIS_URL",
    "Redis for the bees' heartbeats, with its password: redis://… or rediss://…. Unset: no heartbeats.",
)
.or(&["UPSTASH_REDIS_URL"]);

/// Reads the address of Redis, which holds its password.
pub(super) fn read(r: &mut Reader) -> Option<Secret> {
    let url = Secret::new(r.secret(REDIS_URL)?.expose().trim());
    if let Err(error) = redis_address::client(url.expose()) {
        r.fault(REDIS_URL.variable, error.to_string());
    }
    Some(url)
}
