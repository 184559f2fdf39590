//! `migrate --export`: what `--print` prints, as a file among the migrations of a Supabase project.
//!
//! Supabase's tool runs each file once, in the order of the fourteen digits that its name begins with. A file that was written stays
//! as it is; a later release gets a file of its own behind it, which brings what the earlier one made to where it should be.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::domain::clock::{Clock, Timestamp};

/// The rest of the name, after the digits.
const SUFFIX: &str = "_colony_gateway.sql";

/// Number of digits at the beginning of a name: year, month, day, hour, minute, second.
const DIGITS: usize = 14;

/// What became of an export.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exported {
    Written(PathBuf),
    /// The newest file of an earlier export says the same.
    Unchanged(PathBuf),
}

/// Writes the text as a file that sorts after all files of the directory.
pub(super) fn export(directory: &Path, text: &str, clock: &Clock) -> anyhow::Result<Exported> {
    let cannot = || format!("cannot write into {}", directory.display());
    std::fs::create_dir_all(directory).with_context(cannot)?;
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .with_context(cannot)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| version(name).is_some())
        .collect();
    names.sort();
    if let Some(last) = names.iter().rev().find(|name| name.ends_with(SUFFIX)) {
        let path = directory.join(last);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(Exported::Unchanged(path));
        }
    }
    // Supabase's tool refuses a file that sorts before one that has run.
    let newest = names.iter().filter_map(|name| version(name)).max().unwrap_or_default();
    let now = clock.now();
    let at = if digits(now) > newest {
        now
    } else {
        after(&newest)
            .with_context(|| format!("the name of the migration {newest} has no time, so no later one can follow it"))?
    };
    let path = directory.join(format!("{}{SUFFIX}", digits(at)));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    made.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes())).with_context(cannot)?;
    Ok(Exported::Written(path))
}

/// The digits that a migration's name begins with.
fn version(name: &str) -> Option<String> {
    let digits = name.get(..DIGITS)?;
    let is_sql = Path::new(name).extension().is_some_and(|extension| extension == "sql");
    let is_one = digits.bytes().all(|byte| byte.is_ascii_digit()) && name[DIGITS..].starts_with('_');
    (is_one && is_sql).then(|| digits.to_owned())
}

fn digits(at: Timestamp) -> String {
    Timestamp::from_seconds(at.seconds()).to_string().chars().filter(char::is_ascii_digit).take(DIGITS).collect()
}

/// The second after the one that the digits name; `None` if they name none.
fn after(digits: &str) -> Option<Timestamp> {
    let part = |from: usize, to: usize| digits.get(from..to);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let at = Timestamp::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))?;
    Some(Timestamp::from_seconds(at.seconds() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_release_gets_one_file_behind_all_others_and_the_next_release_another() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("supabase/migrations");
        let clock = Clock::manual(Timestamp::parse_rfc3339("2026-01-02T03:04:05Z").unwrap());
        let written = |text| matches!(export(&place, text, &clock).unwrap(), Exported::Written(_));
        assert!(written("one") && !written("one"));
        assert_eq!(names(&place), ["20260102030405_colony_gateway.sql"]);
        assert!(written("two"));
        std::fs::write(place.join("20260301000000_of_the_app.sql"), "").unwrap();
        std::fs::write(place.join("README.md"), "").unwrap();
        assert!(written("three") && !written("three"));
        assert_eq!(
            names(&place),
            [
                "20260102030405_colony_gateway.sql",
                "20260102030406_colony_gateway.sql",
                "20260301000000_of_the_app.sql",
                "20260301000001_colony_gateway.sql",
                "README.md"
            ]
        );
        assert_eq!(std::fs::read_to_string(place.join("20260102030405_colony_gateway.sql")).unwrap(), "one");
    }

    #[test]
    fn a_file_of_no_time_ends_the_export_and_not_the_world() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("99999999999999_late.sql"), "").unwrap();
        let clock = Clock::manual(Timestamp::from_seconds(1_700_000_000));
        assert!(export(directory.path(), "one", &clock).is_err());
    }
}
