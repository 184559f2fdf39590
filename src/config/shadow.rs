//! Shadow mode: keep the truth, write no public table, compare with what another system writes.

use std::time::Duration;

use super::reader::{Reader, boolean, duration, setting};

/// How a gateway in shadow mode works.
#[derive(Clone, Copy, Debug)]
pub struct ShadowConfig {
    /// Whether jobs are submitted to the colony all the same.
    pub colony: bool,
    /// Between two comparisons.
    pub interval: Duration,
}

/// Reads the mode; `None` is live.
pub(super) fn read(r: &mut Reader) -> Option<ShadowConfig> {
    let is_shadow = r.or(setting("mode", "GATEWAY_MODE"), "live", |text| match text {
        "live" => Ok(false),
        "shadow" => Ok(true),
        _ => Err("must be live or shadow".to_owned()),
    });
    let shadow = ShadowConfig {
        colony: r.or(setting("shadow.colony", "GATEWAY_SHADOW_COLONY"), "false", boolean),
        interval: r.or(setting("shadow.interval", "GATEWAY_SHADOW_INTERVAL"), "1h", duration),
    };
    is_shadow.then_some(shadow)
}
