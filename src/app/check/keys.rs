//! Ages of the files that secrets come from.

use std::time::Duration;

use super::Diagnosis;
use crate::config::{Config, FileMark, WatchedFile};
use crate::domain::clock::Clock;

/// Keys are rotated every quarter at the latest.
const AGE_MAX: Duration = Duration::from_hours(24 * 92);

const DAY: u64 = 24 * 60 * 60;

pub(super) fn probe(config: &Config, clock: &Clock) -> Diagnosis {
    const NAME: &str = "keys";
    let now = clock.now();
    let secrets = config.files.iter().filter(|file| file.setting != "GATEWAY_GUARDIAN_RULES");
    let age = |file: &WatchedFile| {
        let written = FileMark::of(&file.path)?.written?;
        Some((now.since(written), file.setting))
    };
    let mut ages: Vec<(Duration, &str)> = secrets.filter_map(age).collect();
    ages.sort_unstable();
    let Some((oldest, setting)) = ages.last().copied() else {
        return Diagnosis::none(NAME, "no secret comes from a file: ages are unknown, and a change needs a restart");
    };
    let detail = format!("{} in files, the oldest {setting} with {} days", ages.len(), oldest.as_secs() / DAY);
    if oldest > AGE_MAX {
        return Diagnosis::degraded(NAME, detail, format!("rotate {setting}"));
    }
    Diagnosis::ok(NAME, detail)
}
