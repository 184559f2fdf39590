//! Shadow mode: keep the truth, write no public table, compare with what another system writes.

use std::time::Duration;

use super::parse::{boolean, duration};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};

const MODE: Setting =
    setting("mode", "GATEWAY_MODE", "`shadow` runs beside another system and writes no public table.")
        .takes(Form::Words(&["live", "shadow"]));
const COLONY: Setting =
    setting("shadow.colony", "GATEWAY_SHADOW_COLONY", "Whether jobs are submitted to the colony in shadow mode too.")
        .takes(Form::Boolean);
const INTERVAL: Setting =
    setting("shadow.interval", "GATEWAY_SHADOW_INTERVAL", "Time between two comparisons in shadow mode.")
        .takes(Form::Duration);

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
    let is_shadow = r.or(MODE, "live", |text| match text {
        "live" => Ok(false),
        "shadow" => Ok(true),
        _ => Err("must be live or shadow".to_owned()),
    });
    let shadow = ShadowConfig { colony: r.or(COLONY, "false", boolean), interval: r.or(INTERVAL, "1h", duration) };
    is_shadow.then_some(shadow)
}
