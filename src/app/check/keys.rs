//! Ages of the files that secrets come from.

use std::time::Duration;

use super::Diagnosis;
use crate::config::{Config, FileMark, KEY_AGE_MAX, WatchedFile};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::counted::counted;

/// A watched file that holds no secret.
const RULES: &str = "GATEWAY_GUARDIAN_RULES";

const DAY: u64 = 24 * 60 * 60;

/// Secrets whose files are older than they should be, with their ages in days. Blocks.
pub(in crate::app) fn due(files: &[WatchedFile], now: Timestamp) -> Vec<(&'static str, u64)> {
    let secrets = files.iter().filter(|file| file.setting != RULES);
    let age = |file: &WatchedFile| Some((file.setting, now.since(FileMark::of(&file.path)?.written?)));
    secrets
        .filter_map(age)
        .filter(|(_, age)| *age > KEY_AGE_MAX)
        .map(|(name, age)| (name, age.as_secs() / DAY))
        .collect()
}

pub(super) fn probe(config: &Config, clock: &Clock) -> Diagnosis {
    const NAME: &str = "keys";
    let now = clock.now();
    let secrets = config.files.iter().filter(|file| file.setting != RULES);
    let age = |file: &WatchedFile| {
        let written = FileMark::of(&file.path)?.written?;
        Some((now.since(written), file.setting))
    };
    let mut ages: Vec<(Duration, &str)> = secrets.filter_map(age).collect();
    ages.sort_unstable();
    let Some((oldest, setting)) = ages.last().copied() else {
        return Diagnosis::none(NAME, "no secret is in a file: their ages are unknown, and a change needs a restart");
    };
    let detail = format!(
        "{} in files; the oldest, {setting}, is {} old",
        ages.len(),
        counted(oldest.as_secs() / DAY, "day", "days")
    );
    if oldest > KEY_AGE_MAX {
        return Diagnosis::degraded(NAME, detail, format!("rotate {setting}"));
    }
    Diagnosis::ok(NAME, detail)
}
