//! What is logged, and in which form.

use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::telemetry::logging::{LogFormat, check_filter};

const FORMAT: Setting =
    setting("log.format", "GATEWAY_LOG_FORMAT", "Form of log lines. `auto`: `pretty` on a terminal, `json` elsewhere.")
        .takes(Form::Words(&["auto", "json", "pretty"]));
const FILTER: Setting = setting(
    "log.filter",
    "GATEWAY_LOG",
    "What to log: a level, or levels by module such as `info,colony_gateway::inbox=debug`.",
)
.or(&["RUST_LOG"]);

#[derive(Clone, Debug)]
pub struct LogConfig {
    pub format: LogFormat,
    /// `tracing` filter, such as `info,colony_gateway::inbox=debug`.
    pub filter: String,
}

pub(super) fn read(r: &mut Reader) -> LogConfig {
    LogConfig {
        format: r.or(FORMAT, "auto", |text| text.parse().map_err(|message: &str| message.to_owned())),
        filter: r.or(FILTER, "info", |text| {
            check_filter(text).map(|()| text.to_owned()).map_err(|error| format!("is no log filter: {error}"))
        }),
    }
}
