//! Where heartbeats of bees go.

use super::reader::{Reader, setting};
use crate::domain::secret::Secret;
use crate::outbound::redis_address;

/// Reads the address of Redis, which holds its password.
pub(super) fn read(r: &mut Reader) -> Option<Secret> {
    let names = setting("heartbeat.redis_url", "REDIS_URL").or(&["UPSTASH_REDIS_URL"]);
    let url = Secret::new(r.secret(names)?.expose().trim());
    if let Err(error) = redis_address::client(url.expose()) {
        r.fault(names.variable, error.to_string());
    }
    Some(url)
}
